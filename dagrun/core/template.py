"""Templates: the `${…}` of workflow files (spec/language 4).

    render(text, view, javascript)          one text
    evaluate(inherited, local, javascript)  all texts of a task's map, in their order, each with its names in view
    references(value)                       the names that the templates in a value mention
    resolve_secrets(text, lookup)           `${secret:key}`, which operators fill in afterwards

Plain look-ups (`${a.b[0]}`) are answered here, exactly as JavaScript would; anything else goes to the engine. Only
Templates are evaluated: texts that came from data stay as they are (way out 1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from dagrun.core.config import Template
from dagrun.core.expression import GLOBALS, Expression, Step, balanced, expression, scan
from dagrun.core.workflow import GENERATED
from dagrun.errors import TaskFailed
from dagrun.light import Protocol, pattern

NOT_INHERITED = ("_check", "_error")  # for tasks to come, which see more
_RESERVED_FORM = pattern(r"[a-z]+:")  # `${secret:…}` and its like are left to operators
_SHOWN = 200  # characters of a text in a message
_LARGEST_PLAIN = 1 << 53


class Scope(Protocol):
    """A JavaScript engine with a zone and a time: `JavaScript.at(…)`."""

    def run(self, text: str, expressions: list[Expression], view: Mapping[str, Any]) -> list[str]: ...
    def parses(self, source: str) -> bool: ...
    def file(self, task: str, path: str) -> str: ...


Part = str | Expression


# -- one text


def render(text: str, view: Mapping[str, Any], javascript: Scope) -> str:
    """The text with its expressions replaced. Raises TaskFailed(template_error)."""
    parts = _parts(text)
    if ".file(" in text:
        parts = [javascript.file(*part.file) if not isinstance(part, str) and part.file else part for part in parts]
    expressions = [part for part in parts if not isinstance(part, str)]
    if not expressions:
        return "".join(parts)  # type: ignore[arg-type]
    unsure = next((one for one in expressions if one.rest is not None and not javascript.parses(one.source)), None)
    if unsure is not None:
        place = parts.index(unsure)
        return render_parts(text, [*parts[:place], unsure.rest or ""], view, javascript)
    return render_parts(text, parts, view, javascript)


def render_parts(text: str, parts: list[Part], view: Mapping[str, Any], javascript: Scope) -> str:
    expressions = [part for part in parts if not isinstance(part, str)]
    found = iter(results(text, expressions, view, javascript))
    return "".join(part if isinstance(part, str) else next(found) for part in parts)


def results(text: str, expressions: list[Expression], view: Mapping[str, Any], javascript: Scope) -> list[str]:
    """The texts of all expressions: looked up here if each is a plain path, else by the engine, as one script."""
    try:
        return [look_up(text, one.path or needs_engine(one.source), view) for one in expressions]
    except _NeedsEngine:
        return javascript.run(text, expressions, view)


def needs_engine(what: object) -> Any:
    raise _NeedsEngine(what)


class _NeedsEngine(Exception):
    """No plain look-up, or one of a property of which only the engine knows whether it exists."""


@lru_cache(maxsize=4096)
def _cached_parts(text: str) -> tuple[Part, ...]:
    return tuple(_split(text))


def _parts(text: str) -> list[Part]:
    return list(_cached_parts(str(text)) if len(text) < 2000 else _split(text))


def _split(text: str) -> Iterator[Part]:
    """Literal texts and expressions, in order (spec/language T8, T10, way out 25)."""
    position = 0
    literal = ""
    while True:
        start = _next_expression(text, position)
        if start is None:
            break
        literal += text[position:start].replace("$$", "$")
        found = scan(text, start + 2)
        end = found.end if found else None
        # Where Digdag's scanner, which counts braces wherever they stand, finds no end, it gives literal text.
        plain_end = balanced(text, start + 2)
        rest = text[start:].replace("$$", "$") if plain_end is None else None
        if found is None or end is None:
            if plain_end is None:
                literal += rest or ""
                position = len(text)
                break
            end = plain_end
            found = scan(text[: end + 1], start + 2)
        source = text[start + 2 : end]
        if source:
            yield literal
            literal = ""
            yield expression(source, found.tokens if found else [], rest)
        position = end + 1
    yield literal + text[position:].replace("$$", "$")


def _next_expression(text: str, position: int) -> int | None:
    while True:
        start = text.find("${", position)
        if start < 0 or start + 2 == len(text):  # what ends in ${ opens nothing
            return None
        if not _RESERVED_FORM.match(text, start + 2):
            return start
        position = start + 2


# -- plain look-ups, as JavaScript answers them


def look_up(text: str, path: tuple[Step, ...], view: Mapping[str, Any]) -> str:
    """The text of `a.b[0]`. Raises TaskFailed for an unknown name, and for a property of nothing."""
    root = path[0]
    if not isinstance(root, str) or root not in view:
        if root in GLOBALS:  # Math.PI
            raise _NeedsEngine(root)
        raise _unknown(text, str(root), view)
    value = view[root]
    for step in path[1:]:
        if value is None or value is UNDEFINED:
            nothing = "null" if value is None else "undefined"
            raise _failed(text, f"TypeError: cannot read property '{step}' of {nothing}")
        value = _property(value, step)
        if value is FUNCTION:
            return "undefined"
    return text_of(value)


class _Undefined:
    """JavaScript's undefined, and properties that are functions."""


