"""`_timeout` ends a try for real, and says so; the next try starts when nothing of it is left."""

from __future__ import annotations

import pytest

from tests.faults.project import SESSION, Project


def failed(project: Project, workflow: str) -> str:
    project.tasks(workflow)
    printed = project.call("run", "wf.dig", *SESSION, code=1)
    assert project.processes() == {}
    return printed


@pytest.mark.parametrize("how", ["hang", "stubborn"])
def test_a_task_that_takes_too_long_is_dead_and_timed_out(project, how):
    printed = failed(project, f"+a:\n  do: begin a; {how}\n  _timeout: 0.3\n  _kill_grace: 0.2\n+b:\n  do: begin b")
    assert project.is_free("a")
    assert "did not end within its _timeout of 0.3 s" in printed
    assert project.rows()["+wf+a"]["error"]["kind"] == "timed_out"
    assert "timed out" in project.call("tasks", "1")
    assert project.notes("start", "b") == []


def test_one_that_ends_in_time_is_left_alone(project):
    project.tasks("+a:\n  do: begin a; sleep 0.05; finish\n  _timeout: 30s")
    project.call("run", "wf.dig", *SESSION)
    assert project.notes("end", "a")


def test_neighbours_go_on(project):
    failed(
        project,
        "+all:\n  _parallel: true\n  +a:\n    do: begin a; hang\n    _timeout: 0.3\n  +b:\n    do: begin b; sleep 0.6; finish",
    )
    assert project.notes("end", "b")
    states = project.states()
    assert (states["+wf+all+a"], states["+wf+all+b"]) == ("error", "success")


def test_a_retry_starts_after_the_limit_and_may_succeed(project):
    project.tasks('+a:\n  do: begin a; mkdir "$PLACE/first" && hang; finish\n  _timeout: 1\n  _retry: 1')
    project.call("run", "wf.dig", *SESSION)
    assert len(project.notes("start", "a")) == 2 and len(project.notes("end", "a")) == 1
    assert project.notes("overlap") == []
    row = project.rows()["+wf+a"]
    assert (row["state"], row["tries"]) == ("success", 2)


def test_each_try_has_the_whole_limit_and_the_last_one_fails(project):
    printed = failed(project, "+a:\n  do: begin a; hang\n  _timeout: 0.2\n  _retry: 2")
    assert len(project.notes("start", "a")) == 3 and project.notes("overlap") == []
    assert project.rows()["+wf+a"]["error"]["kind"] == "timed_out"
    assert printed.count("+wf+a waiting") == 2


def test_the_command_retry_goes_on_after_a_time_out(project):
    failed(
        project, '+z:\n  do: begin z; finish\n+a:\n  do: begin a; mkdir "$PLACE/first" && hang; finish\n  _timeout: 1'
    )
    project.call("retry", "1")
    assert [len(project.notes("start", task)) for task in ("z", "a")] == [1, 2]
    assert project.states()["+wf"] == "success"


def test_the_handler_of_a_task_runs_when_nothing_of_it_is_left(project):
    failed(
        project,
        "+a:\n  do: begin a; escape; hang\n  _timeout: 0.5\n  _kill_grace: 0.1\n  _error:\n    do: task=handler; look",
    )
    assert project.notes("escaped") and [note.what for note in project.ledger() if note.task == "handler"] == ["gone"]


def test_a_group_has_no_time_limit_and_says_so_before_anything_has_run(project):
    project.tasks("+z:\n  do: begin z; finish\n+group:\n  _timeout: 0.3\n  +a:\n    do: begin a; hang")
    printed = project.call("run", "wf.dig", *SESSION, code=2)
    assert "wf.dig:5:3: +wf+group: a group can't have these keys: _timeout" in printed
    assert project.ledger() == [] and project.attempts() == []


def test_each_member_of_a_group_may_have_its_own(project):
    failed(
        project,
        "+group:\n  _parallel: true\n  +a:\n    do: begin a; hang\n    _timeout: 0.2\n"
        "  +b:\n    do: begin b; stubborn\n    _timeout: 0.3\n    _kill_grace: 0.1",
    )
    assert project.is_free("a") and project.is_free("b")
    kinds = {name: row["error"]["kind"] for name, row in project.rows().items() if row["error"]}
    assert kinds == {"+wf+group+a": "timed_out", "+wf+group+b": "timed_out"}


def test_a_group_begins_its_next_round_when_nothing_of_the_last_one_is_left(project):
    project.tasks(
        "+group:\n  _retry: 1\n  +z:\n    do: begin z; finish\n  +a:\n"
        '    do: begin a; mkdir "$PLACE/first" && stubborn; finish\n    _timeout: 1\n    _kill_grace: 0.1'
    )
    project.call("run", "wf.dig", *SESSION)
    assert project.notes("overlap") == []
    assert [len(project.notes("start", task)) for task in ("z", "a")] == [2, 2]


def test_a_waiting_task_has_its_limit_too(project):
    failed(project, "+a:\n  wait>: 1h\n  _timeout: 0.3")
    assert project.rows()["+wf+a"]["error"]["kind"] == "timed_out"
