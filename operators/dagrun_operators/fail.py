"""fail>: fail on purpose."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from dagrun.plugins.operator import Operator, TaskContext, TaskFailed


class Fail(Operator):
    """Fail with exactly this text as the message, which `_error` sees as `error.message`."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False

    def run(self, task: TaskContext) -> NoReturn:
        raise TaskFailed(task.params.text("_command", ""))
