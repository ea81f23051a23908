"""What a container prints, in its log. It is always read from its beginning, and appended behind what is there of it already:
so nothing is lost or doubled, however often the engine, or dagrun, went away meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

from dagrun.executors.docker.client import Stopped
from dagrun.executors.pump import Filter

_END_BYTES = 500


class Output:
    """`masker` makes the filter for one that may hold secrets. `given_up` tells whether nobody wants it any more."""

    def __init__(self, path: str, masker: Callable[[], Filter] | None, given_up: Callable[[], bool]) -> None:
        self._path = path
        self._masker = masker
        self._given_up = given_up
        self.begins_at = 0  # of the log, in bytes, which has something else before
        self._written = 0

    def begin(self) -> None:
        """Behind what the log has now."""
        self.begins_at = size(self._path)

    def go_on(self, begins_at: int) -> None:
        """Behind what an earlier process has written of it."""
        self.begins_at = begins_at
        self._written = max(0, size(self._path) - begins_at)

    def copy(self, chunks: Iterable[bytes]) -> bytes:
        """All of them, from the first one, are in the log; returns what the mask still holds back. Raises Stopped."""
        mask = self._masker() if self._masker else None
        position = 0
        with self._opened() as log:
            for chunk in chunks:
                data = mask.feed(chunk) if mask else chunk
                if position + len(data) > self._written:
                    self._write(log, data[max(0, self._written - position) :])
                position += len(data)
        return mask.flush() if mask else b""

    def append(self, data: bytes) -> None:
        if data:
            with self._opened() as log:
                self._write(log, data)

    def end(self) -> bytes:
        """Its last bytes."""
        with open(self._path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _END_BYTES))
            return log.read()

    def _opened(self) -> BinaryIO:
        """A full disk takes the output, not the task: how it ends is its own affair."""
        try:
            return open(self._path, "ab", buffering=0)
        except OSError:
            return open(os.devnull, "wb", buffering=0)

    def _write(self, log: BinaryIO, data: bytes) -> None:
        if self._given_up():
            raise Stopped
        self._written += len(data)
        with suppress(OSError):
            while data:
                data = data[log.write(data) :]


def size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
