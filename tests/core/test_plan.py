"""Plans of new attempts: beside `test_resume.py` and `test_resume_wishes.py`, nested groups and generated tasks."""

from __future__ import annotations

from typing import Any

import pytest

from dagrun.core.compiler import compile_generated
from dagrun.core.events import Success
from dagrun.core.resume import Wish, one_task
from dagrun.core.reuse import build_tree
from dagrun.core.state import SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.errors import UserError
from tests.core.resuming import (
    CHAIN,
    DIAMOND,
    FAILS,
    OLD_ATTEMPT,
    actions,
    attempt,
    compiled,
    continued,
    planned,
    ran_names,
    shown,
)
from tests.core.simulate import Simulation, by_definition

A, B, C, D = ({"sh>": name} for name in "abcd")
NESTED = {"+a": A, "+g": {"+h": {"+b": B, "+c": C}, "+i": {"+d": D}}, "+z": {"sh>": "z"}}
MAKES = {"+gen": {"sh>": "x", "says": "make", "_do": {"+s": {"sh>": "s ${p}"}, "+t": FAILS}}}


# -- what counts


def test_the_keys_of_a_group_do_not_count():
    old = {"+g": {"+a": A, "+b": B}, "+f": FAILS}
    new = {"+g": {"+a": A, "+b": B, "_retry": 3, "_error": {"+e": A}}, "+f": FAILS}
    assert actions(planned(old, new)) == {"+g": "reuse", "+g+a": "reuse", "+g+b": "reuse", "+f": "run"}


def test_a_variable_that_is_named_only_by_another_task_does_not_count():
    def definition(value: int) -> dict[str, Any]:
        return {
            "_parallel": True,
            "_export": {"x": value, "y": 1},
            "+a": {"sh>": "${y}"},
            "+b": {"sh>": "${x}"},
            "+f": FAILS,
        }

    assert actions(planned(definition(1), definition(2))) == {"+a": "reuse", "+b": "run", "+f": "run"}


def test_a_variable_that_an_option_deep_inside_names_counts():
    def definition(value: int) -> dict[str, Any]:
        return {"_export": {"x": value}, "+a": {**A, "_env": {"deep": ["one", {"two": "${x}"}]}}, "+f": FAILS}

    assert shown(planned(definition(1), definition(2)))["+a"] == ("run", "${x} changed")


def test_a_variable_that_came_or_went_counts():
    definition = {"+a": {"sh>": "${p}"}, "+f": FAILS}
    assert shown(planned(definition, params=({}, {"p": 1})))["+a"] == ("run", "${p} changed")
    assert shown(planned(definition, params=({"p": 1}, {})))["+a"] == ("run", "${p} changed")


@pytest.mark.parametrize("name", ["session_time", "attempt_id", "task_name", "session_uuid"])
def test_built_in_variables_do_not_count(name):
    assert actions(planned({"+a": {"sh>": "${" + name + "}"}, "+f": FAILS}))["+a"] == "reuse"


def test_a_variable_that_a_task_before_stores_counts_by_the_task_that_stores_it():
    definition = {"+a": A, "+b": {"sh>": "${by}"}, "+f": FAILS}
    assert actions(planned(definition)) == {"+a": "reuse", "+b": "reuse", "+f": "run"}
    found = shown(planned(definition, {**definition, "+a": {"sh>": "a2"}}))
    assert found["+b"] == ("run", "+w+a, which it depends on, runs")


def test_the_first_difference_is_told():
    old = {"+a": {"sh>": "${p}", "x": 1}, "+f": FAILS}
    new = {"+a": {"sh>": "${p} ", "x": 2}, "+f": FAILS}
    assert shown(planned(old, new, params=({"p": 1}, {"p": 2})))["+a"] == ("run", "its sh> changed")


# -- dependents


