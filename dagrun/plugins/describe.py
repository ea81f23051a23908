"""What an operator says of itself: its docstring and its table, for people and for `dagrun check`.

described(…)  -> Description      from the class
describe(…)   -> Description      of any operator; one of a package or project tells it from a process of its own

python -P -m dagrun.plugins.describe NAME FILE      prints it as JSON; FILE is that of a project, or empty
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection
from contextlib import suppress
from textwrap import dedent

from dagrun.errors import PluginError
from dagrun.light import NamedTuple
from dagrun.plugins import registry
from dagrun.plugins.host import Hosted, crash, failure_of, limited, load
from dagrun.plugins.local import file_of
from dagrun.plugins.operator import Operator, Option
from dagrun.plugins.registry import Origin
from dagrun.plugins.results import LARGEST

LIMIT_SECONDS = 10  # for an import; whoever takes longer is broken
LIMIT_MEMORY = 2 << 30  # bytes
EXAMPLE = "Example:"


class Description(NamedTuple):
    """`problem` says why nothing else is known."""

    name: str
    origin: Origin
    text: str = ""
    example: str = ""
    options: tuple[Option, ...] = ()
    retries: bool = True
    problem: str = ""

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0]


def describe(name: str, directory: str, paths: Collection[str]) -> Description:
    """Of one operator that there is: dagrun's own, of a package, or of the project in the directory with these files."""
    if registry.OPERATORS.is_trusted(name):
        return described(name, Origin(), registry.OPERATORS.load(name)())
    file = file_of(name, paths)
    origin = Origin(file=file) if file else registry.OPERATORS.origin(name)
    return asked(Hosted(name, origin, LIMIT_MEMORY), directory)


def described(name: str, origin: Origin, operator: Operator) -> Description:
    """Raises PluginError for a table that is none."""
    options = tuple(operator.options)
    for option in options:
        if not isinstance(option, Option):
            raise PluginError(f"options must hold values Option(name, kind, default, meaning), not {option!r}")
        if problem := option.problem():
            raise PluginError(problem)
    text, example = parts_of(type(operator).__doc__)
    return Description(name, origin, text, example, options, bool(operator.retries))


def parts_of(docstring: str | None) -> tuple[str, str]:
    """Its text, and what is indented below the line `Example:`."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    first = lines.index(EXAMPLE) if EXAMPLE in lines else len(lines)
    last = first + 1
    while last < len(lines) and (not lines[last] or lines[last].startswith(" ")):
        last += 1
    text = "\n".join([*lines[:first], *lines[last:]])
    return text.strip(), dedent("\n".join(lines[first + 1 : last])).strip()


def kind_of(option: Option, quote: str = "") -> str:
    """Its kind for people, with the words that it takes."""
    words = [f"{quote}{word}{quote}" for word in option.choices]
    if option.kind == "word":
        return " ".join(words)
    return " or ".join([option.kind.replace("JSON ", ""), *words])


# -- from a process of its own


def asked(operator: Hosted, directory: str) -> Description:
    """What the process says, which has little time and can't do harm."""
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __spec__.name, operator.name, operator.origin.file],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        with suppress(ProcessLookupError, PermissionError):  # whatever it has left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        answer.seek(0)
        return told(operator, code, answer.read(LARGEST))


def told(operator: Hosted, code: int | None, answer: bytes) -> Description:
    nothing = Description(operator.name, operator.origin)
    if code is None:
        return nothing._replace(
            problem=f"{operator} doesn't end its import within {LIMIT_SECONDS} s\n  {operator.mend()}"
        )
    try:
        found = json.loads(answer)
        if found["problem"]:
            return nothing._replace(problem=str(found["problem"]))
        options = tuple(Option._make([*row[:-1], tuple(row[-1])]) for row in found["options"])
        return nothing._replace(
            text=str(found["text"]), example=str(found["example"]), options=options, retries=bool(found["retries"])
        )
    except (ValueError, TypeError, KeyError, IndexError):
        message = crash(operator, 128 - code if code < 0 else code).message.partition("\n")[0]
        return nothing._replace(problem=f"{message}\n  {operator.mend()}")


def main(name: str, file: str) -> None:
    out = os.dup(1)  # what the plug-in prints is no part of the answer
    os.dup2(2, 1)
    origin = Origin(file=file) if file else registry.OPERATORS.origin(name)
    text = json.dumps(description_of(Hosted(name, origin, LIMIT_MEMORY))._asdict())
    with open(out, "w", encoding="utf-8") as stream:
        stream.write(text)
    os._exit(0)  # threads that it has left don't matter


def description_of(operator: Hosted) -> Description:
    try:
        with limited(operator.memory):
            return described(operator.name, operator.origin, load(operator, "")())
    except PluginError as problem:
        text, title = str(problem), f"Operator {operator.name}>"
        text = text if text.startswith(title) else f"{operator} is broken: {text}\n  {operator.mend()}"
        return Description(operator.name, operator.origin, problem=text)
    except BaseException as problem:
        return Description(operator.name, operator.origin, problem=failure_of(operator, problem).message)


if __name__ == "__main__":
    main(*sys.argv[1:])
