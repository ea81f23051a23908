"""The whole of 2026, of every kind of schedule, in three zones: a virtual clock jumps from one due time to the next, and the
real scheduler makes and runs the sessions in a real store.

What must come out is computed here once more, from spec/scheduling 3.3 and 4 alone: lists of times on the clock, and
`zoneinfo`. Hours and minutes are let run around the changes of the clock only, by `start` and `end`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from dagrun.core.schedule import Schedule
from dagrun.core.session import EPOCH
from dagrun.engine.local import RUN_TIME
from dagrun.engine.rows import decode
from dagrun.schedules.definition import schedules_of
from tests.conformance.test_schedule_scenarios import Site

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
CHANGES = {  # the days on which the clock is put forward and back
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DAYS = [datetime(2025, 12, 25) + timedelta(days=number) for number in range(420)]

Window = tuple[datetime, datetime]  # of run times, on the clock
Readings = Callable[[datetime, ZoneInfo], list[datetime]]


class Kind(NamedTuple):
    """`times` on the clock, or `instants`; `readings`: what a time means that is missing or comes twice, by the file's `dst`."""

    schedule: str
    times: Sequence[datetime] = ()
    instants: Sequence[datetime] = ()
    delay: timedelta = timedelta()
    readings: Readings | None = None
    near_changes: bool = False


def daily(*times: tuple[int, int]) -> list[datetime]:
    return [day.replace(hour=hour, minute=minute) for day in DAYS for hour, minute in times]


def each_hour(*minutes: int) -> list[datetime]:
    return daily(*((hour, minute) for hour in range(24) for minute in minutes))


def both(time: datetime, place: ZoneInfo) -> list[datetime]:
    found = instants(time, place)
    return [max(found)] if is_missing(time, place) else sorted(found)


def first_or_none(time: datetime, place: ZoneInfo) -> list[datetime]:
    return [] if is_missing(time, place) else [min(instants(time, place))]


KINDS = {
    "cron": Kind("cron>: '45 1,2 * * *'", daily((1, 45), (2, 45))),
    "last": Kind("cron>: '0 0 L * *'", [day for day in DAYS if (day + timedelta(days=1)).day == 1]),
    "both": Kind(
        "cron>: '*/30 0-3 * * *', dst: {overlap: both}",
        daily(*((hour, minute) for hour in range(4) for minute in (0, 30))), readings=both, near_changes=True,
    ),
    "first": Kind(
        "cron>: '*/30 0-3 * * *', dst: {gap: skip, overlap: first}",
        daily(*((hour, minute) for hour in range(4) for minute in (0, 30))), readings=first_or_none, near_changes=True,
    ),
    "hourly": Kind("hourly>: '20:30'", each_hour(0), delay=timedelta(minutes=20, seconds=30), near_changes=True),
    "daily": Kind("daily>: '02:30:00'", daily((0, 0)), delay=2.5 * HOUR),
    "weekly": Kind(
        "weekly>: 'Sun,07:00:00'", [day for day in DAYS if day.isoweekday() == 7], delay=7 * HOUR
    ),
    "monthly": Kind("monthly>: '29,-1:00:00'", [day for day in DAYS if day.day == 29], delay=-HOUR),
    "minutes": Kind("minutes_interval>: 25", each_hour(0, 25, 50), near_changes=True),
    "seconds": Kind(
        "seconds_interval>: 200000",
        instants=[EPOCH + timedelta(seconds=200_000 * number) for number in range(8700, 9100)],
    ),
    "at": Kind(
        "at>: ['2026-02-01 09:00:00', '2026-07-01T00:00:00+00:00']",
        instants=[datetime(2026, 2, 1, 9), datetime(2026, 7, 1, tzinfo=UTC)],
    ),
}  # fmt: skip


# -- what the specification says


def instants(time: datetime, place: ZoneInfo) -> set[datetime]:
    """Both readings of a time on the clock; they are one where it comes once."""
    return {time.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)}


def is_missing(time: datetime, place: ZoneInfo) -> bool:
    return all(one.astimezone(place).replace(tzinfo=None) != time for one in instants(time, place))


