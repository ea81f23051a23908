"""The instants of a workflow's `schedule`, as far as a run by hand needs them: the one before and the one after a time.

Each type is a cron pattern of session times; delays, windows and the rest of the schedule matter only to whoever starts
sessions by time. The field's library, croniter, does the search on the zone's wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from dagrun.core.session import format_time, local_time, microseconds
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import WorkflowError

PATTERNS = {"hourly>": "0 * * * *", "daily>": "0 0 * * *"}


def neighbours(workflow: Workflow, session_time: int) -> dict[str, str]:
    """`last_session_time` and `next_session_time`: strictly before and after (spec/language B1)."""
    place = zone(workflow.timezone)
    pattern = pattern_of(workflow)
    return {
        "last_session_time": format_time(last_before(pattern, session_time, place), place),
        "next_session_time": format_time(next_after(pattern, session_time, place), place),
    }


def last_instant(workflow: Workflow, now: int) -> int:
    """The last session time of the schedule before now."""
    return last_before(pattern_of(workflow), now, zone(workflow.timezone))


def pattern_of(workflow: Workflow) -> str:
    """The cron pattern of the session times. Raises WorkflowError."""
    from croniter import croniter

    schedule = workflow.schedule
    for key, value in schedule.items() if isinstance(schedule, Mapping) else ():
        pattern = pattern_for(key, value) if key.endswith(">") else None
        if pattern is not None and croniter.is_valid(pattern):
            return pattern
    raise WorkflowError(
        f"the schedule can't be read: {schedule!r}",
        kind="bad_schedule",
        file=workflow.file,
        hint='write, for example,  schedule: {daily>: "07:00:00"}',
    )


def pattern_for(kind: str, value: Any) -> str | None:
    if kind in PATTERNS:
        return PATTERNS[kind]
    if kind == "cron>":
        return str(value)
    if kind == "minutes_interval>":
        return f"*/{value} * * * *"
    day = str(value).partition(",")[0].strip()
    if kind == "weekly>":
        return f"0 0 * * {day}"
    return f"0 0 {day} * *" if kind == "monthly>" else None


def last_before(pattern: str, at: int, place: tzinfo) -> int:
    return next(found for found in instants(pattern, at, place, "get_prev") if found < at)


def next_after(pattern: str, at: int, place: tzinfo) -> int:
    return next(found for found in instants(pattern, at, place, "get_next") if found > at)


def instants(pattern: str, at: int, place: tzinfo, step: str) -> Iterator[int]:
    """Session times from `at` on, forwards or backwards. A time in a gap or in a repeated hour is the later reading."""
    from croniter import croniter

    wall = local_time(at, place).replace(tzinfo=None)
    search = croniter(pattern, wall, day_or=False, ret_type=datetime)
    while True:
        moment = getattr(search, step)()
        yield max(microseconds(moment.replace(tzinfo=place, fold=fold).astimezone(UTC)) for fold in (0, 1))
