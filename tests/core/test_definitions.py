"""What files say and how they are refused: beside `test_compiler.py` and `test_needs.py`, the places and the odd forms."""

from __future__ import annotations

from typing import Any

import pytest

from dagrun.core.compiler import called_body, compile_generated, compile_workflow
from dagrun.core.workflow import Node, Workflow
from dagrun.core.yaml import load
from dagrun.errors import TaskFailed, WorkflowError

OK = {"sh>": "x"}


def compiled(text: str) -> Workflow:
    return compile_workflow("w", load(text, "w.dig", None))


def refused(text: str) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        compiled(text)
    return caught.value


def place(problem: WorkflowError) -> tuple[Any, Any]:
    assert problem.file == "w.dig"
    return problem.line, problem.column


def waits(nodes: tuple[Node, ...] | list[Node]) -> dict[str, list[str]]:
    return {node.full_name.removeprefix("+w"): [nodes[index].spec.name for index in node.upstreams] for node in nodes}


# -- names


def test_a_bad_name_below_a_group_is_refused_with_its_place():
    problem = refused("+g:\n  +a:\n    sh>: x\n  +b c:\n    sh>: x\n")
    assert (problem.kind, place(problem)) == ("bad_task_name", (4, 3))
    assert "has a character that can't be used" in problem.message


def test_a_name_that_is_too_long_is_told_so_and_not_printed_whole():
    problem = refused(f"+{'a' * 300}:\n  sh>: x\n")
    assert "longer than 255 characters" in problem.message and len(problem.message) < 150


@pytest.mark.parametrize("length", [254, 255])
def test_a_name_of_255_characters_is_the_longest(length):
    name = "+" + "a" * (length - 1)
    assert compiled(f"{name}:\n  sh>: x\n").nodes[1].spec.name == name


# -- where a mistake stands


@pytest.mark.parametrize(
    ("text", "kind", "where"),
    [
        ("+a:\n  sh>: x\n  py>: y\n", "multiple_operators", (3, 3)),
        ("+a:\n  sh>: x\n  +b:\n    sh>: y\n", "operator_with_children", (3, 3)),
        ("+g:\n  _paralel: true\n  +a:\n    sh>: x\n", "invalid_group_keys: _paralel (suggesting _parallel)", (2, 3)),
        ("+g:\n  +a:\n    sh>: x\n  _parallel: [1]\n", "bad_parallel", (4, 3)),
        ("+g:\n  _parallel: {limit: many}\n  +a:\n    sh>: x\n", "bad_type (limit)", (2, 3)),
        ("+g:\n  _parallel: {slots: 0}\n  +a:\n    sh>: x\n", "bad_option", (2, 3)),
        ("+a:\n  sh>: x\n  _needs: +b\n", "bad_type (_needs)", (3, 3)),
        ("+a:\n  sh>: x\n  _export: 3\n", "bad_type (_export)", (3, 3)),
        ("+a:\n  sh>: x\n  _background: maybe\n", "bad_type (_background)", (3, 3)),
        ("+a: x\n", "task_not_a_map", (1, 1)),
        ("_export:\n  x: 1\nschedule:\n", "null_value", (3, 1)),
        ("+a:\n", "null_value", (1, 1)),
        ("+a:\n  sh>: x\nretry: 3\n", "unknown_top_level_keys: retry", (3, 1)),
        ("+a:\n  sh>: x\ntimezone: Mars/Base\n", "bad_timezone", (3, 1)),
        ("compat:\n  evaluate: true\n+a:\n  sh>: x\n", "unknown_key: evaluate", (2, 3)),
        ("compat: true\n+a:\n  sh>: x\n", "bad_type (compat)", (1, 1)),
    ],
)
def test_a_mistake_is_refused_where_it_stands(text, kind, where):
    problem = refused(text)
    assert (problem.kind, place(problem)) == (kind, where)


def test_a_mistake_in_a_handler_is_refused():
    problem = refused("+a:\n  sh>: x\n  _error:\n    +b:\n      sh>: x\n      py>: y\n")
    assert (problem.kind, problem.task) == ("multiple_operators", "+w+a^error+b")


def test_every_refusal_says_what_to_write_instead():
    texts = [
        "+a:\n  sh>: x\n  py>: y\n",
        "+a: x\n",
        "+a:\n",
        "+g:\n  nope: 1\n",
        "nope: 1\n",
        "timezone: JST\n+a:\n  sh>: x\n",
    ]
    assert [text for text in texts if not refused(text).hint] == []


@pytest.mark.parametrize("key", ["_timeout", "_env", "_keep", "_signal", "_kill_grace"])
def test_an_option_of_tasks_at_a_group_is_told_to_go_to_the_tasks(key):
    assert (
        refused(f"+g:\n  {key}: 1\n  +a:\n    sh>: x\n").hint == f"{key}: write it at the tasks that have an operator"
    )


# -- `compat`


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), ("compat:\n", False), ("compat: {}\n", False), ("compat: {evaluate_data: false}\n", False),
     ("compat: {evaluate_data: true}\n", True)],
)  # fmt: skip
def test_data_is_evaluated_only_where_the_file_asks_for_it(text, expected):
    assert compiled(text + "+a:\n  sh>: x\n").evaluates_data is expected


