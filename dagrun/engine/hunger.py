"""The queue of attempts for the slots of a worker."""

from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush

AGEING = 600 * 1_000_000  # microseconds


class Hunger:
    """The queue for slots: attempts with ready tasks that found none, the first one first.

    A higher priority (0 to 9) goes ahead; ten minutes of waiting count as much as one step of it (features F59), so that
    the order of two that wait never changes.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[float, int]] = []
        self.ids: set[int] = set()
        self.fed: int | None = None  # gets the free slots in its next turn

    def add(self, attempt_id: int, since: int, priority: int) -> None:
        if attempt_id not in self.ids:
            self.ids.add(attempt_id)
            heappush(self.heap, (since / AGEING - priority, attempt_id))

    def feed(self, alive: Container[int]) -> int | None:
        """Who gets the free slots in its next turn: the first one that is still alive."""
        while self.fed is None and self.heap:
            attempt_id = heappop(self.heap)[1]
            self.ids.remove(attempt_id)
            if attempt_id in alive:
                self.fed = attempt_id
        return self.fed

    def may_claim(self, attempt_id: int) -> bool:
        """Whoever comes while others wait in the queue waits, too."""
        return attempt_id == self.fed if self.fed is not None else not self.ids

    def took_turn(self, attempt_id: int) -> None:
        if attempt_id == self.fed:
            self.fed = None
