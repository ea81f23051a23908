"""Who is told of what (features F93): `notify:` at the top of a workflow's file, or in the settings for all workflows.

notify: {on: [failed, late, recovered], to: "slack:#ops", template: notice.yml, once_per: run}

Or a list of such maps. What a target looks like is known to `dagrun.notices`; here it is a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from dagrun.core.config import Map, Template, suggest
from dagrun.core.workflow import NotifyRule, Place
from dagrun.errors import WorkflowError
from dagrun.light import NamedTuple

KEY = "notify"
EVENTS = ("failed", "late", "recovered", "canceled", "succeeded")
USUAL = ("failed", "late", "recovered")
SAME = {"killed": "canceled"}  # people say both
OPTIONS = ("on", "to", "template", "once_per")
ONCE_PER = ("run", "session")
SECRET = "${secret:"


class Source(NamedTuple):
    """What messages call it, and where it stands."""

    name: str
    place: Place


def notify_of(config: Map) -> tuple[NotifyRule, ...]:
    """The rules of a file. Raises WorkflowError with the place of what is wrong."""
    if KEY not in config:
        return ()
    return rules_of(config[KEY], Source(KEY, config.place(KEY)))


def rules_of(given: Any, source: Source) -> tuple[NotifyRule, ...]:
    items = given if isinstance(given, list) else [given]
    if not items:
        refuse(source, f"{source.name} is empty", 'write, for example,  {on: [failed], to: "slack:#ops"}')
    return tuple(rule_of(item, source) for item in items)


def rule_of(given: Any, source: Source) -> NotifyRule:
    if not isinstance(given, Mapping):
        refuse(source, f"{source.name} must be a map, or a list of maps", 'write  {on: [failed], to: "slack:#ops"}')
    for key in given:
        if key not in OPTIONS:
            near = suggest(key, OPTIONS)
            refuse(at(source, given, key), f"{source.name} has no option {key!r}", did_you_mean(near, OPTIONS))
    return NotifyRule(
        on=events_of(given, source) if given.get("on") is not None else USUAL,
        to=targets_of(given, source),
        template=text_of(given, "template", source),
        once_per=once_per_of(given, source),
        place=at(source, given, "to" if "to" in given else "").place,
    )


def events_of(given: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    here = at(source, given, "on")
    found = []
    for name in texts_of(given["on"], here, "on", "write  on: [failed, late]"):
        name = SAME.get(name, name)
        if name not in EVENTS:
            refuse(here, f"{source.name}: on can't be {name!r}", did_you_mean(suggest(name, EVENTS), EVENTS))
        found.append(name)
    return tuple(dict.fromkeys(found))


def targets_of(given: Mapping[str, Any], source: Source) -> tuple[str, ...]:
    if given.get("to") is None:
        return ()
    here = at(source, given, "to")
    found = texts_of(given["to"], here, "to", 'write  to: "slack:#ops", or a list of targets')
    for text in found:
        if isinstance(text, Template) and "$" in text.replace(SECRET, ""):
            refuse(here, f"{source.name}: {text!r} can't be used: of all variables only ${{secret:KEY}} is known", None)
    return tuple(dict.fromkeys(found))


def text_of(given: Mapping[str, Any], key: str, source: Source) -> str | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or isinstance(value, Template) or not value:
        refuse(at(source, given, key), f"{source.name}: {key} must be the name of a file", None)
    return value


def once_per_of(given: Mapping[str, Any], source: Source) -> str:
    value = given.get("once_per", ONCE_PER[0])
    if value not in ONCE_PER:
        near = suggest(str(value), ONCE_PER)
        refuse(
            at(source, given, "once_per"), f"{source.name}: once_per can't be {value!r}", did_you_mean(near, ONCE_PER)
        )
    return str(value)


def texts_of(value: Any, source: Source, key: str, hint: str) -> list[str]:
    """A list of texts, one text, or several with commas between them."""
    if isinstance(value, str):
        items: list[Any] = [value] if isinstance(value, Template) else [part.strip() for part in value.split(",")]
    else:
        items = value if isinstance(value, list) else [None]
    if not items or not all(isinstance(item, str) and item for item in items):
        refuse(source, f"{source.name}: {key} must be a text, or a list of texts", hint)
    return items


# -- errors


def at(source: Source, given: Mapping[str, Any], key: str) -> Source:
    """The key's own place, if it is known."""
    return source._replace(place=given.place(key)) if isinstance(given, Map) else source


def did_you_mean(near: str | None, known: tuple[str, ...]) -> str:
    return f"did you mean {near}?" if near else f"use {', '.join(known)}"


def refuse(source: Source, message: str, hint: str | None) -> NoReturn:
    file, line, column = source.place
    raise WorkflowError(message, kind="bad_notify", file=file, line=line, column=column, hint=hint)
