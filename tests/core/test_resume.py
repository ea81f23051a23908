"""What a new attempt takes over from an old one, and the reason that each task is given (features F38)."""

from __future__ import annotations

from typing import Any

import pytest

from dagrun.core.events import Canceled, Failure
from dagrun.core.reuse import build_tree
from tests.core.resuming import CHAIN, FAILS, actions, attempt, compiled, planned, shown
from tests.core.simulate import Simulation

# -- reuse, run, new, gone


def test_what_succeeded_is_reused_and_the_rest_runs():
    found = shown(planned(CHAIN))
    assert found == {
        "": ("run", "was group_error"),
        "+a": ("reuse", "unchanged"),
        "+b": ("reuse", "unchanged"),
        "+c": ("run", "failed before"),
        "+d": ("run", "had not started"),
    }


def test_a_task_that_was_killed_runs():
    run = Simulation(build_tree(compiled({"+a": {"sh>": "a"}}))).start()
    run.claim()
    run.send(Canceled())
    run.finish(run.tree[1])
    assert shown(planned({"+a": {"sh>": "a"}}, tree=run.tree))["+a"] == ("run", "was killed")


@pytest.mark.parametrize("kind", ["timed_out", "lost", "command_failed"])
def test_the_kind_of_the_error_is_the_reason_of_a_task_that_failed(kind):
    run = Simulation(build_tree(compiled({"+a": {"sh>": "a"}}))).run(lambda _: Failure({"kind": kind, "message": "m"}))
    assert shown(planned({"+a": {"sh>": "a"}}, tree=run.tree))["+a"] == ("run", f"{kind} before")


def test_a_task_that_was_not_there_is_new():
    found = shown(planned(CHAIN, {**CHAIN, "+e": {"sh>": "e"}}))
    assert found["+e"] == ("new", "not in the earlier attempt")


def test_a_task_that_is_there_no_more_is_gone():
    new = {name: task for name, task in CHAIN.items() if name != "+d"}
    found = planned(CHAIN, new)
    assert shown(found)["+d"] == ("gone", "not in this revision")
    assert found.choices[-1].name == "+w+d"


def test_generated_tasks_of_the_old_attempt_are_not_gone():
    definition = {"+gen": {"sh>": "x", "says": "make", "_do": {"+s": {"sh>": "s"}}}, "+f": FAILS}
    assert list(actions(planned(definition))) == ["+gen", "+f"]


def test_a_task_behind_a_new_one_runs():
    new = {"+z": {"sh>": "z"}, **CHAIN}
    assert shown(planned(CHAIN, new))["+a"] == ("run", "+w+z, which it depends on, runs")


def test_a_renamed_task_is_gone_and_new():
    new = {"+a": {"sh>": "a"}, "+q": {"sh>": "b"}, "+c": FAILS, "+d": {"sh>": "d"}}
    assert actions(planned(CHAIN, new)) == {"+a": "reuse", "+q": "new", "+c": "run", "+d": "run", "+b": "gone"}


# -- what counts as a change


def test_a_changed_key_is_the_reason_and_what_depends_on_the_task_runs():
    found = shown(planned(CHAIN, {**CHAIN, "+a": {"sh>": "a2"}}))
    assert found["+a"] == ("run", "its sh> changed")
    assert found["+b"] == ("run", "+w+a, which it depends on, runs")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"sh>": "a"}, {"sh>": "a", "_retry": 1}, "its _retry changed"),
        ({"sh>": "a", "x": 1}, {"sh>": "a"}, "its x changed"),
        ({"sh>": "a"}, {"py>": "a"}, "its sh> changed"),
        ({"sh>": "a"}, {"sh>": "a", "_check": {"+c": {"sh>": "c"}}}, "its _check changed"),
    ],
)
def test_each_own_key_counts(before, after, reason):
    assert shown(planned({"+a": before, "+f": FAILS}, {"+a": after, "+f": FAILS}))["+a"] == ("run", reason)


