"""A mail handed to a server, within a time limit. Called by `delivery.py`; no message holds the password.

Settings: `notices.mail.host`, `from`, `port`, `username`, `password` and `tls`: `true` (STARTTLS, the default), `ssl` (TLS
from the first byte) or `false`.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import localtime, make_msgid, parseaddr
from typing import Any

from dagrun.errors import DeliveryFailed
from dagrun.light import NamedTuple
from dagrun.notices.deadline import Deadline

PREFIX = "notices.mail."
PORTS = {"starttls": 587, "ssl": 465, "none": 25}
TLS = {
    "": "starttls", "true": "starttls", "yes": "starttls", "starttls": "starttls", "ssl": "ssl", "tls": "ssl",
    "false": "none", "no": "none", "none": "none",
}  # fmt: skip
_SHOWN = 200  # characters of what a server says


class Mailbox(NamedTuple):
    """The server that takes our mails, and as whom we send."""

    host: str
    port: int
    sender: str
    username: str
    password: str
    tls: str  # starttls, ssl or none

    def __repr__(self) -> str:
        return f"Mailbox({self.host}:{self.port})"


def mailbox_of(settings: Mapping[str, Any]) -> Mailbox:
    """Raises DeliveryFailed, which names the setting that is missing or wrong."""
    texts = {key.removeprefix(PREFIX): str(value) for key, value in settings.items() if key.startswith(PREFIX)}
    for key in ("host", "from"):
        if not texts.get(key):
            raise DeliveryFailed(f"the setting {PREFIX}{key} is missing")
    tls = TLS.get(texts.get("tls", "").lower())
    if tls is None:
        raise DeliveryFailed(f"the setting {PREFIX}tls must be true, ssl or false")
    port = texts.get("port") or str(PORTS[tls])
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise DeliveryFailed(f"the setting {PREFIX}port is no number of a port")
    if "@" not in parseaddr(texts["from"])[1]:
        raise DeliveryFailed(f"the setting {PREFIX}from is no mail address")
    return Mailbox(texts["host"], int(port), texts["from"], texts.get("username", ""), texts.get("password", ""), tls)


def send_mail(mail: EmailMessage, box: Mailbox, *, timeout: float) -> None:
    """The server has taken the mail. Raises DeliveryFailed; `timeout` is in seconds, for all of it."""
    mail["Date"] = localtime()
    mail["Message-ID"] = make_msgid(domain=parseaddr(box.sender)[1].rpartition("@")[2])
    with Deadline(timeout) as deadline:
        try:
            hand_over(mail, box, deadline)
            return
        except (OSError, smtplib.SMTPException, ValueError) as error:
            problem = reason_of(error, box, deadline)
    raise DeliveryFailed(problem)


def hand_over(mail: EmailMessage, box: Mailbox, deadline: Deadline) -> None:
    server = connect(box, deadline)
    try:
        if box.tls == "starttls":
            needs(server, "starttls", f"offers no STARTTLS; set {PREFIX}tls to ssl or false")
            server.starttls(context=ssl.create_default_context())
        if box.username:
            needs(server, "auth", f"lets nobody log in; remove {PREFIX}username")
            server.login(box.username, box.password)
        server.send_message(mail)
    except BaseException:
        server.close()
        raise
    try:
        server.quit()
    except (OSError, smtplib.SMTPException):  # it has the mail
        server.close()


def needs(server: smtplib.SMTP, extension: str, remedy: str) -> None:
    server.ehlo_or_helo_if_needed()
    if not server.has_extn(extension):
        raise DeliveryFailed(f"the server {remedy}")


def connect(box: Mailbox, deadline: Deadline) -> smtplib.SMTP:
    class Plain(smtplib.SMTP):
        def getreply(self) -> tuple[int, bytes]:
            deadline.watch(self.sock)
            return super().getreply()

    class Secure(smtplib.SMTP_SSL):
        def getreply(self) -> tuple[int, bytes]:
            deadline.watch(self.sock)
            return super().getreply()

    if box.tls == "ssl":
        return Secure(box.host, box.port, timeout=deadline.seconds, context=ssl.create_default_context())
    return Plain(box.host, box.port, timeout=deadline.seconds)


# -- what went wrong, in words that hold no secret


def reason_of(error: Exception, box: Mailbox, deadline: Deadline) -> str:
    host = box.host
    if deadline.expired or isinstance(error, TimeoutError):
        return f"{host} did not answer within {deadline.seconds:g} s"
    match error:
        case smtplib.SMTPAuthenticationError():
            # What the server says here may repeat what it was sent.
            return f"{host} did not accept the user name and password"
        case smtplib.SMTPRecipientsRefused():
            code, text = next(iter(error.recipients.values()))
            return f"{host} refused the recipient: {code} {said(text, box)}"
        case smtplib.SMTPResponseException():
            return f"{host} refused the mail: {error.smtp_code} {said(error.smtp_error, box)}"
        case UnicodeError() | smtplib.SMTPNotSupportedError():
            return f"{host} takes plain ASCII only, in addresses, user name and password"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {host} can't be trusted: {error.verify_message}"
        case ConnectionRefusedError():
            return f"{host} refused the connection on port {box.port}"
        case OSError() if error.strerror:
            return f"{host} can't be reached: {error.strerror}"
    return f"{host} ended the connection ({type(error).__name__})"


def said(text: bytes | str, box: Mailbox) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if box.password:
        shown = shown.replace(box.password, "***")
    return " ".join(shown.split())[:_SHOWN]
