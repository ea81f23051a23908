"""The servers that a case asks for (`stubs`), and what it expects of the requests and mails that they got."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.stubs.http import HttpStub, http_stub
from tests.stubs.smtp import Mail, SmtpStub, smtp_stub


@dataclass
class Servers:
    http: HttpStub | None = None
    smtp: SmtpStub | None = None

    def fill(self, text: str) -> str:
        """The placeholders that name them."""
        if self.http:
            text = text.replace("{{HTTP_URL}}", self.http.url)
        return text.replace("{{SMTP_PORT}}", str(self.smtp.port)) if self.smtp else text


@contextmanager
def servers_of(case: Mapping[str, Any]) -> Iterator[Servers]:
    wanted, servers = case.get("stubs", {}), Servers()
    with ExitStack() as stack:
        if "http" in wanted:
            servers.http = stack.enter_context(http_stub(()))
            servers.http.routes = json.loads(servers.fill(json.dumps(wanted["http"])))
        if "smtp" in wanted:
            servers.smtp = stack.enter_context(smtp_stub(wanted["smtp"]))
        yield servers


def judge_servers(expect: Mapping[str, Any], servers: Servers) -> None:
    if servers.http:
        judge_requests(expect, servers.http)
    if servers.smtp:
        judge_mails(expect, servers.smtp)


def judge_requests(expect: Mapping[str, Any], stub: HttpStub) -> None:
    assert len(stub.requests) >= expect.get("http_count_min", 0)
    if "http_requests" not in expect:
        return
    assert len(stub.requests) == len(expect["http_requests"]), stub.requests
    for got, wanted in zip(stub.requests, expect["http_requests"], strict=True):
        for key in ("method", "path", "body"):
            assert got[key] == wanted.get(key, got[key])
        if "body_json" in wanted:
            assert json.loads(got["body"]) == wanted["body_json"]
        for name, value in wanted.get("headers", {}).items():
            assert got["headers"].get_all(name, []) == values_of(value), name


def values_of(header: Any) -> list[str]:
    """A text, a list of them for repeats, or null for none."""
    if header is None:
        return []
    return header if isinstance(header, list) else [header]


def judge_mails(expect: Mapping[str, Any], stub: SmtpStub) -> None:
    assert stub.connections == expect.get("smtp_connections", stub.connections)
    if "mails" not in expect:
        return
    assert len(stub.mails) == len(expect["mails"])
    for got, wanted in zip(stub.mails, expect["mails"], strict=True):
        judge_mail(got, wanted)


def judge_mail(got: Mail, wanted: Mapping[str, Any]) -> None:
    message = got.message
    assert got.rcpt == wanted.get("rcpt", got.rcpt)
    if "auth" in wanted:
        assert got.auth == wanted["auth"]
    for name, value in wanted.get("headers", {}).items():
        assert message[name] == value, name
    assert message.get_content_type() == wanted.get("type", message.get_content_type())
    if "body" in wanted:
        body = message.get_body(("plain", "html"))
        assert body is not None and body.get_content().rstrip("\r\n") == wanted["body"]
    if "attachments" in wanted:
        found = [
            {"filename": part.get_filename(), "type": part.get_content_type(), "text": text_of(part)}
            for part in message.iter_attachments()
        ]
        assert found == wanted["attachments"]


def text_of(part: Any) -> str:
    return part.get_payload(decode=True).decode().rstrip("\r\n")
