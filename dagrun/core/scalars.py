"""What the scalars and tags of a workflow file mean.

This file owns the table of spec/language 1.2: which plain text is a number, a boolean or null (YAML 1.1 as
SnakeYAML reads it, narrowed by Digdag), what the explicit core tags do (L7), and how a key that is no text is
spelled (L11). It reads no files and knows no limits but that of digits: `core.yaml` calls it, and turns its
ValueError into an error with a place.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from dagrun.core.config import Map, Seq, Template
from dagrun.core.kinds import java_double
from dagrun.light import pattern

CORE = "tag:yaml.org,2002:"
MAP, SEQ, SET, OMAP, PAIRS, MERGE = (CORE + name for name in ("map", "seq", "set", "omap", "pairs", "merge"))

# Python refuses to print integers of more than 4300 digits; written in hexadecimal these stay below.
MAX_DIGITS = 3000

_INTEGER = pattern(r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
_FLOAT = pattern(
    r"[-+]?(?:\.[0-9]+|[1-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_WORDS: dict[str, bool | None] = {"true": True, "True": True, "false": False, "False": False}
_WORDS |= dict.fromkeys(("", "~", "null", "Null", "NULL"))
_NUMBER_STARTS = frozenset("-+.0123456789")


def plain(text: str) -> Any:
    """The value of a plain scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_STARTS:
        if _INTEGER.fullmatch(text):
            return integer(text)
        if _FLOAT.fullmatch(text):
            return floating(text)
    return quoted(text)


def quoted(text: str) -> str:
    return Template(text) if "$" in text else text


# JSON escapes a character beyond the first 65,536 as a pair of UTF-16, "\ud83d\ude00", which libyaml refuses. It sees
# "\U0001f600\0" instead: the same length, so that whatever stands behind keeps its place.
_ESCAPE = pattern(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)
_HIDDEN = pattern(r"\\U[0-9a-f]{8}\\0")
_READ = pattern("([\U00010000-\U0010ffff])\0")


def hide_pairs(text: str) -> str:
    """The text of a file with its escaped pairs as libyaml can read them."""
    return _ESCAPE.sub(_hidden, text) if "\\u" in text else text


def _hidden(escape: re.Match[str]) -> str:
    if not escape[1]:
        return escape[0]
    return f"\\U{0x10000 + (int(escape[1], 16) - 0xD800 << 10) + int(escape[2], 16) - 0xDC00:08x}\\0"


def show_pairs(value: str, style: str | None, source: str) -> str:
    """What the source of a scalar means, from what libyaml made of it with hidden pairs."""
    pairs = iter([escape[0] for escape in _ESCAPE.finditer(source) if escape[1]])
    if style != '"':
        return _HIDDEN.sub(lambda hidden: next(pairs, hidden[0]), value)
    return _READ.sub(r"\1", value) if next(pairs, "") else value


def tagged(name: str, text: str) -> Any:
    """The value of a scalar with a core tag, `int` for `!!int`. Raises ValueError if it doesn't fit."""
    if name not in _TAGS:
        raise ValueError(f"!!{name} needs a list or a map")
    return _TAGS[name](text)


def collection(tag: str | None, value: Map | Seq, members: Iterable[Any]) -> Map | Seq:
    """A finished map or list as its tag wants it. `members` are the keys of a !!set before they became text.

    Raises ValueError if the value doesn't fit the tag.
    """
    if tag == SET:
        return _sequence(value, members)
    if not isinstance(value, Seq) or tag not in (OMAP, PAIRS):
        return value
    if not all(isinstance(item, Map) and len(item) == 1 for item in value):
        raise ValueError("a list of maps with one key each is expected")
    if tag == PAIRS:
        return _sequence(value, [_sequence(item, pair) for item in value for pair in item.items()])
    ordered = Map(value.file, value.line, value.column)
    for item in value:
        ordered.absorb(item)
    return ordered


def _sequence(place: Map | Seq, items: Iterable[Any]) -> Seq:
    made = Seq(place.file, place.line, place.column)
    made.extend(items)
    return made


def key_text(value: Any) -> str:
    """A key as text: what Java prints for it."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return java_double(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={key_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(key_text, value)) + "]"
    return str(value)


def integer(text: str) -> int:
    """An integer by YAML 1.1: binary, octal after a leading zero, hexadecimal, decimal, 60ths with colons."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    sign, digits = _signed(text)
    if digits == "0":
        return 0
    if ":" in digits:
        return sign * int(_base_60(_digits(part, 10) for part in digits.split(":")))
    for prefix, base in (("0b", 2), ("0x", 16), ("0", 8)):
        if digits.startswith(prefix):
            return sign * _digits(digits.removeprefix(prefix), base)
    return sign * _digits(digits, 10)


def floating(text: str) -> float | str:
    """A double; what JSON can't say becomes text, as Digdag's way through JSON makes it."""
    sign, digits = _signed(text.lower())
    if digits == ".inf":
        value = float("inf")
    elif digits == ".nan":
        return "NaN"
    elif ":" in digits:
        value = _base_60(_decimal(part) for part in digits.split(":"))
    else:
        value = _decimal(digits)
    return sign * value if value < float("inf") else java_double(sign * value)


def _signed(text: str) -> tuple[int, str]:
    text = text.replace("_", "")
    return (-1 if text.startswith("-") else 1), text[text[:1] in ("-", "+") :]


_DIGITS = {
    2: pattern("[01]+"),
    8: pattern("[0-7]+"),
    10: pattern("[0-9]+"),
    16: pattern("[0-9a-fA-F]+"),
}
_DECIMAL = pattern(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def _digits(text: str, base: int) -> int:
    # Not left to int(), which takes white space, signs and the digits of all scripts.
    if not _DIGITS[base].fullmatch(text):
        raise ValueError("not an integer")
    return int(text, base)


def _decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise ValueError("not a number")
    return float(text)


def _base_60(parts: Iterable[float]) -> float:
    value: float = 0  # stays an integer for integers: they keep all digits
    for part in parts:
        value = value * 60 + part
    return value


_SWITCHES = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def _boolean(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError("not a boolean")
    return _SWITCHES[text.lower()]


def _base64(text: str) -> str:
    text = re.sub(r"\s", "", text)
    a2b_base64(text.encode(), strict_mode=True)  # binascii.Error is a ValueError
    return text


_TIMESTAMP = pattern(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"[ \t]*(?:Z|([-+][0-9]{1,2})(?::?([0-9]{2}))?)?)?"
)


def _milliseconds(text: str) -> int:
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        raise ValueError("not a timestamp")
    numbers = [int(part or 0) for part in found.groups()]
    year, month, day, hour, minute, second, _, hours, minutes = numbers
    if (found[8] or "").startswith("-"):
        minutes = -minutes
    zone = timezone(timedelta(hours=hours, minutes=minutes))
    moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    since_1970 = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since_1970 // timedelta(seconds=1) * 1000 + round(float(f"0.{found[7] or 0}") * 1000)


_TAGS: dict[str, Callable[[str], Any]] = {
    "str": quoted,
    "int": integer,
    "float": floating,
    "bool": _boolean,
    "null": lambda _: None,
    "binary": _base64,
    "timestamp": _milliseconds,
}

# Names of core tags that mean something: all that is written with !! and isn't one of these is unknown.
TAG_NAMES = frozenset(_TAGS) | {"map", "seq", "set", "omap", "pairs", "merge"}
