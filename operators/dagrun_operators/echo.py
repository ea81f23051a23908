"""echo>: print a text. The simplest operator; start here to learn how they are made."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Option, Succeeded, TaskContext


class Echo(Operator):
    """Print a text.

    `${secret:…}` stays as it is: what is printed is meant to be read.

    Example:
        +hello:
          echo>: Hello ${name}, it is ${session_date}
    """

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (Option("_command", "text", "required", "what to print"),)

    def run(self, task: TaskContext) -> Succeeded:
        task.print(task.params.text("_command"))
        return Succeeded()
