"""echo>, fail>, notify>, if>, call>, wait>."""

from __future__ import annotations

import pytest

from dagrun.plugins.operator import Again, Subtasks, Succeeded
from dagrun.plugins.testing import context
from dagrun_operators.call import Call
from dagrun_operators.echo import Echo
from dagrun_operators.fail import Fail
from dagrun_operators.if_ import If
from dagrun_operators.notify import Notify
from dagrun_operators.wait import Wait


@pytest.mark.parametrize(
    ("value", "printed"), [("a b", "a b"), (1.5, "1.5"), (True, "true"), ("", ""), ("${secret:k}", "${secret:k}")]
)
def test_echo_prints_a_text(value, printed):
    task = context({"_command": value})
    assert Echo().run(task) == Succeeded()
    assert task.printed == [printed]


@pytest.mark.parametrize(("value", "kind"), [(None, "missing"), ([1], "bad_type"), ({"a": 1}, "bad_type")])
def test_echo_of_what_is_no_text_fails(value, kind, fails):
    with fails(f"{kind} (_command)"):
        Echo().run(context({"_command": value}))


@pytest.mark.parametrize(("value", "message"), [("boom", "boom"), (None, ""), (3, "3")])
def test_fail_fails_with_exactly_this_message(value, message, fails):
    with fails("failed", None) as caught:
        Fail().run(context({"_command": value}))
    assert caught.value.message == message


def test_notify_makes_a_notice():
    task = context({"_command": "look"})
    assert Notify().run(task) == Succeeded()
    assert (task.notices, task.warnings) == (["look"], [])


@pytest.mark.parametrize(
    ("condition", "branch"),
    [(True, "a"), ("True", "a"), (-1, "a"), (False, "b"), ("False", "b"), (0, "b"), ("", "b"), ("null", "b")],
)
def test_if_goes_one_of_two_ways(condition, branch):
    task = context({"_command": condition, "_do": {"echo>": "a"}, "_else_do": {"echo>": "b"}})
    assert If().run(task) == Succeeded(subtasks=Subtasks(config={"echo>": branch}))


def test_a_way_that_is_not_written_leads_to_nothing():
    assert If().run(context({"_command": False, "_do": {"echo>": "a"}, "_else_do": None})) == Succeeded()


@pytest.mark.parametrize(
    ("condition", "kind"), [("yes", "bad_type"), ("TRUE", "bad_type"), (1.5, "bad_type"), (None, "missing")]
)
def test_if_refuses_other_conditions(condition, kind, fails):
    with fails(f"{kind} (_command)"):
        If().run(context({"_command": condition, "_do": {"echo>": "a"}}))


def test_if_without_a_body_fails(fails):
    with fails("missing (_do)"):
        If().run(context({"_command": True, "_do": None, "_else_do": None}))


def test_call_generates_the_body_of_the_file(fails):
    task = context({"_command": "child"}, workflows={"child": {"+x": {"echo>": "x"}}})
    assert Call().run(task) == Succeeded(subtasks=Subtasks(config={"+x": {"echo>": "x"}}))
    with fails("file_not_found"):
        Call().run(context({"_command": "nope"}))


def wait_out(params):
    """The seconds of each pause."""
    now, memo, pauses = 1_700_000_000.123, {}, []
    while isinstance(answer := Wait().run(context(params, memo=memo, now=now)), Again):
        pauses.append(answer.after)
        memo, now = answer.memo, now + answer.after
    assert answer == Succeeded()
    return pauses


@pytest.mark.parametrize(
    ("params", "pauses"),
    [
        ({"_command": "2s"}, [2]),
        ({"_command": 2}, [2]),
        ({"_command": "0d 0h 0m 1s"}, [1]),
        ({"_command": "0s"}, [1]),
        ({"_command": "3s", "poll_interval": "2s"}, [2, 1]),
        ({"_command": "2s", "poll_interval": "0s"}, [1, 1]),
        ({"_command": "2s", "blocking": True}, [2]),
    ],
)
def test_wait_lasts_as_long_as_it_says(params, pauses):
    assert wait_out(params) == pytest.approx(pauses, abs=0.01)


def test_wait_remembers_when_it_began():
    answer = Wait().run(context({"_command": "10s"}, now=1000.0))
    assert answer.memo == {"wait_start_time_millis": 1_000_000}
    assert Wait().run(context({"_command": "10s"}, now=1010.0, memo=answer.memo)) == Succeeded()


@pytest.mark.parametrize("duration", ["abc", "-1s", -1, "1s 1d", True, ["1s"]])
def test_wait_refuses_what_is_no_duration(duration, fails):
    with fails("bad_type (_command)"):
        Wait().run(context({"_command": duration}))


def test_wait_refuses_a_blocking_wait_that_polls(fails):
    with fails("bad_option"):
        Wait().run(context({"_command": "2s", "blocking": True, "poll_interval": "1s"}))
