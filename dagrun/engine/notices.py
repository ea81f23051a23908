"""Delivers the notices that wait in the store: at least once each, by threads of its own.

    poll(now)        one pass: record what has come back, send what is due; the seconds until the next one
    finish(seconds)  what this process made has arrived, or the time is over

A try is counted and claimed before it begins: who is killed in the middle of it leaves a notice that is due again when the
claim is over. One target gets one notice at a time, so that a server that is slow takes one thread and not all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from dagrun.core.session import SECOND
from dagrun.core.template import resolve_secrets
from dagrun.engine.couriers import Couriers
from dagrun.engine.noticing import Noticing, notice_of
from dagrun.errors import DeliveryFailed, TaskFailed, UserError
from dagrun.light import NamedTuple
from dagrun.notices.delivery import deliver
from dagrun.notices.notice import Notice, next_wait
from dagrun.notices.target import Target, parse_target, without_secrets
from dagrun.store.base import Store
from dagrun.store.noticed import FAILED, SENT, WAITING, NoticeRow

THREADS = 2
TRY_SECONDS = 10.0
CLAIMS = 1.5  # times the limit of a try: so long nobody else tries
LOOK_SECONDS = 5.0  # so late at most is found what other processes left
BUSY_SECONDS = 0.05  # so late at most is recorded what has arrived


class Post(NamedTuple):
    """How notices are sent: the settings as they are now, and the secrets that targets may name."""

    settings: Callable[[], Mapping[str, Any]]
    secret: Callable[[str], str | None]
    try_seconds: float = TRY_SECONDS

    def target(self, text: str) -> Target:
        """Raises DeliveryFailed."""
        try:
            return parse_target(resolve_secrets(text, self.value, strict=True))
        except (UserError, TaskFailed) as problem:
            raise DeliveryFailed(str(problem)) from None

    def value(self, key: str) -> str:
        value = self.secret(key)
        if value is None:
            raise DeliveryFailed(f"there is no secret {key}; set it with: dagrun secrets --local --set {key}")
        return value.strip()

    def send(self, text: str, notice: Notice, payload: Mapping[str, Any] | None) -> None:
        """The target has it. Raises DeliveryFailed."""
        deliver(notice, self.target(text), self.settings(), timeout=self.try_seconds, payload=payload)


class Notices:
    """Those of some projects. `say` tells people what can't be delivered."""

    def __init__(
        self,
        store: Store,
        noticing: Noticing,
        post: Post,
        projects: Callable[[], Collection[int]],
        say: Callable[[str], None],
        *,
        wait: Callable[[int], float | None] = next_wait,
    ) -> None:
        self.store = store
        self.noticing = noticing
        self.post = post
        self.projects = projects
        self.say = say
        self.wait = wait
        self.couriers: Couriers[int] = Couriers(THREADS)
        self.under_way: dict[int, NoticeRow] = {}
        self.seen = 0  # of those that were made
        self.look_at = 0.0

    def poll(self, now: float) -> float:
        """One pass at that monotonic time; the seconds until the next one."""
        if self.under_way and self.record(self.couriers.results()):
            self.look_at = now
        if self.seen != self.noticing.made:
            self.seen = self.noticing.made
            self.look_at = now
        if now >= self.look_at:
            self.look_at = now + min(LOOK_SECONDS, self.take())
        wait = max(0.0, self.look_at - now)
        return min(wait, BUSY_SECONDS) if self.under_way else wait

    def take(self) -> float:
        """Try what is due, as far as there are threads; the seconds until the next one is due."""
        with self.store.reading() as tx:
            now = tx.now
            projects = list(self.projects())
            due = [row for project in projects for row in tx.due_notices(project, now)] if self.couriers.free else []
            following = [at for project in projects if (at := tx.next_due_notice(project)) is not None and at > now]
        chosen = self.choose(due)
        if chosen:
            with self.store.transaction() as tx:
                until = tx.now + int(self.post.try_seconds * CLAIMS * SECOND)
                claimed = [tx.claim_notice(row, until) for row in chosen]
            for row in claimed:
                if row is not None:
                    self.under_way[row.id] = row
                    self.couriers.send(row.id, partial(self.post.send, row.target, *notice_of(row.body)))
        return min([LOOK_SECONDS, *((at - now) / SECOND for at in following)])

    def choose(self, due: Sequence[NoticeRow]) -> list[NoticeRow]:
        """The longest due ones; of each target one at a time."""
        found: list[NoticeRow] = []
        busy = {row.target for row in self.under_way.values()}
        for row in sorted(due, key=lambda row: (row.due_at, row.id)):
            if len(found) < self.couriers.free and row.target not in busy and row.id not in self.under_way:
                busy.add(row.target)
                found.append(row)
        return found

    def record(self, results: Sequence[tuple[int, str | None]]) -> bool:
        """How tries went; whether there were any."""
        if not results:
            return False
        told = []
        with self.store.transaction() as tx:
            for notice_id, problem in results:
                row = after(self.under_way[notice_id], problem, self.wait, tx.now)
                if tx.save_notice(row):
                    told.append(row)
                if row.attempt_id is not None and not tx.waiting_notices_of(row.attempt_id):
                    self.noticing.attempts.discard(row.attempt_id)
        for notice_id, _ in results:
            del self.under_way[notice_id]
        for row in told:
            self.tell(row)
        return True

    def tell(self, row: NoticeRow) -> None:
        if row.state == FAILED:
            self.say(f"warning: notice_failed {describe(row)}, tried {row.tries} times: {row.error}")
        elif row.state == WAITING and row.tries == 1:
            self.say(f"{describe(row)} is not delivered yet, and tried again: {row.error}")

    def finish(self, seconds: float) -> list[NoticeRow]:
        """Deliver until what this process made has arrived, or so long; what is left waits for the next process."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            delay = self.poll(now)
            if not self.under_way:
                soonest = min((row.due_at for row in self.left()), default=None)
                if soonest is None or self.store_seconds_until(soonest) > end - time.monotonic():
                    break
            left = max(0.0, min(delay, end - time.monotonic()))
            if not self.under_way:
                time.sleep(left)
            elif self.record(self.couriers.results(min(left, BUSY_SECONDS))):
                self.look_at = 0.0
        self.couriers.close()
        return self.left()

    def left(self) -> list[NoticeRow]:
        """What this process made and nobody has delivered."""
        with self.store.reading() as tx:
            return [row for attempt in sorted(self.noticing.attempts) for row in tx.waiting_notices_of(attempt)]

    def store_seconds_until(self, at: int) -> float:
        with self.store.reading() as tx:
            return (at - tx.now) / SECOND


def after(row: NoticeRow, problem: str | None, wait: Callable[[int], float | None], now: int) -> NoticeRow:
    """The notice after a try that has ended so."""
    if problem is None:
        return row._replace(state=SENT, error=None)
    seconds = wait(row.tries)
    if seconds is None:
        return row._replace(state=FAILED, error=problem)
    return row._replace(due_at=now + int(seconds * SECOND), error=problem)


def describe(row: NoticeRow) -> str:
    about = f" of attempt {row.attempt_id}" if row.attempt_id is not None else ""
    return f"notice {row.id} ({row.workflow} {row.kind}{about}) to {without_secrets(row.target)}"
