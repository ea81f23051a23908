"""Where notices go: `slack:#channel`, `slack:https://hooks…`, `mail:someone@example.com`, `https://any.url`, `stderr`.

The URL of a webhook is a secret: who knows it may write. So nothing here, and no message of this package, shows more of a
URL than its host.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from dagrun.errors import UserError
from dagrun.light import NamedTuple

SLACK = "slack"
MAIL = "mail"
HTTP = "http"
STDERR = "stderr"

FORMS = "slack:#channel, slack:https://hooks.slack.com/…, mail:someone@example.com, https://any.url or stderr"

_CHANNEL = re.compile(r"[#@][^\s#@,]+")
_ADDRESS = re.compile(r"[^\s@,;<>()]+@[^\s@,;<>()]+")
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)


class Target(NamedTuple):
    kind: str  # slack, mail, http or stderr
    address: str  # a URL, a channel or a mail address

    @property
    def is_url(self) -> bool:
        return "://" in self.address

    @property
    def shown(self) -> str:
        """For people."""
        if self.kind == STDERR:
            return self.kind
        address = without_secrets(self.address) if self.is_url else self.address
        return address if self.kind == HTTP else f"{self.kind}:{address}"

    def __repr__(self) -> str:
        return f"Target({self.shown})"


def parse_target(text: str) -> Target:
    """Raises UserError, which names the forms that there are."""
    text = text.strip()
    kind, _, address = text.partition(":")
    if text == STDERR:
        return Target(STDERR, "")
    if kind == SLACK and (_CHANNEL.fullmatch(address) or split_url(address)):
        return Target(SLACK, address)
    if kind == MAIL and _ADDRESS.fullmatch(address):
        return Target(MAIL, address)
    if split_url(text):
        return Target(HTTP, text)
    raise UserError(f"{without_secrets(text)!r} is no target for notices\n  write {FORMS}")


def split_url(text: str) -> SplitResult | None:
    """The parts of an http or https address; None if it is none."""
    if not _URL.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and port != 0 else None


def without_secrets(text: str) -> str:
    """The text without what may be secret in a URL: user, password, path and all behind it."""
    return re.sub(r"(://)(?:[^/?#\s]*@)?([^/?#\s]*)\S*", r"\1\2/…", text)
