"""Values of workflow files and how they are read.

This file owns the kinds of values that a workflow is made of (`Template`, `Map`, `Seq`), how two maps are merged, and how an
operator reads its options (`Params`). It doesn't know where values come from: `core.yaml` loads them, the store gives them back
as JSON, operators return them.

Values are treated as immutable once they are made; whoever changes one makes a new one that shares the rest.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dagrun.core.kinds import (
    BOOLEAN,
    DURATION,
    INTEGER,
    JSON_LIST,
    JSON_MAP,
    LIST,
    MAP,
    TEXT,
    Kind,
    json_text,
)  # fmt: skip
from dagrun.errors import TaskFailed

Place = tuple[str, int, int]  # file, line, column; the last two count from 1


class Template(str):
    """A text of a workflow file that holds a `$` and will be evaluated. Every other text is plain data."""

    __slots__ = ()


class Map(dict[str, Any]):
    """A map as it stands in a file, with the places of its keys."""

    __slots__ = ("column", "file", "line", "places")

    def __init__(self, file: str, line: int = 1, column: int = 1) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.places: dict[str, Place] = {}

    def place(self, key: str) -> Place:
        """Where the key stands (an included one: in the included file); the map's place if there is none."""
        return self.places.get(key) or (self.file, self.line, self.column)

    def absorb(self, other: Map) -> None:
        """Merge another map over this one, deeply, with its places.

        Only for a map that is still being made. The maps below it may be shared, and so are replaced.
        """
        for key, value in other.items():
            current = self.get(key)
            if isinstance(value, Map) and isinstance(current, Map):
                merged = Map(value.file, value.line, value.column)
                merged.absorb(current)
                merged.absorb(value)
                value = merged
            self[key] = value
            self.places[key] = other.places[key]


class Seq(list[Any]):
    """A list as it stands in a file."""

    __slots__ = ("column", "file", "line")

    def __init__(self, file: str, line: int = 1, column: int = 1) -> None:
        self.file = file
        self.line = line
        self.column = column


def mark_templates(value: Any) -> Any:
    """A copy in which each text with a `$` is a Template, as it was before the file went through JSON.

    Keys of maps are names and are never evaluated.
    """
    if isinstance(value, str):
        return Template(value) if "$" in value else value
    if isinstance(value, dict):
        return {key: mark_templates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mark_templates(item) for item in value]
    return value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A new map with the keys of both: maps merge deeply, anything else of `over` replaces.

    The rule is that of spec/language 3.2. A replaced key keeps its position, new keys follow. What doesn't
    change is shared with the arguments.
    """
    merged = dict(base)
    for key, value in over.items():
        current = merged.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            value = merge(current, value)
        merged[key] = value
    return merged


D = TypeVar("D")
T = TypeVar("T")
REQUIRED: Any = object()  # a default that no caller can mean


class Params(Mapping[str, Any]):
    """A read-only view of variables and options; its getters convert as Digdag does (spec/operators 1.4).

    A getter without a default raises TaskFailed when the key is missing or null; with one, null counts as
    missing. A value that can't be converted raises TaskFailed.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, Any]:
        """All of them at once, several times as fast as key by key."""
        return self._values.items()

    def __repr__(self) -> str:
        return f"Params({dict(self._values)!r})"

    def text(self, key: str, default: D = REQUIRED) -> str | D:
        """A text; numbers and booleans become their JSON text."""
        return self._read(key, default, TEXT)

    def boolean(self, key: str, default: D = REQUIRED) -> bool | D:
        """true or false; also these words as text, and whole numbers, of which 0 is false."""
        return self._read(key, default, BOOLEAN)

    def integer(self, key: str, default: D = REQUIRED) -> int | D:
        """A whole number of 64 bits; fractions are cut off, empty text is 0."""
        return self._read(key, default, INTEGER)

    def list_(self, key: str, default: D = REQUIRED) -> list[Any] | D:
        return self._read(key, default, LIST)

    def list_or_json(self, key: str, default: D = REQUIRED) -> list[Any] | D:
        """A list, or a text that holds a JSON array."""
        return self._read(key, default, JSON_LIST)

    def map_(self, key: str, default: D = REQUIRED) -> dict[str, Any] | D:
        return self._read(key, default, MAP)

    def map_or_json(self, key: str, default: D = REQUIRED) -> dict[str, Any] | D:
        """A map, or a text that begins with a JSON object."""
        return self._read(key, default, JSON_MAP)

    def optional_map(self, key: str) -> dict[str, Any]:
        """A map; empty when the key is missing or null."""
        return self.map_(key) if self.get(key) is not None else {}

    def duration(self, key: str, default: D = REQUIRED) -> float | D:
        """Seconds: from `1d 2h 3m 4s` (each part optional, in this order), or a number."""
        return self._read(key, default, DURATION)

    def with_defaults(self, *names: str) -> Params:
        """A view in which gaps are filled from the maps of these names; the first name wins.

        The rule is that of spec/operators 1.3. A name may be nested (`aws.s3`). Gaps are keys that are
        missing or null, at any depth.
        """
        values = self._values
        for name in names:
            defaults = self._nested(name)
            if defaults:
                values = _fill(values, defaults)
        return Params(values)

    def _nested(self, name: str) -> Mapping[str, Any]:
        parts = name.split(".")
        level = self._values
        for depth, part in enumerate(parts, start=1):
            value = level.get(part)
            if value is None:
                return {}
            if not isinstance(value, dict):
                raise _bad_type(".".join(parts[:depth]), value, "a map")
            level = value
        return level

    def _read(self, key: str, default: D, kind: Kind[T]) -> T | D:
        value = self.get(key)
        if value is None:
            if default is REQUIRED:
                raise TaskFailed(f"Parameter '{key}' is required but not set", f"missing ({key})", "config")
            return default
        try:
            return kind.convert(value)
        except ValueError:
            raise _bad_type(key, value, kind.expected) from None


def _fill(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(values)
    for key, default in defaults.items():
        value = filled.get(key)
        if value is None:
            filled[key] = default
        elif isinstance(value, dict) and isinstance(default, dict):
            filled[key] = _fill(value, default)
    return filled


def _bad_type(key: str, value: Any, expected: str) -> TaskFailed:
    shown = json_text(value)
    if len(shown) > 100:
        shown = shown[:97] + "..."
    message = f"Parameter '{key}' must be {expected}, but it is {shown}"
    return TaskFailed(message, f"bad_type ({key})", "config")


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to the word, if half of its letters or more are right (spec/language C4)."""
    distances = ((_edit_distance(word, name), name) for name in candidates)
    near = [pair for pair in distances if pair[0] * 2 <= len(pair[1])]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def near_or_missing(noun: str, name: str, names: Iterable[str]) -> str:
    """What may be meant by a name that no operator has, or no kind of schedule."""
    if noun == "operator" and name in _OF_DIGDAG:
        return f"dagrun doesn't have this one of Digdag's; a file operators/{name}.py of the project can bring it"
    near = suggest(name, names)
    return f"did you mean {near}>?" if near else "is the package that brings it installed?"


# Digdag's operators that dagrun doesn't have: the name that is nearest to one of them is never meant.
_OF_DIGDAG = frozenset(
    "embulk param_get param_set pg redshift redshift_load redshift_unload s3_wait emr gcs_wait bq bq_load bq_extract bq_ddl "
    "td td_run td_for_each td_wait td_wait_table td_load td_ddl td_table_export td_result_export td_partial_delete".split()
)


def _edit_distance(word: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word, 1):
        above, row = row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted)))
    return row[-1]
