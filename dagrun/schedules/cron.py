"""`cron>`, and the stepping that all kinds on a calendar share (spec/scheduling 3.3).

croniter searches on the clock on the wall, with fields that are written out; what a gap or a repeated hour does to the found
time is decided here.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from dagrun.core.kinds import to_integer
from dagrun.core.schedule import resolve
from dagrun.core.session import EPOCH, SECOND, local_time
from dagrun.plugins.schedule import ClockChange, Options, Parsed, ScheduleKind
from dagrun.schedules.dialect import DAYS, FIELDS, LAST, Pattern, parse

MINUTE = 60 * SECOND
LATEST = (datetime(9990, 1, 1, tzinfo=EPOCH.tzinfo) - EPOCH).days * 86_400 * SECOND
WIDE = timedelta(hours=3)
REMEMBERED = 64  # instants
YEARS = 40  # a 29 February that must be a Monday needs so many


class CronInstants:
    """The minutes that any of the patterns matches, in a zone."""

    def __init__(self, patterns: list[Pattern], place: tzinfo) -> None:
        self.patterns = patterns
        self.place = place
        self.searches = [search(pattern) for pattern in patterns]
        self.known: dict[int, int | None] = {}  # what was found last: many schedules ask for the same

    def next_after(self, at: int) -> int | None:
        if at not in self.known:
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            self.known[at] = self.find(at)
        return self.known[at]

    def find(self, at: int) -> int | None:
        if at >= LATEST:
            return None
        minute = at - at % MINUTE + MINUTE
        local = local_time(minute, self.place)
        wall = local.replace(tzinfo=None, second=0, microsecond=0)
        if local.second:  # of an offset with seconds: the full minute before isn't later than `at`
            wall += timedelta(minutes=1)
        if local.second == 0 and any(matches(pattern, wall) for pattern in self.patterns):
            return minute
        return min((found for one in self.searches if (found := self.search(one, wall)) is not None), default=None)

    def search(self, iterator: Any, wall: datetime) -> int | None:
        from croniter import CroniterBadDateError

        iterator.set_current(wall - timedelta(minutes=1), force=True)
        try:
            return resolve(iterator.get_next(), self.place)
        except (CroniterBadDateError, OverflowError):
            return None


class ChosenInstants(CronInstants):
    """The same, where the file says what a change of the clock means for it (`dst`)."""

    def __init__(self, patterns: list[Pattern], place: tzinfo, change: ClockChange) -> None:
        super().__init__(patterns, place)
        self.change = change

    def find(self, at: int) -> int | None:
        if at >= LATEST:
            return None
        wall = local_time(at, self.place).replace(tzinfo=None, second=0, microsecond=0)
        found = [instant for one in self.searches if (instant := self.first(one, wall, at)) is not None]
        return min(found, default=None)

    def first(self, iterator: Any, wall: datetime, at: int) -> int | None:
        """The first instant after `at`. A clock is put back by less than WIDE, so no earlier time can come again."""
        from croniter import CroniterBadDateError

        best: int | None = None
        iterator.set_current(wall - WIDE, force=True)
        try:
            while best is None or iterator.get_current(datetime) < wall_of(best, self.place) + WIDE:
                for instant in self.readings(iterator.get_next()):
                    if instant > at and (best is None or instant < best):
                        best = instant
        except (CroniterBadDateError, OverflowError):
            pass
        return best

    def readings(self, wall: datetime) -> list[int]:
        """The instants that a time on the clock means."""
        first, second = (
            (wall.replace(tzinfo=self.place, fold=fold) - EPOCH) // timedelta(microseconds=1) for fold in (0, 1)
        )
        if first == second:
            return [first]
        if wall_of(first, self.place) != wall:  # in a gap: reading it gives another time
            return [max(first, second)] if self.change.gap == "run_after" else []
        return {"second": [second], "first": [first], "both": [first, second]}[self.change.overlap]


def wall_of(at: int, place: tzinfo) -> datetime:
    return local_time(at, place).replace(tzinfo=None)


def search(pattern: Pattern) -> Any:
    from croniter import croniter

    return croniter(
        written_out(pattern), datetime(2000, 1, 1), day_or=False, ret_type=datetime, max_years_between_matches=YEARS
    )


def written_out(pattern: Pattern) -> str:
    """In the words that cron and croniter mean alike."""
    words = []
    for field, values in zip(FIELDS, pattern, strict=True):
        everything = set(range(field.low, min(field.high, 6 if field.high == 7 else field.high) + 1))
        full = everything <= values
        last = "L" if field.name == DAYS and LAST in values else ""
        numbers = [str(value) for value in sorted(values) if not (last and value == LAST)]
        words.append("*" if full else ",".join([*numbers, *last]))
    return " ".join(words)


def matches(pattern: Pattern, wall: datetime) -> bool:
    return (
        wall.minute in pattern.minutes
        and wall.hour in pattern.hours
        and wall.month in pattern.months
        and wall.isoweekday() % 7 in pattern.weekdays
        and (wall.day in pattern.days or (LAST in pattern.days and (wall + timedelta(days=1)).month != wall.month))
    )


def cron(text: str, options: Options) -> CronInstants:
    """Raises ValueError for what can't be read, and for days that never come."""
    return shared(text, options.place, options.change)


@lru_cache(maxsize=1000)
def shared(text: str, place: tzinfo, change: ClockChange) -> CronInstants:
    """Of all schedules with this text, in this zone: of thousands many are alike, and croniter's objects are large."""
    patterns = parse(text)
    asked = change != ClockChange()
    instants = ChosenInstants(patterns, place, change) if asked else CronInstants(patterns, place)
    if instants.next_after(0) is None:
        raise ValueError(f"{text!r} names a day that never comes")
    return instants


class Cron(ScheduleKind):
    options = ("delay",)

    def parse(self, command: Any, options: Options) -> Parsed:
        if not isinstance(command, str):
            raise ValueError('cron> needs a text with five fields, such as "0 7 * * *"')
        return Parsed(cron(command, options), delay_of(options))


def delay_of(options: Options) -> int:
    delay = options.given.get("delay")
    try:
        return 0 if delay is None else to_integer(delay)
    except ValueError:
        raise ValueError(f"delay must be a number of seconds, not {delay!r}") from None
