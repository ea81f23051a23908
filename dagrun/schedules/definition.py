"""From a workflow's `schedule:` to a Schedule: the kind, its options, and the window (spec/scheduling 1 and 2)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NoReturn

from dagrun.core.config import Map, Params, suggest
from dagrun.core.decide import MODES, OVERLAPS, Planned, Policy
from dagrun.core.keys import place_of
from dagrun.core.schedule import END, Schedule, resolve
from dagrun.core.session import SECOND, format_time
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.plugins.registry import SCHEDULES
from dagrun.plugins.schedule import ClockChange, Options, ScheduleKind

COMMON = ("start", "end", "skip_on_overtime", "skip_delayed_by", "jitter", "dst", "overlap", "catchup")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
LONGEST_DELAY = 2**31 - 1  # seconds; what is later or earlier has no date for long
LAST_DAY = datetime(9990, 1, 1)  # a schedule ends by itself before
EXAMPLE = 'write, for example,  schedule: {daily>: "07:00:00"}'


def schedules_of(workflow: Workflow, *, strict: bool = True) -> list[Planned]:
    """All schedules of a workflow, in the order of the file. `strict` refuses unknown keys too. Raises WorkflowError."""
    config = workflow.schedule
    if config is None:
        return []
    if isinstance(config, list) and config:
        return [planned(workflow, item, strict, (*COMMON, "timezone")) for item in config]
    return [planned(workflow, config, strict, COMMON)]


def planned(workflow: Workflow, config: Any, strict: bool, common: tuple[str, ...]) -> Planned:
    """`common` keys are those of every kind; only in a list may a schedule have a zone of its own (1.2)."""
    if not isinstance(config, Mapping) or not config:
        refuse(workflow, config, None, "schedule must be a map with a kind, or a list of such maps", EXAMPLE)
    key = next((key for key in config if key.endswith(">")), None)
    if key is None:
        refuse(workflow, config, None, "schedule has no kind: a key that ends in >", EXAMPLE)
    kind = kind_of(workflow, config, key)
    if strict:
        check_keys(workflow, config, (key, *common, *kind.options))
    zone_name = own_zone(workflow, config)
    place = zone(zone_name)
    given = {name: config[name] for name in kind.options if name in config}
    try:
        parsed = kind.parse(config[key], Options(clock_of(zone_name, place), given, clock_change(config.get("dst"))))
        if abs(parsed.delay_seconds) > LONGEST_DELAY:
            raise ValueError(f"can't run {parsed.delay_seconds} seconds after its session: that is more than 68 years")
    except ValueError as problem:
        text = f"{key} {problem}" if not str(problem).startswith((key, "dst")) else str(problem)
        refuse(workflow, config, key, text, None)
    start, end = window(workflow, config, place) if kind.bounded else (None, None)
    schedule = Schedule(parsed.instants, place, parsed.delay_seconds * SECOND, start, end)
    text = json.dumps([zone_name, config], ensure_ascii=False, separators=(",", ":"), default=str)
    return Planned(schedule, policy_of(workflow, config), text)


def clock_of(zone_name: str, place: tzinfo) -> tzinfo:
    """The clock that sessions are found by. Digdag's doesn't know `UTC+9`, and takes it for UTC: session times are those
    of UTC then, written with the offset.
    """
    return UTC if re.match(r"UTC?[+-]", zone_name) else place


def planned_from(text: str) -> Planned:
    """A schedule from the `text` that was kept of it."""
    timezone, config = json.loads(text)
    workflow = Workflow("", "", timezone, ())
    return planned(workflow, config, strict=False, common=())._replace(text=text)


def own_zone(workflow: Workflow, config: Mapping[str, Any]) -> str:
    name = config.get("timezone") or workflow.timezone
    try:
        zone(str(name))
    except (ValueError, KeyError):
        refuse(workflow, config, "timezone", f"unknown time zone {name!r}", "write a name such as Asia/Tokyo")
    return str(name)


def clock_change(given: Any) -> ClockChange:
    """`dst: {gap: run_after | skip, overlap: second | first | both}` (features F62). Raises ValueError."""
    if given is None:
        return ClockChange()
    if not isinstance(given, Mapping) or not set(given) <= {"gap", "overlap"}:
        raise ValueError("dst is a map of gap and overlap, such as {gap: skip, overlap: first}")
    change = ClockChange(given.get("gap", "run_after"), given.get("overlap", "second"))
    if change.gap not in ("run_after", "skip") or change.overlap not in ("second", "first", "both"):
        raise ValueError("dst: gap is run_after or skip, overlap is second, first or both")
    return change


def kind_of(workflow: Workflow, config: Any, key: str) -> ScheduleKind:
    try:
        return SCHEDULES.load(key[:-1])()
    except TaskFailed as problem:
        refuse(
            workflow, config, key, problem.message, f"kinds are {', '.join(f'{name}>' for name in SCHEDULES.names())}"
        )


def check_keys(workflow: Workflow, config: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in config:
        if name not in known:
            near = suggest(name, known)
            hint = f"did you mean {near}?" if near else f"known keys are {', '.join(known)}"
            refuse(workflow, config, name, f"Parameter '{name}' is not used at schedule", hint)


def policy_of(workflow: Workflow, config: Mapping[str, Any]) -> Policy:
    """What decides about late and overlapping runs; Digdag reads it only when a run is due (1.8)."""
    params = Params(config)
    try:
        overlap = word(params, "overlap", OVERLAPS)
        if params.boolean("skip_on_overtime", False):
            overlap = "skip"
        late = params.duration("skip_delayed_by", None)
        jitter = params.duration("jitter", 0.0)
        given = config.get("catchup")
        catchup = Params(given if isinstance(given, Mapping) else {} if given is None else {"mode": given})
        check_keys(workflow, catchup, ("mode", "window", "spread", "limit"))
        wide = catchup.duration("window", late)
        limit = catchup.integer("limit", Policy().limit)
        if limit < 1:
            raise TaskFailed("catchup: limit must be 1 or more", "bad_option", "config")
        return Policy(
            overlap=overlap,
            mode=word(catchup, "mode", MODES),
            window=None if wide is None else int(wide * SECOND),
            limit=limit,
            spread=int(catchup.duration("spread", Policy().spread / SECOND) * SECOND),
            jitter=int(jitter * SECOND),
        )
    except TaskFailed as problem:
        named = next((name for name in config if name in problem.message), None)
        refuse(workflow, config, named, problem.message, None)


def word(params: Params, key: str, allowed: Sequence[str]) -> str:
    value = params.text(key, allowed[0])
    if value not in allowed:
        raise TaskFailed(f"{key} can't be {value!r}; use {', '.join(allowed)}", "bad_option", "config")
    return value


def window(workflow: Workflow, config: Mapping[str, Any], place: tzinfo) -> tuple[int | None, int | None]:
    """The run times that are allowed: from the local midnight of `start` to that after the day of `end`."""
    start, last = (date_of(workflow, config, name) for name in ("start", "end"))
    first = resolve(start, place) if start else None
    end = resolve(last + timedelta(days=1), place) if last and last < LAST_DAY else None
    if first is not None and end is not None and first >= end:
        refuse(workflow, config, "end", "The schedule of end is earlier than start", "swap them")
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
        refuse(workflow, config, name, f"Invalid {name}: {value!r}", "write a date, such as 2026-01-31")


def refuse(workflow: Workflow, config: Any, key: str | None, message: str, hint: str | None) -> NoReturn:
    own = (config.file, config.line, config.column) if isinstance(config, Map) else (workflow.file, None, None)
    file, line, column = place_of(config, key, own) if key and isinstance(config, Map) else own
    raise WorkflowError(message, kind="bad_schedule", file=file, line=line, column=column, hint=hint)


def neighbours(schedules: Sequence[Planned], session_time: int, timezone: str) -> dict[str, str]:
    """`last_session_time` and `next_session_time` of a session (7.1); the first one is missing where none came before."""
    place = zone(timezone)
    last = [at for one in schedules if (at := one.schedule.last_before(session_time)) is not None]
    following = [one.schedule.next_after(session_time).session_time for one in schedules]
    found = {}
    if last:
        found["last_session_time"] = format_time(max(last), place)
    if following:
        found["next_session_time"] = format_time(min(following), place)
    return found


__all__ = ["END", "Planned", "neighbours", "schedules_of"]
