"""fail>: fail on purpose."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from dagrun.plugins.operator import Operator, Option, TaskContext, TaskFailed


class Fail(Operator):
    """Fail on purpose, with exactly this text as the message.

    `_error` sees it as `${error.message}`.

    Example:
        +check:
          if>: ${rows == 0}
          _do:
            fail>: no rows for ${session_date}
    """

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (Option("_command", "text", "empty", "the message"),)

    def run(self, task: TaskContext) -> NoReturn:
        raise TaskFailed(task.params.text("_command", ""))
