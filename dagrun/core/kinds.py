"""What an option of an operator may be, and how values become what is asked for, or text.

Option     a row of the table of what an operator reads
KINDS      the kinds of options, each with its conversion
json_text  a value as it is printed
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from dagrun.light import NamedTuple, pattern

T = TypeVar("T")

# Conversions, by Jackson's lenient rules. Each raises ValueError for what it refuses. Python's booleans are
# integers: where the two differ, the boolean is asked for first.

_INTEGER = pattern(r"[-+]?[0-9]+")
_SECONDS = pattern(r"[0-9]+(\.[0-9]+)?")
# More digits than 15 are no duration of this world, and float would lose the last ones.
_DURATION = pattern(r"\s*".join(rf"(?:([0-9]{{1,15}})\s*{unit})?" for unit in "dhms"), re.IGNORECASE)
_BOOLEANS = {"true": True, "True": True, "false": False, "False": False, "": False, "null": False}


def is_unicode(text: str) -> bool:
    """No half of a pair of UTF-16 is in it, which JSON can spell and no file or database takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json_text(value)
    raise ValueError(value)


def to_boolean(value: Any) -> bool:
    if isinstance(value, int):
        return value != 0
    if isinstance(value, str) and value.strip() in _BOOLEANS:
        return _BOOLEANS[value.strip()]
    raise ValueError(value)


def to_integer(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        if text and (len(text) > 100 or not _INTEGER.fullmatch(text)):
            raise ValueError(value)
        number = int(text or 0)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not abs(value) < 2.0**63:  # also what is no number at all
            raise ValueError(value)
        number = int(value)
    else:
        raise ValueError(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def to_list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(value)


def to_list_or_json(value: Any) -> list[Any]:
    return to_list(_first_json(value, "[", whole=True) if isinstance(value, str) else value)


def to_map(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(value)


def to_map_or_json(value: Any) -> dict[str, Any]:
    # Digdag ignores whatever follows the object.
    return to_map(_first_json(value, "{", whole=False) if isinstance(value, str) else value)


def to_seconds(value: Any) -> float:
    """Digdag knows only the text with units; plain numbers are dagrun's addition."""
    if isinstance(value, str):
        text = value.strip()
        parts = _DURATION.fullmatch(text)
        if text and parts:
            days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
            return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
        if len(text) > 100 or not _SECONDS.fullmatch(text):
            raise ValueError(value)
        return float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(value)
    return float(value)


class Kind(Generic[T]):
    """What an option may be, as messages say it, and the conversion."""

    def __init__(self, expected: str, convert: Callable[[Any], T]) -> None:
        self.expected = expected
        self.convert = convert


TEXT = Kind("a text", to_text)
BOOLEAN = Kind("true or false", to_boolean)
INTEGER = Kind("a whole number", to_integer)
DURATION = Kind("a duration such as 1h 30m, or a number of seconds", to_seconds)
LIST = Kind("a list", to_list)
JSON_LIST = Kind("a list, or the JSON text of one", to_list_or_json)
MAP = Kind("a map", to_map)
JSON_MAP = Kind("a map, or the JSON text of one", to_map_or_json)
KINDS: Mapping[str, Kind[Any]] = {
    "text": TEXT, "boolean": BOOLEAN, "integer": INTEGER, "duration": DURATION, "list": LIST, "JSON list": JSON_LIST,
    "map": MAP, "JSON map": JSON_MAP,
}  # fmt: skip


class Option(NamedTuple):
    """A row of the table of what an operator reads (spec/operators 11.1): `check`, the documents and people go by it.

    The name `_command` is what stands behind `NAME>`, `*` any other key. `kind` is one of KINDS or several (`text or list`); `any`; `word`, for
    one of the `choices`; or `secret`, for a key that the operator asks `task.secret` for.
    """

    name: str
    kind: str
    default: str = ""  # for people: `30`, `that of the server`; `required` for what must be there
    meaning: str = ""
    choices: tuple[str, ...] = ()  # words that are allowed beside the kind

    def takes(self, value: Any) -> bool:
        """Whether the operator can read the value; null counts as missing."""
        if value is None or self.kind == "any" or (isinstance(value, str) and value.strip().lower() in self.choices):
            return True
        for kind in self._kinds():
            with suppress(ValueError):
                kind.convert(value)
                return True
        return False

    @property
    def expected(self) -> str:
        """What it must be, as messages say it."""
        return " or ".join([*(kind.expected for kind in self._kinds()), *self.choices])

    def problem(self) -> str | None:
        """What its author has to mend, or None."""
        known = {"any", "word", "secret", *KINDS}
        wrong = [kind for kind in self.kind.split(" or ") if kind not in known]
        if not wrong:
            return None
        return f"the option {self.name} is of an unknown kind, {wrong[0]}; there are {', '.join(sorted(known))}"

    def _kinds(self) -> list[Kind[Any]]:
        return [KINDS[kind] for kind in self.kind.split(" or ") if kind in KINDS]


def _first_json(text: str, opening: str, *, whole: bool) -> Any:
    text = text.strip(" \t\r\n")
    if not text.startswith(opening):
        raise ValueError(text)
    try:
        value, end = _JSON.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if whole and end < len(text):
        raise ValueError(text)
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)


# Printing.


def json_text(value: Any) -> str:
    """Compact JSON: no spaces, no needless escapes, doubles as Java prints them (spec/language L14)."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # JSON has no words for these; Digdag's JSON writer puts them in quotes.
        return java_double(value) if abs(value) < float("inf") else f'"{java_double(value)}"'
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_quoted(key)}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(json_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} is no JSON value")


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def java_double(value: float) -> str:
    """The text of Java's Double.toString: `1000.0`, `1.0E7`, `1.0E-4`, `Infinity`, `NaN`."""
    if value != value:
        return "NaN"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    sign = "-" if repr(value).startswith("-") else ""
    if mantissa == "inf":
        return f"{sign}Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The first digit that counts stands so many places right of the point's place in the plain spelling.
    power = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits)) - 1
    digits = digits.rstrip("0")
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"
