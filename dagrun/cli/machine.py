"""What is on this machine: interpreters, programs, the engine for containers. Each question has a time limit.

`dagrun doctor` tells it, `dagrun check` asks for the interpreters that a workflow names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagrun.core.check import ERROR, Finding, operator_name
from dagrun.core.compiler import compiled_below
from dagrun.core.config import Template
from dagrun.core.workflow import Node, Workflow
from dagrun.light import NamedTuple
from dagrun.plugins import programs

ASK_SECONDS = 5.0
INTERPRETERS = {"py": "python", "rb": "ruby", "node": "node"}  # operator → language, which is its option's name, too
NUMBER = re.compile(r"\d+(\.\d+)+[\w.+-]*")


class Program(NamedTuple):
    """One that was found, or not: then `problem` says so."""

    name: str
    version: str | None
    path: str | None
    problem: str | None = None


def found_programs() -> list[Program]:
    own = ".".join(map(str, sys.version_info[:3]))
    found = [Program("python", own, sys.executable)]
    for language in programs.LANGUAGES:
        others = [
            Program(language, version, path) for path, version in programs.installed(language) if path != sys.executable
        ]
        found += others or ([] if language == "python" else [Program(language, None, None, "not found")])
    return [*found, *(asked(name) for name in ("sh", "uv", "git")), *docker()]


def asked(name: str) -> Program:
    """What the program says of itself; a shell says nothing."""
    path = shutil.which(name)
    if path is None:
        return Program(name, None, None, "not found")
    if name == "sh":
        return Program(name, None, path)
    said, problem = answer([path, "--version"])
    number = NUMBER.search(said)
    return Program(name, number[0] if number else None, path, problem)


def docker() -> list[Program]:
    """The client, and the engine that it reaches."""
    client = asked("docker")
    if client.path is None:
        return [client._replace(problem="not found; tasks with docker: need it")]
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    said, problem = answer([client.path, "version", "--format", "{{.Server.Version}}"])
    if problem or not NUMBER.search(said):
        return [client, Program("docker engine", None, where, f"no engine answers: {problem or said.strip()}")]
    return [client, Program("docker engine", said.strip(), where)]


def answer(argv: list[str]) -> tuple[str, str | None]:
    """What it prints, or what is wrong with it."""
    try:
        ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "", f"{argv[0]} doesn't answer within {ASK_SECONDS:g} s"
    except OSError as problem:
        return "", f"{argv[0]} can't be run: {problem.strerror}"
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or [
            f"{argv[0]} ended with code {ended.returncode}"
        ]
        return "", lines[-1]
    return ended.stdout.decode(errors="replace"), None


# -- what workflows ask for


def all_tasks(nodes: Sequence[Node], *, inside: bool = False) -> Iterator[tuple[Node, bool]]:
    """All tasks, those of `_do`, `_check` and `_error`, too, as far as the file itself tells; and whether they run in a container."""
    in_container: dict[int, bool] = {}
    for node in nodes:
        spec = node.spec
        around = inside if node.parent is None else in_container[node.parent]
        in_container[node.index] = around or any(
            values.get(key) is not None for values in (spec.config, spec.export) for key in ("docker", "_docker")
        )
        yield node, in_container[node.index] or operator_name(spec) == "docker"
        for below in compiled_below(node):
            yield from all_tasks(below, inside=in_container[node.index])


def missing_interpreters(workflow: Workflow, directory: str) -> Iterator[Finding]:
    """Those that a file names and this machine, or the project in the directory, doesn't have, and versions that are numbers in
    YAML, where 3.10 is 3.1. In a container they are the image's affair."""
    for node, option, value in named_interpreters(workflow):
        if not isinstance(value, str):
            yield Finding(
                ERROR, f"bad_type ({option})", f"{option} must be a text, and {value} is a number", node.full_name,
                node.spec.place, hint=f'write the version in quotes, like {option}: "{value}"',
            )  # fmt: skip
            continue
        missing = missing_here(option, value, directory)
        if missing is not None:
            yield Finding(
                ERROR, "missing_interpreter", f"there is no {missing.what} on this machine", node.full_name, node.spec.place,
                hint=missing.remedy,
            )  # fmt: skip


def missing_here(option: str, value: str, directory: str) -> programs.Missing | None:
    kind, _, rest = value.partition(":")
    if option == "python" and kind == "venv":
        path = os.path.join(directory, os.path.expanduser(rest), "bin", "python")
        made = programs.Missing(f"virtual environment {rest}", f"make it with  python3 -m venv {rest}")
        return None if os.access(path, os.X_OK) else made
    if option == "python" and kind == "uv":
        return None if shutil.which("uv") else programs.Missing("uv", "install it, for example with  pip install uv")
    found = programs.named(option, value)
    return found if isinstance(found, programs.Missing) else None


def named_interpreters(workflow: Workflow) -> Iterator[tuple[Node, str, str | float]]:
    """Literal choices of tasks, and of the maps that groups export for them, outside of containers."""
    for node, in_container in all_tasks(workflow.nodes):
        if in_container:
            continue
        own = INTERPRETERS.get(operator_name(node.spec) or "")
        if own is not None:
            yield from literal(node, own, node.spec.config)
        for operator, option in INTERPRETERS.items():
            exported = node.spec.export.get(operator)
            if isinstance(exported, Mapping):
                yield from literal(node, option, exported)


def literal(node: Node, option: str, values: Mapping[str, Any]) -> Iterator[tuple[Node, str, str | float]]:
    value = values.get(option)
    if isinstance(value, str | float | int) and value != "" and not isinstance(value, Template):
        yield node, option, value
