"""node>: call a function of JavaScript, or run a file of it."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Ended, Option, Succeeded, TaskContext, TaskFailed

from .interpreter import node
from .languages import outcome, program
from .scripts import Script, Secrets, command

ENDINGS = (".js", ".mjs", ".cjs")
NAME = re.compile(r"(?P<file>.+\.[mc]?js)(?::(?P<function>[A-Za-z_$][\w$]*))?\Z")
DOTTED = re.compile(r"(?P<path>[\w\-/]+)\.(?P<function>[A-Za-z_$][\w$]*)\Z")


class Node(Script):
    """Call an exported function of JavaScript with the variables, or run a file.

    What the function returns is stored; it may be async.

    Example:
        +count:
          node>: jobs/sales.js:count
          table: sales
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", meaning="`file.js:function`, or `file.js` alone"),
        Option("node", "text or list", "`node`", 'the interpreter; `"20"` is any Node 20'),
        *Script.options,
    )
    namespaces: ClassVar[tuple[str, ...]] = ("node",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The file that is called; not what it imports."""
        try:
            file = os.path.normpath(target(str(command or ""))[0])
        except TaskFailed:
            return []
        names = [file] if file.endswith(ENDINGS) else [file + ending for ending in ENDINGS]
        return [name for name in names if name in project]

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        file, function = target(params.text("_command"))
        arguments, files = program(params, f"{file}#{function or ''}", "runner.mjs")
        return command(task, params, [*node(task, params), *arguments], files=files, secrets=Secrets(task))

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:
        return outcome("Node", task, end)


def target(text: str) -> tuple[str, str | None]:
    """File and function of `jobs/sales.js:count`, or of `jobs/sales.count`."""
    match = NAME.match(text) or DOTTED.match(text)
    if not match:
        raise TaskFailed(
            f"node>: {text!r} names no file of JavaScript; write  jobs/sales.js:count  or  jobs/sales.js",
            "bad_option",
            "config",
        )
    return match[1], match["function"]
