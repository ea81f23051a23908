"""Which tasks can be reused together, and how what they did is taken over: what static and generated tasks share."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_workflow
from dagrun.core.reuse import Plan, build_tree, depends_on, reusable, take_over, transplanted
from dagrun.core.tree import Task
from dagrun.core.workflow import Node, TaskSpec
from dagrun.core.yaml import load
from tests.core.simulate import Simulation, by_definition, text_of
from tests.core.workflows import workflow
from tests.effort import examples

OK = {"sh>": "x"}
GROUPS = {"+g": {"+a": OK, "+b": OK}, "+h": {"+c": OK}, "+d": OK}


def nodes_of(definition: dict[str, Any]) -> tuple[Node, ...]:
    return compile_workflow("w", load(text_of(definition), "w.dig", None)).nodes


def reused(definition: dict[str, Any], *running: str, by_name: bool = False) -> tuple[set[str], dict[str, str]]:
    """The names below the root that are reused when these can't be, and the reasons told of the others."""
    nodes = nodes_of(definition)
    reasons: dict[str, str] = {}
    found = reusable(
        nodes,
        lambda node: "it runs" if node.full_name.removeprefix("+w") in running else None,
        lambda node, reason: reasons.__setitem__(node.full_name.removeprefix("+w"), reason),
        by_name=by_name,
    )
    return {nodes[index].full_name.removeprefix("+w") for index in found}, reasons


def test_all_is_reused_when_nothing_runs():
    assert reused(GROUPS) == ({"", "+g", "+g+a", "+g+b", "+h", "+h+c", "+d"}, {})


def test_what_depends_on_a_task_that_runs_runs_and_so_do_the_groups_around():
    found, reasons = reused(GROUPS, "+g+b")
    assert found == {"+g+a"}
    assert reasons["+g"] == "+w+g+b runs" and reasons["+h"] == "+w+g, which it depends on, runs"
    assert reasons["+h+c"] == "+w+g, which it depends on, runs" and reasons["+d"] == "+w+h, which it depends on, runs"


def test_by_name_only_the_task_itself_and_the_groups_around_it_run():
    assert reused(GROUPS, "+g+b", by_name=True)[0] == {"+g+a", "+h", "+h+c", "+d"}


def test_a_need_that_points_forward_counts():
    definition = {"_parallel": True, "+a": {**OK, "_needs": ["+z"]}, "+b": {**OK, "_needs": ["+a"]}, "+z": OK}
    assert reused(definition, "+z")[0] == set()


def test_an_empty_group_is_not_reused():
    found, reasons = reused({"_parallel": True, "+e": {}, "+a": OK})
    assert (found, reasons["+e"]) == ({"+a"}, "an empty group")


def test_a_task_depends_on_what_the_groups_around_it_wait_for():
    nodes = nodes_of({"+a": OK, "+g": {"+b": OK, "+c": OK}})
    assert [[nodes[index].full_name for index in depends_on(nodes, node)] for node in nodes] == [
        [], [], ["+w+a"], ["+w+a"], ["+w+g+b", "+w+a"],
    ]  # fmt: skip


@settings(max_examples=examples(150), deadline=None)
@given(definition=workflow(), running=st.sets(st.integers(0, 15), max_size=4))
def test_exactly_those_that_do_not_depend_on_what_runs_are_reused(definition, running):
    """A node is reused if it may be, all that it depends on is, and for a group: it has members, and all of them are."""
    nodes = nodes_of(definition)
    found = reusable(nodes, lambda node: "it runs" if node.index in running else None, by_name=False)
    for node in nodes:
        members = [other.index for other in nodes if other.parent == node.index]
        expected = node.index not in running and all(index in found for index in depends_on(nodes, node))
        if not node.spec.operator:
            expected = expected and bool(members) and all(index in found for index in members)
        assert (node.index in found) == expected


# -- taking over


def old_task(**values: Any) -> Task:
    task = Task(5, 0, "+w+a", TaskSpec("+a", True, OK), (), 5)
    task.state = "success"
    for name, value in values.items():
        setattr(task, name, value)
    return task


def test_what_a_task_did_is_taken_over_whole():
    old = old_task(stored={"x": 1}, reset=["y"], exported={"z": 2}, started_at=3, finished_at=4, reason="why")
    new = Task(1, 0, "+w+a", TaskSpec("+a", True, OK), (), 1)
    take_over(new, old, 9)
    assert (new.state, new.stored, new.reset, new.exported) == ("success", {"x": 1}, ["y"], {"z": 2})
    assert (new.started_at, new.finished_at, new.reason, new.reused_from, new.tries) == (3, 4, "why", 9, 0)


def test_the_attempt_in_which_it_ran_is_kept():
    new = Task(1, 0, "+w+a", TaskSpec("+a", True, OK), (), 1)
    take_over(new, old_task(reused_from=2), 9)
    assert new.reused_from == 2


def test_transplanted_tasks_hang_together_as_they_did():
    generates = {"sh>": "x", "says": "make", "_do": {"+s": OK, "+g": {"+t": OK}}}
    old = Simulation(build_tree(compile_workflow("w", load(text_of({"+z": OK, "+gen": generates}), "w.dig", None))))
    tree = old.run(by_definition).tree
    new = Task(7, 0, "+w+gen", TaskSpec("+gen", True, OK), (), 7)
    made = transplanted(30, new, tree.descendants(tree[2]), 4)
    below = "+w+gen^sub"
    assert [(task.index, task.parent, task.full_name, task.upstreams) for task in made] == [
        (30, 7, below, ()), (31, 30, f"{below}+s", ()), (32, 30, f"{below}+g", (31,)), (33, 32, f"{below}+g+t", ()),
    ]  # fmt: skip
    assert {(task.state, task.reused_from, task.source == task.index) for task in made} == {("success", 4, True)}


def test_a_tree_without_a_plan_is_all_blocked():
    tree = build_tree(compile_workflow("w", load(text_of(GROUPS), "w.dig", None)))
    assert (tree.static, {task.state for task in tree.tasks}) == (7, {"blocked"})


def test_a_skipped_task_counts_as_done():
    tree = build_tree(compile_workflow("w", load(text_of(GROUPS), "w.dig", None)), Plan([], skipped={6}), 4)
    assert (tree[6].state, tree[6].reason, tree[6].reused_from) == ("success", "skipped", None)
