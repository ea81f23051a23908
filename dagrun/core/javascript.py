"""The JavaScript engine: runs the expressions of one text, within limits of time and memory.

This file owns QuickJS, the files in `js/` and moment. An engine is fresh for each text as far as a text can see: one
that a text may have changed is thrown away. The zone and the time are arguments; the clock and the zone of the process
have no influence. `core.template` calls it for what is no plain look-up.

QuickJS lives in the thread that made it: one `JavaScript` a thread. It measures time as processor time of the whole
process, and can't be interrupted within one call of a built-in function, among them a match of a regular expression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dagrun.core.config import suggest
from dagrun.core.expression import GLOBALS, Expression
from dagrun.core.zone import transitions
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple, pattern

if TYPE_CHECKING:
    import quickjs

# moment keeps what it learns about formats; an engine that ran so many texts has learnt enough.
_TEXTS_AN_ENGINE = 1000
_SHOWN = 200  # characters of a text in a message


Files = Callable[[str, str], str]  # task and path → where the file is


class JavaScript:
    """An engine for one thread. It costs nothing until the first expression."""

    def __init__(self, *, seconds: float = 5.0, megabytes: int = 64) -> None:
        self.seconds = seconds  # for each expression
        self.megabytes = megabytes
        self._engine: _Engine | None = None

    def at(self, zone: str, now: float, files: Files | None = None) -> Scope:
        """The engine for texts of a workflow in this zone, at this time (seconds since 1970).

        The zone is one that `core.zone.zone` accepts. `files` answers `${+task.file("path")}`.
        """
        return Scope(self, zone, now, files)

    def run(
        self, text: str, expressions: Sequence[Expression], view: Mapping[str, Any], zone: str, now: float
    ) -> list[str]:
        """The results of the expressions of one text, as texts (spec/language T15). Raises TaskFailed."""
        engine = self._engine or _Engine(self.seconds, self.megabytes)
        # Until all is known to have gone well, the next text gets an engine of its own.
        self._engine = None
        keep = engine.texts < _TEXTS_AN_ENGINE and all(one.traceless for one in expressions)
        try:
            engine.begin(zone, now, _variables(expressions, view))
            return [engine.run(one.source) for one in expressions]
        except _Failed as failure:
            keep = keep and not failure.exhausted
            raise _task_failed(text, failure.message, view) from None
        finally:
            if keep:
                self._engine = engine

    def parses(self, source: str) -> bool:
        """Whether this is an expression of JavaScript."""
        try:
            _Engine(self.seconds, self.megabytes).compile(source)
        except _Failed:
            return False
        return True


class Scope(NamedTuple):
    """An engine together with what its clock shows."""

    javascript: JavaScript
    zone: str
    now: float
    files: Files | None = None

    def file(self, task: str, path: str) -> str:
        """Raises TaskFailed."""
        if self.files is None:
            raise TaskFailed(
                f'{task}.file("{path}"): files can be asked for in the keys of a task only', "template_error", "config"
            )
        return self.files(task, path)

    def run(self, text: str, expressions: Sequence[Expression], view: Mapping[str, Any]) -> list[str]:
        return self.javascript.run(text, expressions, view, self.zone, self.now)

    def parses(self, source: str) -> bool:
        return self.javascript.parses(source)


class _Failed(Exception):
    def __init__(self, message: str, *, exhausted: bool) -> None:
        super().__init__(message)
        self.message = message
        self.exhausted = exhausted  # out of time, memory or stack: the engine may be in any state


class _Engine:
    """One context of QuickJS with everything loaded that an expression may use."""

    def __init__(self, seconds: float, megabytes: int) -> None:
        import quickjs  # only here: starting up must not pay for it

        self.texts = 0
        self._seconds = seconds
        self._megabytes = megabytes
        self._errors = (quickjs.JSException, ValueError, UnicodeError)
        self._context = quickjs.Context()
        self._context.set_memory_limit(megabytes << 20)
        self._zone = ""
        the_global = self._context.eval("this")
        self._date = self._context.eval(_script("date.js"))(the_global)
        self._context.eval(_script("java.js"))(the_global)
        start = self._context.eval(_script("start.js"))(the_global, _moment(), _script("moment.js"))
        self._begin = _member(self._context, start, "begin")
        self._run = _member(self._context, start, "run")
        self._compile = _member(self._context, start, "compile")
        self._set_zone = _member(self._context, self._date, "zone")
        self._set_now = _member(self._context, self._date, "now")
        self._context.set_time_limit(seconds)

    def begin(self, zone: str, now: float, variables: str) -> None:
        self.texts += 1
        if zone != self._zone:
            self._set_zone(json.dumps(transitions(zone)))
            self._zone = zone
        self._set_now(float(int(now * 1000)))  # of an integer the binding passes on 32 bits
        self._call(self._begin, variables)

    def run(self, source: str) -> str:
        answer: str = self._call(self._run, source)
        if answer[0] == "!":
            raise self._failed(json.loads(answer[1:]))
        text: str = json.loads(answer)
        # Half of a pair of UTF-16 is no character; Java prints a question mark.
        return text if text.isascii() else _LONE.sub("?", text)

    def compile(self, source: str) -> None:
        self._call(self._compile, source)

    def _call(self, function: Any, argument: str) -> Any:
        try:
            return function(argument)
        except self._errors as error:
            raise self._failed(str(error)) from None

    def _failed(self, thrown: str) -> _Failed:
        message = _plain(thrown)
        if message == "InternalError: interrupted":
            return _Failed(f"the expression did not end within {self._seconds:g} s", exhausted=True)
        if message in ("null", "InternalError: out of memory"):
            return _Failed(f"the expression needs more than {self._megabytes} MB of memory", exhausted=True)
        return _Failed(message, exhausted=message.startswith("InternalError"))


_LONE = pattern("[\ud800-\udfff]")
_ODD = pattern("[\0\ud800-\udfff]")
_STACK = pattern(r"\n(    at .*|undefined|)\Z", re.DOTALL)
_UNKNOWN = pattern(r"ReferenceError: '(.+)' is not defined")


def _plain(message: str) -> str:
    """QuickJS's message without the stack, in the words of other engines."""
    return _UNKNOWN.sub(r"ReferenceError: \1 is not defined", _ODD.sub("?", _STACK.sub("", message)))


