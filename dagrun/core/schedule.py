"""The arithmetic of schedules: which session comes next, which is the first from now on, which came last.

A kind of schedule (`schedules/`) only knows how to step from one instant to the next one; delays and the window between
`start` and `end` are the same for all and stand here. Instants are microseconds since 1970 UTC. Source: spec/scheduling 4.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from dagrun.core.session import EPOCH, SECOND, local_time, resolve_local, start_of_day, start_of_hour, whole_seconds
from dagrun.errors import UserError
from dagrun.light import NamedTuple, Protocol, pattern

END = int((datetime(9999, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND  # this schedule is over
BEGINNING = int((datetime(100, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND  # no look back leaves the calendar
DAY = 86_400 * SECOND
SHORT_LOOK_BACK = 2 * 3600 * SECOND
LONGEST_LOOK_BACK = (1 << 14) * DAY  # 45 years: a 29 February that must be a Monday may need 40


TIME = pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII)


class Instants(Protocol):
    """The session times of a schedule, as a kind makes them of a command."""

    def next_after(self, at: int) -> int | None:
        """The first one strictly later, None if there is none; in bounded time. The same for the same `at`, always."""


class Slot(NamedTuple):
    """One session of a schedule: its logical time, and when it should start. Both are END when the schedule is over."""

    session_time: int
    run_time: int


OVER = Slot(END, END)


class Schedule(NamedTuple):
    """`delay` is elapsed time from a session time to its run; `start` and `end` bound the run times: [start, end)."""

    instants: Instants
    place: tzinfo
    delay: int = 0
    start: int | None = None
    end: int | None = None

    def next_after(self, at: int) -> Slot:
        """The session after the one at `at` (4.1). Unlike Digdag, a window without any instant has no session."""
        slot = self.slot(self.instants.next_after(at))
        if self.start is not None and slot.run_time < self.start:
            slot = self.slot(self.instants.next_after(self.start - SECOND))
        if self.end is not None and slot.run_time >= self.end:
            return OVER
        return slot

    def slot(self, session_time: int | None) -> Slot:
        return OVER if session_time is None else Slot(session_time, session_time + self.delay)

    def first_at(self, now: int) -> Slot:
        """The earliest session whose run time isn't before now (4.2)."""
        whole = now - now % SECOND
        return self.next_after(whole - (SECOND if whole == now else 0) - self.delay)

    def last_before(self, at: int) -> int | None:
        """The session time that stepping forward reaches last before `at`, from far enough back (4.3).

        `start` and `end` don't count. A short way back is enough where the zone's offset hasn't changed on the way.
        """
        if not BEGINNING <= at < END:
            return None
        if self.is_even(at):
            found = self.step(at - SHORT_LOOK_BACK, at)
            if found is not None:
                return found
        back = DAY
        while back <= LONGEST_LOOK_BACK:
            found = self.step(at - back, at)
            if found is not None:
                return found
            back *= 2
        return None

    def is_even(self, at: int) -> bool:
        """Whether there is one offset from two days before to half a day after, so that every way of stepping gives the same.

        Times that come twice begin up to two hours before the offset changes.
        """
        halves = (-1, 0, 1, 2, 3, 4)  # of days
        offsets = {local_time(at - half * DAY // 2, self.place).utcoffset() for half in halves}
        return len(offsets) == 1

    def step(self, at: int, end: int) -> int | None:
        """The last instant after `at` and before `end`."""
        last = None
        while True:
            found = self.instants.next_after(at)
            if found is None or found >= end:
                return last
            last = at = found


def midnight(day: datetime, place: tzinfo) -> int:
    """The instant of a local midnight; moved forward by the gap where there is none."""
    return resolve(day, place)


def resolve(wall: datetime, place: tzinfo) -> int:
    """A time on the clock as an instant: in a gap, moved forward by its length; if it comes twice, the later one (3.3)."""
    return max((wall.replace(tzinfo=place, fold=fold) - EPOCH) // timedelta(microseconds=1) for fold in (0, 1))


def truncated(text: str, mode: str | None, place: tzinfo, schedule: Schedule | None) -> int:
    """The session time that is meant by a time and a mode: hour, day, schedule, next_schedule or none (12.1, 12.2).

    A time without an offset is one of the zone. Raises UserError.
    """
    at = instant_of(text, place)
    if mode is None:
        return whole_seconds(at)
    if mode in ("hour", "day"):
        return start_of_hour(at, place) if mode == "hour" else start_of_day(at, place)
    if mode not in ("schedule", "next_schedule"):
        raise UserError(f"mode can't be {mode!r}; use hour, day, schedule or next_schedule")
    if schedule is None:
        raise UserError(f"mode {mode} needs a workflow that has a schedule")
    return (schedule.first_at(at) if mode == "schedule" else schedule.next_after(at)).session_time


def instant_of(text: str, place: tzinfo) -> int:
    try:
        if not TIME.match(text):
            raise ValueError
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{text!r} is no time; write, for example, 2026-01-31T12:00:00+09:00") from None
    if given.tzinfo is None:
        return resolve_local(given, place)
    return (given - EPOCH) // timedelta(microseconds=1)
