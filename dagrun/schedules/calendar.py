"""`hourly>`, `daily>`, `weekly>`, `monthly>`: sessions at full hours and midnights, run some time later (spec/scheduling 2)."""

from __future__ import annotations

import re
from typing import Any

from dagrun.plugins.schedule import Options, Parsed, ScheduleKind
from dagrun.schedules.cron import cron

INTEGER = re.compile(r"[+-]?[0-9]+\Z")
NEGATIVE = re.compile(r"-[0-9]+\Z")  # any other dash at the front is left out, as in all fields of cron


class Hourly(ScheduleKind):
    def parse(self, command: Any, options: Options) -> Parsed:
        minutes, seconds = numbers(command, 2, 'hourly> needs MM:SS, such as "15:00"')
        return Parsed(cron("0 * * * *", options), minutes * 60 + seconds)


class Daily(ScheduleKind):
    def parse(self, command: Any, options: Options) -> Parsed:
        return Parsed(cron("0 0 * * *", options), time_of_day(command, 'daily> needs HH:MM:SS, such as "07:00:00"'))


class Weekly(ScheduleKind):
    def parse(self, command: Any, options: Options) -> Parsed:
        form = 'weekly> needs DAY,HH:MM:SS, such as "Mon,07:00:00"'
        day, comma, time = str(command).partition(",")
        day = day.strip()
        if not comma or not day or re.search(r"\s|\|", day) or NEGATIVE.match(day):
            raise ValueError(f"{form}; it is {command!r}")
        return Parsed(cron(f"0 0 * * {day}", options), time_of_day(time.strip(), form))


class Monthly(ScheduleKind):
    def parse(self, command: Any, options: Options) -> Parsed:
        form = 'monthly> needs DAY,HH:MM:SS with a day from 1 to 31, such as "1,07:00:00"'
        day, _, time = str(command).partition(",")
        if not INTEGER.match(day) or not 1 <= abs(int(day)) <= 31:  # Digdag reads -1 as 1
            raise ValueError(f"{form}; it is {command!r}")
        return Parsed(cron(f"0 0 {abs(int(day))} * *", options), time_of_day(time, form))


def time_of_day(text: Any, form: str) -> int:
    """Seconds; no part has a range, so that a run may come days later, or before its session."""
    hours, minutes, seconds = numbers(text, 3, form)
    return hours * 3600 + minutes * 60 + seconds


def numbers(text: Any, count: int, form: str) -> list[int]:
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != count or not all(INTEGER.match(part) for part in parts):
        raise ValueError(f"{form}; it is {text!r}")
    return [int(part) for part in parts]