def _task_failed(text: str, message: str, view: Iterable[str]) -> TaskFailed:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    unknown = re.fullmatch(r"ReferenceError: (.+) is not defined", message)
    near = suggest(unknown[1], sorted({*view, "moment", *_USUAL})) if unknown else None
    hint = f". Did you mean {near}?" if near else ""
    if unknown and ".file(" in text:
        hint = '. A file of a task stands alone in its braces, by a path in quotes: ${+task.file("path")}'
    return TaskFailed(f"Failed to evaluate a variable {shown} ({message}){hint}", "template_error", "config")


_USUAL = frozenset({"Array", "Date", "JSON", "Math", "Number", "Object", "String"}) & GLOBALS


def _variables(expressions: Sequence[Expression], view: Mapping[str, Any]) -> str:
    """The variables that the expressions may read, as JSON."""
    if any(one.dynamic for one in expressions):
        return _json({name: view[name] for name in view})
    names = set().union(*(one.names for one in expressions))
    return _json({name: view[name] for name in names if name in view})


# QuickJS reads an integer beyond 2^64 a little wrong, in JSON as everywhere, but not if it's written as a double.
_LONGEST = 19  # digits of an integer
_LONG = pattern(rf"\d{{{_LONGEST + 1}}}", re.ASCII)


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:  # a number that JSON doesn't know, or an integer of thousands of digits
        text = ""
    return text if text and not _LONG.search(text) else json.dumps(_without_oddities(value))


def _without_oddities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_oddities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_oddities(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        try:
            return float(value)
        except OverflowError:
            return None
    return value


@lru_cache(maxsize=8)
def _script(name: str) -> str:
    from importlib.resources import files

    return files("dagrun.core").joinpath("js", name).read_text("utf-8")


@lru_cache(maxsize=1)
def _moment() -> str:
    from importlib.resources import files

    return files("xstatic.pkg.moment").joinpath("data", "moment.min.js").read_text("utf-8")


def _member(context: quickjs.Context, owner: Any, name: str) -> Any:
    return context.eval("(function (owner, name) { return owner[name]; })")(owner, name)
