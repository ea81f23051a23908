"""The dead-man URL: called while the loop goes round, so that a service elsewhere notices when it no longer does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dagrun.engine.couriers import Couriers
from dagrun.notices.post import call
from dagrun.notices.target import without_secrets

EVERY_SECONDS = 60.0
BUSY_SECONDS = 0.5  # so late at most is told how a call went
TRY_SECONDS = 10.0


class Deadman:
    """Its own thread calls: a notice to a slow server must not look like a death."""

    def __init__(self, url: str, every_seconds: float, say: Callable[[str], None]) -> None:
        self.url = url
        self.every_seconds = every_seconds
        self.say = say
        self.couriers: Couriers[str] = Couriers(1)
        self.call_at = 0.0
        self.problem: str | None = None

    def poll(self, now: float) -> float:
        """One pass at that monotonic time; the seconds until the next one."""
        for _, problem in self.couriers.results():
            self.tell(problem)
        if now >= self.call_at and self.couriers.free:
            self.call_at = now + self.every_seconds
            self.couriers.send(self.url, partial(call, self.url, timeout=min(TRY_SECONDS, self.every_seconds)))
        return min(max(0.0, self.call_at - now), BUSY_SECONDS if self.couriers.under_way else self.every_seconds)

    def tell(self, problem: str | None) -> None:
        """A failure once, and its end."""
        if problem is not None and self.problem is None:
            self.say(f"warning: the dead-man URL {without_secrets(self.url)} can't be called: {problem}")
        if problem is None and self.problem is not None:
            self.say("the dead-man URL answers again")
        self.problem = problem
