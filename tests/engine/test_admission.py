"""`concurrency` with several commands at once: of those that see the same place, one takes it (features F54)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from dagrun.engine.admission import submit_in_turn
from dagrun.engine.launch import Launcher
from dagrun.engine.local import Local, Revision
from dagrun.engine.submit import Submission
from dagrun.engine.workspace import Workspaces
from dagrun.executors.process import ProcessExecutor
from dagrun.project.archive import Snapshot
from dagrun.store.base import Store, Tx
from dagrun.store.sql import open_store
from tests import postgres
from tests.engine.conftest import Diary, workflow_of
from tests.store.rows import in_threads

LIMIT = 2


class Command:
    """A `dagrun run` of one session, with a store object of its own."""

    def __init__(self, store: Store, state_dir: str, session_time: int) -> None:
        workspaces = Workspaces(state_dir)
        launcher = Launcher(store.id, state_dir, ProcessExecutor(lambda _: None), workspaces)
        self.local = Local(
            store, state_dir, launcher, Diary(), slots=1, secret_value=lambda _: None, schedule_params=lambda *_: {}
        )
        with store.transaction() as tx:
            project = tx.ensure_project("p")
            revision = tx.ensure_revision(project.id, "abc", "{}")
        workflow = workflow_of(f"concurrency: {{limit: {LIMIT}, when_full: skip}}\n+a:\n  echo>: x\n")
        self.wanted = Submission(workflow, project.id, revision, session_time)
        self.revision = Revision(revision, Snapshot({}, state_dir), {}, state_dir, lambda _: workflow)
        self.said: list[str] = []

    def starts(self, guard: Callable[[Tx], None] = lambda _: None) -> bool:
        attempt = submit_in_turn(self.local, self.wanted, self.revision, guard, self.said.append, lambda: 60.0)
        assert attempt is not None or "skipped" in self.said[0]
        return attempt is not None


@pytest.fixture(params=["sqlite", "postgresql"])
def command(request, tmp_path) -> Iterator[Callable[[int], Command]]:
    url = postgres.database_url() if request.param == "postgresql" else str(tmp_path / "state.db")
    opened: list[Store] = []

    def of(session_time: int) -> Command:
        opened.append(open_store(url))
        return Command(opened[-1], os.path.join(tmp_path, "state"), session_time)

    yield of
    for store in opened:
        store.close()


def test_who_saw_a_place_that_another_takes_first_does_not_start(command):
    assert command(1).starts()
    slow, fast = command(2), command(3)
    taken: list[bool] = []

    def guard(tx: Tx) -> None:
        if not taken:
            tx.newest_attempt()  # what the slow one sees is older than what follows
            taken.append(False)
            taken[0] = fast.starts()

    assert not slow.starts(guard)
    assert taken == [True]


def test_of_many_that_begin_at_the_same_moment_only_as_many_start_as_there_is_room_for(command):
    commands = [command(number) for number in range(8)]
    assert sum(in_threads(len(commands), lambda number: commands[number].starts())) == LIMIT
