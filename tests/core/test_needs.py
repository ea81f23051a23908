"""`_needs`: any task of the file, forward and across groups; and what it can't name (features F12)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_workflow
from dagrun.core.events import Failure
from dagrun.core.state import DONE
from dagrun.core.yaml import load
from dagrun.errors import WorkflowError
from tests.core.simulate import ERROR, Simulation, by_definition, text_of, tree_of
from tests.effort import examples

OK = {"sh>": "x"}
FAILS = {"sh>": "x", "says": "fail"}


def need(*names: str, **more: Any) -> dict[str, Any]:
    return {**OK, "_needs": list(names), **more}


def needed(definition: dict[str, Any], name: str) -> list[str]:
    nodes = compile_workflow("w", load(text_of(definition), "w.dig", None)).nodes
    (node,) = [node for node in nodes if node.full_name == f"+w{name}"]
    return [nodes[index].full_name.removeprefix("+w") for index in node.upstreams]


def refused(definition: dict[str, Any] | str) -> WorkflowError:
    text = definition if isinstance(definition, str) else text_of(definition)
    with pytest.raises(WorkflowError) as caught:
        compile_workflow("w", load(text, "w.dig", None))
    return caught.value


# -- who asks for files


USES = {"sh>": 'cat ${+a.file("x")}'}
TAKES = {"sh>": "x", "_inputs": {"+a": "in"}}


@pytest.mark.parametrize("asking", [USES, TAKES])
def test_who_generates_tasks_waits_for_the_files_that_they_ask_for(asking):
    for generator in (
        {"loop>": 2, "_do": {"+one": asking}},
        {"if>": "true", "_else_do": {"+g": {"+one": asking}}},
        {"loop>": 2, "_do": {"+one": {"loop>": 2, "_do": {"+two": asking}}}},
    ):
        assert needed({"_parallel": True, "+a": OK, "+all": generator}, "+all") == ["+a"]


@pytest.mark.parametrize("asking", [USES, TAKES])
def test_files_of_tasks_that_are_generated_with_them_are_not_meant(asking):
    generator = {"loop>": 2, "_do": {"+g": {"+a": OK, "+b": asking}}}
    assert needed({"_parallel": True, "+a": OK, "+all": generator}, "+all") == []


def test_a_name_in_generated_tasks_that_leads_nowhere_is_left_to_them():
    assert needed({"_parallel": True, "+all": {"loop>": 2, "_do": {"+one": USES}}}, "+all") == []


def test_a_group_waits_for_the_files_that_its_variables_name():
    group = {"_export": {"path": '${+a.file("x")}'}, "+b": OK}
    assert needed({"_parallel": True, "+a": OK, "+g": group}, "+g") == ["+a"]


def test_variables_of_a_group_can_t_name_files_of_a_task_in_it():
    caught = refused({"_export": {"path": '${+a.file("x")}'}, "+a": OK})
    assert caught.kind == "unknown_dependency"


# -- whom a name means


def test_a_later_sibling_can_be_needed():
    assert needed({"_parallel": True, "+a": need("+b"), "+b": OK}, "+a") == ["+b"]


def test_a_task_in_another_group_can_be_needed():
    assert needed({"_parallel": True, "+g": {"+a": OK}, "+h": {"+b": need("+g+a")}}, "+h+b") == ["+g+a"]


def test_a_slash_stands_for_a_plus():
    assert needed({"_parallel": True, "+g": {"+a": OK}, "+b": need("+g/a")}, "+b") == ["+g+a"]


def test_the_nearest_task_of_that_name_is_meant():
    definition = {"_parallel": True, "+a": OK, "+g": {"_parallel": True, "+a": OK, "+b": need("+a")}}
    assert needed(definition, "+g+b") == ["+g+a"]


def test_a_name_is_looked_up_outwards():
    definition = {"_parallel": True, "+a": OK, "+g": {"+h": {"+b": need("+a")}}}
    assert needed(definition, "+g+h+b") == ["+a"]


def test_the_full_name_of_a_task_is_a_name_from_everywhere():
    definition = {"_parallel": True, "+g": {"+a": OK}, "+h": {"+g": {"+b": need("+w+g+a")}}}
    assert needed(definition, "+h+g+b") == ["+g+a"]


def test_needs_come_on_top_of_the_order_of_the_file():
    assert needed({"+a": OK, "+b": OK, "+c": need("+a")}, "+c") == ["+b", "+a"]


def test_a_need_that_the_order_of_the_file_has_already_is_not_doubled():
    assert needed({"+a": OK, "+b": need("+a", "+a")}, "+b") == ["+a"]


def test_a_group_can_need_and_be_needed():
    definition = {"_parallel": True, "+g": {"_needs": ["+h"], "+a": OK}, "+h": {"+b": OK}}
    assert needed(definition, "+g") == ["+h"]


def test_needs_may_be_empty():
    assert needed({"+a": {**OK, "_needs": None}}, "+a") == []


# -- whom it can't mean


def test_an_unknown_name_is_refused_with_the_nearest_one_and_its_place():
    problem = refused("_parallel: true\n+load:\n  sh>: x\n+b:\n  sh>: y\n  _needs: [+laod]\n")
    assert (problem.kind, problem.task, problem.file, problem.line) == ("unknown_dependency", "+w+b", "w.dig", 6)
    assert "+laod" in problem.message and problem.hint == "did you mean +load?"


def test_an_unknown_name_that_is_like_no_other_is_told_what_to_write():
    assert "name a task of this file" in str(refused({"+a": need("+zzzzzzzz"), "+b": OK}).hint)


@pytest.mark.parametrize("name", ["load", "", "+", "+g", "+g+zz", "^sub"])
def test_this_is_no_name_of_a_task(name):
    assert refused({"_parallel": True, "+load": OK, "+a": need(name)}).kind == "unknown_dependency"


@pytest.mark.parametrize("value", ["+a", [["+a"]], {"+a": 1}])
def test_needs_are_a_list_of_names(value):
    assert refused({"_parallel": True, "+a": OK, "+b": {**OK, "_needs": value}}).kind == "bad_type (_needs)"


def test_a_member_of_a_group_that_may_start_anew_is_not_needed_from_outside():
    problem = refused({"_parallel": True, "+g": {"_retry": 1, "+a": OK}, "+b": need("+g+a")})
    assert (problem.kind, problem.task, problem.hint) == ("needs_inside_retry", "+w+b", "need +g")


def test_a_member_of_a_group_that_may_start_anew_is_needed_from_inside():
    assert needed({"+g": {"_retry": 1, "_parallel": True, "+a": OK, "+b": need("+a")}}, "+g+b") == ["+g+a"]


def test_a_group_that_may_start_anew_is_needed_as_a_whole():
    assert needed({"_parallel": True, "+g": {"_retry": 1, "+a": OK}, "+b": need("+g")}, "+b") == ["+g"]


# -- cycles


@pytest.mark.parametrize(
    ("definition", "names"),
    [
        ({"_parallel": True, "+a": need("+a")}, {"+w+a"}),
        ({"_parallel": True, "+a": need("+b"), "+b": need("+a"), "+c": OK}, {"+w+a", "+w+b"}),
        ({"_parallel": True, "+a": need("+c"), "+b": need("+a"), "+c": need("+b")}, {"+w+a", "+w+b", "+w+c"}),
        ({"+a": need("+b"), "+b": OK}, {"+w+a", "+w+b"}),
        ({"+g": {"+a": need("+g")}}, {"+w+g", "+w+g+a"}),
        ({"_parallel": True, "+g": {"+a": need("+b")}, "+b": need("+g")}, {"+w+g", "+w+g+a", "+w+b"}),
        ({"_parallel": True, "+a": need("+g+b"), "+g": {"_needs": ["+a"], "+b": OK}}, {"+w+a", "+w+g", "+w+g+b"}),
        (
            {"_parallel": True, "+g": {"+a": need("+h+b"), "+z": OK}, "+h": {"+c": need("+g"), "+b": OK}},
            {"+w+g", "+w+g+a", "+w+g+z", "+w+h+b", "+w+h+c"},
        ),
    ],
    ids=["itself", "two", "three", "against the file", "the group around", "through a group", "into a group that waits", "two groups"],
)  # fmt: skip
def test_tasks_that_wait_for_each_other_are_refused_and_named(definition, names):
    problem = refused(definition)
    assert problem.kind == "cycle"
    assert set(problem.message.removeprefix("tasks wait for each other: ").split(" → ")) <= names
    assert problem.task in names and problem.file == "w.dig" and problem.line == 1


def test_the_names_of_a_cycle_stand_in_the_order_of_waiting():
    problem = refused({"_parallel": True, "+a": need("+c"), "+b": need("+a"), "+c": need("+b")})
    shown = problem.message.removeprefix("tasks wait for each other: ").split(" → ")
    after = {"+w+c": "+w+a", "+w+a": "+w+b", "+w+b": "+w+c"}
    assert len(shown) == 3 and all(after[one] == next_ for one, next_ in pairwise(shown))


def test_edges_between_groups_in_both_directions_are_no_cycle_if_the_tasks_have_none():
    group = {"_parallel": True}
    definition = {
        "_parallel": True, "+g": {**group, "+a": OK, "+b": need("+h+c")}, "+h": {**group, "+c": need("+g+a")},
    }  # fmt: skip
    assert ran(definition).tree.root.state == "success"


@settings(max_examples=examples(200), deadline=None)
@given(
    edges=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=9),
    grouped=st.booleans(),
)
def test_a_file_is_refused_just_when_its_needs_go_in_circles(edges, grouped):
    """With the tasks in groups of two, who needs a task of another group needs that task only."""
    names = [f"+g{number // 2}+t{number}" if grouped else f"+t{number}" for number in range(6)]
    tasks = [need(*[names[to] for one, to in sorted(edges) if one == number]) for number in range(6)]
    if grouped:
        definition: dict[str, Any] = {"_parallel": True}
        for number, task in enumerate(tasks):
            definition.setdefault(f"+g{number // 2}", {"_parallel": True})[f"+t{number}"] = task
    else:
        definition = {"_parallel": True, **dict(zip(names, tasks, strict=True))}
    if in_circles(edges):
        problem = refused(definition)
        shown = problem.message.removeprefix("tasks wait for each other: ").split(" → ")
        members = [int(name[-1]) for name in shown]
        assert problem.kind == "cycle"
        assert all((later, one) in edges for one, later in zip(members, members[1:] + members[:1], strict=True))
    else:
        run = ran(definition)
        assert run.tree.root.state == "success"
        ends = [name for name, _, after in run.moves if after == "success"]
        begins = [name for name, _, after in run.moves if after == "running"]
        both = [(name, after) for name, _, after in run.moves if after in ("running", "success")]
        assert len(begins) == 6 and len(ends) >= 6
        for one, to in edges:
            assert both.index((f"+w{names[to]}", "success")) < both.index((f"+w{names[one]}", "running"))


def in_circles(edges: set[tuple[int, int]]) -> bool:
    """By taking away whoever needs nobody that is left."""
    left = set(range(6))
    while True:
        free = {one for one in left if not any(a == one and b in left for a, b in edges)}
        if not free:
            return bool(left)
        left -= free


# -- at run time


def ran(definition: dict[str, Any]) -> Simulation:
    return Simulation(tree_of(text_of(definition))).run(by_definition)


def test_a_task_that_needs_one_that_failed_is_not_run_and_its_group_says_why():
    run = ran({"_parallel": True, "+a": FAILS, "+g": {"+b": need("+a"), "+c": OK}})
    group = run.tree.by_name()["+w+g"]
    assert (group.state, run.states()["+w+g+b"], run.states()["+w+g+c"]) == ("group_error", "blocked", "blocked")
    assert group.reason == "+w+g+b needs +w+a, which did not succeed"


def test_what_needs_nothing_of_it_goes_on_beside_a_task_that_can_not_start():
    run = ran({"_parallel": True, "+a": FAILS, "+g": {"_parallel": True, "+b": need("+a"), "+c": OK}})
    assert (run.states()["+w+g+c"], run.states()["+w+g"]) == ("success", "group_error")


def test_death_goes_on_to_whom_needs_the_dead():
    run = ran({"_parallel": True, "+a": FAILS, "+b": need("+a"), "+c": need("+b"), "+d": need("+c")})
    assert [task.dead for task in run.tree.tasks[1:5]] == [False, True, True, True]
    assert run.tree.root.state in DONE


def test_a_round_that_starts_anew_keeps_its_needs_outside():
    run = Simulation(
        tree_of(text_of({"_parallel": True, "+a": OK, "+g": {"_retry": 1, "+b": need("+a"), "+c": FAILS}}))
    ).start()
    run.finish(run.claim()[0])
    run.finish(run.claim()[0])
    run.finish(run.claim()[0], Failure(ERROR))
    copy = run.tree.by_name()["+w+g+b"]
    assert [run.tree[index].full_name for index in copy.upstreams] == ["+w+a"]
    assert (copy.index > 4, copy.state) == (True, "ready")


def test_a_round_that_starts_anew_after_its_need_has_failed_ends_too():
    definition = {"_parallel": True, "+a": FAILS, "+g": {"_retry": 1, "_parallel": True, "+b": need("+a"), "+c": FAILS}}
    run = ran(definition)
    assert run.tree.by_name()["+w+g+b"].superseded is False
    assert (run.tree.by_name()["+w+g"].retries, run.states()["+w+g"], run.tree.root.state) == (
        1,
        "group_error",
        "group_error",
    )