# -- who waits for whom


def test_of_several_in_the_background_the_next_one_waits_for_all_and_later_ones_for_none_of_them():
    background = {**OK, "_background": True}
    nodes = compile_generated("^sub", {"+a": OK, "+b": background, "+c": background, "+d": OK, "+e": OK}, "+w")
    assert waits(nodes)["^sub+d"] == ["+a", "+b", "+c"] and waits(nodes)["^sub+e"] == ["+d"]


def test_a_limit_of_nothing_is_no_limit():
    nodes = compiled("_parallel: {limit: 0}\n+a: {sh>: x}\n+b: {sh>: x}\n").nodes
    assert waits(nodes) == {"": [], "+a": [], "+b": []}


def test_what_a_disabled_task_waited_for_does_not_count():
    assert waits(compiled("+a: {sh>: x}\n+b: {sh>: x, _disable: true, _after: [+z]}\n+c: {sh>: x}\n").nodes) == {
        "": [], "+a": [], "+b": ["+a"], "+c": ["+b"],
    }  # fmt: skip
    parallel = "_parallel: true\n+a: {sh>: x}\n+b: {sh>: x, _disable: true, _after: [+z], _background: true}\n"
    assert waits(compiled(parallel).nodes)["+b"] == []


def test_generated_tasks_may_need_each_other():
    nodes = compile_generated("^sub", {"_parallel": True, "+a": {**OK, "_needs": ["+b"]}, "+b": OK}, "+w+gen")
    assert waits(nodes)["+gen^sub+a"] == ["+b"]


def test_generated_tasks_that_wait_for_each_other_are_refused():
    with pytest.raises(WorkflowError, match=r"\+w\+gen\^sub\+a"):
        compile_generated(
            "^sub", {"_parallel": True, "+a": {**OK, "_needs": ["+b"]}, "+b": {**OK, "_needs": ["+a"]}}, "+w+gen"
        )


# -- `_needs`


@pytest.mark.parametrize("name", ["b", "+g/", "+g+b+c", "++", "+b+", "^b"])
def test_what_is_not_the_name_of_a_task_is_not_found(name):
    text = f"_parallel: true\n+a: {{sh>: x, _needs: ['{name}']}}\n+h: {{+b: {{sh>: x}}}}\n"
    problem = refused(text)
    assert (problem.kind, problem.line, problem.task) == ("unknown_dependency", 2, "+w+a")


def test_a_task_is_not_suggested_to_itself():
    assert "+load" not in (refused("+load: {sh>: x, _needs: [+laod]}\n").hint or "").split("such as")[0]


def test_a_task_that_needs_itself_waits_for_itself():
    problem = refused("+a: {sh>: x, _needs: [+a]}\n")
    assert (problem.kind, problem.message) == ("cycle", "tasks wait for each other: +w+a")


def test_a_task_that_needs_the_group_around_it_waits_for_itself():
    problem = refused("+g:\n  +a: {sh>: x, _needs: [+g]}\n")
    assert problem.kind == "cycle" and "+w+g" in problem.message and "+w+g+a" in problem.message


def test_a_cycle_has_the_place_of_one_of_its_needs():
    text = "_parallel: true\n+a:\n  sh>: x\n  _needs: [+b]\n+b:\n  sh>: x\n  _needs: [+a]\n+c:\n  sh>: x\n"
    problem = refused(text)
    assert place(problem) in ((4, 3), (7, 3)) and "+w+c" not in problem.message


def test_a_need_of_the_whole_of_a_retried_group_is_told_instead_of_one_of_its_members():
    problem = refused("_parallel: true\n+g:\n  _retry: 3\n  +a: {sh>: x}\n+b: {sh>: x, _needs: [+g+a]}\n")
    assert (problem.kind, problem.hint) == ("needs_inside_retry", "need +g")


# -- called files


def test_a_called_file_with_an_unknown_zone_is_refused():
    with pytest.raises(WorkflowError, match="unknown time zone"):
        called_body(load("timezone: JST\n+a:\n  sh>: x\n", "sub.dig", None), "")


def test_a_called_file_keeps_its_tasks_and_its_options_but_its_zone():
    body = called_body(load("timezone: Asia/Tokyo\n_retry: 2\n+a:\n  sh>: x\n_export: {x: 1}\n", "sub.dig", None), "")
    assert list(body) == ["_export", "_retry", "+a"]


def test_no_other_error_than_that_of_a_workflow_comes_of_any_option():
    for value in (None, True, 3, 1.5, "x", [], [1], {}, {"limit": None}, {"limit": 1, "fail_fast": "x"}):
        for key in (
            "_parallel",
            "_needs",
            "_export",
            "_error",
            "_background",
            "_disable",
            "_retry",
            "_check",
            "_secrets",
        ):
            try:
                compile_generated("^sub", {key: value, "+a": OK}, "+w")
                compile_generated("^sub", {"+a": {**OK, key: value}}, "+w")
            except WorkflowError:
                pass
            except TaskFailed as problem:
                raise AssertionError(f"{key}: {value!r}") from problem
