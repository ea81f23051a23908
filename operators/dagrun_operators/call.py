"""call>: run the tasks of another workflow file as part of this attempt."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Operator, Subtasks, Succeeded, TaskContext


class Call(Operator):
    """Generate the body of the file. The engine loads and checks it, and knows which files called which."""

    runs_in: ClassVar[str] = "engine"

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The called file, where its name is written out."""
        if not isinstance(command, str):
            return []
        path = posixpath.normpath(command if command.endswith(".dig") else f"{command}.dig")
        return [path] if path in project else []

    def run(self, task: TaskContext) -> Succeeded:
        return Succeeded(subtasks=Subtasks(config=task.workflow(task.params.text("_command"))))
