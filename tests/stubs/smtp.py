"""An SMTP server that keeps what it gets: `{auth?, reject_rcpt?}`; with a context it offers STARTTLS, or begins by TLS."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass
class Mail:
    sender: str
    rcpt: list[str]
    data: bytes
    auth: list[str] | None  # user and password
    tls: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.data, policy=policy.default)  # type: ignore[return-value]


@dataclass
class SmtpStub:
    options: Mapping[str, Any]
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    mails: list[Mail] = field(default_factory=list)

    def rejects(self, address: str) -> bool:
        rejected = self.options.get("reject_rcpt")
        return rejected is True or address in (rejected or ())


class Session(socketserver.StreamRequestHandler):
    """One connection."""

    stub: SmtpStub
    secure = False
    auth: list[str] | None = None

    def handle(self) -> None:
        self.stub.connections += 1
        self.reset()
        self.say("220 stub")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            answer = self.verbs().get(verb.upper(), lambda _: "502 unknown")(rest)
            if answer:
                self.say(answer)
            if verb.upper() == "QUIT":
                return

    def verbs(self) -> dict[str, Callable[[str], str | None]]:
        return {
            "EHLO": self.hello, "HELO": lambda _: "250 stub", "AUTH": self.log_in, "MAIL": self.begin, "RCPT": self.add,
            "DATA": self.take, "RSET": lambda _: self.reset(), "QUIT": lambda _: "221 bye", "STARTTLS": self.start_tls,
        }  # fmt: skip

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()

    def reset(self) -> str:
        self.sender, self.rcpt = "", list[str]()
        return "250 OK"

    def hello(self, _: str) -> str:
        extensions = ["stub"]
        if self.stub.options.get("auth"):
            extensions.append("AUTH PLAIN")
        if self.stub.tls and not self.secure:
            extensions.append("STARTTLS")
        return "\r\n".join([*(f"250-{name}" for name in extensions[:-1]), f"250 {extensions[-1]}"])

    def log_in(self, rest: str) -> str:
        _, _, initial = rest.partition(" ")
        _, user, password = base64.b64decode(initial).decode().split("\0")
        self.auth = [user, password]
        return "535 no" if password == "wrong" else "235 OK"

    def begin(self, rest: str) -> str:
        self.sender = address(rest)
        return "250 OK"

    def add(self, rest: str) -> str:
        if self.stub.rejects(address(rest)):
            return "550 nobody of that name"
        self.rcpt.append(address(rest))
        return "250 OK"

    def take(self, _: str) -> str | None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return None
            lines.append(line.removeprefix(b"."))
        self.stub.mails.append(Mail(self.sender, self.rcpt, b"".join(lines), self.auth, self.secure))
        return self.reset()

    def start_tls(self, _: str) -> None:
        self.say("220 go on")
        assert self.stub.tls is not None
        self.connection = self.stub.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")  # type: ignore[assignment]
        self.secure = True


def address(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def smtp_stub(
    options: Mapping[str, Any], *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[SmtpStub]:
    stub = SmtpStub(options, starttls)
    server = Server(("127.0.0.1", 0), type("StubSession", (Session,), {"stub": stub, "secure": tls is not None}))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
