"""if>: go one of two ways."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Option, Subtasks, Succeeded, TaskContext, TaskFailed


class If(Operator):
    """Go one of two ways: run the tasks of `_do`, or else those of `_else_do`.

    A way that isn't written leads to nothing.

    Example:
        +publish:
          if>: ${rows > 0}
          _do:
            sh>: ./upload.sh
          _else_do:
            echo>: nothing to publish
    """

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "boolean", "required", "the condition"),
        Option("_do", "map", meaning="tasks to run when it is true"),
        Option("_else_do", "map", meaning="tasks to run when it is false"),
    )

    def run(self, task: TaskContext) -> Succeeded:
        condition = task.params.boolean("_command")
        do, otherwise = task.params.optional_map("_do"), task.params.optional_map("_else_do")
        if not do and not otherwise:
            raise TaskFailed("if> needs _do or _else_do: a map with what to run", "missing (_do)", "config")
        chosen = do if condition else otherwise
        return Succeeded(subtasks=Subtasks(config=chosen) if chosen else None)
