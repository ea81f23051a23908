"""A file for each container that was asked for, `<state>/containers/<attempt>.<task>.<try>`, from before its start until its
removal: who comes after a dead dagrun knows by them what to look for, without asking an engine.

The file is locked as long as the client that starts the container is at work, also when dagrun is dead by then: before
that nobody can tell whether there will be a container.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dagrun.executors import marks

_LOOK_SECONDS = 0.02
_LENT = b"1\n"
_CLIENT_SECONDS = 30.0  # a client that starts a container takes a fraction of one


class Claim:
    def __init__(self, state_dir: str, try_name: str) -> None:
        self.try_name = try_name
        self.name = try_name.rpartition("/")[2]
        self.path = os.path.join(folder(state_dir), self.name)

    def make(self) -> None:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(fd)

    @contextmanager
    def lent(self) -> Iterator[int]:
        """A locked descriptor for the client, which holds the lock from then on."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, _LENT)
            yield fd
        finally:
            os.close(fd)

    def was_lent(self) -> bool:
        """Whether there may be a container. If not, its image was waited for until dagrun died."""
        with suppress(FileNotFoundError):
            return os.stat(self.path).st_size > 0
        return False

    def wait_for_client(self) -> None:
        """No client is at work for it: it has ended, or, if it takes too long, is ended."""
        deadline = time.monotonic() + _CLIENT_SECONDS
        while self._is_lent():
            if time.monotonic() > deadline:
                marks.sweep_try(self.try_name)
                return
            time.sleep(_LOOK_SECONDS)

    def withdraw(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _is_lent(self) -> bool:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def folder(state_dir: str) -> str:
    return os.path.join(state_dir, "containers")


def claimed(state_dir: str) -> list[str]:
    """`<attempt>.<task>.<try>[+n]` of each container that there may be."""
    with suppress(FileNotFoundError):
        return sorted(os.listdir(folder(state_dir)))
    return []
