"""Time zones: which names a workflow may use, and a zone's transitions as data.

This file owns the meaning of `timezone:` (spec/language L21: what Java's `ZoneId.of` accepts) and the table from which
the `Date` of expressions computes local times. It knows no clock, and the zone of the process has no influence.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from dagrun.light import pattern

_OFFSET = pattern(
    r"(?P<sign>[+-])(?:(?P<hours>\d{1,2})|(?P<h>\d\d)(?P<colon>:?)(?P<m>\d\d)(?:(?P=colon)(?P<s>\d\d))?)",
    re.ASCII,
)
_REGION = pattern(r"[A-Za-z][A-Za-z0-9~/._+-]+")
# Java's database of zones lacks these, although the system's has them.
_NOT_IN_JAVA = frozenset({"EST", "HST", "MST", "ROC", "Factory", "GMT+0", "GMT-0", "localtime", "posixrules"})
_NOT_IN_JAVA_PREFIXES = ("posix/", "right/")

# The table covers these years with a look every fourteen days. What it misses are two changes within a shorter time:
# between 1946 and 2039 there are none, in all other years the five of Freetown, Tunis, Simferopol, Gaza and Hebron.
_FIRST = int(datetime(1880, 1, 1, tzinfo=UTC).timestamp())
_LAST = int(datetime(2129, 1, 1, tzinfo=UTC).timestamp())
_STRIDE = 14 * 86400
_QUARTER = 900  # nearly all transitions fall on a quarter of an hour, which saves half of the search

Transition = tuple[int, int, str]  # from this second since 1970 on; offset in seconds; abbreviation


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """The zone with this name, as Java's `ZoneId.of` understands it.

    Regions (`Asia/Tokyo`), `UTC`, `GMT`, `UT`, `Z`, offsets (`+9`, `+09:00`, `-0330`, `UTC+9`). Raises ValueError for
    anything else, among it abbreviations such as `JST`, `PST` and `EST`.
    """
    if not isinstance(name, str):
        raise ValueError(f"not the name of a time zone: {name!r}")
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    for prefix in ("", "UTC", "GMT", "UT"):
        if name.startswith((f"{prefix}+", f"{prefix}-")):
            return _offset(name, name[len(prefix) :])
    return _region(name)


@lru_cache(maxsize=64)
def transitions(name: str) -> tuple[Transition, ...]:
    """Every change of the zone's offset from 1880 to 2128 in order; the first row holds for all times before the second.

    An abbreviation is the zone's own (`JST`), or the offset (`+09:00`) where the zone has none.
    """
    place = zone(name)
    if isinstance(place, timezone):
        return ((_FIRST, _seconds(place, _FIRST), "UTC" if place is UTC else name),)
    rows = [_row(place, _FIRST)]
    offset = rows[0][1]
    for end in range(_FIRST + _STRIDE, _LAST, _STRIDE):
        after = _seconds(place, end)
        if after != offset:
            rows.append(_row(place, _first_second(place, end - _STRIDE, end, after)))
            offset = after
    return tuple(rows)


def _offset(name: str, text: str) -> tzinfo:
    match = _OFFSET.fullmatch(text)
    if not match:
        raise ValueError(f"not an offset of a time zone: {name!r}")
    hours, minutes, seconds = (int(part or 0) for part in (match["hours"] or match["h"], match["m"], match["s"]))
    total = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or total > 18 * 3600:
        raise ValueError(f"the offset of a time zone is at most 18:00: {name!r}")
    return timezone(timedelta(seconds=-total if match["sign"] == "-" else total)) if total else UTC


def _region(name: str) -> tzinfo:
    known = _REGION.fullmatch(name) and name not in _NOT_IN_JAVA and not name.startswith(_NOT_IN_JAVA_PREFIXES)
    try:
        if known:
            from zoneinfo import ZoneInfo

            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: unknown; the others: odd names, among them directories
        pass
    raise ValueError(f"unknown time zone: {name!r}")


def _seconds(place: tzinfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, place).utcoffset()
    return offset.days * 86400 + offset.seconds if offset is not None else 0


def _row(place: tzinfo, second: int) -> Transition:
    return second, _seconds(place, second), datetime.fromtimestamp(second, place).tzname() or ""


def _first_second(place: tzinfo, before: int, end: int, offset: int) -> int:
    """The first second after `before` and up to `end` at which the offset is `offset`."""
    for step in (_QUARTER, 1):
        low, high = before // step, -(-end // step)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _seconds(place, middle * step) == offset else (middle, high)
        end = high * step
        if step == _QUARTER and _seconds(place, end - 1) != offset:
            break
        before = end - _QUARTER
    return end
