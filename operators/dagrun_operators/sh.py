"""sh>: run a shell script. All variables are in its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Option, Params, TaskContext, TaskFailed, TryFile, json_text

from .scripts import VARIABLE, Script, Secrets, command

SCRIPT_FILE = "runner.sh"
LARGEST_VALUE = 100 * 1024  # bytes; Linux refuses to start a process with a variable of 128 KiB
LARGEST_SUM = 1024 * 1024  # bytes; Linux refuses 2 MiB of variables and arguments together, dagrun's own included
# Variables that decide which programs and libraries run, or where the shell looks. Only `_env` may set them:
# a stored value or an option that is named by chance like one of them must not.
PROTECTED = re.compile(
    r"(PATH|HOME|SHELL|PWD|IFS|BASH_ENV|VIRTUAL_ENV|RUBYLIB|RUBYOPT|NODE_OPTIONS|NODE_PATH"
    r"|(LD|DYLD|GEM|PERL|DAGRUN)_.*|PYTHON.*|PERL5.*)\Z"
)


class Sh(Script):
    """Run a shell script. All variables are in its environment.

    A JSON map that it writes to the file `$DAGRUN_OUT` is stored for all later tasks.

    Example:
        +load:
          sh>: ./load.sh --day "$session_date" ${table}
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "the script"),
        Option("shell", "list", "`[/bin/sh]`", "the shell with its arguments"),
        *Script.options,
    )
    namespaces: ClassVar[tuple[str, ...]] = ("sh",)
    describes: ClassVar[bool] = True

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """Each word of the script that is a file of the project."""
        words = re.split(r"[\s;|&()<>\"'=`]+", command) if isinstance(command, str) else []
        return [path for word in words if word and (path := os.path.normpath(word)) in project]

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        secrets = Secrets(task)
        # Secrets become part of the text: inside single quotes a shell would not expand a variable in their
        # place.
        script = secrets.fill(params.text("_command"))
        return command(
            task,
            params,
            [*shell(params), TryFile(SCRIPT_FILE)],
            files={SCRIPT_FILE: script},
            secrets=secrets,
            environment=variables(task, params),
            workdir_on_path=True,
        )


def shell(params: Params) -> list[str]:
    """The program that reads the script, with its arguments."""
    if params.get("shell") is None:
        return ["/bin/sh"]
    given = params.list_("shell")
    if not given:
        raise TaskFailed("shell must name a program, like [bash, -e]; it is empty", "bad_option", "config")
    words = Params({f"shell[{index}]": word for index, word in enumerate(given)})
    return [words.text(name) for name in words]


def variables(task: TaskContext, params: Params) -> dict[str, str]:
    """The parameters as environment variables: text as it is, anything else as JSON."""
    texts, protected = {}, []
    for name, value in params.items():
        kind = kind_of(name)
        if value is None or kind is None:
            continue
        if kind == "protected":
            protected.append(name)
        else:
            texts[name] = value if isinstance(value, str) else json_text(value)
    fitting, too_large = partition(texts)
    if protected:
        task.warn(f"{', '.join(sorted(protected))}: only _env can set this in the environment, a parameter can't")
    if too_large:
        task.warn(
            f"{', '.join(too_large)}: too large for the environment, or not a text that it can hold; "
            "read such values from the JSON file $DAGRUN_IN"
        )
    return fitting


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str | None:
    """Whether a parameter of that name becomes a variable; None: it can't."""
    if not VARIABLE.match(name):
        return None
    return "protected" if PROTECTED.match(name) else "free"


def partition(texts: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """What fits into an environment, the small ones first, and the names of the others."""
    everything = "".join(texts.values())
    if everything.isascii() and "\0" not in everything and len(everything) < LARGEST_VALUE:
        return texts, []
    sizes = {name: size(text) + len(name) + 2 for name, text in texts.items()}
    names, total = set(), 0
    for name in sorted(texts, key=sizes.__getitem__):
        total += sizes[name]
        if sizes[name] <= LARGEST_VALUE and total <= LARGEST_SUM:
            names.add(name)
    fitting = {name: text for name, text in texts.items() if name in names}
    # The script itself is among the parameters; nobody misses it there when it is long.
    return fitting, sorted(name for name in texts if name not in names and name != "_command")


def size(text: str) -> int:
    """Bytes of the text in an environment; more than any limit when it can't be there."""
    try:
        return LARGEST_SUM if "\0" in text else len(os.fsencode(text))
    except UnicodeEncodeError:
        return LARGEST_SUM
