"""From a workflow's `schedule:` to a Schedule: the kind, its options, and the window (spec/scheduling 1 and 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, NoReturn

from dagrun.core.compiler import place_of
from dagrun.core.config import Map, Params, suggest
from dagrun.core.schedule import END, Schedule, resolve
from dagrun.core.session import SECOND, format_time
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.plugins.registry import SCHEDULES
from dagrun.plugins.schedule import Options, ScheduleKind

COMMON = ("start", "end", "skip_on_overtime", "skip_delayed_by")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
LAST_DAY = datetime(9990, 1, 1)  # a schedule ends by itself before
EXAMPLE = 'write, for example,  schedule: {daily>: "07:00:00"}'


def schedule_of(workflow: Workflow, *, strict: bool = True) -> Schedule | None:
    """None for a workflow without one. `strict` refuses unknown keys too, as a push does. Raises WorkflowError."""
    config = workflow.schedule
    if config is None:
        return None
    if not isinstance(config, Mapping) or not config:
        refuse(workflow, None, "schedule must be a map with a kind", EXAMPLE)
    key = next((key for key in config if key.endswith(">")), None)
    if key is None:
        refuse(workflow, None, "schedule has no kind: a key that ends in >", EXAMPLE)
    kind = kind_of(workflow, key)
    if strict:
        check_keys(workflow, config, (key, *COMMON, *kind.options))
    place = zone(workflow.timezone)
    try:
        parsed = kind.parse(
            config[key], Options(place, {name: config[name] for name in kind.options if name in config})
        )
    except ValueError as problem:
        refuse(workflow, key, f"{key} {problem}" if not str(problem).startswith(key) else str(problem), None)
    check_policies(workflow, config)
    start, end = window(workflow, config, place) if kind.bounded else (None, None)
    return Schedule(parsed.instants, place, parsed.delay_seconds * SECOND, start, end)


def kind_of(workflow: Workflow, key: str) -> ScheduleKind:
    try:
        return SCHEDULES.load(key[:-1])()
    except TaskFailed as problem:
        refuse(workflow, key, problem.message, f"kinds are {', '.join(f'{name}>' for name in SCHEDULES.names())}")


def check_keys(workflow: Workflow, config: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in config:
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean {near}?" if near else f"known keys are {', '.join(known)}"
            refuse(workflow, name, f"Parameter '{name}' is not used at schedule", hint)


def check_policies(workflow: Workflow, config: Mapping[str, Any]) -> None:
    """What decides about late and overlapping runs can be read, too; Digdag notices only when a run is due (1.8)."""
    params = Params(config)
    for name, read in (("skip_on_overtime", params.boolean), ("skip_delayed_by", params.duration)):
        if config.get(name) is not None:
            try:
                read(name)
            except TaskFailed as problem:
                refuse(workflow, name, problem.message, None)


def window(workflow: Workflow, config: Mapping[str, Any], place: tzinfo) -> tuple[int | None, int | None]:
    """The run times that are allowed: from the local midnight of `start` to that after the day of `end`."""
    start, last = (date_of(workflow, config, name) for name in ("start", "end"))
    first = resolve(start, place) if start else None
    end = resolve(last + timedelta(days=1), place) if last and last < LAST_DAY else None
    if first is not None and end is not None and first >= end:
        refuse(workflow, "end", "The schedule of end is earlier than start", "swap them")
    return first, end


def date_of(workflow: Workflow, config: Mapping[str, Any], name: str) -> datetime | None:
    value = config.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or not DATE.match(value):
            raise ValueError
        return datetime.strptime(value, "%Y-%m-%d")
    except ValueError:
        refuse(workflow, name, f"Invalid {name}: {value!r}", "write a date, such as 2026-01-31")


def refuse(workflow: Workflow, key: str | None, message: str, hint: str | None) -> NoReturn:
    config = workflow.schedule
    own = (config.file, config.line, config.column) if isinstance(config, Map) else (workflow.file, None, None)
    file, line, column = place_of(config, key, own) if key and isinstance(config, Map) else own
    raise WorkflowError(message, kind="bad_schedule", file=file, line=line, column=column, hint=hint)


def neighbours(schedule: Schedule, session_time: int) -> dict[str, str]:
    """`last_session_time` and `next_session_time` of a session (7.1); the first one is missing where none came before."""
    last = schedule.last_before(session_time)
    following = schedule.next_after(session_time).session_time
    found = {"last_session_time": last, "next_session_time": following}
    return {name: format_time(at, schedule.place) for name, at in found.items() if at is not None}


__all__ = ["END", "neighbours", "schedule_of"]