def following(times: Sequence[datetime], known: set[datetime], at: datetime, place: ZoneInfo) -> datetime:
    """spec/scheduling 3.3; `known` are the same times."""
    minute = at.replace(second=0, microsecond=0) + MINUTE
    shown = minute.astimezone(place).replace(tzinfo=None)
    return minute if shown in known else max(instants(times[bisect_left(times, shown)], place))


def sessions(kind: Kind, place: ZoneInfo, window: Window | None) -> Iterator[tuple[datetime, datetime]]:
    """Session and run times of the year (spec/scheduling 4.1, 4.2)."""
    begin, end = BEGIN, END
    if window is not None:
        begin, end = (max(instants(bound, place)) for bound in window)
    if kind.times and kind.readings is None:
        known, at = set(kind.times), begin - kind.delay - timedelta(seconds=1)
        while (at := following(kind.times, known, at, place)) + kind.delay < end:
            yield at, at + kind.delay
        return
    if kind.times and kind.readings is not None:
        found: Iterable[datetime] = {one for time in kind.times for one in kind.readings(time, place)}
    else:
        found = [one if one.tzinfo else max(instants(one, place)) for one in kind.instants]
    yield from ((at, at + kind.delay) for at in sorted(found) if begin <= at + kind.delay < end)


def windows(kind: Kind, zone: str) -> list[Window | None]:
    """Two days before and after each change of the clock."""
    if not kind.near_changes:
        return [None]
    days = sorted(datetime.fromisoformat(day) for day in CHANGES[zone])
    return [(day - timedelta(days=2), day + timedelta(days=3)) for day in days]


# -- what the scheduler makes


def text_of(kind: Kind, zone: str) -> str:
    lines = [f"timezone: {zone}", "schedule:"]
    for window in windows(kind, zone):
        bounds = f", start: {window[0]:%Y-%m-%d}, end: {window[1] - timedelta(days=1):%Y-%m-%d}" if window else ""
        lines.append(f"  - {{{kind.schedule}{bounds}}}")
    return "\n".join([*lines, "+a:", "  echo>: x"])


def run_the_year(site: Site) -> None:
    """Tasks of some dozen sessions run together, which is faster; sessions of one workflow don't mind each other."""
    due = next_due(site)
    while due < instant(END):
        now = due
        site.scheduler.start_due(now)
        due = next_due(site)
        assert due > now
        while len(site.local.worker.attempts) > (50 if due < instant(END) else 0):
            site.local.poll()


def next_due(site: Site) -> int:
    with site.store.reading() as tx:
        due = tx.next_due_schedule(site.project_id)
    assert due is not None
    return due


def made(site: Site, workflow: str) -> list[tuple[int, int]]:
    """Session and run times, in order. Each session has one attempt, and it succeeded."""
    with site.store.reading() as tx:
        rows = tx.list_attempts(project_id=site.project_id, workflow=workflow, limit=100_000)
    assert {row.attempt.state for row in rows} <= {"success"}
    found = sorted((row.session.session_time, decode(row.attempt.options)[RUN_TIME]) for row in rows)
    assert len({session for session, _ in found}) == len(found)
    return found


def preview(one: Schedule) -> Iterator[tuple[int, int]]:
    slot = one.first_at(instant(BEGIN))
    while slot.run_time < instant(END):
        yield tuple(slot)
        slot = one.next_after(slot.session_time)


def instant(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    site.local.schedule_params = lambda *_: {}  # `last_session_time` costs more than all else here
    yield site
    site.local.worker.end_all()
    site.store.close()


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", *(pytest.param(zone, marks=pytest.mark.soak) for zone in list(CHANGES)[1:])]
)
def test_a_year_has_exactly_the_sessions_of_the_specification_and_of_the_preview(zone, site):
    files = {name: text_of(kind, zone) for name, kind in KINDS.items()}
    site.push({"workflows": files, "at": BEGIN.isoformat()})
    run_the_year(site)
    revision: Any = site.catalog.revision(site.project_id)
    for name, kind in KINDS.items():
        found = made(site, name)
        wanted = [pair for window in windows(kind, zone) for pair in sessions(kind, ZoneInfo(zone), window)]
        assert found == [(instant(session), instant(run)) for session, run in wanted], name
        shown = [slot for one in schedules_of(revision.workflow(name)) for slot in preview(one.schedule)]
        assert found == sorted(shown), name
        assert found, name
