"""Turns of several attempts share a transaction: all of them are taken or none, and none claims more than there is room for."""

from __future__ import annotations

from itertools import count

import pytest

from dagrun.core.events import Canceled, Finished, Success
from dagrun.engine.turn import TURNS_AT_ONCE, Asked, Live, take_turns
from dagrun.errors import NotFound

PARALLEL = "_parallel: true\n" + "".join(f"+t{i}:\n  echo>: x\n" for i in range(3))
ONE = "+a:\n  echo>: x\n"
LOCKED = "+a:\n  echo>: x\n  _use: {lock: x}\n"


def attempts(world, *texts: str) -> list[Live]:
    return [world.submit(text, retry_name=str(number))[1] for number, text in enumerate(texts)]


def asked(lives: list[Live], *, claims: bool = True) -> list[Asked]:
    return [Asked(live, (), (), claims) for live in lives]


def taken(world, wanted: list[Asked], room: int):
    numbers = count(1)
    return take_turns(world.store, wanted, room=room, lease=lambda: f"lease-{next(numbers)}")


def test_what_one_claims_is_no_room_for_the_next(world):
    lives = attempts(world, PARALLEL, PARALLEL, PARALLEL)
    turns = taken(world, asked(lives), 5)
    assert [len(turn.claimed) for turn in turns] == [3, 2]


def test_without_room_all_are_taken_and_nothing_is_claimed(world):
    lives = attempts(world, ONE, ONE, ONE)
    assert [turn.claimed for turn in taken(world, asked(lives), 0)] == [[], [], []]


def test_one_that_may_not_claim_leaves_the_room_to_others(world):
    first, second = attempts(world, ONE, ONE)
    turns = taken(world, [*asked([first], claims=False), *asked([second])], 1)
    assert [turn.claimed for turn in turns] == [[], [1]]


def test_when_one_fails_nothing_of_the_others_is_written_and_their_trees_are_read_again(world):
    first, second = attempts(world, ONE, ONE)
    gone = Live(999, first.workflow, 1000)
    with pytest.raises(NotFound):
        taken(world, asked([first, second, gone]), 9)
    assert [world.states(live.id)["+wf+a"] for live in (first, second)] == ["ready", "ready"]
    assert (first.tree, second.tree) == (None, None)
    turns = taken(world, asked([first, second]), 9)
    assert [turn.claimed for turn in turns] == [[1], [1]]


def test_events_of_several_attempts_are_told_at_once(world):
    lives = attempts(world, ONE, ONE)
    turns = taken(world, asked(lives), 9)
    ends = [
        Asked(live, [Finished(1, turn.tree[1].lease, Success())], ()) for live, turn in zip(lives, turns, strict=True)
    ]
    assert all(turn.done for turn in taken(world, ends, 9))
    assert {world.row(live.id).state for live in lives} == {"success"}


def test_they_share_a_transaction_up_to_a_number(world):
    lives = attempts(world, *[ONE] * (TURNS_AT_ONCE + 1))
    assert len(taken(world, asked(lives), 0)) == TURNS_AT_ONCE


def test_one_that_takes_pools_has_a_transaction_of_its_own(world):
    one, locked, other = attempts(world, ONE, LOCKED, ONE)
    assert len(taken(world, asked([one, locked, other]), 9)) == 1
    assert len(taken(world, asked([locked, other]), 9)) == 1


def test_what_another_process_changed_is_seen_in_a_shared_turn(world):
    first, second = attempts(world, ONE, ONE)
    taken(world, asked([first, second]), 0)
    take_turns(world.open_another(), [Asked(world.same(second), [Canceled("elsewhere")], ())], room=0, lease=str)
    turns = taken(world, asked([first, second]), 9)
    assert [turn.done for turn in turns] == [False, True]
    assert [turn.claimed for turn in turns] == [[1], []]
