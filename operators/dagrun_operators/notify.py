"""notify>: tell people something. The engine uses it for alerts."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Option, Succeeded, TaskContext


class Notify(Operator):
    """Tell people: a notice for the targets of the settings, or without any on standard error.

    Example:
        +done:
          notify>: all tables of ${session_date} are loaded
    """

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "the message; its first line is the title"),
    )

    def run(self, task: TaskContext) -> Succeeded:
        task.notify(task.params.text("_command"))
        return Succeeded()
