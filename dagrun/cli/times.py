"""Times and durations as people and programs read them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dagrun.core.session import (
    EPOCH,
    bad_session_time,
    parse_session_time,
    start_of_day,
    start_of_hour,
    whole_seconds,
)
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import UserError


def iso(at: int | None) -> str | None:
    """ISO 8601, UTC, with microseconds."""
    if at is None:
        return None
    return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def short(at: int | None) -> str:
    """In the machine's zone, to the second."""
    return "" if at is None else f"{(EPOCH + timedelta(microseconds=at)).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(microseconds: int) -> str:
    seconds = microseconds / 1_000_000
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def session_time(workflow: Workflow, wanted: str | None) -> int:
    """As `--session` says (spec/cli 3.2); by default the last instant of the schedule, else today 00:00. Raises UserError."""
    place = zone(workflow.timezone)
    now = time.time_ns() // 1000
    if wanted in (None, "last", "schedule"):
        if workflow.schedule is not None:
            from dagrun.schedules.definition import schedules_of

            found = [one.schedule.last_before(now) for one in schedules_of(workflow, strict=False)]
            last = max((at for at in found if at is not None), default=None)
            return start_of_day(now, place) if last is None else last
        if wanted == "schedule":
            raise UserError(f"--session schedule: {workflow.file} has no schedule")
        return start_of_day(now, place)
    if wanted == "daily":
        return start_of_day(now, place)
    if wanted == "hourly":
        return start_of_hour(now, place)
    assert wanted is not None
    at = parse_session_time(wanted, place)
    if at is None:
        raise bad_session_time(wanted)
    return whole_seconds(at)


def schedule_params(workflow: Workflow, session_time: int) -> Mapping[str, Any]:
    """`last_session_time` and `next_session_time` of a workflow with a schedule (spec/language B1)."""
    if workflow.schedule is None:
        return {}
    from dagrun.schedules.definition import neighbours, schedules_of

    return neighbours(schedules_of(workflow, strict=False), session_time, workflow.timezone)
