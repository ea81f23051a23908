"""Threads that carry things to servers, so that no server can hold the loop up. Who sends asks later how it went.

They know neither the store nor the engine: all that they touch is what they were given. They never keep a process alive.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from dagrun.errors import DagrunError

Key = TypeVar("Key")


class Couriers(Generic[Key]):
    def __init__(self, most: int) -> None:
        self.most = most
        self.under_way = 0
        self._threads: list[Thread] = []
        self._jobs: SimpleQueue[tuple[Key, Callable[[], None]] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Key, str | None]] = SimpleQueue()

    @property
    def free(self) -> int:
        return self.most - self.under_way

    def send(self, key: Key, work: Callable[[], None]) -> None:
        if len(self._threads) < min(self.most, self.under_way + 1):
            thread = Thread(target=self._run, name="courier", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.under_way += 1
        self._jobs.put((key, work))

    def results(self, seconds: float = 0.0) -> list[tuple[Key, str | None]]:
        """What has come back, with the reason if it failed; waits for the first one at most so long."""
        found: list[tuple[Key, str | None]] = []
        try:
            while True:
                wait = seconds if not found and self.under_way else 0.0
                found.append(self._results.get(timeout=wait) if wait > 0 else self._results.get_nowait())
                self.under_way -= 1
        except Empty:
            return found

    def close(self) -> None:
        """The threads end when they are done with what they carry."""
        for _ in self._threads:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            key, work = job
            try:
                work()
                problem = None
            except DagrunError as error:
                problem = str(error)
            except Exception as error:  # a thread that dies would leave its notice under way for ever
                problem = f"{type(error).__name__}: {error}"
            self._results.put((key, problem))
