"""Notices and what they look like where they go: values only, no I/O.

A notice tells people that something happened to an attempt. This file owns its form as JSON, for Slack and as a mail, and
the templates that people write for it. It knows neither the engine, which makes notices, nor where secrets come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dagrun.core.config import Template, mark_templates
from dagrun.core.expression import Expression
from dagrun.core.template import Scope, render
from dagrun.core.workflow import NOTHING
from dagrun.core.yaml import load
from dagrun.errors import TaskFailed

if TYPE_CHECKING:
    from email.message import EmailMessage

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
MOST_TRIES = 10


class Notice(NamedTuple):
    kind: str  # failed, late, recovered, test …
    workflow: str
    session_time: str  # as people read it, with its offset
    attempt: int | None
    title: str  # one line
    text: str
    facts: Mapping[str, Any] = NOTHING  # what else templates and programs may want; JSON values


def next_wait(tries: int) -> float | None:
    """The seconds to wait after so many tries that failed; None: it was the last one (spec/scheduling 11.5)."""
    if tries >= MOST_TRIES:
        return None
    return min(FIRST_WAIT_SECONDS * 2.0 ** max(0, tries - 1), LONGEST_WAIT_SECONDS)


# -- forms


def json_body(notice: Notice) -> dict[str, Any]:
    """What an address of one's own gets."""
    return {**notice._asdict(), "facts": dict(notice.facts)}


def slack_payload(notice: Notice, channel: str | None = None) -> dict[str, Any]:
    """What an incoming webhook of Slack takes. `&`, `<` and `>` have a meaning there and are escaped."""
    text = f"*{slack_text(one_line(notice.title))}*"
    if notice.text:
        text += f"\n{slack_text(notice.text)}"
    return {"text": text, **({"channel": channel} if channel else {})}


def slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mail_of(notice: Notice, sender: str, recipient: str) -> EmailMessage:
    """The mail, without date and id. Raises ValueError for an address that can't stand in a header."""
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["Subject"] = writable(one_line(notice.title))
    mail["From"] = sender
    mail["To"] = recipient
    mail["Auto-Submitted"] = "auto-generated"  # so that nobody's absence note answers
    mail.set_content(writable(notice.text))
    return mail


def plain_text(notice: Notice) -> str:
    """For a terminal."""
    return "\n".join(part for part in (one_line(notice.title), notice.text) if part)


def one_line(text: str) -> str:
    return " ".join(text.split())


def writable(text: str) -> str:
    """What came from bytes that were no text can't be encoded again: a `?` each."""
    return text.encode("utf-8", "replace").decode("utf-8")


# -- templates


class OnlyNames:
    """Stands for the engine where there is none: `${a.b[0]}` is looked up without it."""

    def run(self, text: str, expressions: Sequence[Expression], view: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        raise TaskFailed(
            f"Failed to evaluate a variable {text} (only names can be used here, such as ${{error.message}})",
            "template_error",
            "config",
        )

    def parses(self, source: str) -> bool:  # noqa: ARG002
        return True


def render_template(text: str, facts: Mapping[str, Any], javascript: Scope | None = None) -> dict[str, Any]:
    """The map that a template holds, YAML or JSON, each `${…}` in its texts filled in from the facts.

    It is read first and filled in then, so that no fact can change its form. With `javascript`, a `${…}` may hold an
    expression; otherwise a name. Raises WorkflowError for a text that holds no map, TaskFailed(`template_error`) for a
    name that is no fact.
    """
    return {key: filled(value, facts, javascript or OnlyNames()) for key, value in read_template(text).items()}


def read_template(text: str) -> Mapping[str, Any]:
    """The map, its texts with a `$` marked as templates. JSON is read as such: YAML takes no tabs."""
    if text.lstrip().startswith("{"):
        try:
            found: Mapping[str, Any] = mark_templates(json.loads(text))
        except ValueError:
            pass  # a map in YAML's short form, or a mistake that the reader of YAML explains
        else:
            return found
    return load(text, "template")


def filled(value: Any, facts: Mapping[str, Any], javascript: Scope) -> Any:
    """A copy of the value, each template in it filled in; a template sees the facts, and nothing else of its map."""
    if isinstance(value, Template):
        return render(value, facts, javascript)
    if isinstance(value, Mapping):
        return {key: filled(item, facts, javascript) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, facts, javascript) for item in value]
    return value
