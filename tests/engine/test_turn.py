"""A turn is all or nothing, claims no more than it may, and believes only who holds the claim."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import count

import pytest

from dagrun.core.events import Canceled, Failure, Finished, Success
from dagrun.engine.turn import Live, take_turn
from dagrun.errors import NotFound
from dagrun.store.base import TryRow
from tests.engine.conftest import workflow_of

PARALLEL = "_parallel: true\n" + "".join(f"+t{i}:\n  echo>: x\n" for i in range(5))
CHAIN = "+a:\n  echo>: x\n+b:\n  echo>: x\n"
NOW = 1_700_000_000_000_000


def leases(prefix: str = "lease"):
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def try_row(live: Live, idx: int, number: int = 1) -> TryRow:
    return TryRow(live.id, idx, number, NOW, NOW + 1, "success", 0, None, None, None, None)


def tries(world, live: Live) -> list[tuple[int, int]]:
    with world.store.reading() as tx:
        return [(row.idx, row.try_number) for row in tx.load_tries(live.id)]


def done(turn, index: int) -> Finished:
    return Finished(index, turn.tree[index].lease, Success())


@pytest.mark.parametrize("most", [0, 1, 3, 5, 100])
def test_it_claims_at_most_so_many_ready_tasks_each_with_a_lease_of_its_own(world, most):
    _, live = world.submit(PARALLEL)
    turn = take_turn(world.store, live, claim=most, lease=leases())
    assert len(turn.claimed) == min(most, 5)
    held = [turn.tree[index].lease for index in turn.claimed]
    assert len(set(held)) == len(held) and None not in held
    assert sorted(world.states(live.id).values()) == sorted(
        ["planned"] + ["running"] * len(held) + ["ready"] * (5 - len(held))
    )


def test_the_next_turn_claims_what_is_left(world):
    _, live = world.submit(PARALLEL)
    first = take_turn(world.store, live, claim=3, lease=leases())
    second = take_turn(world.store, live, claim=3, lease=leases("more"))
    assert (len(first.claimed), len(second.claimed)) == (3, 2)
    assert set(first.claimed).isdisjoint(second.claimed)


def test_the_end_of_a_task_and_the_claim_of_the_next_are_one_commit(world):
    row, live = world.submit(CHAIN)
    first = take_turn(world.store, live, claim=1, lease=leases())
    second = take_turn(world.store, live, [done(first, 1)], claim=1, lease=leases("next"))
    assert second.claimed == [2]
    assert world.row(live.id).version == row.version + 2
    assert world.states(live.id) == {"+wf": "planned", "+wf+a": "success", "+wf+b": "running"}


def test_a_turn_in_which_nothing_happens_writes_nothing(world):
    row, live = world.submit(CHAIN)
    before = world.open_another()
    seen = before.changes()
    turn = take_turn(world.store, live)
    assert (turn.moves, turn.claimed, turn.done) == ([], [], False)
    assert world.row(live.id).version == row.version and before.changes() == seen


def test_an_answer_with_another_lease_changes_nothing_and_leaves_no_record(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    version = world.row(live.id).version
    late = Finished(1, "somebody else's", Failure({"kind": "failed", "message": "late"}))
    turn = take_turn(world.store, live, [late], tries=[try_row(live, 1)])
    assert turn.moves == [] and world.row(live.id).version == version
    assert tries(world, live) == []
    take_turn(world.store, live, [done(claimed, 1)], tries=[try_row(live, 1)])
    assert tries(world, live) == [(1, 1)]


def test_a_second_answer_with_the_same_lease_changes_nothing(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    answer = done(claimed, 1)
    take_turn(world.store, live, [answer], tries=[try_row(live, 1)])
    again = take_turn(world.store, live, [answer], tries=[try_row(live, 1)])
    assert again.moves == [] and tries(world, live) == [(1, 1)]


def test_a_transaction_that_fails_changes_nothing_and_throws_the_cached_tree_away(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    version, answer = world.row(live.id).version, done(claimed, 1)
    with pytest.raises(Exception, match="UNIQUE"):
        take_turn(world.store, live, [answer], tries=[try_row(live, 1), try_row(live, 1)])
    assert live.tree is None
    assert world.row(live.id).version == version and tries(world, live) == []
    assert world.states(live.id)["+wf+a"] == "running"
    turn = take_turn(world.store, live, [answer], claim=1, lease=leases("next"), tries=[try_row(live, 1)])
    assert turn.claimed == [2] and world.states(live.id)["+wf+a"] == "success"


def test_what_another_has_changed_is_caught_up(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    other = world.same(live)
    take_turn(world.open_another(), other, [done(claimed, 1)], claim=1, lease=leases("theirs"))
    assert live.tree.version < other.tree.version
    turn = take_turn(world.store, live, claim=1, lease=leases("ours"))
    assert turn.claimed == [], "the other one holds it"
    assert live.tree.version == other.tree.version
    assert (turn.tree[1].state, turn.tree[2].lease) == ("success", "theirs-1")
    assert take_turn(world.store, live, [done(turn, 2)]).done


CANCEL = """
import sys
from dagrun.core.events import Canceled
from dagrun.engine.turn import Live, take_turn
from dagrun.store.sql import open_store
from tests.engine.conftest import workflow_of
live = Live(int(sys.argv[2]), workflow_of(sys.argv[3]), 1000)
take_turn(open_store(sys.argv[1]), live, [Canceled("from elsewhere")])
"""


def test_a_cancel_of_another_process_is_caught_up(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    subprocess.run([sys.executable, "-c", CANCEL, world.path, str(live.id), CHAIN], check=True, timeout=30)
    turn = take_turn(world.store, live)
    assert turn.tree.cancel_requested and turn.tree[1].state == "stopping"
    ended = take_turn(world.store, live, [done(claimed, 1)], claim=9, lease=leases("next"))
    assert ended.done and ended.claimed == []
    row = world.row(live.id)
    assert (row.state, row.cancel_requested) == ("canceled", 1) and row.finished_at is not None


def test_the_reason_of_a_cancel_is_kept_with_the_attempt(world):
    _, live = world.submit(CHAIN)
    assert take_turn(world.store, live, [Canceled("killed by a test")]).done
    assert "killed by a test" in (world.row(live.id).error or "")


def test_moves_are_numbered_in_their_order(world):
    _, live = world.submit(CHAIN)
    claimed = take_turn(world.store, live, claim=1, lease=leases())
    second = take_turn(world.store, live, [done(claimed, 1)], claim=1, lease=leases("next"))
    take_turn(world.store, live, [done(second, 2)])
    with world.store.reading() as tx:
        moves = tx.load_moves(live.id)
    assert [move.seq for move in moves] == sorted({move.seq for move in moves})
    assert [(move.before, move.after) for move in moves if move.idx == 2] == [
        ("blocked", "ready"), ("ready", "running"), ("running", "success"),
    ]  # fmt: skip


def test_an_attempt_that_is_not_there_is_named(world):
    gone = Live(99, workflow_of(CHAIN), 1000)
    with pytest.raises(NotFound, match="99"):
        take_turn(world.store, gone)


def test_workers_side_by_side_claim_each_task_once_and_end_the_attempt(world):
    """Each with a store and a cached tree of its own; nothing but the turn keeps them apart."""
    workers, tasks = 4, 60
    _, live = world.submit("_parallel: true\n" + "".join(f"+t{i}:\n  echo>: x\n" for i in range(tasks)))
    claims: list[int] = []
    problems: list[BaseException] = []

    def work(name: str) -> None:
        try:
            store, mine, give = world.open_another(), world.same(live), leases(name)
            turn = take_turn(store, mine, claim=2, lease=give)
            while not turn.done:
                claims.extend(turn.claimed)
                turn = take_turn(store, mine, [done(turn, index) for index in turn.claimed], claim=2, lease=give)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sorted(claims) == list(range(1, tasks + 1))
    assert set(world.states(live.id).values()) == {"success"}
