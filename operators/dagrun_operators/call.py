"""call>: run the tasks of another workflow file as part of this attempt."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Operator, Option, Subtasks, Succeeded, TaskContext


class Call(Operator):
    """Run the tasks of another workflow file as part of this attempt.

    Example:
        +load:
          call>: jobs/load
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "the file, relative to the working directory; `.dig` may be left out"),
    )

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The called file, where its name is written out."""
        if not isinstance(command, str):
            return []
        path = posixpath.normpath(command if command.endswith(".dig") else f"{command}.dig")
        return [path] if path in project else []

    def run(self, task: TaskContext) -> Succeeded:
        # The engine loads and checks the file, and knows which files called which.
        return Succeeded(subtasks=Subtasks(config=task.workflow(task.params.text("_command"))))