@pytest.mark.parametrize(
    "after", [{"sh>": "a", "_error": {"+e": {"sh>": "e"}}}, {"sh>": "a", "_export": {"unused": 1}}]
)
def test_a_handler_or_an_export_that_nothing_names_does_not_count(after):
    assert actions(planned({"+a": {"sh>": "a"}, "+f": FAILS}, {"+a": after, "+f": FAILS}))["+a"] == "reuse"


def test_the_order_of_keys_does_not_count():
    assert actions(planned({"+a": {"sh>": "a", "x": 1}, "+f": FAILS}, {"+a": {"x": 1, "sh>": "a"}, "+f": FAILS}))[
        "+a"
    ] == "reuse"  # fmt: skip


def test_a_changed_export_counts_where_it_is_named():
    def definition(value: int) -> dict[str, Any]:
        return {"_export": {"x": value}, "_parallel": True, "+a": {"sh>": "a ${x}"}, "+b": {"sh>": "b"}, "+f": FAILS}

    found = shown(planned(definition(1), definition(2)))
    assert (found["+a"], found["+b"]) == (("run", "${x} changed"), ("reuse", "unchanged"))


def test_a_changed_export_counts_through_the_exports_that_name_it():
    def definition(value: int) -> dict[str, Any]:
        return {"_export": {"x": value, "y": "${x}", "z": "${y}"}, "+a": {"sh>": "a ${z}"}, "+f": FAILS}

    assert shown(planned(definition(1), definition(2)))["+a"] == ("run", "${x} changed")


def test_exports_that_name_each_other_end():
    definition = {"_export": {"x": "${y}", "y": "${x}"}, "+a": {"sh>": "a ${x}"}, "+f": FAILS}
    assert actions(planned(definition))["+a"] == "reuse"


def test_an_outer_export_does_not_count_where_a_nearer_one_hides_it():
    def definition(value: int) -> dict[str, Any]:
        return {"_export": {"x": value}, "+g": {"_export": {"x": 0}, "+a": {"sh>": "a ${x}"}}, "+f": FAILS}

    assert actions(planned(definition(1), definition(2)))["+g+a"] == "reuse"


def test_a_changed_session_parameter_counts_where_it_is_named():
    definition = {"_parallel": True, "+a": {"sh>": "a ${p}"}, "+b": {"sh>": "b"}, "+f": FAILS}
    found = shown(planned(definition, params=({"p": 1}, {"p": 2})))
    assert (found["+a"], found["+b"][0]) == (("run", "${p} changed"), "reuse")


@pytest.mark.parametrize(
    ("exported", "task"),
    [
        ("_do", {"sh>": "a"}),
        ("_else_do", {"sh>": "a"}),
        ("_command", {"_type": "sh"}),
        ("last_session_time", {"sh>": "a ${last_session_date}"}),
        ("last_executed_session_time", {"sh>": "a ${last_executed_session_unixtime}"}),
    ],
)
def test_what_a_task_goes_by_without_naming_it_counts_as_what_it_names(exported, task):
    def definition(value: str) -> dict[str, Any]:
        given: Any = {"+s": {"sh>": value}} if exported.endswith("_do") else value
        return {"_export": {exported: given}, "+a": task, "+f": FAILS}

    assert shown(planned(definition("x"), definition("y")))["+a"] == ("run", f"${{{exported}}} changed")
    assert shown(planned(definition("x"), definition("x")))["+a"] == ("reuse", "unchanged")


def test_an_inherited_command_does_not_count_for_a_task_with_one_of_its_own():
    definition = {"_export": {"_command": "x"}, "+a": {"sh>": "a"}, "+f": FAILS}
    assert actions(planned(definition, {**definition, "_export": {"_command": "y"}}))["+a"] == "reuse"


def test_a_changed_check_of_its_own_export_counts():
    def definition(value: str) -> dict[str, Any]:
        return {"+a": {"sh>": "a", "_export": {"_check": {"sh>": value}}}, "+f": FAILS}

    assert shown(planned(definition("x"), definition("y")))["+a"] == ("run", "its _check changed")


