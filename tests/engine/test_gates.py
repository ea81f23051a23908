"""Pools, locks and rates when several processes claim at once: what one takes, no other has (features F57, F58)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from dagrun.core.events import Finished, Success
from dagrun.engine.gates import Gates
from dagrun.engine.submit import Submission, submit
from dagrun.engine.turn import Live, Turn, take_turn
from dagrun.store.base import PoolRow, Store
from dagrun.store.sql import open_store
from tests import postgres
from tests.engine.conftest import LIMIT_SECONDS, workflow_of
from tests.store.rows import in_threads

TAKERS = 6
GATES = Gates({"warehouse": 2}, {"api": "5/s"})


class Taker:
    """Works on attempts of its own, with a store object of its own, as another process would."""

    def __init__(self, store: Store, number: int) -> None:
        self.store = store
        self.times = count(number, TAKERS)

    def submit(self, text: str) -> Live:
        with self.store.transaction() as tx:
            project = tx.ensure_project("p")
            revision = tx.ensure_revision(project.id, "abc", "{}")
            return submit(tx, Submission(workflow_of(text), project.id, revision, next(self.times) * 1_000_000))[1]

    def turn(self, live: Live, claim: int = 1) -> Turn:
        return take_turn(self.store, live, claim=claim, lease=str, gates=GATES)

    def claim(self, live: Live) -> tuple[float, float]:
        """Its task, as soon as there is room. Its start lies between these times."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while (begun := time.monotonic()) < deadline:
            before = self.store.changes()
            if self.turn(live).claimed:
                return begun, time.monotonic()
            self.store.wait(0.05, before)
        pytest.fail("there never was room")

    def end(self, live: Live) -> None:
        assert live.tree is not None
        take_turn(self.store, live, [Finished(1, live.tree[1].lease, Success())], gates=GATES)


@pytest.fixture(params=["sqlite", "postgresql"])
def takers(request, tmp_path) -> Iterator[list[Taker]]:
    url = postgres.database_url() if request.param == "postgresql" else str(tmp_path / "state.db")
    stores = [open_store(url) for _ in range(TAKERS)]
    yield [Taker(store, number) for number, store in enumerate(stores)]
    for store in stores:
        store.close()


def each(takers: list[Taker], work: Callable[[Taker], object]) -> None:
    """Does it, all at the same time."""
    in_threads(TAKERS, lambda number: work(takers[number]))


@pytest.mark.parametrize(("use", "size"), [('{"lock:deploy": 1}', 1), ("{warehouse: 1}", 2)])
def test_no_more_hold_a_part_than_there_are(takers, use, size):
    ledger: list[int] = []

    def work(taker: Taker) -> None:
        for _ in range(4):
            live = taker.submit(f"+a:\n  sh>: x\n  _use: {use}\n")
            taker.claim(live)
            ledger.append(1)
            with taker.store.reading() as tx:  # long enough for others to look
                assert sum(hold.amount for hold in tx.list_holds()) <= size * 1000
            ledger.append(-1)
            taker.end(live)

    each(takers, work)
    assert len(ledger) == TAKERS * 4 * 2
    assert max(sum(ledger[:end]) for end in range(len(ledger))) <= size


@pytest.mark.parametrize("rate", ["5/s", "api"])
def test_in_no_window_more_start_than_the_rate_allows(takers, rate):
    spans: list[tuple[float, float]] = []

    def work(taker: Taker) -> None:
        for _ in range(2):
            spans.append(taker.claim(taker.submit(f"+a:\n  sh>: x\n  _rate: {rate}\n")))

    each(takers, work)
    spans.sort()
    assert len(spans) == TAKERS * 2
    for first in range(len(spans) - 5):
        six = spans[first : first + 6]
        assert max(end for _, end in six) - six[0][0] >= 1


def test_tasks_that_want_pools_in_another_order_do_not_wait_in_a_circle(takers):
    with takers[0].store.transaction() as tx:
        for name in "xy":
            tx.save_pool(PoolRow(name, 1_000_000))

    def work(taker: Taker) -> None:
        for number in range(10):
            order = "xy" if (takers.index(taker) + number) % 2 else "yx"
            tasks = "".join(f"+{name}:\n  sh>: x\n  _use: {{{name}: 1}}\n" for name in order)
            assert len(taker.turn(taker.submit(f"_parallel: true\n{tasks}"), claim=2).claimed) == 2

    each(takers, work)
