"""An attempt goes on alike when its tree is built anew from what the store keeps of each task, at any moment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.events import Canceled
from dagrun.core.machine import step
from dagrun.core.state import DONE
from dagrun.core.tree import Task, TaskTree
from tests.core.simulate import Simulation, by_definition, counters, outcome, text_of, tree_of
from tests.core.workflows import workflow
from tests.effort import examples

# What a row of the store holds beside identity and definition; all else of a Task is derived.
KEPT = (
    "due_at", "error", "exported", "finished_at", "handle", "lease", "memo", "platform_retries", "reason", "reset",
    "retries", "reused_from", "started_at", "state", "stored", "superseded", "tries",
)  # fmt: skip
SETTINGS = settings(max_examples=examples(150), deadline=None, derandomize=True)
OK = {"sh>": "x"}


def rebuilt(tree: TaskTree) -> TaskTree:
    new = TaskTree(
        static=tree.static,
        cancel_requested=tree.cancel_requested,
        cancel_reason=tree.cancel_reason,
        task_limit=tree.task_limit,
    )
    for old in tree.tasks:
        task = Task(old.index, old.parent, old.full_name, old.spec, old.upstreams, old.source)
        for name in KEPT:
            setattr(task, name, getattr(old, name))
        new.attach(task)
    new.count()
    return new


def forgetful(run: Simulation) -> None:
    """The tree is built anew; the moves so far and the clock stay. A step follows, as whoever loads a tree takes one."""
    run.tree = rebuilt(run.tree)
    assert not run.send().moves  # what is due and lacks a slot goes back into its queue


def run_on(run: Simulation, *, rebuild: bool, drawn: list[int]) -> Simulation:
    """To the end, one finish at a time as drawn; with a tree built anew after each step if asked for."""
    run.start()
    picks = list(drawn)
    for _ in range(2_000):
        if rebuild:
            forgetful(run)
        if run.tree.root.state in DONE:
            return run
        run.claim(1 if picks and picks[-1] % 2 else 1_000)
        if rebuild:
            forgetful(run)
        working = run.at_work()
        if working:
            task = working[picks.pop() % len(working) if picks else 0]
            run.finish(task, by_definition(task))
        elif not run.advance():
            break
    raise AssertionError(f"it never ends: {run.states()}")


def simulation(definition: dict) -> Simulation:
    return Simulation(tree_of(text_of(definition)))


@SETTINGS
@given(definition=workflow(), drawn=st.lists(st.integers(0, 1_000), max_size=40))
def test_a_tree_that_is_built_anew_after_each_step_ends_alike(definition, drawn):
    once = run_on(simulation(definition), rebuild=False, drawn=drawn)
    anew = run_on(simulation(definition), rebuild=True, drawn=drawn)
    assert outcome(anew.tree) == outcome(once.tree)


@SETTINGS
@given(definition=workflow(fail_fast=True), drawn=st.lists(st.integers(0, 1_000), max_size=40))
def test_a_tree_that_is_built_anew_after_each_step_ends_with_fail_fast_too(definition, drawn):
    run_on(simulation(definition), rebuild=True, drawn=drawn)


@SETTINGS
@given(
    definition=workflow(fail_fast=True),
    drawn=st.lists(st.integers(0, 1_000), max_size=20),
    stop=st.none() | st.integers(0, 12),
)
def test_a_rebuilt_tree_has_the_same_counters_and_finds_the_same_work(definition, drawn, stop):
    run = simulation(definition).start()
    for number in range(20):
        if number == stop:
            run.send(Canceled("enough"))
        new = rebuilt(run.tree)
        assert not step(new, [], run.now).moves
        assert counters(new) == counters(run.tree)
        assert new.claimable(1_000) == run.tree.claimable(1_000)
        assert new.next_due() == run.tree.next_due()
        run.claim()
        working = run.at_work()
        if working:
            task = working[drawn.pop() % len(working) if drawn else 0]
            run.finish(task, by_definition(task))
        elif not run.advance():
            break


@pytest.mark.parametrize("order", [{"slots": 1}, {"slots": 2}])
def test_a_rebuilt_window_still_lets_the_next_one_in(order):
    run = simulation({"_parallel": order, "+a": OK, "+b": OK, "+c": OK, "+d": OK}).start()
    started: list[str] = []
    while run.tree.root.state not in DONE:
        forgetful(run)
        claimed = run.claim()
        assert claimed, f"nothing is ready, and these wait: {run.states()}"
        started += [task.full_name for task in claimed]
        forgetful(run)
        run.finish(run.at_work()[0])
        run.claim()
        for task in run.at_work():
            run.finish(task)
    assert run.tree.root.state == "success"
