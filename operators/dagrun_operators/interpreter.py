"""Which interpreter runs a task (features F81): an explicit choice or a fixed order, never what PATH happens to hold.

Python: `python:` at the task or exported as `py.python`, the project's `.venv`, `$VIRTUAL_ENV`, the Python that runs dagrun. Ruby and
Node: `ruby:` and `node:` likewise, else `ruby` and `node`. A choice may be a version ("3.12"), a path, a program with arguments (a
list), for Python also `venv:DIR`, or `uv:requirements.txt`. In a container the image decides: `python`, `ruby`, `node`, or the
program that is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dagrun.plugins import programs
from dagrun.plugins.operator import Params, TaskContext, TaskFailed, TryFile, docker_options

from .languages import runner

ENVIRONMENT_FILE = "environment.py"
Words = list[str | TryFile]


def python(task: TaskContext, params: Params) -> Words:
    """The start of a command line that runs a Python file."""
    chosen = choice(params, "python")
    inside = docker_options(params) is not None
    if len(chosen) > 1:
        return [*chosen]
    if not chosen:
        return ["python"] if inside else [default_python(task)]
    text = chosen[0]
    if inside:
        return [of_image("python", text)]
    if text.startswith("venv:"):
        return [virtual_environment(task, text.removeprefix("venv:"))]
    if text.startswith("uv:"):
        return uv(task, text.removeprefix("uv:"))
    return [on_machine("python", text)]


def ruby(task: TaskContext, params: Params) -> Words:  # noqa: ARG001
    """The start of a command line that runs a Ruby file."""
    return plain(params, "ruby")


def node(task: TaskContext, params: Params) -> Words:  # noqa: ARG001
    """The start of a command line that runs a file of JavaScript."""
    return plain(params, "node")


def plain(params: Params, language: str) -> Words:
    chosen = choice(params, language)
    if len(chosen) > 1:
        return [*chosen]
    if docker_options(params) is not None:
        return [of_image(language, chosen[0]) if chosen else language]
    return [on_machine(language, chosen[0]) if chosen else language]


def files(words: Sequence[str | TryFile]) -> dict[str, str]:
    """What such a command line needs beside the task's own files."""
    return {ENVIRONMENT_FILE: runner(ENVIRONMENT_FILE)} if TryFile(ENVIRONMENT_FILE) in words else {}


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
    if not directory:
        raise TaskFailed(
            "python: venv: needs the directory of an environment, like venv:envs/etl", "bad_option", "config"
        )
    found = task.find(f"{os.path.expanduser(directory).rstrip('/')}/bin/python")
    if not found:
        raise TaskFailed(
            f"python: there is no virtual environment {directory} in the project; "
            f"make it with `python3 -m venv {directory}`",
            "bad_option",
            "config",
        )
    return found


def uv(task: TaskContext, requirements: str) -> Words:
    """By way of a file that makes the environment, where it isn't there yet: in the task's own process and log."""
    if not requirements:
        raise TaskFailed("python: uv: needs a file of requirements, like uv:requirements.txt", "bad_option", "config")
    program = task.find("uv")
    if not program:
        raise TaskFailed(
            "python: uv:… needs the program uv; see https://docs.astral.sh/uv, or use venv:DIR",
            "bad_option",
            "config",
        )
    path = os.path.relpath(requirements, task.workdir or ".")
    task.read(path)  # fails the task when it isn't there, with a better message than that of uv
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dagrun", "python")
    return [sys.executable, TryFile(ENVIRONMENT_FILE), program, cache, path]


def on_machine(language: str, text: str) -> str:
    """The program that is named so. Raises TaskFailed when it isn't there."""
    found = programs.named(language, text)
    if isinstance(found, programs.Missing):
        raise TaskFailed(
            f"{language}: there is no {found.what} on this machine; {found.remedy}", "bad_option", "config"
        )
    return found


def of_image(language: str, text: str) -> str:
    """In a container: what the image calls it."""
    if text.startswith(("venv:", "uv:")):
        raise TaskFailed(
            f"{language}: {text} can't be used in a container; its image decides, or the path of a program in it",
            "bad_option",
            "config",
        )
    return f"{language}{text}" if programs.VERSION.match(text) else text
