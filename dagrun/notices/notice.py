"""Notices and what they look like where they go: values only, no I/O.

A notice tells people that something happened to an attempt. This file owns its form as JSON, for Slack and as a mail. It
knows neither the engine, which makes notices, nor where secrets come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagrun.core.workflow import NOTHING
from dagrun.light import NamedTuple

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
