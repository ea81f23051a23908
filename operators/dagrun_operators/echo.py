"""echo>: print a text. The simplest operator; start here to learn how they are made."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Succeeded, TaskContext


class Echo(Operator):
    """Print the text and a line feed. `${secret:…}` stays as it is: what is printed is meant to be read."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False

    def run(self, task: TaskContext) -> Succeeded:
        task.print(task.params.text("_command"))
        return Succeeded()