UNDEFINED = _Undefined()
FUNCTION = _Undefined()


def _property(value: Any, step: Step) -> Any:
    if isinstance(value, Mapping):
        name = str(step)
        if name in value:
            return value[name]
        return FUNCTION if name in _OBJECT_METHODS else _INHERITED.get(name, UNDEFINED)
    if isinstance(value, list | tuple):
        if isinstance(step, int) or (step.isdigit() and str(int(step)) == step):
            return value[int(step)] if int(step) < len(value) else UNDEFINED
        return len(value) if step == "length" else _method_or_nothing(step)
    if isinstance(value, str):
        return _of_text(value, step)
    return _method_or_nothing(step)


def _of_text(value: str, step: Step) -> Any:
    units = value.encode("utf-16-le", "surrogatepass")
    if step == "length":
        return len(units) // 2
    if isinstance(step, int) or step.isdigit():
        index = int(step)
        unit = units[2 * index : 2 * index + 2]
        if not unit:
            return UNDEFINED
        # Half of a pair of UTF-16 is no character; Java prints a question mark.
        return "?" if 0xD8 <= unit[1] <= 0xDF else unit.decode("utf-16-le")
    return _method_or_nothing(step)


_OBJECT_METHODS = frozenset(
    [
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
    ]
)
_INHERITED: dict[str, Any] = {"__proto__": {}}


# Texts, lists and numbers have many methods, Java's among them; asked for without a call they are rare enough to be left
# to the engine.
_method_or_nothing = needs_engine


def text_of(value: Any) -> str:
    """A result as text (spec/language T15)."""
    if value is None or value is UNDEFINED:
        return ""
    if isinstance(value, str):
        return str(value)
    return stringify(value)


