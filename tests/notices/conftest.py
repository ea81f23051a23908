"""Servers that notices are delivered to, on this machine and without a proxy before them."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from dagrun.errors import DeliveryFailed
from dagrun.notices.delivery import deliver
from dagrun.notices.notice import Notice
from dagrun.notices.target import parse_target

NOTICE = Notice(
    "failed",
    "report",
    "2026-01-15T00:00:00+00:00",
    7,
    "report failed",
    "+load: Command failed with code 3",
    {"tries": 3},
)
SECONDS = 20.0  # no server of these tests needs as long


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority, monkeypatch, tmp_path) -> ssl.SSLContext:
    """The context of a server at 127.0.0.1 whose certificate is trusted."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return server_context(authority)


@pytest.fixture
def foreign_tls() -> ssl.SSLContext:
    """Likewise, but nobody has heard of the authority."""
    return server_context(trustme.CA())


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def dripping() -> Iterator[int]:
    """The port of a server that sends a letter now and then, so that no single read takes long, and never ends."""
    closing = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                while not closing.wait(0.02):
                    self.request.sendall(b"2")
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.server_address[1]
        closing.set()
        server.shutdown()
        thread.join()


def send(target: str, settings: dict[str, object] | None = None, **more: object) -> None:
    deliver(NOTICE, parse_target(target), settings or {}, **{"timeout": SECONDS, **more})


def why_not(target: str, settings: dict[str, object] | None = None, **more: object) -> str:
    """The message of a delivery that fails; nothing of what led to it is told either."""
    with pytest.raises(DeliveryFailed) as caught:
        send(target, settings, **more)
    assert caught.value.__cause__ is None and (caught.value.__suppress_context__ or caught.value.__context__ is None)
    return str(caught.value)
