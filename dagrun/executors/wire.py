"""What the keeper and its clients say to each other: one JSON object a line, over a Unix socket.

Each connection is about one try, or about none: its first line asks, the next one answers, and the try's end comes by
itself; then the keeper hangs up. So the connection is also what its client selects on: it is readable when there is an end
to be told, or no keeper any more.

    start  name argv environment directory log mask → pid, later the end | the end, with the pid | failed
    watch  name                                     → likewise; failed (`lost`): not known here
    stop   name grace signal                        no answer: its end will come
    names                                           → names of what runs

An end is `{"exit": [exit code, peak memory, CPU seconds]}`, a failure `{"failed": {the fields of TaskFailed}}`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.plugins.executor import Exit

Message = Mapping[str, Any]

SOCKET = "keeper.sock"
LOCK = "keeper.lock"
LOG = "keeper.log"

_CHUNK_BYTES = 1 << 16
_LONGEST_LINE = 1 << 26  # the kernel takes 6 MB of arguments and environment at most; JSON may write a byte as six
_LONGEST_ADDRESS = 100  # bytes; the kernels take 104 or 108


class Wire:
    """One connection. Reading waits as long as the socket's timeout says."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._arrived: deque[Message] = deque()
        self._rest = bytearray()

    def send(self, message: Message) -> None:
        """Raises OSError when the peer is gone, or doesn't read."""
        self.socket.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def next(self) -> Message | None:
        """The next message, None if it hasn't arrived.

        Raises OSError (ConnectionError when the peer is gone, TimeoutError) and ValueError for what is no message.
        """
        while not self._arrived:
            try:
                chunk = self.socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return None
            if not chunk:
                raise ConnectionResetError("the other side is gone")
            self._take(chunk)
        return self._arrived.popleft()

    def put_back(self, message: Message) -> None:
        """It is the next message, again."""
        self._arrived.appendleft(message)

    def is_deserted(self) -> bool:
        """Whether the peer is gone, as far as can be told without waiting."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.socket.close()

    def _take(self, chunk: bytes) -> None:
        self._rest += chunk
        if b"\n" in chunk:
            *lines, self._rest = self._rest.split(b"\n")
            self._arrived.extend(map(_message, lines))
        if len(self._rest) > _LONGEST_LINE:
            raise ValueError("a line without an end")


def _message(line: bytearray) -> Message:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a message is an object")
    return value


def dial(state_dir: str) -> Wire:
    """A connection to the keeper of this directory. Raises OSError: FileNotFoundError or ConnectionRefusedError
    where there is none, PermissionError if it is somebody else's."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(state_dir) as place:
            connection.connect(place)
        if not is_ours(connection):
            raise PermissionError(f"the keeper of {state_dir} belongs to another user")
    except BaseException:
        connection.close()
        raise
    return Wire(connection)


@contextmanager
def address(state_dir: str) -> Iterator[str]:
    """The path of the keeper's socket, in a form that is short enough for the kernel (Linux: whatever its length)."""
    path = f"{state_dir}/{SOCKET}"
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield path
        return
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)


def is_ours(connection: socket.socket) -> bool:
    """Whether the process on the other side is of our user. Elsewhere than on Linux the socket's mode has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid == os.geteuid()


def failure(problem: TaskFailed) -> Message:
    fields = {
        "message": problem.message,
        "kind": problem.kind,
        "category": problem.category,
        "platform": problem.platform,
    }
    return {"failed": fields}


def end_in(message: Message) -> Exit:
    """What a message says of a try's end. Raises the TaskFailed that it holds."""
    if "failed" in message:
        raise TaskFailed(**message["failed"])
    return Exit(*message["exit"])
