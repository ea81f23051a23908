from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.events import Move
from dagrun.core.tree import Task
from dagrun.core.workflow import Workflow
from dagrun.core.yaml import load
from dagrun.engine.attempt import Attempt, open_attempt
from dagrun.engine.launch import Launcher
from dagrun.engine.submit import Submission, process, submit
from dagrun.engine.turn import Live
from dagrun.engine.worker import Worker
from dagrun.engine.workspace import Workspaces
from dagrun.executors import marks
from dagrun.executors.process import ProcessExecutor
from dagrun.project.archive import Snapshot
from dagrun.secrets.mask import Masker
from dagrun.store.base import AttemptRow, Store
from dagrun.store.sql import open_store

TASK_LIMIT = 1000
LIMIT_SECONDS = 30


def workflow_of(text: str, name: str = "wf") -> Workflow:
    return compile_workflow(name, load(text, f"{name}.dig", None))


@dataclass
class World:
    """A store on the disk, and workflows that are submitted to it."""

    path: str
    state_dir: str
    open_another: Callable[[], Store]
    store: Store

    def submission(self, text: str, **more: Any) -> Submission:
        with self.store.transaction() as tx:
            project = tx.ensure_project("p")
            revision = tx.ensure_revision(project.id, "abc", "{}")
        return Submission(workflow_of(text), project.id, revision, 0, **more)

    def submit(self, text: str, **more: Any) -> tuple[AttemptRow, Live]:
        wanted = self.submission(text, **more)
        with self.store.transaction() as tx:
            return submit(tx, wanted, process(self.state_dir))

    def same(self, live: Live) -> Live:
        """The same attempt, as another process works on it."""
        return Live(live.id, live.workflow, live.task_limit)

    def row(self, attempt_id: int) -> AttemptRow:
        with self.store.reading() as tx:
            return tx.get_attempt(attempt_id)

    def states(self, attempt_id: int) -> dict[str, str]:
        with self.store.reading() as tx:
            return {row.name: row.state for row in tx.load_tasks(attempt_id)}


class Diary:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.moves: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.printed: list[str] = []

    def moved(self, attempt: Attempt, task: Task, move: Move) -> None:
        self.moves.append((task.full_name, move.after))

    def warned(self, text: str) -> None:
        self.warnings.append(text)

    def logging(self, task: Task, path: str) -> None:
        pass

    def logged(self, task: Task, path: str) -> None:
        with open(path) as log:
            self.printed.append(log.read())

    def tick(self) -> float:
        return 60.0


class Bench:
    """A worker with real processes."""

    def __init__(self, world, project_dir: str, slots: int) -> None:
        self.world, self.project_dir, self.diary = world, project_dir, Diary()
        self.workspaces = Workspaces(world.state_dir)
        executor = ProcessExecutor(Masker)
        launcher = Launcher(world.store.id, world.state_dir, executor, self.workspaces)
        self.worker = Worker(
            world.store, launcher, self.diary, slots=slots, secret_value=lambda _: None, start_required=lambda *_: None
        )

    def add(self, text: str) -> Attempt:
        row, live = self.world.submit(text)
        with self.world.store.reading() as tx:
            attempt = open_attempt(tx, live, row, Snapshot({}, self.world.state_dir), {}, self.project_dir)
        self.worker.add(attempt)
        return attempt

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """To the end, or until the condition holds after a pass."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.worker.attempts:
            assert time.monotonic() < deadline
            seconds = self.worker.poll()
            if until():
                return
            self.worker.wait(min(seconds, 0.05))

    def outcomes(self, attempt: Attempt) -> list[tuple[int, int, str, int | None]]:
        with self.world.store.reading() as tx:
            return [(one.idx, one.try_number, one.outcome, one.exit_code) for one in tx.load_tries(attempt.id)]

    def alive(self) -> list[int]:
        return marks.marked(lambda mark: mark.startswith(f"{self.world.store.id}/"))


@contextmanager
def world_in(directory: Path) -> Iterator[World]:
    path = str(directory / "state.db")
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(path))
        return opened[-1]

    yield World(path, str(directory / "state"), open_another, open_another())
    for store in opened:
        store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


@pytest.fixture
def bench(world, tmp_path):
    (tmp_path / "project").mkdir()
    made: list[Bench] = []

    def of(slots: int = 8) -> Bench:
        made.append(Bench(world, str(tmp_path / "project"), slots))
        return made[-1]

    yield of
    marks.sweep(f"{world.store.id}/")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    """A project with its schedules, and a clock of its own."""
    from tests.conformance.test_schedule_scenarios import Site  # only here: it reads the cases

    site = Site(tmp_path)
    yield site
    site.local.worker.end_all()
    site.store.close()
