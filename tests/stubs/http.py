"""An HTTP server with routes: `{path, method?, answers: [{status, headers?, body?, delay?}]}`.

Answers come in turn, the last one repeats; a path without a route is 404. `delay` is a wait for the end of the stub, so
that nobody waits longer than he has to.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class HttpStub:
    port: int = 0
    scheme: str = "http"
    routes: Sequence[Mapping[str, Any]] = ()
    requests: list[dict[str, Any]] = field(default_factory=list)
    served: dict[int, int] = field(default_factory=dict)  # route → answers given so far
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def answer(self, method: str, target: str) -> Mapping[str, Any]:
        """A proxy is asked for whole URLs; their paths have routes like all others."""
        path = urlsplit(target).path if "://" in target else target.partition("?")[0]
        with self.lock:
            for number, route in enumerate(self.routes):
                if route["path"] == path and route.get("method", method) == method:
                    turn = self.served.get(number, 0)
                    self.served[number] = turn + 1
                    found: Mapping[str, Any] = route["answers"][min(turn, len(route["answers"]) - 1)]
                    return found
        return {"status": 404}


def handler(stub: HttpStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = {"method": self.command, "path": self.path, "headers": self.headers, "body": body.decode()}
            with stub.lock:
                stub.requests.append(asked)
            given = stub.answer(self.command, self.path)
            if given.get("delay") and stub.closing.wait(given["delay"]):
                return
            self.send(given)

        def send(self, given: Mapping[str, Any]) -> None:
            data = bytes_of(given.get("body", ""))
            self.send_response(given["status"])
            headers = {"Content-Length": str(len(data)), **given.get("headers", {})}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler.do)
    return Handler


def bytes_of(body: Any) -> bytes:
    if isinstance(body, Mapping):
        return str(body["repeat"]).encode() * int(body["times"])
    return body if isinstance(body, bytes) else str(body).encode()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def http_stub(routes: Sequence[Mapping[str, Any]], tls: ssl.SSLContext | None = None) -> Iterator[HttpStub]:
    """A running server. Its port is only known now: `routes` may be set afterwards."""
    stub = HttpStub(routes=routes, scheme="https" if tls else "http")
    server = Server(("127.0.0.1", 0), handler(stub))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
