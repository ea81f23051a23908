"""Sessions and their times: the built-in variables (spec/language 5), and how a session time is written and read.

Instants are microseconds since 1970 UTC; a session's time has whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from dagrun.core.zone import zone
from dagrun.errors import UserError
from dagrun.light import NamedTuple, pattern

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN_TIMES = 1024  # that many are remembered as texts: of a crowd of sessions most have the same ones
GIVEN_TIMES = ("last_session_time", "next_session_time", "last_executed_session_time")
WRITTEN_TIME = pattern(r"\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\Z", re.ASCII)  # as `session_time` is
LOCAL_TIME = pattern(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d)?\Z", re.ASCII)
FULL_TIME = pattern(r"\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:?\d\d)\Z", re.ASCII)


class Identity(NamedTuple):
    """What the built-in variables need to know of an attempt."""

    project_id: int
    session_id: int
    session_uuid: str
    attempt_id: int
    session_time: int
    timezone: str
    retry_name: str = ""


def builtin_variables(identity: Identity, params: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that every task of the attempt sees alike; `task_name` comes on top of them.

    `params` are all others: what is derived from `last_session_time` and its like goes by what stands there.
    """
    place = zone(identity.timezone)
    variables: dict[str, Any] = {
        "timezone": identity.timezone,
        "project_id": identity.project_id,
        "session_uuid": identity.session_uuid,
        "session_id": identity.session_id,
        "attempt_id": identity.attempt_id,
        **time_variables("session", identity.session_time, place),
    }
    for name in ("last_session", "next_session"):
        variables.update(derived(name, params.get(f"{name}_time"), place))
    variables.update(last_executed(params, place))
    if identity.retry_name:
        variables["retry_attempt_name"] = identity.retry_name
    return variables


def last_executed(params: Mapping[str, Any], place: tzinfo) -> Mapping[str, Any]:
    """`last_executed_session_*`: empty texts where no session came before; the offset is then that of the epoch."""
    name = "last_executed_session"
    given = params.get(f"{name}_time")
    if given is not None:
        return derived(name, given, place)
    empty = dict.fromkeys((f"{name}_{part}" for part in ("time", "date", "date_compact", "local_time", "unixtime")), "")
    return {**empty, f"{name}_tz_offset": offset_text(EPOCH.astimezone(place), colon=False)}


def derived(name: str, given: Any, place: tzinfo) -> Mapping[str, Any]:
    """What a time says, if it is written as `session_time` is; else nothing."""
    at = parse_full_time(given) if isinstance(given, str) and WRITTEN_TIME.match(given) else None
    return time_variables(name, at, place, str(given)) if at is not None else {}


@lru_cache(KNOWN_TIMES)
def time_variables(name: str, at: int, place: tzinfo, text: str | None = None) -> Mapping[str, Any]:
    local = local_time(at, place)
    date, clock = local.date().isoformat(), f"{local:%H:%M:%S}"
    return {
        f"{name}_time": text or format_time(at, place),
        f"{name}_date": date,
        f"{name}_date_compact": date.replace("-", ""),
        f"{name}_local_time": f"{date} {clock}",
        f"{name}_tz_offset": offset_text(local, colon=False),
        f"{name}_unixtime": at // SECOND,
    }


def local_time(at: int, place: tzinfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at)).astimezone(place)


@lru_cache(KNOWN_TIMES)
def format_time(at: int, place: tzinfo) -> str:
    """`2016-01-30T00:00:00-08:00`: the offset is always written."""
    local = local_time(at, place)
    return f"{local.isoformat()[:19]}{offset_text(local, colon=True)}"  # %Y of the year 999 has three digits


def offset_text(local: datetime, *, colon: bool) -> str:
    seconds = int((local.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}{':' if colon else ''}{minutes:02}"


def parse_full_time(text: str) -> int | None:
    """An instant from the format of `session_time`, or None."""
    if not FULL_TIME.match(text):
        return None
    try:
        return microseconds(datetime.fromisoformat(text))
    except ValueError:
        return None


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def parse_session_time(text: str, place: tzinfo) -> int | None:
    """`yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss` in the workflow's zone, or an ISO time with offset; None if it is neither.

    A local time in a gap moves forward by the gap; in an overlap the earlier one counts, as java.time has it.
    """
    full = parse_full_time(text.replace(" ", "T", 1)) if len(text) > 19 else None
    if full is not None or not LOCAL_TIME.match(text):
        return full
    try:
        return resolve_local(datetime.fromisoformat(text), place)
    except ValueError:
        return None


def resolve_local(moment: datetime, place: tzinfo) -> int:
    before = moment.replace(tzinfo=place, fold=0)
    return microseconds(before.astimezone(UTC))


def start_of_day(now: int, place: tzinfo) -> int:
    return cut(now, place, timedelta(days=1))


def start_of_hour(now: int, place: tzinfo) -> int:
    return cut(now, place, timedelta(hours=1))


def cut(now: int, place: tzinfo, unit: timedelta) -> int:
    """The last whole unit on the clock; where its time comes twice, that of the same offset."""
    wall = local_time(now, place).replace(tzinfo=None)
    over = (wall - datetime.min) % unit
    at = now - over // timedelta(microseconds=1)
    return at if local_time(at, place).replace(tzinfo=None) == wall - over else resolve_local(wall - over, place)


def whole_seconds(at: int) -> int:
    return at // SECOND * SECOND


def bad_session_time(text: str) -> UserError:
    return UserError(
        f"--session {text!r} is no session time; use hourly, daily, schedule, last, 'yyyy-MM-dd' or 'yyyy-MM-dd HH:mm:ss'"
    )
