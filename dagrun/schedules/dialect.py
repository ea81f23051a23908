"""Digdag's dialect of cron, field by field: from a text to the members of each field (spec/scheduling 3.1, 3.2).

It is lenient where crontab(5) is strict (empty items, doubled commas and dashes), ranges wrap (`22-2`, `fri-mon`), a single
value with a step is just that value, and both day fields must match.
"""

from __future__ import annotations

import re

from dagrun.light import NamedTuple

MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
WEEKDAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
LAST = 32  # `L`, the last day of a month, stands after the 31st
DAYS = "day of the month"
INTEGER = re.compile(r"\+?\d+\Z")


class Field(NamedTuple):
    name: str
    low: int
    high: int
    names: dict[str, int]


FIELDS = (
    Field("minute", 0, 59, {}),
    Field("hour", 0, 23, {}),
    Field(DAYS, 1, 31, {"l": LAST}),
    Field("month", 1, 12, MONTHS),
    Field("day of the week", 0, 7, WEEKDAYS),
)


class Pattern(NamedTuple):
    """The members of the five fields. 7 never stands among the days of the week; LAST may among those of the month."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


def parse(text: str) -> list[Pattern]:
    """The patterns between `|`. Raises ValueError."""
    patterns = [parse_one(part) for part in text.split("|") if part.strip(" \t")]
    if not patterns:
        raise ValueError("a cron pattern has five fields: minute hour day-of-month month day-of-week")
    return patterns


def parse_one(text: str) -> Pattern:
    fields = re.split(r"[ \t]+", text.strip(" \t"))
    if len(fields) != 5:
        raise ValueError(
            f"a cron pattern has five fields: minute hour day-of-month month day-of-week; {text.strip()!r} has {len(fields)}"
        )
    return Pattern(*(frozenset(members(field, word)) for field, word in zip(FIELDS, fields, strict=True)))


def members(field: Field, text: str) -> list[int]:
    """The values of a field."""
    found: list[int] = []
    elements = [element for element in text.split(",") if element]
    if not elements:
        raise bad(field, text)
    for element in elements:
        found += element_members(field, element, text)
    return found


def element_members(field: Field, element: str, text: str) -> list[int]:
    """A range, optionally followed by `/step`."""
    parts = [part for part in element.split("/") if part]
    if not parts or len(parts) > 2:
        raise bad(field, text)
    found = range_members(field, parts[0], text)
    if len(parts) == 2:
        step = int(parts[1]) if INTEGER.match(parts[1]) else 0
        if step < 1:
            raise bad(field, text)
        found = found[::step]
    weekdays = field.high == 7
    return [value for value in found if not (weekdays and value == 7)]


def range_members(field: Field, text: str, whole: str) -> list[int]:
    """`*`, a value, or `a-b`, in order from a on; it wraps when a is the larger one."""
    if text == "*":
        return list(range(field.low, field.high + 1)) if field.high != 7 else list(range(7))
    ends = [part for part in text.split("-") if part]
    if not ends or len(ends) > 2:
        raise bad(field, whole)
    values = [value_of(field, end, whole) for end in ends]
    first, last = values[0], values[-1]
    if len(values) == 1 or first == last:
        return [first]
    if first < last:
        return list(range(first, last + 1))
    return [*range(first, field.high + 1), *range(field.low, last + 1)]


def value_of(field: Field, text: str, whole: str) -> int:
    """Sunday is 0, also where it is written 7."""
    value = field.names.get(text.lower())
    if value is None:
        if not INTEGER.match(text):
            raise bad(field, whole)
        value = int(text)
        if not field.low <= value <= field.high:
            raise bad(field, whole)
    return 0 if field.high == 7 and value == 7 else value


def bad(field: Field, text: str) -> ValueError:
    names = f", or {', '.join(list(field.names)[:3])} …" if field.names else ""
    if field.name == DAYS:
        names = ", or L for the last one"
    return ValueError(f"{text!r} can't be the {field.name} of a cron pattern: {field.low} to {field.high}{names}")
