"""Which Python or Ruby runs a task: an explicit choice or a fixed order, never what PATH happens to hold.

Python: `python:` at the task or exported as `py.python`, the project's `.venv`, `$VIRTUAL_ENV`, the Python
that runs dagrun. A choice may be a version ("3.12"), a path, a program with arguments (a list), `venv:DIR`,
or `uv:requirements.txt`. In a container the image decides: `python`, `ruby`.
"""

from __future__ import annotations

import os
import re
import sys

from dagrun.plugins.operator import Params, TaskContext, TaskFailed, docker_options

VERSION = re.compile(r"\d+(\.\d+)*\Z")


def python(task: TaskContext, params: Params) -> list[str]:
    """The start of a command line that runs a Python file."""
    chosen = choice(params, "python")
    if len(chosen) > 1:
        return chosen
    if not chosen:
        return ["python"] if docker_options(params) else [default_python(task)]
    text = chosen[0]
    if text.startswith("venv:"):
        return [virtual_environment(task, text.removeprefix("venv:"))]
    if text.startswith("uv:"):
        return uv(task, text.removeprefix("uv:"))
    return [versioned(task, "python", text)]


def ruby(task: TaskContext, params: Params) -> list[str]:
    """The start of a command line that runs a Ruby file."""
    chosen = choice(params, "ruby")
    if len(chosen) > 1:
        return chosen
    return [versioned(task, "ruby", chosen[0]) if chosen else "ruby"]


def choice(params: Params, option: str) -> list[str]:
    """What the task asks for: nothing, a text, or a program with its arguments."""
    value = params.get(option)
    if value is None or value == "":
        return []
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise TaskFailed(
            f'{option} must be a text like "3.12" (in quotes), a path, or a list of texts; it is {value!r}',
            f"bad_type ({option})",
            "config",
        )
    return list(texts)


def default_python(task: TaskContext) -> str:
    active = os.environ.get("VIRTUAL_ENV")
    return (
        task.find(".venv/bin/python")
        or (active and task.find(f"{os.path.abspath(active)}/bin/python"))
        or sys.executable
    )


def virtual_environment(task: TaskContext, directory: str) -> str:
    found = task.find(f"{directory.rstrip('/')}/bin/python")
    if not found:
        raise TaskFailed(
            f"python: there is no virtual environment {directory} in the project; "
            f"make it with `python3 -m venv {directory}`",
            "bad_option",
            "config",
        )
    return found


def uv(task: TaskContext, requirements: str) -> list[str]:
    """Run with uv, which makes the environment and keeps it in its cache. The file lies in the project."""
    program = task.find("uv")
    if not program:
        raise TaskFailed(
            "python: uv:… needs the program uv; see https://docs.astral.sh/uv, or use venv:DIR",
            "bad_option",
            "config",
        )
    path = os.path.relpath(requirements, task.workdir or ".")
    task.read(path)  # fails the task when it isn't there, with a better message than that of uv
    return [program, "run", "--no-project", "--with-requirements", path, "python"]


def versioned(task: TaskContext, program: str, text: str) -> str:
    """A version as the program of that name on PATH; anything else is the program itself."""
    if not VERSION.match(text):
        return text
    found = task.find(program + text)
    if not found:
        raise TaskFailed(
            f"{program}: there is no {program}{text} on PATH; install it, or name another one",
            "bad_option",
            "config",
        )
    return found
