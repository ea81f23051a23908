"""Send one message by SMTP: `send_mail.py request.json result.json`.

One file with nothing but the standard library; mail> starts it, in the working directory of the task, where the
attachments are. The result is `{}`, or `{"error": {"message", "kind", "category"}}`. A message goes to all of its
recipients or to none: when the server refuses one, nothing is sent.
"""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.utils import make_msgid
from typing import Any

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
# Lines of seven bits: the message passes servers of any age, and none has to be asked what it can do.
POLICY = policy.SMTP.clone(cte_type="7bit")


class NotSent(Exception):
    """Nobody got the message."""

    def __init__(self, message: str, kind: str = "mail_failed", category: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.category = category


def main(request_file: str, result_file: str) -> None:
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    result = outcome(request["message"], request["server"])
    with open(f"{result_file}.part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(f"{result_file}.part", result_file)


def outcome(wanted: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    try:
        sender, recipients, message = compose(wanted)
        send(server, sender, recipients, message)
    except NotSent as problem:
        return {"error": {"message": str(problem), "kind": problem.kind, "category": problem.category}}
    return {}


# -- the message


def compose(wanted: Mapping[str, Any]) -> tuple[str, list[str], bytes]:
    """The sender's address, those of all recipients, and the message. Raises NotSent."""
    message = EmailMessage(policy=POLICY)
    sender = set_addresses(message, "From", "from", [wanted["from"]])
    set_addresses(message, "Sender", "from", [wanted["from"]])
    recipients = set_addresses(message, "To", "to", wanted["to"])
    recipients += set_addresses(message, "Cc", "cc", wanted["cc"])
    recipients += [address_of("bcc", text).addr_spec for text in wanted["bcc"]]
    message["Subject"] = header_text(wanted["subject"])
    message["Message-ID"] = make_msgid(domain=sender[0].rpartition("@")[2] or None)
    message.set_content(wanted["text"], subtype="html" if wanted["html"] else "plain")
    for attached in wanted["attach_files"]:
        attach(message, attached, wanted["top"])
    return sender[0], recipients, bytes(message)


def header_text(text: str) -> str:
    return " ".join(text.splitlines())


def set_addresses(message: EmailMessage, header: str, option: str, texts: list[str]) -> list[str]:
    """The header has them all; returns the addresses without names."""
    found = [address_of(option, text) for text in texts]
    if found:
        message[header] = found
    return [one.addr_spec for one in found]


def address_of(option: str, text: str) -> Address:
    """The one address in the text, with its name if it has one. Raises NotSent for none, two, or a bad one."""
    try:
        parsed: Any = POLICY.header_factory("to", header_text(text))
        groups, defects = parsed.groups, parsed.defects
    except Exception:  # the parser of the standard library stumbles over some bad ones, each time differently
        groups, defects = (), ()
    if len(groups) != 1 or groups[0].display_name is not None:
        raise NotSent(f"{option}: {text!r} must be one address; a list takes several", "bad_option", "config")
    (found,) = groups[0].addresses
    # A local user needs no domain; the parser counts that as a defect.
    known_defects = 0 if found.domain else 1
    if not found.username or len(defects) > known_defects or not found.addr_spec.isascii():
        raise NotSent(f"{option}: {text!r} is no address that mail can be sent to", "bad_option", "config")
    return Address(found.display_name, found.username, found.domain)


def attach(message: EmailMessage, attached: Mapping[str, str], top: str) -> None:
    """Raises NotSent: the file is missing or lies outside of the project, the type is none."""
    path, kind = os.path.realpath(attached["path"]), type_of(attached["type"])
    project = os.path.realpath(top)
    if os.path.commonpath([path, project]) != project:
        raise NotSent(f"attach_files: {attached['path']} is outside of the project", "outside_project", "config")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as problem:
        raise NotSent(f"attach_files: {attached['path']} can't be read: {problem.strerror}") from None
    main_type, sub_type, parameters = kind
    message.add_attachment(
        data, maintype=main_type, subtype=sub_type, filename=header_text(attached["name"]), params=parameters
    )


def type_of(text: str) -> tuple[str, str, dict[str, str]]:
    """`text/csv; charset=utf-8` in its parts."""
    header = Message()
    header["Content-Type"] = header_text(text)
    main_type, sub_type = header.get_content_maintype(), header.get_content_subtype()
    if f"{main_type}/{sub_type}" != text.partition(";")[0].strip().lower() or main_type in ("multipart", "message"):
        raise NotSent(f"attach_files: {text!r} is no type of a file, like text/csv", "bad_option", "config")
    return main_type, sub_type, dict((header.get_params() or [])[1:])


# -- the server


def send(server: Mapping[str, Any], sender: str, recipients: list[str], message: bytes) -> None:
    place = f"{server['host']}:{server['port']}"
    try:
        connection = connect(server)
        try:
            log_in(connection, server)
            deliver(connection, sender, recipients, message)
        finally:
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
    except ssl.SSLCertVerificationError as problem:
        raise NotSent(f"the certificate of {place} is not accepted: {problem.verify_message}") from None
    except smtplib.SMTPResponseException as problem:
        raise NotSent(f"{place} answered {reply(problem.smtp_code, problem.smtp_error)}") from None
    except TimeoutError:
        raise NotSent(f"{place} did not answer in time") from None
    except (smtplib.SMTPException, OSError) as problem:
        said = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise NotSent(f"no mail by {place}: {said}") from None


def connect(server: Mapping[str, Any]) -> smtplib.SMTP:
    """An open connection, by TLS as far as it is asked for."""
    place = server["host"], server["port"]
    if server["ssl"]:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            *place, timeout=CONNECT_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = smtplib.SMTP(*place, timeout=CONNECT_SECONDS)
    if connection.sock is not None:
        connection.sock.settimeout(READ_SECONDS)
    connection.set_debuglevel(1 if server["debug"] else 0)
    connection.ehlo_or_helo_if_needed()
    if server["starttls"] != "never" and (connection.has_extn("starttls") or server["starttls"] == "required"):
        connection.starttls(context=ssl.create_default_context())
        connection.ehlo_or_helo_if_needed()
    return connection


def log_in(connection: smtplib.SMTP, server: Mapping[str, Any]) -> None:
    if server["username"] is None:
        return
    try:
        connection.login(server["username"], server["password"])
    except smtplib.SMTPNotSupportedError:
        raise NotSent(
            f"{server['host']}:{server['port']} offers no login that is known here; take `username` away to send without"
        ) from None
    except UnicodeEncodeError:
        raise NotSent("the user name and the password for mail must be of ASCII characters") from None


def deliver(connection: smtplib.SMTP, sender: str, recipients: list[str], message: bytes) -> None:
    """To all or to none. Raises NotSent, SMTPResponseException."""
    accepted(connection.mail(sender), f"the sender {sender}")
    refused = []
    for recipient in dict.fromkeys(recipients):
        code, text = connection.rcpt(recipient)
        if code not in (250, 251):
            refused.append(f"{recipient} ({reply(code, text)})")
    if refused:
        raise NotSent(f"refused: {', '.join(refused)}; nothing was sent")
    accepted(connection.data(message), "the message")


def accepted(answer: tuple[int, bytes], what: str) -> None:
    code, text = answer
    if code != 250:
        raise NotSent(f"{what} was refused: {reply(code, text)}")


def reply(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(said.split())}".strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
