"""call>: run the tasks of another workflow file as part of this attempt."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Subtasks, Succeeded, TaskContext


class Call(Operator):
    """Generate the body of the file. The engine loads and checks it, and knows which files called which."""

    runs_in: ClassVar[str] = "engine"

    def run(self, task: TaskContext) -> Succeeded:
        return Succeeded(subtasks=Subtasks(config=task.workflow(task.params.text("_command"))))
