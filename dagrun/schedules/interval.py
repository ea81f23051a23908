"""`minutes_interval>`, `seconds_interval>` and `at>` (spec/scheduling 2.2, 4.6; features F62)."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from dagrun.core.kinds import to_integer
from dagrun.core.schedule import END
from dagrun.core.session import SECOND, parse_session_time
from dagrun.light import NamedTuple
from dagrun.plugins.schedule import Options, Parsed, ScheduleKind
from dagrun.schedules.cron import cron, delay_of


class MinutesInterval(ScheduleKind):
    """Every N minutes, anew from each full hour."""

    options = ("delay",)

    def parse(self, command: Any, options: Options) -> Parsed:
        return Parsed(cron(f"*/{count(command, 'minutes_interval>')} * * * *", options), delay_of(options))


class SecondsInterval(ScheduleKind):
    options = ("delay",)
    bounded = False

    def parse(self, command: Any, options: Options) -> Parsed:
        return Parsed(Multiples(count(command, "seconds_interval>") * SECOND), delay_of(options))


class At(ScheduleKind):
    """One instant, or a list of some."""

    def parse(self, command: Any, options: Options) -> Parsed:
        texts = command if isinstance(command, list) else [command]
        found = [parse_session_time(text, options.place) if isinstance(text, str) else None for text in texts]
        times = [time for time in found if time is not None]
        if not times or len(times) != len(texts):
            raise ValueError(f'at> needs a time, such as "2026-05-01 09:00:00", or a list of some; it is {command!r}')
        return Parsed(Listed(tuple(sorted(time - time % SECOND for time in times))))


class Multiples(NamedTuple):
    """All multiples of an interval since 1970 UTC."""

    interval: int  # microseconds

    def next_after(self, at: int) -> int | None:
        whole = at - at % SECOND
        found = whole - whole % self.interval + self.interval
        return found if found < END else None


class Listed(NamedTuple):
    times: tuple[int, ...]

    def next_after(self, at: int) -> int | None:
        place = bisect_right(self.times, at)
        return self.times[place] if place < len(self.times) else None


def count(command: Any, kind: str) -> int:
    """A positive whole number, or a text that is one. A fraction as a number is cut."""
    try:
        number = to_integer(command)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{kind} needs a whole number from 1 on; it is {command!r}")
    return number
