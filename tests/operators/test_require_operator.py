"""require>: what it asks for, what it remembers, how it ends."""

from __future__ import annotations

import pytest

from dagrun.core.session import parse_full_time
from dagrun.plugins.operator import Again, Child, Succeeded, TaskFailed
from dagrun.plugins.testing import context
from dagrun_operators.require import Require

STARTED = Child(7, 3, started=True, done=False, success=False)
RUNNING = Child(7, 3, started=False, done=False, success=False)
SUCCEEDED = Child(7, 3, started=False, done=True, success=True)
FAILED = Child(7, 3, started=False, done=True, success=False)
RESTARTED = Child(8, 3, started=True, done=False, success=False)
RESTARTED_SUCCEEDED = Child(8, 3, started=False, done=True, success=True)


def follow(children, **options):
    """Call until the end: the outcome, the last memo, the pauses, and what was asked."""
    memo, pauses, required = {}, [], []
    children = list(children)
    while True:
        task = context({"_command": "child", **options}, memo=memo, children=children[:1])
        try:
            answer = Require().run(task)
        except TaskFailed as error:
            return error, memo, pauses, required
        required += task.required
        if not isinstance(answer, Again):
            return answer, memo, pauses, required
        children = children[1:]
        memo = answer.memo
        pauses.append((answer.after, answer.wake_on))


def test_a_child_is_started_and_followed_to_its_end():
    outcome, memo, pauses, _ = follow([STARTED, RUNNING, RUNNING, RUNNING, RUNNING, RUNNING, SUCCEEDED])
    assert outcome == Succeeded()
    assert memo == {
        "retry": 7, "require_kicked": True, "target_session_id": 3, "target_attempt_id": 7,
        "task_finish_success": True,
    }  # fmt: skip
    assert pauses == [(1, 7), (2, 7), (4, 7), (8, 7), (10, 7), (10, 7), (0, None)]


def test_while_there_is_no_room_for_a_child_it_is_asked_for_again_and_told_once():
    full = Child(5, 2, started=False, done=False, success=False, waits="attempt 5 of child is at work")
    memo, warnings = {}, []
    for _ in range(2):
        task = context({"_command": "child"}, memo=memo, children=[full])
        answer = Require().run(task)
        memo, warnings = answer.memo, warnings + task.warnings
        assert (answer.wake_on, set(memo)) == (5, {"retry"})
    assert [text.partition(" waits: ")[2] for text in warnings] == [full.waits]
    outcome, memo, _, _ = follow([full, STARTED, SUCCEEDED])
    assert (outcome, memo["target_attempt_id"]) == (Succeeded(), 7)


def test_a_child_that_is_done_is_not_run_again():
    outcome, memo, _, _ = follow([SUCCEEDED])
    assert outcome == Succeeded()
    assert "require_kicked" not in memo


@pytest.mark.parametrize("options", [{}, {"rerun_on": "none"}])
def test_a_failed_child_fails_the_task(options):
    outcome, _, _, _ = follow([FAILED], **options)
    assert (outcome.kind, outcome.category) == ("dependent_failed", None)
    assert "Dependent workflow failed" in outcome.message
    assert "attempt id: 7" in outcome.message


def test_a_child_that_this_task_started_is_not_run_again():
    outcome, _, _, required = follow([STARTED, FAILED], rerun_on="failed")
    assert outcome.kind == "dependent_failed"
    assert [asked["retry_name"] for asked in required] == [None, None]


@pytest.mark.parametrize(("rerun_on", "found"), [("failed", FAILED), ("all", FAILED), ("all", SUCCEEDED)])
def test_a_child_that_was_found_done_is_run_again_when_asked(rerun_on, found):
    outcome, memo, _, required = follow([found, RESTARTED, RESTARTED_SUCCEEDED], rerun_on=rerun_on)
    assert outcome == Succeeded()
    assert memo["require_kicked"] is True
    assert memo["target_attempt_id"] == 8
    name = memo["rerun_on_retry_attempt_name"]
    assert [asked["retry_name"] for asked in required] == [None, name, name]


def test_rerun_on_failed_leaves_a_success_alone():
    outcome, _, _, required = follow([SUCCEEDED], rerun_on="failed")
    assert outcome == Succeeded()
    assert len(required) == 1


def test_a_failure_may_be_ignored():
    assert follow([FAILED], ignore_failure=True)[0] == Succeeded()


def test_project_session_time_and_retry_name_count_only_at_the_task_itself():
    inherited = {"project_id": -1, "session_time": "2024-01-01T00:00:00+00:00", "retry_attempt_name": "z"}
    task = context(inherited, local={"_command": "child", "params": {"v": "2"}}, children=[STARTED])
    Require().run(task)
    assert task.required == [
        {"workflow": "child", "session_time": None, "params": {"v": "2"}, "retry_name": None, "project": None}
    ]
    task = context({"_command": "child", **inherited}, children=[STARTED])
    Require().run(task)
    assert task.required[0] == {
        "workflow": "child", "session_time": "2024-01-01T00:00:00+00:00", "params": {}, "retry_name": "z",
        "project": -1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T09:00:00+09:00",
        "2024-01-01T09:00+09:00",
        "2024-01-01T00:00:00.999999999Z",
        "2024-01-01T00:00:00+0000",
    ],
)
def test_a_session_time_has_any_form_with_an_offset(text):
    task = context({"_command": "child", "session_time": text}, children=[STARTED])
    Require().run(task)
    at = parse_full_time(task.required[0]["session_time"])
    assert at == 1_704_067_200_000_000


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"rerun_on": "maybe"}, "bad_option"),
        ({"project_id": 1, "project_name": "p"}, "bad_option"),
        ({"session_time": "2024-01-01"}, "bad_option"),
        ({"session_time": "soon"}, "bad_option"),
        ({"session_time": "2024-01-01 00:00:00+09:00"}, "bad_option"),
        ({"session_time": "2024-02-30T00:00:00Z"}, "bad_option"),
        ({"session_time": "20240101T000000Z"}, "bad_option"),
        ({"session_time": "0001-01-01T00:00:00+09:00"}, "bad_option"),
        ({"params": 1}, "bad_type (params)"),
        ({"ignore_failure": "yes"}, "bad_type (ignore_failure)"),
    ],
)
def test_wrong_options_are_refused(options, kind, fails):
    with fails(kind):
        Require().run(context({"_command": "child", **options}, children=[STARTED]))


def test_an_unknown_workflow_fails(fails):
    with fails("dependent_missing", None):
        Require().run(context({"_command": "nope"}))
