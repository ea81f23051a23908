"""For tests of operators: a task that exists only in memory.

    task = context({"_command": "hello"})
    assert Echo().run(task) == Succeeded() and task.printed == ["hello"]

Nothing is read, started or waited for; what the operator asked for is kept for a look afterwards.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagrun.plugins.operator import Child, Params, TaskFailed

__all__ = ["FakeTask", "context"]


@dataclass(slots=True)
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
