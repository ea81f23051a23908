"""A wire to an engine that can be cut, and can fall silent: what stands at its ends notices nothing else.

with Wire(target, place) as wire:   `wire.host` is the address of this end: unix://… or tcp://…, like the target
    wire.cut()                      nobody is there any more, and what was under way breaks off
    wire.silence()                  all is accepted, and nothing gets through, until `join`
    wire.loses = b"/start"          the answer to the next request with these bytes never comes: the connection breaks off
    wire.spares = 1000              … after so many bytes of it
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 1 << 16
LOOK_AGAIN_SECONDS = 0.05


class Wire:
    def __init__(self, target: str, place: Path) -> None:
        self.target = target
        self.path = place / "wire.sock"
        self.open = threading.Event()  # what comes is carried on
        self.broken = threading.Event()  # for the connections of now
        self.server: socket.socket | None = None
        self.doorkeeper = threading.Thread()
        self.port = 0
        self.loses: bytes | None = None
        self.spares = 0
        self.accepted = threading.Semaphore(0)

    def __enter__(self) -> Wire:
        self.join()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    @property
    def host(self) -> str:
        return f"unix://{self.path}" if self.target.startswith("unix://") else f"tcp://127.0.0.1:{self.port}"

    def join(self) -> None:
        self.open.set()
        if self.server is None:
            self.broken = threading.Event()
            self.server = self.listening()
            self.doorkeeper = threading.Thread(target=self.accept, args=(self.server, self.broken), daemon=True)
            self.doorkeeper.start()

    def silence(self) -> None:
        self.open.clear()

    def cut(self) -> None:
        if self.server is not None:
            self.broken.set()
            self.doorkeeper.join()  # else its port is not free yet
            self.server.close()
            self.server = None
            self.path.unlink(missing_ok=True)

    def listening(self) -> socket.socket:
        if self.target.startswith("unix://"):
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(self.path))
            server.listen(100)
        else:
            server = socket.create_server(("127.0.0.1", self.port), backlog=100)
            self.port = server.getsockname()[1]
        server.settimeout(LOOK_AGAIN_SECONDS)
        return server

    def accept(self, server: socket.socket, broken: threading.Event) -> None:
        while not broken.is_set():
            with suppress(OSError):
                near, _ = server.accept()
                self.accepted.release()
                threading.Thread(target=self.connect, args=(near, broken), daemon=True).start()

    def connect(self, near: socket.socket, broken: threading.Event) -> None:
        while not self.open.wait(LOOK_AGAIN_SECONDS):
            if broken.is_set():
                near.close()
                return
        if self.target.startswith("unix://"):
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target.removeprefix("unix://"))
        else:
            host, _, port = self.target.removeprefix("tcp://").partition(":")
            far = socket.create_connection((host, int(port)))
        losing = threading.Event()
        threading.Thread(target=self.carry, args=(near, far, broken, losing), daemon=True).start()
        self.carry(far, near, broken, losing, answers=True)

    def carry(
        self,
        source: socket.socket,
        target: socket.socket,
        broken: threading.Event,
        losing: threading.Event,
        *,
        answers: bool = False,
    ) -> None:
        with suppress(OSError, ValueError):  # the other direction has broken off, and closed both
            while not broken.is_set():
                if not select.select([source], [], [], LOOK_AGAIN_SECONDS)[0]:
                    continue
                data = source.recv(CHUNK_BYTES)
                while not self.open.wait(LOOK_AGAIN_SECONDS):
                    if broken.is_set():
                        return self.part(source, target)
                if answers and losing.is_set():
                    data, self.spares = data[: self.spares], self.spares - len(data)
                    target.sendall(data)
                    if self.spares <= 0:
                        return self.part(source, target)
                    continue
                if not answers and self.loses and self.loses in data:
                    self.loses = None
                    losing.set()
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return None
                target.sendall(data)
        return self.part(source, target)

    def part(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