def stringify(value: Any) -> str:
    """JSON.stringify: keys that look like integers come first, numbers as JavaScript prints them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return number_text(value) if abs(value) > _LARGEST_PLAIN else str(value)
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{stringify(str(key))}:{stringify(item)}" for key, item in _ordered(value)) + "}"
    return "[" + ",".join(stringify(item) for item in value) + "]"


def _ordered(value: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    integers = [
        key for key in value if key.isdigit() and key.isascii() and str(int(key)) == key and int(key) < 2**32 - 1
    ]
    if not integers:
        return value.items()
    first = sorted(integers, key=int)
    return [*((key, value[key]) for key in first), *((key, item) for key, item in value.items() if key not in integers)]


def number_text(value: float) -> str:
    """A double as JavaScript prints it. Integers beyond 2^53 are rounded (T16); what is no number gives `null`."""
    try:
        number = float(value)
    except OverflowError:
        return "null"
    if number != number or number in (float("inf"), float("-inf")):
        return "null"
    if number == 0:
        return "0"
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    figures = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len((whole + fraction).lstrip("0")))
    figures = figures.rstrip("0")
    sign = "-" if number < 0 else ""
    return sign + _laid_out(figures, point)


def _laid_out(figures: str, point: int) -> str:
    """`figures` with the decimal point behind so many of them (ECMA-262, Number::toString)."""
    count = len(figures)
    if count <= point <= 21:
        return figures + "0" * (point - count)
    if 0 < point <= 21:
        return f"{figures[:point]}.{figures[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{figures}"
    exponent = point - 1
    head = figures[0] + (f".{figures[1:]}" if count > 1 else "")
    return f"{head}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def _failed(text: str, message: str, hint: str = "") -> TaskFailed:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return TaskFailed(f"Failed to evaluate a variable {shown} ({message}){hint}", "template_error", "config")


def _unknown(text: str, name: str, view: Mapping[str, Any]) -> TaskFailed:
    from dagrun.core.config import suggest

    near = suggest(name, sorted({*view, "moment"}))
    hint = f". Did you mean {near}?" if near else ""
    return _failed(text, f"ReferenceError: {name} is not defined", hint)


# -- all texts of a task


class View(Mapping[str, Any]):
    """The names in view: what is evaluated already, in front of what is inherited."""

    __slots__ = ("back", "front")

    def __init__(self, front: Mapping[str, Any], back: Mapping[str, Any]) -> None:
        self.front = front
        self.back = back

    def __getitem__(self, name: str) -> Any:
        return self.front[name] if name in self.front else self.back[name]

    def __contains__(self, name: object) -> bool:
        return name in self.front or name in self.back

    def __iter__(self) -> Iterator[str]:
        yield from self.back
        yield from (name for name in self.front if name not in self.back)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def evaluate(
    inherited: Mapping[str, Any], local: Mapping[str, Any], javascript: Scope, *, templated: Iterable[str] | None = None
) -> dict[str, Any]:
    """The task's map: what is inherited, the task's own keys merged over it, all Templates evaluated in order (T1 to T6).

    A text sees the inherited names, evaluated if they stand earlier and raw otherwise, overlaid by the evaluated entries
    before it in its own map; what becomes tasks is left to these, at any depth (T4). `templated`: the inherited names that hold
    Templates, in order, if the caller knows them.
    """
    if any(name in inherited for name in NOT_INHERITED):
        inherited = {name: value for name, value in inherited.items() if name not in NOT_INHERITED}
    return Evaluation(inherited, local, javascript).run(templated)


class Evaluation:
    def __init__(self, inherited: Mapping[str, Any], local: Mapping[str, Any], javascript: Scope) -> None:
        self.inherited = inherited
        self.local = local
        self.javascript = javascript
        self.seen: dict[str, Any] = {}  # inherited names that are evaluated: what nested maps see

    def run(self, templated: Iterable[str] | None) -> dict[str, Any]:
        local = self.local
        names = self.inherited if templated is None else templated
        wanted = {name for name in names if name not in local and name not in GENERATED}
        done: dict[str, Any] = dict(self.inherited)
        top: dict[str, Any] = {}  # evaluated entries of the top level
        if wanted or any(name in done for name in local):
            for name in self.inherited:
                if name in local:
                    top[name] = done[name] = self.entry(name, self.joined(name), top, nested=False)
                elif name in wanted:
                    value = self.value(done[name], top, nested=False)
                    top[name] = done[name] = self.seen[name] = value
        for name, value in local.items():
            if name not in self.inherited:
                top[name] = done[name] = self.entry(name, value, top, nested=False)
        return done

    def entry(self, name: str, value: Any, before: Mapping[str, Any], *, nested: bool) -> Any:
        return value if name in GENERATED else self.value(value, before, nested=nested)

    def joined(self, name: str) -> Any:
        inherited, own = self.inherited[name], self.local[name]
        if isinstance(inherited, Mapping) and isinstance(own, Mapping):
            from dagrun.core.config import merge

            return merge(inherited, own)
        return own

    def value(self, value: Any, before: Mapping[str, Any], *, nested: bool) -> Any:
        """`before` are the evaluated entries of the map that holds the value."""
        if value.__class__ is Template:
            back = View(self.seen, self.inherited) if nested else self.inherited
            return render(value, View(before, back), self.javascript)
        if isinstance(value, Mapping):
            return self.nested(value)
        if isinstance(value, list):
            return [self.value(item, before, nested=nested) for item in value]
        return value

    def nested(self, values: Mapping[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = {}
        for name, value in values.items():
            done[name] = self.entry(name, value, done, nested=True)
        return done


# -- what else is read from templates


def file_references(value: Any) -> set[str]:
    """The names of tasks whose files the Templates in a value mention."""
    if isinstance(value, str):
        if value.__class__ is Template and ".file(" in value:
            return {part.file[0] for part in _parts(value) if not isinstance(part, str) and part.file}
        return set()
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {name for item in items for name in file_references(item)}


def references(value: Any) -> set[str]:
    """The names of variables that the Templates in a value mention; more rather than fewer."""
    found: set[str] = set()
    if isinstance(value, str):
        if value.__class__ is Template:
            for part in _parts(value):
                if not isinstance(part, str):
                    found |= {str(part.path[0])} if part.path else part.names
    elif isinstance(value, Mapping):
        for item in value.values():
            found |= references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            found |= references(item)
    return found


_REFERENCE = pattern(r"\$\{([a-z]+):([^{}]*)\}")


def resolve_secrets(text: str, lookup: Callable[[str], str], *, strict: bool = False) -> str:
    """The text with `${secret:key}` filled in. `strict` refuses every other `${word:…}` (spec/language T19)."""

    def fill(match: re.Match[str]) -> str:
        if match[1] == "secret":
            return lookup(match[2].strip())
        if strict:
            raise TaskFailed(
                f"{match[0]} is no secret: only ${{secret:KEY}} can be used here"
                " (for a shell's own expansion write ${'$'}{…})",
                "bad_secret_reference",
                "config",
            )
        return match[0]

    return _REFERENCE.sub(fill, text) if "${" in text else text
