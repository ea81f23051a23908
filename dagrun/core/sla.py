"""`sla:` at the top of a file: what happens when an attempt isn't done in time (spec/language 8, spec/scheduling).

Nothing is killed. The alarm adds tasks below the root: an alert, a failing task if `fail: true`, and the tasks of the
map itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from dagrun.core.config import Params
from dagrun.core.events import Overdue
from dagrun.core.schedule import DAY, resolve
from dagrun.core.session import SECOND, local_time
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import WorkflowError

CLOCK = re.compile(r"([+-]?\d+):([+-]?\d+)(?::([+-]?\d+))?\Z", re.ASCII)
OPTIONS = ("time", "duration", "fail", "alert")


class Alarm(NamedTuple):
    at: int  # microseconds since 1970 UTC
    alert: bool
    fail: bool
    tasks: Mapping[str, Any]

    def event(self) -> Overdue:
        return Overdue(self.alert, self.fail, self.tasks)


def alarm_of(workflow: Workflow, run_time: int) -> Alarm | None:
    """The alarm of an attempt that is run at `run_time`. Raises WorkflowError when `sla` can't be read."""
    wanted = workflow.sla
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping) or ("time" in wanted) == ("duration" in wanted):
        raise bad(workflow, "sla needs either time or duration")
    options = Params(wanted)
    key = "time" if "time" in wanted else "duration"
    match = CLOCK.match(wanted[key]) if isinstance(wanted[key], str) else None
    if not match:
        raise bad(workflow, f"sla: {key} must be HH:MM or HH:MM:SS")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return Alarm(
        at=moment(workflow, run_time, key, timedelta(hours=hours, minutes=minutes, seconds=seconds)),
        alert=options.boolean("alert", True),
        fail=options.boolean("fail", False),
        tasks={key: value for key, value in wanted.items() if key not in OPTIONS},
    )


def moment(workflow: Workflow, run_time: int, key: str, length: timedelta) -> int:
    if key == "duration":
        return run_time + int(length.total_seconds()) * SECOND
    place = zone(workflow.timezone)
    local = local_time(run_time, place)
    day = local.replace(hour=0, minute=0, second=0, tzinfo=None)
    at = resolve(day + length, place)
    return at if at >= run_time else at + DAY


def bad(workflow: Workflow, message: str) -> WorkflowError:
    return WorkflowError(
        message, kind="bad_option", file=workflow.file, hint='write, for example,  sla: {duration: "01:30:00"}'
    )