def test_a_parameter_named_in_a_check_counts():
    definition = {"+a": {"sh>": "a", "_check": {"+c": {"sh>": "c ${p}"}}}, "+f": FAILS}
    assert shown(planned(definition, params=({"p": 1}, {"p": 2})))["+a"] == ("run", "${p} changed")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"a.sh": "1"}, {"a.sh": "2"}, "a.sh changed"),
        ({"a.sh": "1"}, {}, "a.sh came or went"),
        ({}, {"a.sh": "1"}, "a.sh came or went"),
    ],
)
def test_a_changed_file_of_a_task_counts(before, after, reason):
    def files(digests: dict[str, str]) -> Any:
        return lambda spec: digests if spec.config.get("sh>") == "a" else {}

    definition = {"_parallel": True, "+a": {"sh>": "a"}, "+b": {"sh>": "b"}, "+f": FAILS}
    found = shown(planned(definition, files=(files(before), files(after))))
    assert (found["+a"], found["+b"][0]) == (("run", reason), "reuse")


def test_a_task_that_became_a_group_runs_and_so_does_a_group_that_became_a_task():
    old = {"_parallel": True, "+a": {"sh>": "a"}, "+g": {"+b": {"sh>": "b"}}, "+f": FAILS}
    new = {"_parallel": True, "+a": {"+c": {"sh>": "c"}}, "+g": {"sh>": "g"}, "+f": FAILS}
    found = shown(planned(old, new))
    assert found["+a"] == ("run", "it is a group now") and found["+g"] == ("run", "it has an operator now")


def test_another_order_of_siblings_counts_by_what_comes_before():
    old = {"+a": {"sh>": "a"}, "+b": {"sh>": "b"}, "+f": FAILS}
    new = {"+b": {"sh>": "b"}, "+a": {"sh>": "a"}, "+f": FAILS}
    assert actions(planned(old, new)) == {"+b": "reuse", "+a": "reuse", "+f": "run"}


# -- groups


def test_a_group_is_reused_when_all_its_members_are():
    definition = {"+g": {"+a": {"sh>": "a"}, "+b": {"sh>": "b"}}, "+f": FAILS}
    assert actions(planned(definition)) == {"+g": "reuse", "+g+a": "reuse", "+g+b": "reuse", "+f": "run"}


def test_a_group_with_a_new_member_runs_and_its_other_members_are_reused():
    old = {"+g": {"+a": {"sh>": "a"}}, "+h": {"+c": {"sh>": "c"}}, "+f": FAILS}
    new = {"+g": {"+a": {"sh>": "a"}, "+b": {"sh>": "b"}}, "+h": {"+c": {"sh>": "c"}}, "+f": FAILS}
    found = shown(planned(old, new))
    assert (found["+g"], found["+g+a"][0], found["+g+b"][0]) == (("run", "+w+g+b runs"), "reuse", "new")
    assert found["+h+c"] == ("run", "+w+g, which it depends on, runs")


def test_members_of_a_failed_group_are_reused_one_by_one():
    definition = {"+g": {"+a": {"sh>": "a"}, "+b": FAILS}}
    assert actions(planned(definition)) == {"+g": "run", "+g+a": "reuse", "+g+b": "run"}


def test_after_a_retried_group_the_last_round_counts():
    definition = {"+g": {"_retry": 1, "+a": {"sh>": "a"}, "+b": {**FAILS, "times": 5}}, "+z": {"sh>": "z"}}
    old = attempt(definition)
    found = planned(definition, tree=old)
    (taken,) = found.reused.values()
    assert (taken.full_name, taken.superseded, actions(found)["+g+b"]) == ("+w+g+a", False, "run")


def test_the_plan_names_every_task_in_the_order_of_the_file():
    assert [choice.name for choice in planned(CHAIN).choices] == [node.full_name for node in compiled(CHAIN).nodes]
