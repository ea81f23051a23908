"""Warnings of stores that clash, and what is seen across groups: beside `test_params.py`, the cases of deeper trees."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dagrun.core.compiler import compile_generated
from dagrun.core.events import Success
from dagrun.core.params import Variables, differs
from dagrun.core.tree import Task
from tests.core.simulate import Simulation, text_of, tree_of

OK = {"sh>": "x"}


class Stored:
    """A workflow whose tasks store what `stored` says, by name below the root; what each saw, and the warnings."""

    def __init__(self, definition: dict[str, Any], **stored: dict[str, Any]) -> None:
        self.stored = {name.replace("_", "+"): values for name, values in stored.items()}
        self.run = Simulation(tree_of(text_of(definition)))
        self.variables = Variables(self.run.tree, {})
        self.saw: dict[str, dict[str, Any]] = {}
        self.run.run(self.answer)

    def answer(self, task: Task) -> Success:
        name = task.full_name.removeprefix("+w")
        self.saw[name] = dict(self.variables.visible(task))
        return Success(stored=self.stored.get(name, {}))

    @property
    def clashes(self) -> list[tuple[str, str, str]]:
        """Who and who and the name, of each warning."""
        found = [
            re.match(r"(\S+) and (\S+) ran side by side and both stored (\w+):", note) for note in self.variables.notes
        ]
        return [(one[1], one[2], one[3]) for one in found if one]


def beside(**more: Any) -> dict[str, Any]:
    return {"_parallel": True, "+a": OK, "+b": {**OK, **more}, "+c": {**OK, "_after": ["+a", "+b"]}}


# -- who is warned of


def test_two_siblings_that_store_one_name_are_both_named():
    assert Stored(beside(), _a={"x": 1}, _b={"x": 2}).clashes == [("+w+a", "+w+b", "x")]


def test_each_name_is_told_of_once_however_many_stored_it():
    definition = {"+g": {"_parallel": True, "+a": OK, "+b": OK, "+c": OK}, "+d": OK, "+e": OK}
    found = Stored(definition, _g_a={"x": 1, "y": 1}, _g_b={"x": 2, "y": 2}, _g_c={"x": 3, "y": 2})
    assert sorted(name for _, _, name in found.clashes) == ["x", "y"]


def test_tasks_of_two_groups_side_by_side_clash():
    definition = {"+p": {"_parallel": True, "+g": {"+a": OK}, "+h": {"+b": OK}}, "+c": OK}
    assert Stored(definition, _p_g_a={"x": 1}, _p_h_b={"x": 2}).clashes == [("+w+p+g+a", "+w+p+h+b", "x")]


def test_tasks_one_after_the_other_in_one_group_do_not_clash():
    assert Stored({"+g": {"+a": OK, "+b": OK}, "+c": OK}, _g_a={"x": 1}, _g_b={"x": 2}).clashes == []


def test_tasks_of_two_groups_one_after_the_other_do_not_clash():
    definition = {"+p": {"_parallel": True, "+g": {"+a": OK}, "+h": {"_after": ["+g"], "+b": OK}}, "+c": OK}
    assert Stored(definition, _p_g_a={"x": 1}, _p_h_b={"x": 2}).clashes == []


def test_a_task_that_needs_one_of_another_group_does_not_clash_with_it():
    definition = {"+p": {"_parallel": True, "+g": {"+a": OK}, "+h": {"+b": {**OK, "_needs": ["+g+a"]}}}, "+c": OK}
    assert Stored(definition, _p_g_a={"x": 1}, _p_h_b={"x": 2}).clashes == []


def test_who_waits_by_way_of_others_does_not_clash():
    definition = {"+p": {"_parallel": True, "+a": OK, "+m": {**OK, "_after": ["+a"]}, "+b": {**OK, "_after": ["+m"]}},
                  "+c": OK}  # fmt: skip
    assert Stored(definition, _p_a={"x": 1}, _p_b={"x": 2}).clashes == []


def test_tasks_of_different_waves_do_not_clash_and_those_of_one_do():
    definition = {"+p": {"_parallel": {"limit": 2}, "+a": OK, "+b": OK, "+c": OK, "+d": OK}, "+e": OK}
    assert Stored(definition, _p_a={"x": 1}, _p_c={"x": 2}).clashes == []
    assert Stored(definition, _p_c={"x": 1}, _p_d={"x": 2}).clashes == [("+w+p+c", "+w+p+d", "x")]


def test_a_task_in_the_background_clashes_with_the_one_that_it_did_not_wait_for():
    definition = {"+a": OK, "+b": {**OK, "_background": True}, "+c": OK}
    assert Stored(definition, _a={"x": 1}, _b={"x": 2}).clashes == [("+w+a", "+w+b", "x")]


def test_a_clash_of_two_needed_tasks_is_told_of():
    definition = {
        "_parallel": True,
        "+g": {"_parallel": True, "+a": OK, "+b": OK, "+slow": OK},
        "+h": {"+c": {**OK, "_needs": ["+g+a", "+g+b"]}},
    }
    assert ("+w+g+a", "+w+g+b", "x") in Stored(definition, _g_a={"x": 1}, _g_b={"x": 2}).clashes


@pytest.mark.parametrize(
    ("one", "other", "clashing"),
    [
        (1, 1, False),
        (1, 2, True),
        ({"a": 1}, {"b": 2}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, True),
        ({"a": 1}, 1, True),
        ([1], {"a": 1}, True),
        ([1], [1], False),
        (None, {}, True),
    ],
)
def test_values_clash_where_the_order_of_merging_them_matters(one, other, clashing):
    assert differs(one, other) == differs(other, one) == clashing
    assert bool(Stored(beside(), _a={"x": one}, _b={"x": other}).clashes) == clashing


# -- who sees what


def test_a_needed_task_is_seen_without_those_that_stand_beside_it():
    definition = {
        "_parallel": True,
        "+g": {"_parallel": True, "+a": OK, "+b": OK},
        "+h": {"+c": {**OK, "_needs": ["+g+a"]}, "+d": OK},
    }
    found = Stored(definition, _g_a={"a": 1}, _g_b={"b": 2})
    assert (found.saw["+h+c"], found.saw["+h+d"]) == ({"a": 1}, {"a": 1})


def test_a_needed_group_is_seen_with_all_that_is_below_it():
    definition = {
        "_parallel": True,
        "+g": {"+i": {"+a": OK}, "+b": OK},
        "+h": {"+c": {**OK, "_needs": ["+g"]}},
    }
    assert Stored(definition, _g_i_a={"a": 1}, _g_b={"b": 2}).saw["+h+c"] == {"a": 1, "b": 2}


def test_a_needed_later_task_of_the_same_group_is_seen():
    definition = {"_parallel": True, "+a": {**OK, "_needs": ["+z"]}, "+z": OK}
    assert Stored(definition, _z={"x": 1}).saw["+a"] == {"x": 1}


def test_of_two_tasks_one_after_the_other_the_later_store_wins_though_it_stands_first_in_the_file():
    definition = {"_parallel": True, "+a": {**OK, "_needs": ["+z"]}, "+z": OK, "+c": {**OK, "_needs": ["+a"]}}
    found = Stored(definition, _a={"m": {"by": "a"}}, _z={"m": {"by": "z", "z": 1}})
    assert found.saw["+a"] == {"m": {"by": "z", "z": 1}}


def test_what_a_generator_stores_is_seen_by_its_tasks_before_they_store_it_anew():
    tree = tree_of(text_of({"+gen": OK, "+b": OK}))
    run, variables, saw = Simulation(tree), Variables(tree, {}), {}

    def answer(task: Task) -> Success:
        variables.forget(task.index)
        saw[task.full_name] = dict(variables.visible(task))
        if task.full_name == "+w+gen":
            return Success(stored={"x": 1}, generated=compile_generated("^sub", {"+s": OK, "+t": OK}, "+w+gen"))
        return Success(stored={"x": saw[task.full_name].get("x", 0) + 1})

    run.run(answer)
    assert {name: values["x"] for name, values in saw.items() if values} == {
        "+w+gen^sub+s": 1, "+w+gen^sub+t": 2, "+w+b": 3,
    }  # fmt: skip