def test_a_changed_member_deep_inside_runs_the_groups_around_it_and_what_comes_after_them():
    old = {**NESTED, "+f": FAILS}
    new = {**old, "+g": {"+h": {"+b": B, "+c": {"sh>": "c2"}}, "+i": {"+d": D}}}
    assert actions(planned(old, new)) == {
        "+a": "reuse", "+g": "run", "+g+h": "run", "+g+h+b": "reuse", "+g+h+c": "run", "+g+i": "run", "+g+i+d": "run",
        "+z": "run", "+f": "run",
    }  # fmt: skip


def test_one_side_of_a_diamond_runs_without_the_other():
    old = {**DIAMOND, "+d": {**FAILS, "_after": ["+b", "+c"]}}
    found = shown(planned(old, {**old, "+b": {"sh>": "b2", "_after": ["+a"]}}))
    assert {name: action for name, (action, _) in found.items() if name} == {
        "+a": "reuse", "+b": "run", "+c": "reuse", "+d": "run",
    }  # fmt: skip


def test_a_disabled_task_runs_as_an_empty_group_and_with_it_what_comes_after():
    old = {"+a": A, "+b": B, "+c": C, "+f": FAILS}
    found = shown(planned(old, {**old, "+b": {**B, "_disable": True}}))
    assert (found["+a"][0], found["+b"], found["+c"][0]) == ("reuse", ("run", "it is a group now"), "run")


def test_a_task_that_is_enabled_again_runs():
    old = {"+a": A, "+b": {**B, "_disable": True}, "+f": FAILS}
    assert shown(planned(old, {**old, "+b": B}))["+b"] == ("run", "it has an operator now")


# -- wishes


def test_from_a_task_deep_inside_exactly_what_depends_on_it_runs():
    assert actions(planned(NESTED, wish=Wish(start="+g+h+c"))) == {
        "+a": "reuse", "+g": "run", "+g+h": "run", "+g+h+b": "reuse", "+g+h+c": "run", "+g+i": "run", "+g+i+d": "run",
        "+z": "run",
    }  # fmt: skip


def test_from_a_group_inside_a_group_all_below_it_runs():
    found = shown(planned(NESTED, wish=Wish(start="+g+h")))
    assert [found[name] for name in ("+g+h", "+g+h+b", "+g+h+c")] == [("run", "asked for")] * 3
    assert found["+g+i+d"] == ("run", "it comes after +w+g+i") and found["+a"][0] == "reuse"


def test_from_a_task_of_a_diamond_each_that_runs_starts_once():
    run = continued(DIAMOND, DIAMOND, planned(DIAMOND, wish=Wish(start="+c")))
    assert ran_names(run) == ["+w+c", "+w+d"] and run.tree.root.state == SUCCESS


def test_from_the_last_task_only_it_runs():
    assert [name for name, action in actions(planned(NESTED, wish=Wish(start="+z"))).items() if action == "run"] == [
        "+z"
    ]


def test_only_a_group_runs_all_below_it_and_nothing_else():
    found = planned(NESTED, wish=Wish(start="+g+h", only=True))
    assert ran_names(continued(NESTED, NESTED, found)) == ["+w+g+h+b", "+w+g+h+c"]


def test_only_without_a_task_is_to_reuse_by_name():
    assert actions(planned(CHAIN, {**CHAIN, "+a": {"sh>": "a2"}}, Wish(only=True)))["+a"] == "reuse"


def test_resume_from_behind_nested_groups_reuses_all_of_them():
    assert actions(planned(NESTED, wish=Wish(before="+z"))) == {
        **dict.fromkeys(["+a", "+g", "+g+h", "+g+h+b", "+g+h+c", "+g+i", "+g+i+d"], "reuse"), "+z": "run",
    }  # fmt: skip


def test_resume_from_a_task_deep_inside_runs_what_stands_beside_and_after_it():
    assert actions(planned(NESTED, wish=Wish(before="+g+i"))) == {
        "+a": "reuse", "+g": "run", "+g+h": "reuse", "+g+h+b": "reuse", "+g+h+c": "reuse", "+g+i": "run",
        "+g+i+d": "run", "+z": "run",
    }  # fmt: skip


