"""The new attempt itself: what runs in it, what it carries over, and how it ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_generated
from dagrun.core.events import Success
from dagrun.core.resume import Wish, plan
from dagrun.core.reuse import build_tree
from dagrun.core.state import SUCCESS
from dagrun.core.tree import Task, TaskTree
from tests.core.resuming import (
    CHAIN,
    FAILS,
    OLD_ATTEMPT,
    attempt,
    compiled,
    continued,
    planned,
    ran_names,
    side,
    succeeds,
)
from tests.core.simulate import Simulation, by_definition, outcome
from tests.core.workflows import workflow
from tests.effort import examples


def test_only_what_is_not_reused_runs_in_the_new_attempt():
    run = continued(CHAIN, CHAIN, planned(CHAIN))
    assert ran_names(run) == ["+w+c", "+w+d"] and run.tree.root.state == SUCCESS


def test_a_reused_task_brings_its_stores_and_says_where_it_ran():
    tree = build_tree(compiled(CHAIN), planned(CHAIN), OLD_ATTEMPT)
    assert (dict(tree[1].stored), tree[1].reused_from, tree[3].reused_from) == ({"by": "+w+a"}, OLD_ATTEMPT, None)


def test_a_task_reused_twice_still_says_where_it_ran():
    tree = build_tree(compiled(CHAIN), planned(CHAIN), OLD_ATTEMPT)
    run = Simulation(tree).run(by_definition)
    again = plan(run.tree, 8, side(CHAIN), side(CHAIN), Wish())
    assert build_tree(compiled(CHAIN), again, 8)[1].reused_from == OLD_ATTEMPT


GENERATES = {"+gen": {"sh>": "x", "says": "make", "_do": {"+s": {"sh>": "s"}, "+t": {"sh>": "t"}}}, "+f": FAILS}


def test_a_reused_generator_brings_along_what_it_had_generated():
    run = continued(GENERATES, GENERATES, planned(GENERATES))
    assert ran_names(run) == ["+w+f"]
    made = run.tree.by_name()["+w+gen^sub+s"]
    assert (made.state, dict(made.stored), made.reused_from) == (SUCCESS, {"by": "+w+gen^sub+s"}, OLD_ATTEMPT)


def partly_generated(second: dict[str, Any]) -> dict[str, Any]:
    return {"+gen": {"sh>": "x", "says": "make", "_do": {"+s": {"sh>": "s"}, "+t": second, "+u": {"sh>": "u"}}}}


def test_generated_tasks_that_are_generated_alike_are_not_run_again():
    definition = partly_generated(FAILS)
    found = planned(definition)
    assert set(found.carried) == {"+w+gen^sub+s"}
    run = continued(definition, definition, found)
    assert ran_names(run) == ["+w+gen", "+w+gen^sub+t", "+w+gen^sub+u"]
    assert run.tree.by_name()["+w+gen^sub+s"].reused_from == OLD_ATTEMPT


def test_a_generated_task_that_is_generated_otherwise_runs_with_what_comes_after_it():
    definition = partly_generated(FAILS)

    def generate(task: Task) -> Success:
        if task.full_name != "+w+gen":
            return Success()
        made = compile_generated("^sub", {"+s": {"sh>": "s2"}, "+t": {"sh>": "t"}}, task.full_name)
        return Success(generated=made)

    run = Simulation(build_tree(compiled(definition), planned(definition), OLD_ATTEMPT)).run(generate)
    assert ran_names(run) == ["+w+gen", "+w+gen^sub+s", "+w+gen^sub+t"]


def test_what_was_asked_for_carries_nothing_over():
    definition = partly_generated({"sh>": "t"})
    found = planned(definition, wish=Wish(start="+gen"))
    assert found.carried == {}
    assert len(ran_names(continued(definition, definition, found))) == 4


def test_nothing_is_carried_over_behind_a_task_that_runs():
    definition = {"+a": {"sh>": "a"}, **partly_generated(FAILS)}
    assert planned(definition, {**definition, "+a": {"sh>": "a2"}}).carried == {}
    assert set(planned(definition, {**definition, "+a": {"sh>": "a2"}}, Wish(keep_changed=True)).carried) == {
        "+w+gen^sub+s"
    }


def test_handlers_and_checks_are_not_carried_over():
    made = {"+s": {"sh>": "s", "_check": {"+c": {"sh>": "c"}}}, "+t": {**FAILS, "_error": {"+e": {"sh>": "e"}}}}
    definition = {"+gen": {"sh>": "x", "says": "make", "_do": made}}
    assert set(planned(definition).carried) == {"+w+gen^sub+s"}


def test_what_a_handler_generates_runs_again_when_its_task_fails_again():
    tell = {"sh>": "x", "says": "make", "_do": {"+mail": {"sh>": "m"}}}
    definition = {"+a": {**FAILS, "_error": {"+tell": tell}}}
    again = Simulation(build_tree(compiled(definition), planned(definition), OLD_ATTEMPT)).run(by_definition)
    assert ran_names(again) == ["+w+a", "+w+a^error+tell", "+w+a^error+tell^sub+mail", "+w^failure-alert"]


# -- every workflow


SETTINGS = settings(max_examples=examples(100), deadline=None, derandomize=True)


@SETTINGS
@given(definition=workflow(), keep=st.booleans())
def test_a_resumed_attempt_ends_well_when_nothing_fails_any_more(definition, keep):
    run = continued(definition, definition, planned(definition, wish=Wish(keep_changed=keep)))
    assert run.tree.root.state == SUCCESS
    assert all(task.state == SUCCESS for task in run.tree.tasks if not task.superseded)


@SETTINGS
@given(definition=workflow(), keep=st.booleans())
def test_what_is_reused_is_never_run_and_what_is_planned_to_run_does(definition, keep):
    found = planned(definition, wish=Wish(keep_changed=keep))
    run = continued(definition, definition, found)
    ran = set(ran_names(run))
    for node, choice in zip(compiled(definition).nodes, found.choices, strict=False):
        if node.spec.operator:
            assert (node.full_name in ran) == (choice.action == "run")
        assert (node.index in found.reused) == (choice.action == "reuse")
        assert choice.reason


@SETTINGS
@given(definition=workflow())
def test_with_the_same_definition_whatever_stands_behind_reused_tasks_only_is_reused(definition):
    old = attempt(definition)
    found = planned(definition, tree=old)
    state = {task.full_name: task.state for task in old.tasks if not task.superseded}
    nodes = compiled(definition).nodes

    def behind(index: int) -> set[int]:
        """All that the task waits for, and what the groups around it wait for."""
        node, before = nodes[index], set(nodes[index].upstreams)
        while node.parent is not None:
            node = nodes[node.parent]
            before |= set(node.upstreams)
        return before

    for node in nodes:
        if node.spec.operator:
            expected = state[node.full_name] == SUCCESS and all(index in found.reused for index in behind(node.index))
            assert (node.index in found.reused) == expected


@SETTINGS
@given(definition=workflow(), number=st.integers(0, 30))
def test_from_any_task_exactly_what_depends_on_it_runs(definition, number):
    """Of an attempt that succeeded: the reverse of `depends on`, written from the definition."""
    calm = all_well(definition)
    nodes = compiled(calm).nodes
    start = nodes[number % len(nodes)]
    found = planned(calm, wish=Wish(start=start.full_name)) if start.parent is not None else None
    if found is None:
        return
    inside = {start.index}
    for node in nodes:
        if node.parent in inside:
            inside.add(node.index)
    affected = set(inside)
    changed = True
    while changed:
        before = len(affected)
        for node in nodes:
            if any(index in affected for index in node.upstreams):
                affected.add(node.index)
            if node.parent in affected and (node.parent in inside or waits(nodes, nodes[node.parent], affected)):
                affected.add(node.index)
            if node.index in affected and node.parent is not None:
                affected.add(node.parent)
        changed = len(affected) != before
    assert {node.index for node in nodes} - set(found.reused) == affected


def waits(nodes: Any, group: Any, affected: set[int]) -> bool:
    """Whether the group, or one around it, comes after something that runs."""
    while True:
        if any(index in affected for index in group.upstreams):
            return True
        if group.parent is None:
            return False
        group = nodes[group.parent]


def all_well(definition: dict[str, Any]) -> dict[str, Any]:
    """The same tree, where every task is ok."""
    calm: dict[str, Any] = {}
    for key, value in definition.items():
        if key.startswith("+"):
            calm[key] = all_well(value)
        elif key not in ("says", "_do", "_check", "_error"):
            calm[key] = value
    return calm


@SETTINGS
@given(definition=workflow())
def test_a_resumed_attempt_stores_what_a_calm_one_would(definition):
    """Reused or run, the outcome is that of one attempt in which nothing failed."""
    resumed = continued(definition, definition, planned(definition))
    calm = Simulation(build_tree(compiled(definition))).run(succeeds)
    assert stored(resumed.tree) == stored(calm.tree)


def stored(tree: TaskTree) -> dict[str, Any]:
    """Of the file's tasks: what a generator made depends on the try in which it succeeded."""
    return {name: (state, values) for name, (state, values, _, _) in outcome(tree).items() if "^" not in name}
