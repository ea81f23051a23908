"""The queue of attempts for the slots of a worker."""

from __future__ import annotations

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

    def __bool__(self) -> bool:
        return bool(self.ids)

    def add(self, attempt_id: int, since: int, priority: int) -> None:
        if attempt_id not in self.ids:
            self.ids.add(attempt_id)
            heappush(self.heap, (since / AGEING - priority, attempt_id))

    def pop(self) -> int:
        attempt_id = heappop(self.heap)[1]
        self.ids.remove(attempt_id)
        return attempt_id
