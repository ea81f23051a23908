"""`kill -9` of dagrun at any moment, and `dagrun retry`: nothing is repeated, nothing overlaps, nothing is left behind.

A seed decides after how many lines of the ledger, and how little later, each of the runs is killed, and which tasks hang in
it: those are still there when the next one comes.
"""

from __future__ import annotations

import os
import random
import select
import subprocess

import pytest

from tests import postgres
from tests.faults.project import SESSION, Project

# Sequential and parallel tasks, a group that fails once, and generated tasks.
WORKFLOW = """
+first:
  do: begin first; finish
+crowd:
  _parallel: true
  +a:
    do: begin a; sleep 0.01; finish
  +b:
    do: begin b; finish
  +inner:
    +c:
      do: begin c; sleep 0.02; finish
    +d:
      do: begin d; finish
+flaky:
  _retry: 1
  +one:
    do: begin one; finish
  +two:
    do: begin two; mkdir "$PLACE/failed" 2>/dev/null && note failed && exit 1; finish
+rounds:
  loop>: 3
  _do:
    +step:
      do: begin step-${i}; finish
+last:
  do: begin last; finish
"""
TASKS = {
    "+wf+first": "first",
    "+wf+crowd+a": "a",
    "+wf+crowd+b": "b",
    "+wf+crowd+inner+c": "c",
    "+wf+crowd+inner+d": "d",
    "+wf+flaky+one": "one",
    "+wf+flaky+two": "two",
    **{f"+wf+rounds^sub+loop-{i}+step": f"step-{i}" for i in range(3)},
    "+wf+last": "last",
}
LINES = 2 * len(TASKS)
MOST_KILLS = 4
LATEST_SECONDS = 0.03
STARTING_SECONDS = 0.4  # a run that is killed before any task of it has started: while it reads, sweeps and submits


class Story:
    """A workflow that is killed until it succeeds."""

    def __init__(self, project: Project, seed: int) -> None:
        self.project = project
        self.chance = random.Random(seed)
        self.done: set[str] = (
            set()
        )  # attempts that had ended when their process was killed: nobody cleans up after them
        self.finished: dict[str, int] = {}  # task → length of the ledger when the store said that it had succeeded
        project.tasks(WORKFLOW)

    def tell(self) -> None:
        kills = self.chance.randint(1, MOST_KILLS)
        for _ in range(kills):
            if self.is_done():
                break
            hanging = [self.project.place / f"{task}.hangs" for task in self.chance.sample(sorted(TASKS.values()), 3)]
            for path in hanging:
                path.touch()
            process = self.go_on()
            self.wait_for_the_moment(process)
            self.project.kill9(process)
            for path in hanging:
                path.unlink()
            self.remember()
        if not self.is_done():
            self.project.end(self.go_on(), 0)
        self.remember()

    def is_done(self) -> bool:
        attempts = self.project.attempts()
        return bool(attempts) and attempts[0]["success"]

    def go_on(self) -> subprocess.Popen[str]:
        """`retry`, once there is an attempt."""
        attempts = self.project.attempts()
        if not attempts:
            return self.project.run()
        return self.project.start("retry", str(attempts[0]["id"]))

    def wait_for_the_moment(self, process: subprocess.Popen[str]) -> None:
        before = len(self.project.ledger())
        more = self.chance.choice([0, self.chance.randint(1, max(1, LINES - before))])
        later = self.chance.uniform(0, LATEST_SECONDS if more else STARTING_SECONDS)
        pidfd = os.pidfd_open(process.pid)

        def has_come() -> bool:
            new = self.project.ledger()[before:]
            stuck = any(note.what == "hangs" for note in new)
            return len(new) >= more or stuck or bool(select.select([pidfd], [], [], 0)[0])

        try:
            self.project.until(has_come)
            select.select([pidfd], [], [], later)
        finally:
            os.close(pidfd)

    def remember(self) -> None:
        """What the store records as success stays done from here on."""
        if not self.project.attempts():
            return
        seen = len(self.project.ledger())
        for name, state in self.project.states().items():
            if state == "success" and name in TASKS:
                task = TASKS[name]
                assert self.project.notes("end", task), f"{name} is a success, but has not ended"
                self.finished.setdefault(task, seen)

    def holds(self) -> None:
        ledger = self.project.ledger()
        assert sorted(self.finished) == sorted(TASKS.values())
        for task, seen in self.finished.items():
            later = [note.what for note in ledger[seen:] if note.task == task]
            if task == "one":  # its group began another round because of its neighbour
                later = later if "failed" not in [note.what for note in ledger[seen:]] else []
            assert later == [], f"{task} had succeeded, and was started again: {ledger}"
        assert [note for note in ledger if note.what == "overlap"] == [], "two tries of a task at the same time"
        for task in TASKS.values():
            assert [note.what for note in ledger if note.task == task][-1] == "end"
            assert self.project.is_free(task)
        marks = [note.mark for note in ledger if note.what == "start"]
        assert len(marks) == len(set(marks)), "a try was started twice"
        assert [task for task, seen in self.finished.items() if ledger[:seen] == []] == []
        assert self.project.processes() == {}
        # One that was killed when all was done has left its directories: the next command takes them away.
        assert "nothing to do" in self.project.end(self.project.run(), 0)
        assert [os.listdir(self.project.directory / ".dagrun" / name) for name in ("work", "run")] == [[], []]


def survives(project: Project, seed: int) -> None:
    story = Story(project, seed)
    story.tell()
    story.holds()
    assert [attempt["done"] for attempt in project.attempts()].count(False) == 0
    assert [attempt["state"] for attempt in project.attempts()].count("success") == 1


@pytest.mark.parametrize("seed", range(5))
def test_whenever_it_is_killed_a_retry_goes_on_without_repeating_anything(project, seed):
    survives(project, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_whenever_it_is_killed_many_times_over(project, seed):
    survives(project, seed)


@pytest.mark.parametrize("seed", [8, pytest.param(7, marks=pytest.mark.soak)])
def test_it_is_the_same_with_PostgreSQL(project, seed):
    project.database = postgres.database_url()
    survives(project, seed)


def test_run_goes_on_after_a_kill_as_retry_does(project):
    project.tasks('+a:\n  do: begin a; finish\n+b:\n  do: begin b; mkdir "$PLACE/first" && hang; finish')
    process = project.run()
    project.told("hangs", "b")
    project.kill9(process)
    printed = project.call("run", "wf.dig", *SESSION)
    assert "attempt 1 of wf was left by a process that died: ended it, 2 of its processes were still there" in printed
    assert "goes on with attempt 1" in printed
    assert [len(project.notes("start", task)) for task in ("a", "b")] == [1, 2]
    assert project.notes("overlap") == []
    assert project.rows("1")["+wf+b"]["error"]["kind"] == "lost"


def test_two_retries_at_once_start_one_attempt(project):
    project.tasks(
        '+a:\n  do: begin a; mkdir "$PLACE/first" && hang; until [ -e "$PLACE/go" ]; do sleep 0.02; done; finish'
    )
    process = project.run()
    project.told("hangs", "a")
    project.kill9(process)
    both = [project.start("retry", "1") for _ in range(2)]
    project.until(lambda: any(one.poll() is not None for one in both))
    refused = next(one for one in both if one.poll() is not None)
    assert "is running" in project.end(refused, 4)
    (project.place / "go").touch()
    both.remove(refused)
    project.end(both[0], 0)
    assert project.notes("overlap") == []
    assert [attempt["state"] for attempt in project.attempts()] == ["success", "canceled"]
