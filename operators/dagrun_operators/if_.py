"""if>: go one of two ways."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Operator, Subtasks, Succeeded, TaskContext, TaskFailed


class If(Operator):
    """Generate the tasks of `_do`, or else of `_else_do`; if that isn't written, nothing."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ("_do", "_else_do")

    def run(self, task: TaskContext) -> Succeeded:
        condition = task.params.boolean("_command")
        do, otherwise = task.params.optional_map("_do"), task.params.optional_map("_else_do")
        if not do and not otherwise:
            raise TaskFailed("if> needs _do or _else_do: a map with what to run", "missing (_do)", "config")
        chosen = do if condition else otherwise
        return Succeeded(subtasks=Subtasks(config=chosen) if chosen else None)
