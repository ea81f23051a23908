"""A limit for a whole conversation over a socket.

The time limits of sockets are for one read or write each; a server that sends a byte now and then would hold its client
for ever. When the time is over, the socket is shut down, and whoever reads from it goes on with an error.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Timer
from types import TracebackType


class Deadline:
    """Use as a context. `watch` names the socket that is shut down; the last one counts."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._socket: socket.socket | None = None
        self._timer = Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def watch(self, found: socket.socket | None) -> None:
        self._socket = found
        if self.expired:
            self._shut_down()

    def _expire(self) -> None:
        self.expired = True
        self._shut_down()

    def _shut_down(self) -> None:
        # Not the method of a TLS socket, which would take away what another thread is just reading with.
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
