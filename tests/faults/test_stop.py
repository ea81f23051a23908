"""Whoever says stop gets it: the attempt ends as canceled, with exit code 6, and nothing is left running."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import termios

import pytest

from tests.faults.project import LIMIT_SECONDS, SESSION, Project

HANGING = """
+before:
  do: begin before; finish
+group:
  _parallel: true
  +a:
    do: begin a; hang
  +b:
    do: begin b; hang
+after:
  do: begin after; finish
"""
STUBBORN = """
+a:
  do: begin a; stubborn
  _kill_grace: 1h
"""


@pytest.fixture
def hanging(project):
    """A run with two tasks at work."""
    project.tasks(HANGING)
    process = project.run()
    project.told("hangs", times=2)
    return process


def was_stopped(project: Project) -> None:
    """The attempt is canceled, what was done is kept, and nothing of it lives."""
    assert project.processes() == {}
    assert project.is_free("a") and project.is_free("b")
    assert project.notes("start", "after") == []
    states = project.states()
    assert states["+wf"] == states["+wf+group+a"] == states["+wf+group+b"] == "canceled"
    assert states["+wf+before"] == "success"
    assert [attempt["state"] for attempt in project.attempts()] == ["canceled"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_attempt_as_canceled_and_leaves_nothing_running(project, hanging, number):
    hanging.send_signal(number)
    assert "attempt 1 was killed" in project.end(hanging, 6)
    was_stopped(project)


def test_what_was_stopped_can_be_gone_on_with(project, hanging):
    hanging.send_signal(signal.SIGINT)
    project.end(hanging, 6)
    project.tasks(HANGING.replace("hang", "finish"))
    project.call("retry", "1")
    assert len(project.notes("start", "before")) == 1
    assert [len(project.notes("end", task)) for task in ("before", "a", "b", "after")] == [1] * 4


class Terminal:
    """Both ends of a terminal that the command controls, as in a window."""

    def __init__(self, project: Project, *words: str) -> None:
        self.ours, theirs = pty.openpty()

        def take_over() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.process = project.start(
            *words, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_over,
            env={**project.environment, "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        self.printed = b""

    def press(self, key: bytes) -> None:
        os.write(self.ours, key)

    def end(self) -> int:
        """Read what it prints until it is gone."""
        while select.select([self.ours], [], [], LIMIT_SECONDS)[0]:
            try:
                self.printed += os.read(self.ours, 1 << 16)
            except OSError:  # the other end is closed
                break
        os.close(self.ours)
        return self.process.wait(LIMIT_SECONDS)


def test_control_C_in_a_terminal_ends_it_the_same_way(project):
    project.tasks(HANGING)
    terminal = Terminal(project, "run", "wf.dig", *SESSION)
    project.told("hangs", times=2)
    terminal.press(b"\x03")
    assert terminal.end() == 6
    assert b"was killed" in terminal.printed and b"Traceback" not in terminal.printed
    was_stopped(project)


def test_a_second_control_C_leaves_no_more_grace(project):
    project.tasks(STUBBORN)
    process = project.run()
    project.told("hangs")
    process.send_signal(signal.SIGINT)
    project.until(lambda: project.states()["+wf+a"] == "stopping")
    assert not project.is_free("a")
    process.send_signal(signal.SIGINT)
    project.end(process, 6)
    assert project.is_free("a") and project.processes() == {}
    assert project.states()["+wf"] == "canceled"


def test_two_signals_at_once_end_it_too(project):
    project.tasks(STUBBORN)
    process = project.run()
    project.told("hangs")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # both come at once
        process.send_signal(number)
    project.end(process, 6)
    assert project.is_free("a") and project.processes() == {}


@pytest.mark.parametrize(
    "workflow", ["+a:\n  wait>: 1h", '+a:\n  sh>: "exit 1"\n  _retry: {limit: 3, interval: 1h}'], ids=["wait", "retry"]
)
def test_what_only_waits_ends_at_once(project, workflow):
    project.tasks(workflow)
    process = project.run()
    project.until(lambda: project.attempts() and project.states().get("+wf+a") == "waiting")
    process.send_signal(signal.SIGINT)
    project.end(process, 6)
    assert project.states() == {"+wf": "canceled", "+wf+a": "canceled"}


def test_kill_from_another_process_waits_until_all_is_ended(project, hanging):
    assert "attempt 1 is killed" in project.call("kill", "1")
    assert project.states()["+wf"] == "canceled"
    assert project.is_free("a") and project.is_free("b")
    assert "was killed" in project.end(hanging, 6)
    was_stopped(project)


def test_kill_without_waiting_returns_while_tasks_still_end(project):
    project.tasks(STUBBORN)
    process = project.run()
    project.told("hangs")
    project.call("kill", "last", "--no-wait")
    assert project.states()["+wf+a"] == "stopping"
    process.send_signal(signal.SIGINT)  # it is being canceled already
    process.send_signal(signal.SIGTERM)  # another signal: two of a kind that come at once are one
    project.end(process, 6)
    assert project.is_free("a")


def test_an_attempt_that_has_ended_is_not_killed(project):
    project.tasks("+a:\n  do: begin a; finish")
    project.call("run", "wf.dig", *SESSION)
    assert "has ended already" in project.call("kill", "1", code=4)
    assert project.states()["+wf"] == "success"


def test_kill_of_a_dead_runs_attempt_ends_what_it_left(project, hanging):
    project.kill9(hanging)
    assert not project.is_free("a")
    project.call("kill", "1")
    assert project.is_free("a") and project.is_free("b") and project.processes() == {}
    (attempt,) = project.attempts()
    assert attempt["done"] and not attempt["success"]
    assert project.states()["+wf+before"] == "success"
    project.call("kill", "1", code=4)


@pytest.fixture
def going_on(project):
    """A run that waits for `let_go`."""
    project.tasks(
        '+a:\n  do: begin a; until [ -e "$PLACE/go" ]; do sleep 0.02; done; finish\n+b:\n  do: begin b; finish'
    )
    process = project.run()
    project.told("start", "a")
    yield process
    (project.place / "go").touch()
    assert "attempt 1 succeeded" in project.end(process, 0)
    assert [(note.what, note.task) for note in project.ledger()] == [
        ("start", "a"), ("end", "a"), ("start", "b"), ("end", "b"),
    ]  # fmt: skip
    assert project.states("1")["+wf"] == "success"


@pytest.mark.parametrize("words", [SESSION, (*SESSION, "--rerun"), ()], ids=["same", "rerun", "goes_on"])
def test_a_second_run_of_a_running_session_is_a_conflict(project, going_on, words):
    assert "attempt 1 of this session is running" in project.call("run", "wf.dig", *words, code=4)


def test_a_live_attempt_is_not_retried(project, going_on):
    printed = project.call("retry", "1", code=4)
    assert "is running" in printed and "dagrun kill 1" in printed


def test_another_session_runs_beside_it(project, going_on):
    project.tasks('+x:\n  sh>: "true"', "other")
    project.call("run", "other.dig", *SESSION)
    assert [(one["workflow"], one["state"]) for one in project.attempts()] == [("other", "success"), ("wf", "running")]


def test_a_run_leaves_those_of_another_directory_with_the_same_store_alone(project):
    project.database = f"sqlite:///{project.place}/shared.db"
    project.tasks(HANGING)
    process = project.run()
    project.told("hangs", times=2)
    other = project.place / "other"
    other.mkdir()
    shutil.copy(project.directory / "wf.dig", other / "wf.dig")
    (other / "more.dig").write_text('timezone: UTC\n+a:\n  sh>: "true"\n')
    for _ in range(2):  # the second one finds the first one's files, which are those of the other directory
        second = project.start("run", "more.dig", *SESSION, "--rerun", cwd=other)
        assert "was left by a process that died" not in project.end(second, 0)
    assert not project.is_free("a") and process.poll() is None
    process.send_signal(signal.SIGINT)
    project.end(process, 6)
    assert [(one["workflow"], one["state"]) for one in project.attempts()] == [
        ("more", "success"), ("more", "success"), ("wf", "canceled"),
    ]  # fmt: skip
