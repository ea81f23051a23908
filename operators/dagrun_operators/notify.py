"""notify>: tell people something. The engine uses it for alerts."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Succeeded, TaskContext


class Notify(Operator):
    """Make a notice of the message for the targets of the settings; without any, write it to standard error."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False

    def run(self, task: TaskContext) -> Succeeded:
        task.notify(task.params.text("_command"))
        return Succeeded()
