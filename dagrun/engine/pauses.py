"""Attempts of which nothing may start (`dagrun pause`, features F43)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from dagrun.engine.attempt import Attempt
from dagrun.store.base import Store

PARENT = "parent"  # in an attempt's options: the attempt that required it
EVERYTHING = 0
LOOK_SECONDS = 0.02


class Pauses:
    """What the store says, as it was when it was last read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.paused: set[int] = set()
        self.seen: int | None = None
        self.looked_at = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Read it again if another process has changed anything; so often at most that short tasks don't feel it."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        changes = self.store.changes()
        if changes != self.seen:
            self.seen = changes
            with self.store.reading() as tx:
                self.paused = {row.attempt_id for row in tx.list_pauses()}

    def hold(self, attempt: Attempt | None, attempts: Mapping[int, Attempt]) -> bool:
        """Whether nothing of it may start; who requires another hands its own pause down."""
        if not self.paused or attempt is None:
            return False
        if EVERYTHING in self.paused or attempt.id in self.paused:
            return True
        return self.hold(attempts.get(attempt.options.get(PARENT, 0)), attempts)
