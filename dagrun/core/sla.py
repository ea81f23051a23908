"""`sla:` at the top of a file: what happens when an attempt isn't done in time (spec/language 8, spec/scheduling).

    sla: {duration: "01:30", fail: true, alert: false, +tell: …}                  Digdag's
    sla: {finish_by: "07:00", within: 2h, longer_than: 2x_usual, start_within: 10m, kill: true, do: {slack>: late.yml}}

Nothing is killed unless `kill: true` says so. Of several the first one rings, once. The alarm adds tasks below the root: an alert, a failing task if `fail: true`, and the tasks of the
map itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dagrun.core.config import Map, Params
from dagrun.core.events import Overdue
from dagrun.core.schedule import DAY, END, resolve
from dagrun.core.session import SECOND, local_time
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.light import NamedTuple, pattern

CLOCK = pattern(r"([+-]?\d+):([+-]?\d+)(?::([+-]?\d+))?\Z", re.ASCII)
TIMES = pattern(r"([0-9]+(?:\.[0-9]+)?)x_usual\Z", re.ASCII)
DIGDAGS = ("time", "duration")  # exactly one of these, unless one of ours is there
OURS = ("finish_by", "within", "longer_than", "start_within")
LONGEST = 2**31 - 1  # seconds; what is further away has no date for long
OPTIONS = (*DIGDAGS, *OURS, "fail", "alert", "kill", "do")


class Alarm(NamedTuple):
    """`kill`: the attempt is ended when it rings."""

    at: int  # microseconds since 1970 UTC
    alert: bool
    fail: bool
    tasks: Mapping[str, Any]
    kill: bool = False

    def event(self) -> Overdue:
        return Overdue(self.alert, self.fail, self.tasks)


class Pace(NamedTuple):
    """When an attempt began, and the usual length of those of its workflow, microseconds (features F36)."""

    started_at: int
    usual: int


def alarm_of(workflow: Workflow, run_time: int, pace: Pace | None = None) -> Alarm | None:
    """The first alarm of an attempt that was to run at `run_time`, if it isn't done by then.

    `pace`, where it is known, is for those that count from the start. Raises WorkflowError when `sla` can't be read.
    """
    wanted = workflow.sla
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping):
        raise bad(workflow, "sla must be a map")
    wanted = {key: value for key, value in wanted.items() if value is not None or key not in DIGDAGS}
    ours = [key for key in OURS if key in wanted]
    if len([key for key in DIGDAGS if key in wanted]) != 1 and not ours:
        raise bad(workflow, "SLA must be specified using either the 'time' or 'duration' option")
    options = Params(wanted)
    try:
        moments = [moment(workflow, run_time, key, options, pace) for key in (*DIGDAGS, *OURS[:3]) if key in wanted]
        start_within(workflow)
        tasks = tasks_of(wanted)
        flags = [options.boolean(key, default) for key, default in (("alert", True), ("fail", False), ("kill", False))]
    except TaskFailed as problem:
        raise bad(workflow, f"sla: {problem.message}") from None
    due = [at for at in moments if at is not None]
    return Alarm(min(*due, END), flags[0], flags[1], tasks, flags[2]) if due else None


def tasks_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What runs when it rings: a task, or a group of them. Raises TaskFailed."""
    return {key: value for key, value in wanted.items() if key not in OPTIONS} | Params(wanted).optional_map("do")


def start_within(workflow: Workflow) -> int | None:
    """So long after its run time an attempt has begun, microseconds. Raises WorkflowError."""
    if not isinstance(workflow.sla, Mapping) or "start_within" not in workflow.sla:
        return None
    try:
        return int(Params(workflow.sla).duration("start_within") * SECOND)
    except TaskFailed as problem:
        raise bad(workflow, f"sla: {problem.message}") from None


def asks_for_usual(workflow: Workflow) -> bool:
    return isinstance(workflow.sla, Mapping) and "longer_than" in workflow.sla


def moment(workflow: Workflow, run_time: int, key: str, options: Params, pace: Pace | None) -> int | None:
    """When that option rings; None while the usual length isn't known."""
    if key == "within":
        return run_time + int(options.duration(key) * SECOND)
    if key == "longer_than":
        return longer_than(options[key], pace)
    length = clock(workflow, key, options[key])
    if key == "duration":
        return run_time + int(length.total_seconds()) * SECOND
    place = zone(workflow.timezone)
    local = local_time(run_time, place)
    day = local.replace(hour=0, minute=0, second=0, tzinfo=None)
    at = resolve(day + length, place)
    return at if at >= run_time else at + DAY


def clock(workflow: Workflow, key: str, given: Any) -> timedelta:
    match = CLOCK.match(given) if isinstance(given, str) else None
    if not match:
        raise bad(workflow, f"sla: {key} must be HH:MM or HH:MM:SS")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    length = (hours * 60 + minutes) * 60 + seconds
    if abs(length) > LONGEST:
        raise bad(workflow, f"sla: {key} is more than 68 years away")
    return timedelta(seconds=length)


def longer_than(given: Any, pace: Pace | None) -> int | None:
    """`2x_usual`, or `+10m` above the usual length, from the start: it may have waited for its turn. Raises TaskFailed."""
    text = str(given).strip()
    match = TIMES.match(text)
    if match:
        return None if pace is None else pace.started_at + int(pace.usual * float(match[1]))
    if not text.startswith("+"):
        raise TaskFailed(f"longer_than must be 2x_usual or +10m, not {given!r}", "bad_option", "config")
    more = int(Params({"longer_than": text[1:]}).duration("longer_than") * SECOND)
    return None if pace is None else pace.started_at + pace.usual + more


def bad(workflow: Workflow, message: str) -> WorkflowError:
    file, line, column = workflow.sla.place("") if isinstance(workflow.sla, Map) else (workflow.file, None, None)
    return WorkflowError(
        message, kind="bad_option", file=file or workflow.file, line=line, column=column,
        hint='write, for example,  sla: {duration: "01:30:00"}, or  sla: {finish_by: "07:00"}',
    )  # fmt: skip
