"""Waits for the first of many descriptors to become readable, which says that something has ended.

By poll(2) and a dict, without the selectors module: a descriptor is watched for one command and then gone, so that what it
costs to register one counts more than how many there are.
"""

from __future__ import annotations

import select
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagrun.engine.tries import Try


class Poller:
    def __init__(self) -> None:
        self._poll = select.poll()
        self._watched: dict[int, Try | None] = {}
        self._found: list[Try] | None = None

    def add(self, fd: int, held: Try | None = None) -> None:
        """From now on its end is told by `ended`; without a try, it only ends a wait."""
        self._watched[fd] = held
        self._poll.register(fd, select.POLLIN)

    def remove(self, fd: int) -> None:
        del self._watched[fd]
        self._poll.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Until something has ended, at most so long."""
        self._found = self._look(ceil(seconds * 1000))

    def ended(self) -> list[Try]:
        """The tries of which something has ended, as the last wait found them, or as it is now if there was none since."""
        found, self._found = self._found, None
        return self._look(0) if found is None else found

    def _look(self, milliseconds: int) -> list[Try]:
        watched = self._watched
        return [held for fd, _ in self._poll.poll(milliseconds) if (held := watched[fd]) is not None]
