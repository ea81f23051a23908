"""Which task sees which variable, and which value wins (spec/language 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_generated
from dagrun.core.config import Template, merge
from dagrun.core.events import Failure, Success
from dagrun.core.params import EMPTY, SMALL, Variables, apply_reset, holds_template
from dagrun.core.tree import Task
from tests.core.simulate import ERROR, Simulation, text_of, tree_of
from tests.core.workflows import workflow
from tests.effort import examples

OK = {"sh>": "x"}


class Run:
    """A workflow whose tasks answer as `answers` says, by name below the root; and what each of them saw at its start."""

    def __init__(self, definition: dict[str, Any], answers: Mapping[str, Any] | None = None, **params: Any) -> None:
        self.answers = answers or {}
        self.simulation = Simulation(tree_of(text_of(definition)))
        self.variables = Variables(self.simulation.tree, params)
        self.saw: dict[str, dict[str, Any]] = {}
        self.simulation.run(self.answer)

    def answer(self, task: Task) -> Any:
        self.saw[task.full_name.removeprefix("+w")] = dict(self.variables.visible(task))
        return self.answers.get(task.full_name.removeprefix("+w"), Success())

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.saw[name]


def stores(**values: Any) -> Success:
    return Success(stored=values)


# -- exports


def test_session_parameters_are_seen_by_all():
    assert Run({"+a": OK, "+g": {"+b": OK}}, x=1).saw == {"+a": {"x": 1}, "+g+b": {"x": 1}}


def test_an_export_is_seen_by_the_task_itself_and_below_it_and_nowhere_else():
    run = Run({"+g": {"_export": {"x": 1}, "+a": OK}, "+b": {**OK, "_export": {"y": 2}}, "+c": OK})
    assert run.saw == {"+g+a": {"x": 1}, "+b": {"y": 2}, "+c": {}}


def test_a_nearer_export_wins():
    run = Run({"_export": {"x": 1}, "+g": {"_export": {"x": 2}, "+a": {**OK, "_export": {"x": 3}}, "+b": OK}}, x=0)
    assert (run["+g+a"]["x"], run["+g+b"]["x"]) == (3, 2)


def test_maps_are_merged_deeply_and_all_else_is_replaced():
    run = Run(
        {"_export": {"m": {"a": {"x": 1}, "l": [1, 2]}, "n": None}, "+a": OK}, m={"a": {"y": 2}, "l": [3]}, n={"z": 1}
    )
    assert run["+a"] == {"m": {"a": {"y": 2, "x": 1}, "l": [1, 2]}, "n": None}


def test_a_replaced_name_keeps_its_place_and_a_new_one_comes_last():
    run = Run({"_export": {"b": 0, "c": 3, "a": 0}, "+a": OK}, a=1, b=2)
    assert list(run["+a"].items()) == [("a", 0), ("b", 0), ("c", 3)]


def test_own_keys_are_no_variables_of_anybody():
    run = Run({"+a": {**OK, "x": 1}, "+g": {"+b": OK}})
    assert run.saw == {"+a": {}, "+g+b": {}}


# -- stores


def test_what_a_task_stored_is_seen_by_those_behind_it():
    assert Run({"+a": OK, "+b": OK, "+g": {"+c": OK}}, {"+a": stores(x=1)}).saw == {
        "+a": {}, "+b": {"x": 1}, "+g+c": {"x": 1},
    }  # fmt: skip


def test_what_a_task_stored_is_not_seen_beside_it():
    run = Run({"_parallel": True, "+a": OK, "+b": OK, "+c": {**OK, "_after": ["+a"]}}, {"+a": stores(x=1)})
    assert (run["+b"], run["+c"]) == ({}, {"x": 1})


def test_a_task_in_the_background_sees_nothing_of_its_siblings_and_the_next_one_sees_both():
    definition = {"+a": OK, "+b": {**OK, "_background": True}, "+c": OK}
    run = Run(definition, {"+a": stores(x=1), "+b": stores(y=2)})
    assert (run["+b"], run["+c"]) == ({}, {"x": 1, "y": 2})


def test_a_store_wins_over_farther_exports_and_session_parameters():
    run = Run({"_export": {"x": 1}, "+a": OK, "+g": {"+b": OK}}, {"+a": stores(x=2)}, x=0)
    assert run["+g+b"]["x"] == 2


def test_the_export_of_a_nearer_group_wins_over_what_was_stored_before_it():
    run = Run({"+a": OK, "+g": {"_export": {"x": 3}, "+b": OK, "+c": OK}}, {"+a": stores(x=2), "+g+b": stores(x=4)})
    assert (run["+g+b"]["x"], run["+g+c"]["x"]) == (3, 4)


def test_the_own_export_wins_over_every_store():
    assert Run({"+a": OK, "+b": {**OK, "_export": {"x": 1}}}, {"+a": stores(x=2)})["+b"]["x"] == 1


def test_what_is_stored_inside_a_group_is_seen_behind_it_but_its_exports_are_not():
    run = Run({"+g": {"_export": {"e": 1}, "+a": OK}, "+b": OK}, {"+g+a": stores(x=1)})
    assert run["+b"] == {"x": 1}


def test_of_two_side_by_side_the_last_of_the_file_wins_whoever_ended_last():
    definition = {"_parallel": True, "+a": OK, "+b": OK, "+c": {**OK, "_after": ["+a", "+b"]}}
    for last in (0, -1):
        run = Simulation(tree_of(text_of(definition))).start()
        variables = Variables(run.tree, {})
        claimed = run.claim()
        for task in claimed if last else reversed(claimed):
            run.finish(task, stores(x=task.full_name))
        (third,) = run.claim()
        assert variables.visible(third)["x"] == "+w+b"


def test_two_side_by_side_that_store_one_name_are_told_of_once():
    definition = {"+g": {"_parallel": True, "+a": OK, "+b": OK}, "+c": OK, "+d": OK}
    run = Run(definition, {"+g+a": stores(x=1), "+g+b": stores(x=2)})
    (note,) = run.variables.notes
    assert note.startswith("+w+g+a and +w+g+b ran side by side and both stored x")


@pytest.mark.parametrize(
    ("one", "other"), [({"x": 1}, {"x": 1}), ({"x": 1}, {"y": 1}), ({"m": {"a": 1}}, {"m": {"b": 1}})]
)
def test_stores_side_by_side_that_do_not_clash_are_not_told_of(one, other):
    definition = {"+g": {"_parallel": True, "+a": OK, "+b": OK}, "+c": OK}
    assert Run(definition, {"+g+a": stores(**one), "+g+b": stores(**other)}).variables.notes == []


def test_one_that_waits_for_the_other_does_not_clash_with_it():
    definition = {"+g": {"_parallel": True, "+a": OK, "+b": {**OK, "_after": ["+a"]}}, "+c": OK}
    assert Run(definition, {"+g+a": stores(x=1), "+g+b": stores(x=2)}).variables.notes == []


def test_a_needed_task_of_another_group_is_seen_with_what_it_waited_for():
    definition = {
        "_parallel": True,
        "+g": {"_export": {"e": 1}, "+a": OK, "+b": OK, "+z": OK},
        "+h": {"+c": {**OK, "_needs": ["+g+b"]}},
    }
    run = Run(definition, {"+g+a": stores(a=1), "+g+b": stores(b=2), "+g+z": stores(z=3)})
    assert run["+h+c"] == {"a": 1, "b": 2}


def test_with_a_needed_task_what_its_group_waited_for_is_seen():
    definition = {
        "_parallel": True,
        "+z": OK,
        "+g": {"_after": ["+z"], "+b": OK},
        "+h": {"+c": {**OK, "_needs": ["+g+b"]}},
    }
    assert Run(definition, {"+z": stores(z=1), "+g+b": stores(b=2)})["+h+c"] == {"z": 1, "b": 2}


def test_a_failed_task_stores_nothing_for_those_behind_it():
    definition = {"+g": {"_retry": 1, "+a": OK, "+b": OK}, "+c": OK}
    rounds: list[str] = []

    def answer(task: Task) -> Any:
        rounds.append(task.full_name)
        if task.full_name == "+w+g+a":
            return stores(a=len(rounds), **({"old": 1} if len(rounds) == 1 else {}))
        return Failure(ERROR) if rounds.count("+w+g+b") == 1 and task.full_name == "+w+g+b" else Success()

    run = Simulation(tree_of(text_of(definition))).run(answer)
    variables = Variables(run.tree, {})
    assert dict(variables.visible(run.tree.by_name()["+w+c"])) == {"a": 3}


# -- resets


def test_a_reset_removes_what_was_merged_so_far():
    run = Run(
        {"_export": {"x": 1, "y": 1}, "+a": OK, "+b": OK},
        {"+a": Success(reset=["x", "p", "nothing"], stored={"z": 1})},
        p=1,
    )
    assert run["+b"] == {"y": 1, "z": 1}


def test_a_reset_comes_before_the_store_of_the_same_task():
    run = Run({"+a": OK, "+b": OK}, {"+a": Success(reset=["m"], stored={"m": {"b": 2}})}, m={"a": 1})
    assert run["+b"] == {"m": {"b": 2}}


def test_a_reset_of_a_dotted_name_leaves_the_rest_of_the_map():
    run = Run({"+a": OK, "+b": OK}, {"+a": Success(reset=["m.a", "n.a.b", "x.y"])}, m={"a": 1, "b": 2}, n={"a": 3}, x=1)
    assert run["+b"] == {"m": {"b": 2}, "n": {"a": 3}, "x": 1}


def test_a_reset_leaves_the_maps_of_others_alone():
    shared = {"a": {"b": 1, "c": 2}}
    values = {"m": shared}
    apply_reset(values, "m.a.b")
    assert (values, shared) == ({"m": {"a": {"c": 2}}}, {"a": {"b": 1, "c": 2}})


# -- generated tasks, checks and handlers


def generating(result: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    made = compile_generated("^sub", result, "+w+gen")
    return {"+gen": Success(generated=made, **more)}


def test_generated_tasks_see_what_their_operator_exported_and_stored():
    answers = generating({"+s": OK}, stored={"x": 1}, exported={"e": 2})
    run = Run({"+gen": OK, "+b": OK}, answers)
    assert (run["+gen^sub+s"], run["+b"]) == ({"e": 2, "x": 1}, {"x": 1})


def test_what_generated_tasks_store_is_seen_behind_their_generator():
    answers = {**generating({"+s": OK, "+t": OK}), "+gen^sub+s": stores(x=1)}
    run = Run({"+gen": OK, "+b": OK}, answers)
    assert (run["+gen^sub+t"], run["+b"]) == ({"x": 1}, {"x": 1})


def test_the_data_of_a_generator_is_seen_by_its_tasks_and_is_no_template():
    made = compile_generated("^sub", {"_export": {"i": 0, "e": "${i}"}, "+s": OK}, "+w+gen", {"i": "${x}"})
    run = Run({"+gen": OK}, {"+gen": Success(generated=made)})
    assert run["+gen^sub+s"] == {"i": "${x}", "e": "${i}"}
    assert not holds_template(run["+gen^sub+s"]["i"])


def test_a_check_sees_what_its_task_and_its_generated_tasks_stored():
    definition = {"+gen": {**OK, "_check": {"+look": OK}}}
    answers = {**generating({"+s": OK}, stored={"x": 1}), "+gen^sub+s": stores(y=2)}
    assert Run(definition, answers)["+gen^check+look"] == {"x": 1, "y": 2}


def test_a_handler_sees_the_error_of_its_task_and_what_was_stored_before():
    definition = {"+a": OK, "+b": {**OK, "_error": {"+tell": OK}}}
    run = Run(definition, {"+a": stores(x=1), "+b": Failure({"kind": "k", "message": "it broke", "stacktrace": "s"})})
    assert run["+b^error+tell"] == {"x": 1, "error": {"message": "it broke", "stacktrace": "s"}}


def test_the_handler_of_a_group_sees_all_that_was_stored_below_and_the_errors_merged_in_order():
    definition = {"+g": {"_error": {"+tell": OK}, "_parallel": True, "+a": OK, "+b": OK, "+c": OK}}
    answers = {
        "+g+a": stores(x=1),
        "+g+b": Failure({"kind": "k", "message": "first", "stacktrace": "s"}),
        "+g+c": Failure({"kind": "k", "message": "second"}),
    }
    run = Run(definition, answers)
    assert run["+g^error+tell"] == {"x": 1, "error": {"message": "second", "stacktrace": "s"}}


def test_what_stood_in_an_error_is_data_and_no_template():
    definition = {"+b": {**OK, "_error": {"+tell": OK}}}
    run = Run(definition, {"+b": Failure({"kind": "k", "message": "no ${x}"})})
    assert not holds_template(run["+b^error+tell"]["error"])


# -- templates, and the two forms of a scope


def test_only_texts_of_files_are_templates():
    run = Run({"_export": {"f": "${x}"}, "+a": OK, "+b": OK}, {"+a": stores(s="${x}")}, p="${x}")
    task = run.simulation.tree.by_name()["+w+b"]
    scope = run.variables.visible(task)
    assert scope.template_names() == ["f"]
    assert [name for name in scope if holds_template(scope[name])] == ["f"]


def test_a_plain_value_over_a_template_makes_it_plain_and_a_map_keeps_what_is_left_of_it():
    scope = EMPTY.merged({"x": Template("${a}"), "m": {"t": Template("${a}"), "u": 1}})
    assert scope.merged({"x": "plain", "m": {"u": 2}}, plain=True).template_names() == ["m"]
    assert scope.merged({"m": {"t": "plain"}}, plain=True).template_names() == ["x"]
    assert scope.without("x").template_names() == ["m"]


NAMES = st.sampled_from([f"n{number}" for number in range(8)])
VALUES = st.recursive(
    st.integers(0, 3) | st.none() | st.just(Template("${a}")) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.lists(st.dictionaries(NAMES, VALUES, max_size=4) | st.lists(NAMES, min_size=1, max_size=2), max_size=8)


@settings(max_examples=examples(150), deadline=None)
@given(changes=CHANGES, filling=st.sampled_from([0, SMALL - 2, 3 * SMALL]))
def test_a_scope_is_the_merge_of_maps_whether_small_or_large(changes, filling):
    """A scope with more than SMALL names is kept in another form; both give what plain dicts give."""
    expected: dict[str, Any] = {f"f{number}": number for number in range(filling)}
    scope = EMPTY.merged(expected, plain=True)
    for change in changes:
        before = dict(scope)
        if isinstance(change, dict):
            changed, expected = scope.merged(change), merge(expected, change)
        else:
            expected = dict(expected)
            apply_reset(expected, ".".join(change))
            changed = scope.without(".".join(change))
        assert dict(scope) == before
        scope = changed
        assert list(scope.items()) == list(expected.items())
        assert len(scope) == len(expected) and all(name in scope for name in expected)
        assert set(scope.template_names()) >= {name for name in expected if holds_template(expected[name])}


# -- every workflow: the order of merging, from the definition


def expected_view(run: Simulation, task: Task, params: Mapping[str, Any]) -> dict[str, Any]:
    """P7 word by word: far to near, what is waited for with all below it, then the group itself; then the own export."""
    tree = run.tree
    path = [*reversed(list(tree.ancestors(task))), task]
    view = dict(params)
    for one in path:
        for index in sorted(waited_for(run, one)):
            for done in [tree[index], *tree.descendants(tree[index])]:
                if done.state == "success":
                    view = merge(view, done.stored)
        if one is not task:
            view = merge(view, merge(one.spec.export, one.exported))
            view = merge(merge(view, one.spec.data), one.stored)
    return merge(merge(view, task.spec.export), task.spec.data)


def waited_for(run: Simulation, task: Task) -> set[int]:
    found: set[int] = set()
    todo = list(task.upstreams)
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += run.tree[index].upstreams
    return found


@st.composite
def storing(draw: st.DrawFn) -> dict[str, Any]:
    """A workflow without `_needs` (their closure goes across groups), whose groups and tasks export."""
    definition = draw(workflow())

    def spread(group: dict[str, Any]) -> None:
        for name, task in list(group.items()):
            if name.startswith("+"):
                task.pop("_needs", None)
                if draw(st.booleans()):
                    task["_export"] = draw(st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=2))
                spread(task)

    spread(definition)
    return definition


@settings(max_examples=examples(100), deadline=None)
@given(definition=storing(), drawn=st.lists(st.integers(0, 1_000), max_size=30), values=st.data())
def test_every_task_sees_what_the_rule_of_the_walk_says(definition, drawn, values):
    params = {"x": "session", "m": {"a": 0}}
    run = Simulation(tree_of(text_of(definition)))
    variables = Variables(run.tree, params)

    def answer(task: Task) -> Any:
        variables.forget(task.index)  # as whoever runs a task does before each run
        assert dict(variables.visible(task)) == expected_view(run, task, params)
        stored = values.draw(st.dictionaries(st.sampled_from("xyzm"), st.integers(10, 19), max_size=2))
        stored["m"] = {task.spec.name: task.index}
        if task.spec.config.get("says") == "make" and task.tries == 1:
            made = compile_generated("^sub", task.spec.config["_do"], task.full_name)
            return Success(stored=stored, exported={"z": task.index}, generated=made)
        if task.spec.config.get("says") == "fail" and task.tries <= 1 and task.index % 2:
            return Failure(ERROR)
        return Success(stored=stored)

    run.run(answer, lambda working: working[drawn.pop() % len(working) if drawn else 0])
