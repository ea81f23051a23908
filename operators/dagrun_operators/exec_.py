"""exec>: run a program, without a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Option, Params, TaskContext, TaskFailed

from .scripts import Script, Secrets, command


class Exec(Script):
    """Run a program with its arguments, without a shell.

    Variables reach it by the file `$DAGRUN_IN`, not by its environment.

    Example:
        +load:
          exec>: [./load, --table, sales, "${session_date}"]
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "list or text", meaning="the program and its arguments; a text is split as a shell would"),
        *Script.options,
    )
    namespaces: ClassVar[tuple[str, ...]] = ("exec",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """Each word that is a file of the project."""
        words = command if isinstance(command, list) else str(command or "").split()
        return [path for word in words if isinstance(word, str) and (path := os.path.normpath(word)) in project]

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        secrets = Secrets(task)
        argv = without_secrets("exec>", words_of(params, "_command"), secrets)
        return command(task, params, argv, files={}, secrets=secrets)


def without_secrets(what: str, words: list[str], secrets: Secrets) -> list[str]:
    """The words. Raises TaskFailed when one asks for a secret."""
    argv = [secrets.fill(word) for word in words]
    if secrets.values:
        raise TaskFailed(
            f"{what}: a secret can't stand in an argument, where everybody can read it; hand it on with _env, or by a file",
            "bad_option",
            "config",
        )
    return argv


def words_of(params: Params, key: str) -> list[str]:
    """The arguments: a list of texts, or a text that is split as a shell would."""
    value = params.get(key)
    if isinstance(value, list) and value:
        words = Params({f"{key}[{index}]": word for index, word in enumerate(value)})
        return [words.text(name) for name in words]
    try:
        found = shlex.split(params.text(key))
    except ValueError as problem:
        raise TaskFailed(f"{key}: {problem}", "bad_option", "config") from None
    if not found:
        raise TaskFailed(f"{key} must name a program", f"missing ({key})", "config")
    return found
