"""For tests of operators: a task that exists only in memory, and one that is run for real.

    task = context({"_command": "hello"})
    assert Echo().run(task) == Succeeded() and task.printed == ["hello"]

Nothing is read, started or waited for; what the operator asked for is kept for a look afterwards.

    ran = run(Echo, {"_command": "hello"})
    assert ran.result == Succeeded() and ran.output == "hello\\n"

Here the operator is called as dagrun calls one of a package: in a process of its own, and with the command that it asks for.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from dagrun.plugins import host
from dagrun.plugins.operator import Child, Command, Ended, Operator, Params, Result, TaskFailed, TryFile
from dagrun.plugins.registry import Origin
from dagrun.plugins.results import Answer

__all__ = ["FakeTask", "Ran", "context", "execute", "run"]


@dataclass(slots=True, eq=False, repr=False)
class FakeTask:
    """A TaskContext. Make it with `context`."""

    name: str
    params: Params
    local: Mapping[str, Any]
    memo: Mapping[str, Any]
    now: float
    task_limit: int
    workdir: str
    secrets: Mapping[str, str]
    files: Mapping[str, str]  # by path from the top of the project
    workflows: Mapping[str, Mapping[str, Any]]  # by the name that call> uses
    children: list[Child]  # the answers to `require`, in turn; the last one repeats
    programs: Mapping[str, str]  # path by name, or by path from the top of the project
    printed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    required: list[dict[str, Any]] = field(default_factory=list)

    def secret(self, key: str, *, direct: bool = False) -> str:  # noqa: ARG002
        if key not in self.secrets:
            raise TaskFailed(f"Secret not found for key: '{key}'", "secret_not_found", "secret not found")
        return self.secrets[key]

    def print(self, text: str) -> None:
        self.printed.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def notify(self, text: str) -> None:
        self.notices.append(text)

    def read(self, path: str) -> str:
        place = posixpath.normpath(posixpath.join(self.workdir, path))
        if place.startswith(("/", "../")):
            raise TaskFailed(f"{path} is outside of the project", "outside_project", "config")
        if place not in self.files:
            raise TaskFailed(f"File not found: {path}", "file_not_found", "config")
        return self.files[place]

    def workflow(self, path: str) -> Mapping[str, Any]:
        if path not in self.workflows:
            raise TaskFailed(f"File not found: {path}.dig", "file_not_found", "config")
        return self.workflows[path]

    def require(
        self, workflow: str, *, session_time: str | None, params: Mapping[str, Any], retry_name: str | None,
        project: str | int | None = None,
    ) -> Child:  # fmt: skip
        asked = {"session_time": session_time, "params": params, "retry_name": retry_name, "project": project}
        self.required.append({"workflow": workflow, **asked})
        if not self.children:
            raise TaskFailed(f"Dependent workflow not found: {workflow}", "dependent_missing")
        return self.children.pop(0) if len(self.children) > 1 else self.children[0]

    def find(self, program: str) -> str | None:
        return self.programs.get(program)


def context(
    params: Mapping[str, Any] | None = None,
    *,
    local: Mapping[str, Any] | None = None,
    memo: Mapping[str, Any] | None = None,
    name: str = "+w+t",
    now: float = 1_700_000_000.0,
    task_limit: int = 1000,
    workdir: str = "",
    secrets: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    workflows: Mapping[str, Mapping[str, Any]] | None = None,
    children: Sequence[Child] = (),
    programs: Mapping[str, str] | None = None,
) -> FakeTask:
    """A task with these parameters, all written at the task itself unless `local` says which ones are."""
    own = (params or {}) if local is None else local
    return FakeTask(
        name=name,
        params=Params({**(params or {}), **own}),
        local={key: value for key, value in own.items() if value is not None},
        memo=memo or {},
        now=now,
        task_limit=task_limit,
        workdir=workdir,
        secrets=secrets or {},
        files=files or {},
        workflows=workflows or {},
        children=list(children),
        programs=programs or {},
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """How a task that was run ended. `output`: what it printed, both streams in order."""

    result: Result
    output: str
    warnings: Sequence[str] = ()


def run(operator: type[Operator], params: Mapping[str, Any] | None = None, **task: Any) -> Ran:
    """Run a task of the operator in a temporary directory that holds `files`, to its end or its `Again`.

    `task` is what `context` takes. The class has to be importable: at the top of a module. A command with an image runs
    here, without its container. Raises TaskFailed, with the output as its note.
    """
    if "<locals>" in operator.__qualname__ or operator.__module__ == "__main__":
        raise ValueError(
            f"{operator.__qualname__} can't be imported by another process; define it at the top of a module"
        )
    asked = context(params, **task)
    hosted = host.Hosted(operator.__name__, Origin(module=f"{operator.__module__}:{operator.__qualname__}"))
    with TemporaryDirectory(prefix="dagrun-") as place:
        project, io, log = (os.path.join(place, name) for name in ("project", "io", "log"))
        os.makedirs(os.path.join(project, asked.workdir))
        os.mkdir(io)
        for path, text in asked.files.items():
            os.makedirs(os.path.dirname(os.path.join(project, path)), exist_ok=True)
            with open(os.path.join(project, path), "w", encoding="utf-8") as file:
                file.write(text)
        directory = os.path.join(project, asked.workdir)

        def call(method: str, end: Ended | None = None) -> Answer:
            command = host.command(hosted, method, asked, secrets=asked.secrets, end=end)
            paths = {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}  # where the operator is found
            return host.answer(hosted, execute(command._replace(environment=paths), directory, io, log))

        answer = call("run")
        warnings = [*answer.warnings]
        if isinstance(answer.result, Command):
            answer = call("ended", execute(answer.result, directory, io, log))
            warnings += answer.warnings
        with open(log, encoding="utf-8", errors="replace") as file:
            output = file.read()
    if answer.failure:
        answer.failure.add_note(output)
        raise answer.failure
    assert answer.result is not None and not isinstance(answer.result, Command)
    return Ran(answer.result, output, warnings)


def execute(command: Command, directory: str, io: str, log: str) -> Ended:
    """Run a command to its end, with its files in `io`; what it prints is appended to `log`."""
    for name, content in command.files.items():
        with open(os.path.join(io, name), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def place(word: str | TryFile) -> str:
        return os.path.join(io, word.name) if isinstance(word, TryFile) else word

    environment = {**os.environ, **{name: place(word) for name, word in command.environment.items()}}
    if command.workdir_on_path:
        environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{directory}"
    with open(log, "ab") as output:
        process = subprocess.run(
            [place(word) for word in command.argv], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, check=False,
        )  # fmt: skip
    code = process.returncode
    return Ended(128 - code if code < 0 else code, io)
