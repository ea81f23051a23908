"""notify>: tell the person who runs the workflow. The engine uses it for alerts."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Succeeded, TaskContext


class Notify(Operator):
    """Write the message to standard error."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False

    def run(self, task: TaskContext) -> Succeeded:
        task.warn(task.params.text("_command"))
        return Succeeded()
