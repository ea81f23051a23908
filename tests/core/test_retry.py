"""`_retry`: how often, after which wait, and what can't be read; failures of the platform apart (spec/language X16)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.core.config import Template
from dagrun.core.events import Failure
from dagrun.core.retry import NO_RETRY, Retry, group_retry, parse_retry, platform_wait
from dagrun.errors import TaskFailed
from tests.core.simulate import ERROR, Simulation, by_definition, text_of, tree_of

SECOND = 1_000_000
PLATFORM = {"kind": "spawn_failed", "message": "no more processes"}


def waits(value: Any, count: int) -> list[float]:
    retry = parse_retry(value)
    return [retry.wait(number) / SECOND for number in range(1, count + 1)]


@pytest.mark.parametrize("value", [3, 3.9, "3", " 3 ", {"limit": 3}, {"limit": "3"}, {"limit": 3.9}])
def test_a_number_counts_the_extra_runs_and_they_follow_at_once(value):
    assert (parse_retry(value).limit, waits(value, 3)) == (3, [0, 0, 0])


@pytest.mark.parametrize("value", ["", " "])
def test_a_blank_text_is_no_retry(value):
    assert parse_retry(value).limit == 0


@pytest.mark.parametrize("kind", [{}, {"interval_type": "constant"}, {"interval_type": "Constant"}])
def test_a_constant_interval_stays(kind):
    assert waits({"limit": 3, "interval": 10, **kind}, 3) == [10, 10, 10]


@pytest.mark.parametrize("kind", ["exponential", "EXPONENTIAL"])
def test_an_exponential_interval_doubles(kind):
    assert waits({"limit": 4, "interval": 10, "interval_type": kind}, 4) == [10, 20, 40, 80]


def test_an_exponential_interval_ends_at_its_maximum():
    value = {"limit": 5, "interval": 10, "interval_type": "exponential", "max_interval": 30}
    assert waits(value, 5) == [10, 20, 30, 30, 30]


def test_a_maximum_below_the_interval_counts_from_the_first_run():
    assert waits({"limit": 1, "interval": 10, "interval_type": "exponential", "max_interval": 5}, 2) == [5, 5]


def test_a_constant_interval_has_no_maximum():
    assert waits({"limit": 2, "interval": 10, "max_interval": 5}, 2) == [10, 10]


def test_an_interval_may_be_written_as_a_duration():
    assert waits({"limit": 1, "interval": "1m 30s"}, 1) == [90]


def test_the_thousandth_of_many_runs_still_has_a_wait():
    assert Retry(10_000, 1.0, 2.0, 60.0).wait(9_999) == 60 * SECOND


@pytest.mark.parametrize("value", [True, False, None, [], [3], 1e99, "three", "3.0", "0x3", "1_0", "٣"])
def test_this_is_no_retry(value):
    with pytest.raises(TaskFailed) as caught:
        parse_retry(value)
    assert (caught.value.kind, caught.value.category) == ("bad_retry", "config")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({}, "missing (limit)"),
        ({"interval": 3}, "missing (limit)"),
        ({"limit": None}, "missing (limit)"),
        ({"limit": "x"}, "bad_type (limit)"),
        ({"limit": 1, "interval": "soon"}, "bad_type (interval)"),
        ({"limit": 1, "interval_type": "linear"}, "bad_retry"),
        ({"limit": 1, "interval_type": "exponential", "max_interval": []}, "bad_type (max_interval)"),
        ({"limit": 1, "platform_limit": "x"}, "bad_type (platform_limit)"),
    ],
)
def test_a_map_that_can_not_be_read_is_told_why(value, kind):
    with pytest.raises(TaskFailed) as caught:
        parse_retry(value)
    assert caught.value.kind == kind


def test_a_limit_for_the_platform_alone_leaves_the_other_at_none():
    retry = parse_retry({"platform_limit": 3})
    assert (retry.limit, retry.platform_limit) == (0, 3)


def test_the_platform_has_ten_runs_unless_it_is_told_otherwise():
    assert (parse_retry(2).platform_limit, parse_retry({"limit": 2}).platform_limit) == (10, 10)


@given(number=st.integers(1, 200))
def test_the_wait_for_the_platform_doubles_up_to_half_a_minute(number):
    assert platform_wait(number) == min(2 ** (number - 1), 30) * SECOND


@given(
    limit=st.integers(0, 50), interval=st.integers(0, 100), ceiling=st.integers(0, 1_000), number=st.integers(1, 2_000)
)
def test_an_exponential_wait_never_shrinks_and_never_passes_its_maximum(limit, interval, ceiling, number):
    retry = Retry(limit, interval, 2.0, ceiling)
    assert 0 <= retry.wait(number) <= retry.wait(number + 1) <= ceiling * SECOND


# -- of a group


def test_a_group_without_retry_has_none():
    assert group_retry(None) == (NO_RETRY, None)


def test_a_template_on_a_group_is_ignored_with_a_note():
    retry, note = group_retry(Template("${n}"))
    assert retry == NO_RETRY and "can't be a ${…}" in str(note)


@pytest.mark.parametrize("value", [True, {"interval": 1}, {"limit": 1, "interval_type": "x"}])
def test_what_can_not_be_read_on_a_group_is_ignored_with_a_note(value):
    retry, note = group_retry(value)
    assert retry == NO_RETRY and str(note).startswith("_retry is ignored: ")


def test_the_note_of_a_group_reaches_the_log_and_the_group_fails():
    run = Simulation(tree_of(text_of({"+g": {"_retry": "${n}", "+a": {"sh>": "x"}}}))).start()
    run.finish(run.claim()[0], Failure(ERROR))
    assert (run.states()["+w+g"], run.notes[0].startswith("+w+g: _retry")) == ("group_error", True)


# -- whose failure it was


def working() -> Simulation:
    return Simulation(tree_of(text_of({"+a": {"sh>": "x"}}))).start()


def fail(run: Simulation, retry: Retry | None, *, platform: bool) -> str:
    """One more run that fails; the state that follows."""
    if run.tree[1].state == "waiting":
        run.advance()
    run.claim()
    run.finish(run.tree[1], Failure(PLATFORM if platform else ERROR, retry=retry, platform=platform))
    return run.tree[1].state


def until_it_fails(retry: Retry | None, *, platform: bool) -> int:
    run = working()
    for number in range(1, 50):
        if fail(run, retry, platform=platform) == "error":
            return number
    raise AssertionError("it never fails")


@pytest.mark.parametrize("retry", [None, Retry(0), Retry(0, platform_limit=7)])
def test_a_failure_of_its_own_without_a_limit_ends_the_task_at_once(retry):
    assert until_it_fails(retry, platform=False) == 1


def test_failures_of_its_own_end_at_its_limit():
    assert until_it_fails(Retry(2, platform_limit=7), platform=False) == 3


@pytest.mark.parametrize(("retry", "runs"), [(None, 11), (Retry(0), 11), (Retry(2, platform_limit=3), 4)])
def test_failures_of_the_platform_end_at_a_limit_of_their_own(retry, runs):
    assert until_it_fails(retry, platform=True) == runs


def test_failures_of_the_platform_do_not_use_up_the_limit_of_the_task():
    retry = Retry(1, platform_limit=5)
    run = working()
    states = [fail(run, retry, platform=platform) for platform in (True, True, False, True)]
    assert "error" not in states and (run.tree[1].retries, run.tree[1].platform_retries) == (1, 3)
    assert fail(run, retry, platform=False) == "error"


def test_after_a_failure_of_the_platform_the_task_waits_longer_each_time():
    run = working()
    pauses = []
    for _ in range(3):
        fail(run, None, platform=True)
        pauses.append((run.tree[1].due_at or 0) - run.now)
    assert pauses == [1 * SECOND, 2 * SECOND, 4 * SECOND]


def test_the_interval_of_each_run_is_waited_for():
    retry = parse_retry({"limit": 3, "interval": 5, "interval_type": "exponential"})
    run = working()
    pauses = []
    for _ in range(3):
        fail(run, retry, platform=False)
        pauses.append((run.tree[1].due_at or 0) - run.now)
    assert pauses == [5 * SECOND, 10 * SECOND, 20 * SECOND]
    assert fail(run, retry, platform=False) == "error"


def test_a_group_waits_between_its_rounds_as_it_says():
    policy = {"limit": 2, "interval": 5, "interval_type": "exponential"}
    run = Simulation(tree_of(text_of({"+g": {"_retry": policy, "+a": {"sh>": "x"}}}))).start()
    group, pauses = run.tree[1], []
    for _ in range(2):
        run.finish(run.claim()[0], Failure(ERROR))
        pauses.append((group.due_at or 0) - run.now)
        run.advance()
    run.finish(run.claim()[0], Failure(ERROR))
    assert (pauses, group.state, group.retries) == ([5 * SECOND, 10 * SECOND], "group_error", 2)


def test_a_generator_whose_tasks_failed_before_their_check_runs_again_as_a_whole():
    task = {
        "sh>": "x",
        "says": "make",
        "_do": {"+s": {"sh>": "x", "says": "fail"}},
        "_check": {"+look": {"sh>": "x"}},
        "_retry": 1,
        "times": 1,
    }
    run = Simulation(tree_of(text_of({"+a": task, "+b": {"sh>": "x"}}))).run(by_definition)
    assert (run.tree[1].retries, run.tree[1].state, run.tree.root.state) == (1, "success", "success")
    old = [one for one in run.tree.tasks if one.superseded]
    assert {one.full_name for one in old} == {
        "+w+a^sub", "+w+a^sub+s", "+w+a^check", "+w+a^check+look",
    }  # fmt: skip
