"""wait>: let some time pass. The task holds no slot meanwhile."""

from __future__ import annotations

import math
from typing import ClassVar

from dagrun.plugins.operator import Again, Operator, Option, Succeeded, TaskContext, TaskFailed

STARTED = "wait_start_time_millis"
LEAST = 1.0  # seconds: even 0s takes a moment, and a poll_interval of 0s doesn't spin


class Wait(Operator):
    """Let some time pass, counted from the first call. The task holds no slot meanwhile.

    Example:
        +settle:
          wait>: 1h 30m

    `blocking: true` is accepted and waits like any other: in Digdag it keeps a worker thread, which nobody
    needs.
    """

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "duration", "required", "at least one second"),
        Option("poll_interval", "duration", "the whole time", "how often to look; at least one second"),
        Option("blocking", "boolean", "false", "accepted; not together with `poll_interval`"),
    )

    def run(self, task: TaskContext) -> Succeeded | Again:
        duration = max(task.params.duration("_command"), LEAST)
        interval = poll_interval(task)
        # Rounded up, so that the wait isn't a fraction of a millisecond short.
        started = int(task.memo.get(STARTED, math.ceil(task.now * 1000)))
        left = started / 1000 + duration - task.now
        if left <= 0:
            return Succeeded()
        return Again(left if interval is None else min(left, interval), {STARTED: started})


def poll_interval(task: TaskContext) -> float | None:
    if task.params.get("poll_interval") is None:
        task.params.boolean("blocking", False)  # only checked
        return None
    if task.params.boolean("blocking", False):
        raise TaskFailed("wait>: a blocking wait takes no poll_interval; leave one of them out", "bad_option", "config")
    return max(task.params.duration("poll_interval"), LEAST)