def test_resume_from_a_task_runs_the_parallel_ones_beside_it_that_from_reuses():
    assert actions(planned(DIAMOND, wish=Wish(before="+b"))) == {"+a": "reuse", "+b": "run", "+c": "run", "+d": "run"}
    assert actions(planned(DIAMOND, wish=Wish(start="+b")))["+c"] == "reuse"


@pytest.mark.parametrize("pattern", ["load", "w+load", "-load"])
def test_a_pattern_without_its_sign_is_refused(pattern):
    with pytest.raises(UserError, match="is no task name"):
        one_task(compiled({"+load": A}), pattern)


# -- generated tasks


def test_a_reused_generator_brings_along_generated_tasks_of_generated_tasks():
    inner = {"sh>": "y", "says": "make", "_do": {"+u": {"sh>": "u"}}}
    definition = {"+gen": {"sh>": "x", "says": "make", "_do": {"+s": inner, "+v": {"sh>": "v"}}}, "+f": FAILS}
    old = attempt(definition)
    run = continued(definition, definition, planned(definition, tree=old))
    assert ran_names(run) == ["+w+f"]
    before = {task.full_name: dict(task.stored) for task in old.tasks if "^sub" in task.full_name}
    after = {task.full_name: dict(task.stored) for task in run.tree.tasks if "^sub" in task.full_name}
    assert before == after and "+w+gen^sub+s^sub+u" in after


def test_a_changed_variable_that_a_generated_task_names_is_no_reason_to_run_its_siblings():
    definition = {"+gen": {**MAKES["+gen"], "_do": {"_parallel": True, **MAKES["+gen"]["_do"], "+u": {"sh>": "u"}}}}
    found = planned(definition, params=({"p": 1}, {"p": 2}))
    assert set(found.carried) == {"+w+gen^sub+u"}
    assert set(planned(definition).carried) == {"+w+gen^sub+s", "+w+gen^sub+u"}


def test_a_changed_file_of_a_generated_task_runs_it_again():
    def files(digest: str) -> Any:
        return lambda spec: {"s.sh": digest} if spec.config.get("sh>") == "s ${p}" else {}

    assert set(planned(MAKES, files=(files("1"), files("1"))).carried) == {"+w+gen^sub+s"}
    assert planned(MAKES, files=(files("1"), files("2"))).carried == {}


@pytest.mark.parametrize("wish", [Wish(before="+gen"), Wish(start="+gen", only=True), Wish(start="+gen")])
def test_a_generator_that_was_asked_for_generates_anew(wish):
    assert planned(MAKES, wish=wish).carried == {}


def test_what_a_generator_gave_its_tasks_as_data_does_not_hide_behind_a_variable_of_that_name():
    definition = {"+gen": {"sh>": "x"}, "+f": FAILS}

    def answer(task: Task) -> Any:
        if task.full_name != "+w+gen":
            return by_definition(task)
        made = compile_generated("^sub", {"+s": {"sh>": "${i}"}}, task.full_name, {"i": 1})
        return Success(generated=made)

    tree: TaskTree = Simulation(build_tree(compiled(definition))).run(answer).tree
    found = planned(definition, tree=tree, params=({"i": 5}, {"i": 6}))
    assert actions(found)["+gen"] == "reuse" and len(found.below[1]) == 2


def test_stores_resets_and_exports_of_reused_tasks_are_those_of_the_old_attempt():
    old = Simulation(build_tree(compiled(CHAIN))).run(
        lambda task: (
            Success(stored={"x": task.index}, reset=["y"], exported={"z": 1}) if task.index < 3 else by_definition(task)
        )
    )
    tree = build_tree(compiled(CHAIN), planned(CHAIN, tree=old.tree), OLD_ATTEMPT)
    assert [(dict(tree[i].stored), list(tree[i].reset), dict(tree[i].exported)) for i in (1, 2)] == [
        ({"x": 1}, ["y"], {"z": 1}), ({"x": 2}, ["y"], {"z": 1}),
    ]  # fmt: skip
    assert (tree[3].state, dict(tree[3].stored)) == ("blocked", {})
