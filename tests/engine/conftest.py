from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.workflow import Workflow
from dagrun.core.yaml import load
from dagrun.engine.submit import Submission, process, submit
from dagrun.engine.turn import Live
from dagrun.store.base import AttemptRow, Store
from dagrun.store.sql import open_store

TASK_LIMIT = 1000


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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path = str(tmp_path / "state.db")
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(path))
        return opened[-1]

    yield World(path, str(tmp_path / "state"), open_another, open_another())
    for store in opened:
        store.close()
