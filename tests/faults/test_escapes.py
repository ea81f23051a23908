"""A task's grandchild in a session of its own, without its descriptors, deaf to every polite signal: it dies all the same."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.project import SESSION, Project

# Whoever comes after a try that let something escape looks whether it is still there, before anything else.
WORKFLOW = """
+a:
  do: task=a; if mkdir "$PLACE/first" 2>/dev/null; then begin a; escape; hang; fi; look; begin a; finish
  _kill_grace: 0.2
"""


@pytest.fixture
def escaping(project):
    """A run whose task has a grandchild that got away."""
    project.tasks(WORKFLOW)
    process = project.run()
    project.told("hangs", "a")
    assert is_daemon(project)
    return process


def is_daemon(project: Project) -> bool:
    """It lives, in another session than its task, and its parent is gone."""
    pid = int((project.place / "escaped.pid").read_text())
    mine = [other for other, mark in project.processes().items() if mark and other != pid]
    return not project.is_free("escaped") and os.getsid(pid) not in {os.getsid(other) for other in mine if alone(other)}


def alone(pid: int) -> bool:
    """The leader of its session: the task itself."""
    return os.getsid(pid) == pid


def ended_for_good(project: Project) -> bool:
    return project.is_free("a") and project.is_free("escaped") and project.processes() == {}


def looked(project: Project) -> list[str]:
    return [note.what for note in project.ledger() if note.what in ("gone", "alive")]


@pytest.mark.parametrize("words", [("retry", "1"), ("run", "wf.dig", *SESSION)], ids=["retry", "run"])
def test_after_kill_9_it_is_dead_before_anything_new_starts(project, escaping, words):
    project.kill9(escaping)
    assert not project.is_free("escaped")
    project.call(*words)
    assert looked(project) == ["gone"]
    assert project.notes("overlap") == []
    assert len(project.notes("end", "a")) == 1
    assert ended_for_good(project)


def test_kill_ends_it(project, escaping):
    project.call("kill", "1")
    assert ended_for_good(project) or escaping.poll() is None
    project.end(escaping, 6)
    assert ended_for_good(project)


def test_kill_of_a_dead_runs_attempt_ends_it(project, escaping):
    project.kill9(escaping)
    project.call("kill", "1")
    assert ended_for_good(project)


def test_control_C_ends_it(project, escaping):
    escaping.send_signal(signal.SIGINT)
    project.end(escaping, 6)
    assert ended_for_good(project)
    project.call("retry", "1")
    assert looked(project) == ["gone"]


def test_a_time_limit_ends_it_before_the_next_try(project):
    project.tasks(WORKFLOW + "  _timeout: 0.5\n  _retry: 1")
    project.call("run", "wf.dig", *SESSION)
    assert project.notes("escaped") and looked(project) == ["gone"]
    assert ended_for_good(project)


def test_two_signals_at_once_leave_it_no_grace(project):
    project.tasks(WORKFLOW.replace("0.2", "1h"))
    process = project.run()
    project.told("hangs", "a")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # both come at once
        process.send_signal(number)
    project.end(process, 6)
    assert ended_for_good(project)


def test_a_task_that_ignores_TERM_is_dead_after_the_grace_period(project):
    project.tasks("+a:\n  do: begin a; stubborn\n  _kill_grace: 0.3")
    process = project.run()
    project.told("hangs", "a")
    process.send_signal(signal.SIGTERM)
    project.end(process, 6)
    assert ended_for_good(project)


def test_after_kill_9_a_task_that_ignores_TERM_is_dead_before_the_retry_starts(project):
    project.tasks('+a:\n  do: begin a; mkdir "$PLACE/first" && stubborn; finish')
    process = project.run()
    project.told("hangs", "a")
    project.kill9(process)
    project.call("retry", "1")
    assert project.notes("overlap") == [] and len(project.notes("end", "a")) == 1
    assert ended_for_good(project)


def test_a_tasks_own_last_words_are_heard_before_it_is_killed(project):
    project.tasks('+a:\n  do: begin a; trap "note bye; exit 0" TERM; note hangs; sleep 60 & wait\n  _kill_grace: 20s')
    process = project.run()
    project.told("hangs", "a")
    process.send_signal(signal.SIGINT)
    project.end(process, 6)
    assert project.notes("bye", "a")
    assert project.states()["+wf+a"] == "canceled"


def test_the_chosen_signal_is_sent(project):
    project.tasks('+a:\n  do: begin a; trap "note hup; exit 0" HUP; note hangs; sleep 60 & wait\n  _signal: HUP')
    process = project.run()
    project.told("hangs", "a")
    process.send_signal(signal.SIGINT)
    project.end(process, 6)
    assert project.notes("hup", "a")
