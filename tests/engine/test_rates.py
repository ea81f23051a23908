"""`_rate`: which starts count for it, and when the next one may be (features F57)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dagrun.core.compiler import compile_generated
from dagrun.core.events import CallAgain, Failure, Finished, Success
from dagrun.core.retry import Retry
from dagrun.core.tree import TaskTree
from dagrun.engine.gates import Gates
from dagrun.engine.turn import take_turn

HOUR = 3_600_000_000
RATES = {"api": "3/1h", "slow": "1/1h"}


class Run:
    """An attempt whose tasks are claimed whenever they may be, and end as the test says."""

    def __init__(self, world, text: str, gates: Gates | None = None) -> None:
        self.world, self.gates = world, gates or Gates({}, RATES)
        _, self.live = world.submit(text)
        self.look_again: int | None = None
        self.tree: TaskTree
        self.started = self.turn()

    def turn(self, *events: Any) -> list[str]:
        """The tasks that start, without those that can't."""
        turn = take_turn(self.world.store, self.live, events, claim=100, lease=str, gates=self.gates)
        self.tree, self.look_again, self.barred = turn.tree, turn.look_again, turn.barred
        return [turn.tree[index].full_name for index in turn.claimed if index not in turn.barred]

    def ended(self, name: str, outcome: Any) -> list[str]:
        task = self.tree.by_name()[name]
        return self.turn(Finished(task.index, task.lease, outcome))

    def generated(self, name: str, body: Mapping[str, Any], rounds: int = 4) -> list[str]:
        """It makes so many copies of the body; those that start."""
        copies = {f"+loop-{number}": body for number in range(rounds)}
        nodes = compile_generated("^sub", {"_parallel": True, **copies}, name)
        return [one.removeprefix(f"{name}^sub") for one in self.ended(name, Success(generated=nodes))]


LOOP = "+a:\n  loop>: 4\n  _rate: {rate}\n  _do: {{echo>: x}}\n"
ECHO = {"echo>": "x"}


@pytest.mark.parametrize("rate", ["2/1h", "api"])
@pytest.mark.parametrize("fan_out", ["loop>: 4", "for_each>: {x: [1, 2]}", "for_range>: {from: 0, to: 4, step: 1}"])
def test_beside_a_do_the_starts_of_the_copies_are_limited(world, rate, fan_out):
    run = Run(world, LOOP.format(rate=rate).replace("loop>: 4", fan_out))
    assert run.started == ["+wf+a"]
    assert run.generated("+wf+a", ECHO) == ["+loop-0", "+loop-1", "+loop-2"][: 2 if rate == "2/1h" else 3]
    assert run.look_again is not None


def test_the_task_with_the_do_itself_counts_for_nothing(world):
    loops = "".join(LOOP.format(rate="slow").replace("+a", f"+{name}") for name in "ab")
    run = Run(world, f"_parallel: true\n{loops}")
    assert run.started == ["+wf+a", "+wf+b"]
    assert run.generated("+wf+a", ECHO) == ["+loop-0"]
    assert run.generated("+wf+b", ECHO) == []


def test_in_a_copy_that_is_a_group_each_task_counts(world):
    run = Run(world, LOOP.format(rate="3/1h"))
    body = {"_parallel": True, "+x": ECHO, "+g": {"+y": ECHO}}
    assert run.generated("+wf+a", body) == ["+loop-0+x", "+loop-0+g+y", "+loop-1+x"]


def test_what_a_do_inside_makes_counts_too(world):
    run = Run(world, LOOP.format(rate="2/1h"))
    inner = {"if>": True, "_do": ECHO}
    assert run.generated("+wf+a", inner, rounds=3) == ["+loop-0", "+loop-1", "+loop-2"]
    started = [run.generated(f"+wf+a^sub+loop-{number}", ECHO, rounds=1) for number in range(3)]
    assert started == [["+loop-0"], ["+loop-0"], []]


def test_what_a_copy_calls_does_not_count_and_neither_do_handlers_and_checks(world):
    run = Run(world, LOOP.format(rate="1/1h"))
    assert run.generated("+wf+a", {"call>": "f", "_check": ECHO, "_error": ECHO}, rounds=2) == ["+loop-0"]
    called = compile_generated("^sub", {"_parallel": True, "+x": ECHO, "+y": ECHO}, "+wf+a^sub+loop-0")
    run.ended("+wf+a^sub+loop-0", Success(generated=called))
    assert run.ended("+wf+a^sub+loop-0^sub+x", Success()) == []
    assert run.ended("+wf+a^sub+loop-0^sub+y", Success()) == ["+wf+a^sub+loop-0^check"]


def test_a_rate_of_the_copies_and_one_around_them_both_hold(world):
    run = Run(world, LOOP.format(rate="3/1h"))
    tight = {"_parallel": True, "+x": {**ECHO, "_rate": "slow"}, "+y": ECHO}
    assert run.generated("+wf+a", tight) == ["+loop-0+x", "+loop-0+y", "+loop-1+y"]


def test_a_rate_that_a_task_has_twice_is_counted_once(world):
    run = Run(world, LOOP.format(rate="api"))
    assert len(run.generated("+wf+a", {**ECHO, "_rate": "api"})) == 3


def test_a_rate_that_is_wrong_fails_the_task_where_it_is_written(world):
    run = Run(world, LOOP.format(rate="api_y"))
    (problem,) = run.barred.values()
    assert "_rate 'api_y' is neither a rate" in problem.message


def test_a_retry_is_a_start_and_being_called_again_is_none(world):
    run = Run(world, "+a:\n  sh>: x\n  _rate: 2/1h\n")
    assert run.started == ["+wf+a"]
    again = CallAgain(0, {"seen": 1})
    assert [run.ended("+wf+a", again) for _ in range(3)] == [["+wf+a"]] * 3
    failed = Failure({"kind": "failed", "message": "no"}, Retry(5, 0))
    assert run.ended("+wf+a", failed) == ["+wf+a"]
    assert run.ended("+wf+a", failed) == []
    with world.store.reading() as tx:
        assert run.look_again is not None and 0 < run.look_again - tx.now <= HOUR
