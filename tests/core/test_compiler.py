"""Which keys stand where, which sibling waits for which, and what a broken file is told (spec/language 1.4 and 2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from dagrun.core.compiler import compile_generated, compile_workflow, parallel_of
from dagrun.core.config import Map
from dagrun.core.workflow import Node, TaskSpec, Workflow
from dagrun.core.yaml import load
from dagrun.errors import WorkflowError
from tests.core.simulate import text_of
from tests.core.workflows import workflow
from tests.effort import examples

OK = {"sh>": "x"}
NOWHERE = (None, None, None)


def compiled(definition: dict[str, Any] | str, name: str = "w") -> Workflow:
    text = definition if isinstance(definition, str) else text_of(definition)
    return compile_workflow(name, load(text, f"{name}.dig", None))


def refused(definition: dict[str, Any] | str, name: str = "w") -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        compiled(definition, name)
    return caught.value


def upstreams(definition: dict[str, Any]) -> dict[str, list[str]]:
    """By name below the root: the names of what the task waits for."""
    nodes = compiled(definition).nodes
    return {short(node): [short(nodes[index]) for index in node.upstreams] for node in nodes[1:]}


def short(node: Node) -> str:
    return node.full_name.removeprefix("+w")


# -- names and indexes


def test_tasks_are_named_by_their_path_and_counted_in_pre_order():
    nodes = compiled({"+g": {"+a": OK, "+h": {"+a": OK}}, "+a": OK}).nodes
    assert [(node.index, node.parent, node.full_name) for node in nodes] == [
        (0, None, "+w"), (1, 0, "+w+g"), (2, 1, "+w+g+a"), (3, 1, "+w+g+h"), (4, 3, "+w+g+h+a"), (5, 0, "+w+a"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["+a", "+", "+1a", "+a-b_c=[d]{e}%f&g@h`i,j.k", "+" + "a" * 254])
def test_a_task_may_have_this_name(name):
    assert compiled({name: OK}).nodes[1].full_name == f"+w{name}"


@pytest.mark.parametrize("name", ["+a b", "+a/b", "+ä", "+a+b", "+a:b", "+" + "a" * 255])
def test_a_task_may_not_have_this_name(name):
    problem = refused({name: OK})
    assert (problem.kind, problem.file) == ("bad_task_name", "w.dig")
    assert name[:60] in problem.message


def test_at_the_top_of_a_file_no_name_has_a_circumflex():
    assert refused({"+a^b": OK}).kind == "bad_task_name"
    assert compiled({"+g": {"+a^b": OK}}).nodes[2].full_name == "+w+g+a^b"


@pytest.mark.parametrize("name", ["1w", "w.dig", "+w", "@w", ""])
def test_a_file_may_not_have_this_name(name):
    assert refused({"+a": OK}, name).kind == "bad_workflow_name"


@pytest.mark.parametrize("name", ["my job", "wörk"])
def test_a_file_is_named_like_a_task(name):
    assert refused({"+a": OK}, name).kind == "bad_task_name"


def test_two_siblings_of_one_name_are_refused_with_the_place_of_the_second():
    problem = refused("+a:\n  sh>: x\n+a:\n  sh>: y\n")
    assert (problem.kind, problem.line, problem.column) == ("dup_key", 3, 1)


def test_equal_names_in_different_groups_are_different_tasks():
    assert [short(node) for node in compiled({"+g": {"+a": OK}, "+h": {"+a": OK}}).nodes[1:]] == [
        "+g", "+g+a", "+h", "+h+a",
    ]  # fmt: skip


# -- groups and operators


def test_a_key_that_ends_in_a_bracket_makes_an_operator_and_so_does_type():
    nodes = compiled({"+a": OK, "+b": {"_type": "sh", "_command": "x"}, "+g": {"+c": OK}}).nodes
    assert [node.spec.operator for node in nodes] == [False, True, True, False, True]


def test_a_type_beside_an_operator_is_accepted():
    assert compiled({"+a": {"_type": "echo", "sh>": "x"}}).nodes[1].spec.operator


def test_a_task_has_one_operator_only():
    problem = refused("+g:\n  +a:\n    sh>: x\n    echo>: y\n")
    assert (problem.kind, problem.task, problem.line) == ("multiple_operators", "+w+g+a", 4)
    assert "sh>, echo>" in problem.message


def test_a_task_with_an_operator_has_no_tasks_below_it():
    problem = refused("+a:\n  sh>: x\n  +b:\n    sh>: y\n")
    assert (problem.kind, problem.task, problem.line) == ("operator_with_children", "+w+a", 3)


@pytest.mark.parametrize("value", [None, "x", 3, True, ["x"], [{"+b": OK}, "x"]])
def test_a_task_is_a_map(value):
    problem = refused({"+g": {"+a": value}})
    assert (problem.kind, problem.task) == ("task_not_a_map", "+w+g+a")


def test_a_list_of_maps_is_one_map_and_a_repeated_key_keeps_its_first_place():
    spec = compiled({"+a": [{"sh>": "x", "one": 1}, {"two": 2, "sh>": "y"}]}).nodes[1].spec
    assert list(spec.config.items()) == [("sh>", "y"), ("one", 1), ("two", 2)]


@pytest.mark.parametrize("value", [{}, []])
def test_an_empty_task_is_an_empty_group(value):
    node = compiled({"+a": value}).nodes[1]
    assert not node.spec.operator and len(compiled({"+a": value}).nodes) == 2


# -- unknown keys


def test_an_unknown_key_of_a_group_is_refused_with_its_place_and_the_nearest_one():
    problem = refused("+g:\n  _paralel: true\n  +a:\n    sh>: x\n")
    assert problem.kind == "invalid_group_keys: _paralel (suggesting _parallel)"
    assert (problem.file, problem.line, problem.column, problem.task) == ("w.dig", 2, 3, "+w+g")
    assert problem.hint == "did you mean _paralel → _parallel?"


def test_the_kind_of_an_unknown_key_suggests_no_key_of_our_own_but_the_hint_does():
    problem = refused({"+a": {"_workdir": "x"}})
    assert (problem.kind, problem.hint) == ("invalid_group_keys: _workdir", "did you mean _workdir → _workspace?")


def test_all_unknown_keys_of_a_group_are_named():
    assert refused({"+g": {"one": 1, "two": 2, "+a": OK}}).kind == "invalid_group_keys: one, two"


def test_unknown_keys_at_the_top_are_all_named_with_the_place_of_the_first():
    problem = refused("+a:\n  sh>: x\nmeta: 1\n_do: 2\n")
    assert (problem.kind, problem.line) == ("unknown_top_level_keys: meta, _do", 3)


def test_an_option_of_tasks_on_a_group_is_told_where_it_belongs():
    assert "write it at the tasks" in str(refused({"+g": {"_timeout": "1h", "+a": OK}}).hint)


def test_an_operator_at_the_top_is_told_to_become_a_task():
    assert "a key that starts with +" in str(refused({"sh>": "x"}).hint)


def test_a_task_with_an_operator_takes_any_key():
    assert compiled({"+a": {**OK, "whatever": 1, "_unheard": 2}}).nodes[1].spec.config["_unheard"] == 2


@pytest.mark.parametrize("key", ["schedule", "sla", "_error", "_check", "_retry", "_parallel", "+a"])
def test_a_key_at_the_top_has_a_value(key):
    problem = refused({key: None, "+b": OK})
    assert problem.kind == "null_value" and key in problem.message


@pytest.mark.parametrize("key", ["_export", "timezone"])
def test_these_keys_at_the_top_may_be_empty(key):
    assert len(compiled({key: None, "+b": OK}).nodes) == 2


@pytest.mark.parametrize("key", ["_export", "_error", "_check"])
def test_this_key_of_a_task_is_a_map(key):
    assert refused({"+a": {**OK, key: "x"}}).kind == f"bad_type ({key})"


@pytest.mark.parametrize("zone", ["JST", "EST", "Asia/Nowhere", 9])
def test_an_unknown_time_zone_is_refused_with_its_place(zone):
    problem = refused({"timezone": zone, "+a": OK})
    assert (problem.kind, problem.line) == ("bad_timezone", 1)


def test_the_time_zone_is_utc_unless_the_file_names_one():
    assert compiled({"+a": OK}).timezone == "UTC"
    assert compiled({"timezone": "", "+a": OK}).timezone == "UTC"
    assert compiled({"timezone": "Asia/Tokyo", "+a": OK}).timezone == "Asia/Tokyo"


# -- what the engine reads and the operator does not see


def test_what_the_engine_reads_is_taken_out_of_the_keys_of_a_task():
    task = {**OK, "_export": {"x": 1}, "_error": {"+e": OK}, "_check": {"+c": OK}, "_needs": ["+b"], "_retry": 1}
    spec = compiled({"+a": task, "_parallel": True, "+b": OK}).nodes[1].spec
    assert spec.config == {"sh>": "x", "_retry": 1}
    assert (spec.export, spec.error, spec.check) == ({"x": 1}, {"+e": OK}, {"+c": OK})


def test_a_broken_handler_refuses_the_file():
    assert refused({"+a": {**OK, "_error": {"sh>": "x", "echo>": "y"}}}).task == "+w+a^error"


def test_a_broken_check_is_found_only_when_it_is_made():
    assert compiled({"+a": {**OK, "_check": {"sh>": "x", "echo>": "y"}}}).nodes[1].spec.check


def test_the_check_of_a_group_has_no_effect():
    assert compiled({"+g": {"_check": {"+c": OK}, "+a": OK}}).nodes[1].spec.check is None


def test_a_disabled_task_is_an_empty_group_that_keeps_its_place():
    bad = {"_disable": True, "sh>": "x", "echo>": "y", "+c": 3}
    nodes = compiled({"+a": OK, "+b": bad, "+c": OK}).nodes
    assert (nodes[2].spec.operator, nodes[2].spec.config, nodes[2].upstreams, nodes[3].upstreams) == (
        False,
        {},
        (1,),
        (2,),
    )


def test_a_template_can_not_disable_a_task():
    assert refused({"+a": {**OK, "_disable": "${x}"}}).kind == "bad_type (_disable)"


def test_policies_come_from_the_own_export_too_and_own_keys_win():
    own = TaskSpec("+a", True, {"_retry": 1}, {"_retry": 2, "_error": {"+e": OK}}, error=None).own
    assert (own("_retry"), own("_error"), own("_check")) == (1, {"+e": OK}, None)


def test_a_policy_in_the_own_export_and_at_the_task_are_merged():
    export = {"_retry": {"interval": 2}, "_error": {"_export": {"x": 1}, "echo>": "exported"}}
    own = TaskSpec("+a", True, {"_retry": {"limit": 1}}, export, error={"echo>": "own"}).own
    assert own("_retry") == {"interval": 2, "limit": 1}
    assert own("_error") == {"_export": {"x": 1}, "echo>": "own"}


# -- order of siblings


def test_siblings_wait_for_the_one_before():
    assert upstreams({"+a": OK, "+b": OK, "+c": OK}) == {"+a": [], "+b": ["+a"], "+c": ["+b"]}


def test_who_comes_after_a_background_task_waits_for_it_and_for_the_one_before_it():
    definition = {"+a": OK, "+b": {**OK, "_background": True}, "+c": OK, "+d": OK}
    assert upstreams(definition) == {"+a": [], "+b": [], "+c": ["+a", "+b"], "+d": ["+c"]}


@pytest.mark.parametrize("parallel", [True, "true", {"limit": 0}, {"limit": -1}, {"slots": 2}, {"fail_fast": True}])
def test_parallel_siblings_wait_for_none(parallel):
    assert upstreams({"_parallel": parallel, "+a": OK, "+b": OK}) == {"+a": [], "+b": []}


@pytest.mark.parametrize("parallel", [False, "false", ""])
def test_parallel_may_be_off(parallel):
    assert upstreams({"_parallel": parallel, "+a": OK, "+b": OK}) == {"+a": [], "+b": ["+a"]}


def test_what_is_parallel_ends_at_the_next_group():
    assert upstreams({"_parallel": True, "+g": {"+a": OK, "+b": OK}})["+g+b"] == ["+g+a"]


@pytest.mark.parametrize("limit", [2, "2", 2.9])
def test_a_limit_cuts_siblings_into_waves(limit):
    tasks = dict.fromkeys(("+a", "+b", "+c", "+d", "+e"), OK)
    assert upstreams({"_parallel": {"limit": limit}, **tasks}) == {
        "+a": [], "+b": [], "+c": ["+a", "+b"], "+d": ["+a", "+b"], "+e": ["+c", "+d"],
    }  # fmt: skip


def test_after_names_earlier_siblings_and_is_added_to_the_waves():
    definition = {"_parallel": {"limit": 1}, "+a": OK, "+b": OK, "+c": {**OK, "_after": ["+a"]}}
    assert upstreams(definition)["+c"] == ["+a", "+b"]


@pytest.mark.parametrize("after", [None, []])
def test_after_may_name_nothing(after):
    assert upstreams({"_parallel": True, "+a": OK, "+b": {**OK, "_after": after}})["+b"] == []


def test_an_unknown_sibling_in_after_is_refused_with_the_nearest_name():
    problem = refused({"_parallel": True, "+load": OK, "+b": {**OK, "_after": ["+laod"]}})
    assert (problem.kind, problem.task) == ("unknown_dependency", "+w+b")
    assert problem.hint == "did you mean +load?"


def test_a_later_sibling_in_after_is_refused_and_needs_are_named():
    problem = refused({"_parallel": True, "+b": {**OK, "_after": ["+zzzzzz"]}, "+zzzzzz": OK})
    assert problem.kind == "unknown_dependency" and "_needs" in str(problem.hint)


def test_a_number_in_after_is_a_text_like_any_and_names_no_sibling():
    problem = refused("_parallel: true\n'+20': {sh>: x}\n+b: {sh>: x, _after: [+20]}\n")
    assert problem.kind == "unknown_dependency" and problem.hint == "did you mean +20?"


@pytest.mark.parametrize("after", ["+a", [["+a"]], {"+a": 1}])
def test_after_is_a_list_of_names(after):
    assert refused({"_parallel": True, "+a": OK, "+b": {**OK, "_after": after}}).kind == "bad_type (_after)"


@pytest.mark.parametrize("after", [None, ["+a"]])
def test_after_has_no_place_in_a_sequence(after):
    assert refused({"+a": OK, "+b": {**OK, "_after": after}}).kind == "after_without_parallel"


def test_background_has_no_place_beside_parallel():
    assert refused({"_parallel": True, "+a": {**OK, "_background": True}}).kind == "background_under_parallel"
    assert compiled({"_parallel": True, "+a": {**OK, "_background": False}})


@pytest.mark.parametrize("value", [3, [1], "yes", "${x}", {"limit": "x"}, {"limit": None}, {}])
def test_parallel_of_another_kind_is_refused(value):
    assert refused({"+g": {"_parallel": value, "+a": OK}}).task == "+w+g"


def test_slots_and_fail_fast_are_read():
    window = parallel_of({"slots": 3, "fail_fast": True}, "+w", NOWHERE)
    assert (window.on, window.limit, window.slots, window.fail_fast) == (True, 0, 3, True)
    waves = parallel_of({"limit": 3}, "+w", NOWHERE)
    assert (waves.on, waves.limit, waves.slots, waves.fail_fast) == (True, 3, None, False)


# -- generated tasks, patterns, and the form of the store


def test_a_generated_map_counts_from_zero_below_its_parent():
    nodes = compile_generated("^sub", {"+a": OK, "+b": OK}, "+w+gen", {"i": 1})
    assert [(node.index, node.parent, node.full_name, node.upstreams) for node in nodes] == [
        (0, None, "+w+gen^sub", ()), (1, 0, "+w+gen^sub+a", ()), (2, 0, "+w+gen^sub+b", (1,)),
    ]  # fmt: skip
    assert [dict(node.spec.data) for node in nodes] == [{"i": 1}, {}, {}]


def test_a_generated_map_with_an_operator_is_that_task():
    (node,) = compile_generated("^sub", OK, "+w+gen")
    assert node.spec.operator


def test_a_pattern_names_what_stands_below_the_root_first():
    found = compiled({"+g": {"+a": OK}, "+a": OK, "+h": {"+b": OK}, "+i": {"+b": OK}})
    assert [node.full_name for node in found.find("+a")] == ["+w+a"]
    assert [node.full_name for node in found.find("+w+g+a")] == ["+w+g+a"]
    assert [node.full_name for node in found.find("+b")] == ["+w+h+b", "+w+i+b"]
    assert found.find("+c") == []


@settings(max_examples=examples(60), deadline=None)
@given(definition=workflow(fail_fast=True))
def test_a_definition_survives_the_form_of_the_store(definition):
    for node in compiled(definition).nodes:
        kept = node.spec.to_json()
        assert TaskSpec.from_json(kept) == node.spec


@settings(max_examples=examples(60), deadline=None)
@given(definition=workflow(fail_fast=True))
def test_parents_and_upstreams_of_every_tree_make_sense(definition):
    nodes = compiled(definition).nodes
    for node in nodes[1:]:
        assert node.parent is not None and node.parent < node.index
        assert node.full_name == nodes[node.parent].full_name + node.spec.name
        assert not nodes[node.parent].spec.operator
        assert node.index not in node.upstreams
    assert len({node.full_name for node in nodes}) == len(nodes)


def test_compat_has_one_option():
    assert compiled({"compat": {"evaluate_data": True}, "+a": OK}).evaluates_data
    assert not compiled({"+a": OK}).evaluates_data
    assert refused({"compat": {"evaluate_dat": True}, "+a": OK}).kind == "unknown_key: evaluate_dat"


def test_a_map_without_places_can_be_compiled():
    config = Map("w.dig", 1, 1)
    config.update({"+a": {"sh>": "x", "echo>": "y"}})
    with pytest.raises(WorkflowError, match="one operator only"):
        compile_workflow("w", config)
