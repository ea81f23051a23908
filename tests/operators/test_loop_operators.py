"""loop>, for_each>, for_range>."""

from __future__ import annotations

import pytest

from dagrun.plugins.operator import Succeeded
from dagrun.plugins.testing import context
from dagrun_operators.for_each import ForEach
from dagrun_operators.for_range import ForRange
from dagrun_operators.loop import Loop

DO = {"echo>": "${i}"}


def rounds(operator, command, **more):
    """Names and variables of what is generated."""
    result = operator.run(context({"_command": command, "_do": DO, **more}))
    assert result.subtasks is None or all(item.config is DO for item in result.subtasks.items)
    return [(item.name, item.data) for item in result.subtasks.items] if result.subtasks else []


def names(operator, command):
    return [name for name, _ in rounds(operator, command)]


@pytest.mark.parametrize(("count", "number"), [(2, 2), ("2", 2), (2.9, 2), (0, 0), (-3, 0), ("", 0)])
def test_loop_makes_so_many_rounds(count, number):
    assert rounds(Loop(), count) == [(f"+loop-{i}", {"i": i}) for i in range(number)]


def test_loop_warns_of_an_inherited_count_and_obeys_it():
    task = context({"count": 3}, local={"_command": 1, "_do": DO})
    assert len(Loop().run(task).subtasks.items) == 3
    assert "`count`" in task.warnings[0]


def test_loop_does_not_warn_of_its_own_count():
    task = context({"_command": 1, "count": 2, "_do": DO})
    assert len(Loop().run(task).subtasks.items) == 2
    assert task.warnings == []


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"_command": None, "_do": DO}, "missing (_command)"),
        ({"_command": "x", "_do": DO}, "bad_type (_command)"),
        ({"_command": "x", "count": 1, "_do": DO}, "bad_type (_command)"),
        ({"_command": 2}, "missing (_do)"),
        ({"_command": 2, "_do": "hello"}, "bad_type (_do)"),
        ({"_command": 2, "_do": [DO]}, "bad_type (_do)"),
    ],
)
def test_loop_refuses_what_it_cannot_read(params, kind, fails):
    with fails(kind):
        Loop().run(context(params))


@pytest.mark.parametrize(
    ("operator", "command"),
    [
        (Loop(), 1001),
        (Loop(), 10**15),
        (ForEach(), {name: list(range(10)) for name in "abcdefghijkl"}),
        (ForRange(), {"from": 0, "to": 1001, "step": 1}),
        (ForRange(), {"from": 0, "to": 10**15, "step": 1}),
    ],
)
def test_too_many_rounds_are_refused_before_one_is_built(operator, command, fails):
    with fails("operator_task_limit") as caught:
        rounds(operator, command)
    assert "1000" in caught.value.message


@pytest.mark.parametrize("parallel", [True, "true", {"limit": "2"}, {"slots": 4, "fail_fast": True}])
def test_parallel_is_handed_on(parallel):
    result = Loop().run(context({"_command": 1, "_do": DO, "_parallel": parallel}))
    assert result.subtasks.options == {"_parallel": parallel}


def test_an_inherited_parallel_counts():
    result = Loop().run(context({"_parallel": True}, local={"_command": 1, "_do": DO}))
    assert result.subtasks.options == {"_parallel": True}


