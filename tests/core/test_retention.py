"""What goes and what stays, from plain values."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from dagrun.core.retention import DAY, Retention, choose, unnamed, with_needs

NOW = 10_000 * DAY


class One(NamedTuple):
    id: int
    state: str = "success"
    finished_at: int | None = NOW - 1000 * DAY
    workflow: str = "wf"
    project_id: int = 1


class Revision(NamedTuple):
    id: int
    project_id: int
    created_at: int


def removed(attempts, needs=None, **limits):
    return choose(attempts, needs or {}, Retention(**{"keep_last": 0} | limits), NOW).removed


def ago(days: float) -> int:
    return NOW - int(days * DAY)


def test_successes_and_failures_have_limits_of_their_own():
    attempts = [One(1, "success", ago(91)), One(2, "success", ago(89)), One(3, "error", ago(366)), One(4, "error", ago(364)),
                One(5, "canceled", ago(366)), One(6, "group_error", ago(91))]  # fmt: skip
    assert removed(attempts) == [5, 3, 1]


def test_an_attempt_is_as_old_as_its_end():
    assert removed([One(1, "success", ago(1)), One(2, "success", ago(200))]) == [2]


def test_what_runs_or_waits_stays():
    assert removed([One(1, "running", None)], runs=0, failed=0) == []


def test_the_newest_of_each_workflow_stay():
    attempts = [One(1), One(2), One(3), One(4, workflow="other"), One(5, project_id=2)]
    assert removed(attempts, keep_last=1) == [2, 1]
    assert removed(attempts, keep_last=2) == [1]


def test_what_an_attempt_that_stays_needs_stays_through_any_chain():
    attempts = [One(1), One(2), One(3), One(4, "running", None)]
    assert removed(attempts, {4: {3}, 3: {1}}) == [2]
    assert removed(attempts, {2: {1}}) == [3, 2, 1]


def test_only_logs_go_of_attempts_that_stay():
    attempts = [One(1, "success", ago(40)), One(2, "success", ago(20)), One(3, "success", ago(40)), One(4, "running", None),
                One(5, "success", ago(100))]  # fmt: skip
    choice = choose(attempts, {4: {5}}, Retention(keep_last=0), NOW)
    assert (choice.removed, choice.without_logs) == ([], [5, 3, 1])
    assert choose(attempts[:3], {}, Retention(keep_last=1), NOW).without_logs == [1]


attempts_of_any_sort = st.lists(
    st.tuples(
        st.sampled_from(["success", "error", "canceled", "running"]),
        st.integers(0, 800),
        st.sampled_from(["a", "b"]),
        st.integers(1, 2),
    ),
    max_size=25,
).map(
    lambda found: [
        One(number, state, None if state == "running" else ago(days), workflow, project)
        for number, (state, days, workflow, project) in enumerate(found, start=1)
    ]
)


@st.composite
def histories(draw):
    attempts = draw(attempts_of_any_sort)
    needs = {
        one.id: draw(st.sets(st.integers(1, one.id - 1), max_size=2))
        for one in attempts
        if one.id > 1 and draw(st.booleans())
    }
    return attempts, needs


limits = st.builds(
    Retention,
    runs=st.integers(0, 500).map(lambda days: days * DAY),
    failed=st.integers(0, 800).map(lambda days: days * DAY),
    logs=st.integers(0, 200).map(lambda days: days * DAY),
    keep_last=st.integers(0, 5),
)


@given(histories(), limits)
def test_nothing_that_is_needed_goes_and_nothing_else_stays(history, retention):
    attempts, needs = history
    choice = choose(attempts, needs, retention, NOW)
    gone = set(choice.removed)
    staying = [one for one in attempts if one.id not in gone]
    assert not gone & with_needs((one.id for one in staying), needs)
    for one in attempts:
        limit = retention.runs if one.state == "success" else retention.failed
        old = one.finished_at is not None and one.finished_at < NOW - limit
        newer = sum(
            (other.project_id, other.workflow) == (one.project_id, one.workflow) and other.id > one.id
            for other in attempts
        )
        if one.id in gone:
            assert old and newer >= retention.keep_last
        elif old and newer >= retention.keep_last:
            assert any(one.id in with_needs([other.id], needs) for other in staying if other.id != one.id)


@given(histories(), limits)
def test_a_second_go_finds_nothing_and_stopping_anywhere_spoils_nothing(history, retention):
    attempts, needs = history
    whole = choose(attempts, needs, retention, NOW).removed
    for count in range(len(whole) + 1):
        left = [one for one in attempts if one.id not in whole[:count]]
        assert not set(whole[:count]) & {other for one in left for other in needs.get(one.id, ())}
        assert choose(left, needs, retention, NOW).removed == whole[count:]


@given(histories(), limits, st.randoms())
def test_the_order_of_the_attempts_does_not_matter(history, retention, random):
    attempts, needs = history
    shuffled = list(attempts)
    random.shuffle(shuffled)
    assert choose(shuffled, needs, retention, NOW) == choose(attempts, needs, retention, NOW)


def test_revisions_stay_that_are_named_young_or_the_newest_of_their_project():
    revisions = [Revision(1, 1, 0), Revision(2, 1, 0), Revision(3, 1, 50), Revision(4, 2, 0), Revision(5, 1, 0)]
    assert unnamed(revisions, {2}, before=10) == [1]