def test_for_each_makes_the_product_with_the_first_variable_slowest():
    assert rounds(ForEach(), {"fruit": ["apple", "fig"], "n": [1, 2]}) == [
        ("+for-0=fruit=0=apple&1=n=0=1", {"fruit": "apple", "n": 1}),
        ("+for-0=fruit=0=apple&1=n=1=2", {"fruit": "apple", "n": 2}),
        ("+for-0=fruit=1=fig&1=n=0=1", {"fruit": "fig", "n": 1}),
        ("+for-0=fruit=1=fig&1=n=1=2", {"fruit": "fig", "n": 2}),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("!?", "%21%3F"), ("+ ", "%2B%20"), ("a~b", "a%7Eb"), ("あ", "%E3%81%82"), ("a*b", "a%2Ab"),
        ("p/q r", "p%2Fq%20r"), ("0123456789", "01234567"), ({"k": 3}, "%7B%22k%22%3A3%7D"), (None, "null"),
        (True, "true"), (1.5, "1.5"), ("a-b_c.d", "a-b_c.d"), ("😀" * 5, "%F0%9F%98%80" * 4), ("abcdefg😀", "abcdefg%3F"),
    ],
)  # fmt: skip
def test_for_each_names_show_the_values(value, shown):
    assert rounds(ForEach(), {"x": [value]}) == [(f"+for-0=x=0={shown}", {"x": value})]


def test_for_each_takes_json_text():
    assert names(ForEach(), {"x": '[1,"two"]'}) == ["+for-0=x=0=1", "+for-0=x=1=two"]
    assert names(ForEach(), '{"a":[1],"b":[2]}') == ["+for-0=a=0=1&1=b=0=2"]


@pytest.mark.parametrize("lists", [{"a": [], "b": [1]}, {"a": [1], "b": []}, {"a": []}, {}])
def test_an_empty_list_anywhere_leaves_nothing_to_do(lists):
    assert ForEach().run(context({"_command": lists, "_do": DO})) == Succeeded()


def test_a_name_that_is_too_long_is_shortened_and_stays_its_own():
    long = {letter * 8: ["あ" * 9, "い" * 9] for letter in "abcd"}
    made = names(ForEach(), long)
    assert len(set(made)) == 16
    assert all(len(name) <= 255 for name in made)
    assert made == names(ForEach(), long)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ({"x": 5}, "bad_type (x)"), ({"x": "abc"}, "bad_type (x)"), ({"x": {"k": 1}}, "bad_type (x)"),
        ({"a": [], "x": 5}, "bad_type (x)"), (None, "missing (_command)"), ([1], "bad_type (_command)"),
    ],
)  # fmt: skip
def test_for_each_refuses_what_is_no_list(command, kind, fails):
    with fails(kind):
        rounds(ForEach(), command)


def test_for_each_needs_a_body(fails):
    with fails("missing (_do)"):
        ForEach().run(context({"_command": {"x": [1]}}))


@pytest.mark.parametrize(
    ("command", "pieces"),
    [
        ({"from": 1, "to": 8, "step": 3}, [(1, 4), (4, 7), (7, 8)]),
        ({"from": "2", "to": "4", "step": 1.9}, [(2, 3), (3, 4)]),
        ({"from": 0, "to": 10, "slices": 4}, [(0, 3), (3, 6), (6, 9), (9, 10)]),
        ({"from": 0, "to": 3, "slices": 5}, [(0, 1), (1, 2), (2, 3)]),
        ({"from": -4, "to": -1, "step": 2}, [(-4, -2), (-2, -1)]),
        ('{"from": 0, "to": 1, "step": 1}', [(0, 1)]),
        ({"from": 5, "to": 5, "step": 1}, []),
        ({"from": 5, "to": 1, "slices": 2}, []),
    ],
)
def test_for_range_cuts_the_range(command, pieces):
    assert rounds(ForRange(), command) == [
        (f"+range-from={low}&to={high}", {"range": {"from": low, "to": high, "index": index}})
        for index, (low, high) in enumerate(pieces)
    ]


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ({"from": 0, "to": 5, "step": 0}, "bad_option"), ({"from": 0, "to": 5, "slices": -1}, "bad_option"),
        ({"from": 0, "to": 5}, "bad_option"), ({"from": 0, "to": 5, "step": 1, "slices": 1}, "bad_option"),
        ({"from": 0, "step": 1}, "missing (to)"), ({"to": 1, "step": 1}, "missing (from)"),
        (5, "bad_type (_command)"),
    ],
)  # fmt: skip
def test_for_range_refuses_a_bad_range(command, kind, fails):
    with fails(kind):
        rounds(ForRange(), command)
