"""`engine.prune` on both databases: old rows and files go, whatever else happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from dagrun.core.retention import DAY, Retention
from dagrun.engine.prune import FRESH, MOST_ATTEMPTS, prune
from dagrun.project.archive import keep, object_path, snapshot
from dagrun.store.base import SkipRow
from tests.store.rows import attempt_row, move_row, task_row, try_row
from tests.store.test_pruned import schedule_row

NOW = 30_000 * DAY  # in 2052: what the database itself dates is old
ALL = Retention(runs=DAY, failed=DAY, logs=DAY, keep_last=0)


class History:
    """A store and a state directory in which there is a past."""

    def __init__(self, store, state_dir: Path) -> None:
        self.store = store
        self.state_dir = state_dir

    def attempt(self, days: float | None = 2, workflow="wf", session_time=0, files=None, **more):
        """An attempt that ended so many days ago (None: it runs), with a log, a kept directory and a revision of its own."""
        number = len(self.ids())
        revision = self.revision({"wf.dig": f"+a: {number}"} if files is None else files)
        state = "running" if days is None else "success"
        end = None if days is None else NOW - int(days * DAY)
        with self.store.transaction() as tx:
            session = tx.ensure_session(revision.project_id, workflow, session_time + number, f"uuid {number}")
            row = attempt_row(session.id, revision.id, state=state, finished_at=end, version=1, owner=self.owner())
            reuses = more.pop("reuses", None)
            row = tx.insert_attempt(row._replace(**more))
            tx.insert_tasks(
                [task_row(row.id, 0, state="success", reused_from=reuses), task_row(row.id, 1, state="success")]
            )
            tx.insert_tries([try_row(row.id, 0, 1)])
            tx.insert_moves([move_row(row.id, 1), move_row(row.id, 2)])
        self.file(f"logs/{row.id}/+wf@0~1.log", "0123456789")
        self.file(f"kept/{row.id}.0.1/project/file", "01234")
        self.file(f"kept/{row.id}.0.1.call2/file", "01234")
        return row.id

    def owner(self) -> str:
        return json.dumps({"host": os.uname().nodename, "state_dir": str(self.state_dir)})

    def revision(self, files):
        manifest = {path: ["file", self.object(text), 0o644] for path, text in files.items()}
        text = json.dumps(manifest)
        with self.store.transaction() as tx:
            project = tx.ensure_project("p")
            return tx.ensure_revision(project.id, hashlib.sha256(text.encode()).hexdigest(), text)

    def object(self, text: str, days: float = 2) -> str:
        source = self.state_dir / "source"
        source.write_text(text)
        digest = keep(str(source), "source", str(self.state_dir / "objects"))
        seconds = (NOW - days * DAY) / 1_000_000
        os.utime(object_path(str(self.state_dir / "objects"), digest), (seconds, seconds))
        return digest

    def file(self, name: str, text: str) -> None:
        path = self.state_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def prune(self, retention=ALL, **more):
        return prune(more.pop("store", self.store), str(self.state_dir), retention, NOW, **more)

    def ids(self) -> list[int]:
        with self.store.reading() as tx:
            return [row.id for row in tx.list_past()]

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in self.state_dir.joinpath(folder).glob("*"))

    def objects(self) -> set[str]:
        return {path.parent.name + path.name for path in self.state_dir.glob("objects/*/*")}

    def revisions(self) -> int:
        with self.store.reading() as tx:
            return len(tx.list_revision_ages())


@pytest.fixture
def history(store, tmp_path) -> History:
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    return History(store, state_dir)


def test_an_old_attempt_goes_with_its_rows_and_files(history):
    old, young = history.attempt(2), history.attempt(0.5)
    removed = history.prune()
    assert history.ids() == [young]
    assert history.names("logs") == [str(young)]
    assert history.names("kept") == [f"{young}.0.1", f"{young}.0.1.call2"]
    with history.store.reading() as tx:
        assert tx.count_rows(old) == (0, 0, 0)
        assert tx.count_rows(young) == (2, 1, 2)
        assert len({row.session_id for row in tx.list_past()}) == 1
    assert (history.revisions(), len(history.objects())) == (1, 1)
    assert asdict(removed) == {
        "attempts": 1, "tasks": 2, "tries": 1, "moves": 2, "sessions": 1, "skips": 0, "notices": 0, "revisions": 1,
        "log_directories": 1, "log_bytes": 10, "kept_directories": 2, "kept_bytes": 10, "objects": 1, "object_bytes": 5,
        "files": 0, "file_bytes": 0,
    }  # fmt: skip


def test_a_dry_run_tells_the_same_and_removes_nothing(history):
    for days in (5, 4, 3, 0.5, None):
        history.attempt(days)
    before = history.ids(), history.names("logs"), history.names("kept"), history.objects(), history.revisions()
    told = history.prune(dry_run=True)
    assert (
        history.ids(),
        history.names("logs"),
        history.names("kept"),
        history.objects(),
        history.revisions(),
    ) == before
    assert told == history.prune()
    assert history.prune() == type(told)()


def test_what_runs_and_what_it_was_resumed_from_stay(history):
    first = history.attempt(9)
    second = history.attempt(8)
    third = history.attempt(7)
    running = history.attempt(None, resumed_from=second, reuses=first)
    history.prune()
    assert history.ids() == [first, second, running]
    assert str(third) not in history.names("logs")


def test_only_the_logs_of_attempts_that_stay_are_removed_by_their_own_limit(history):
    old, young = history.attempt(40), history.attempt(20)
    removed = history.prune(Retention(logs=30 * DAY, keep_last=0))
    assert history.ids() == [old, young]
    assert history.names("logs") == [str(young)]
    assert len(history.names("kept")) == 4
    assert (removed.log_directories, removed.log_bytes, removed.attempts) == (1, 10, 0)


def test_attempts_of_another_state_directory_lose_their_files_there(history, tmp_path):
    other = History(history.store, tmp_path / "other")
    other.state_dir.mkdir()
    row = other.attempt(3)
    assert history.prune().log_directories == 1
    assert (other.names("logs"), other.names("kept"), history.ids()) == ([], [], [])
    assert row not in history.ids()


def test_old_skips_go_and_young_ones_stay(history):
    with history.store.transaction() as tx:
        project = tx.ensure_project("p").id
        for number in range(2500):
            tx.insert_skip(SkipRow(project, "wf", number, number, NOW - 2 * DAY, "why"))
        tx.insert_skip(SkipRow(project, "wf", 5000, 5000, NOW, "why"))
    assert history.prune(dry_run=True).skips == history.prune().skips == 2500
    with history.store.reading() as tx:
        assert [row.session_time for row in tx.list_skips(project, "wf")] == [5000]


def test_the_objects_of_a_revision_that_a_schedule_names_stay(history):
    named = history.revision({"wf.dig": "named"})
    history.revision({"wf.dig": "unnamed"})
    newest = history.revision({"wf.dig": "newest"})
    with history.store.transaction() as tx:
        tx.insert_schedule(schedule_row(named.project_id, named.id))
    assert history.prune().revisions == 1
    with history.store.reading() as tx:
        assert {one.id for one in tx.list_revision_ages()} == {named.id, newest.id}
    assert len(history.objects()) == 2


def test_objects_that_revisions_share_stay(history):
    history.attempt(2, files={"same": "shared", "own": "one"})
    history.attempt(0.5, files={"same": "shared", "own": "other"})
    assert history.prune().objects == 1
    assert len(history.objects()) == 2


def test_young_objects_stay_whoever_is_about_to_name_them(history):
    young, old = (
        history.object("young", days=(FRESH - 1_000_000) / DAY),
        history.object("old", days=(FRESH + 1_000_000) / DAY),
    )
    assert history.prune().objects == 1
    assert history.objects() == {young} != {old}


def test_an_object_that_is_used_again_is_young_again(history, tmp_path):
    digest = history.object("again", days=29_000)
    path = object_path(str(history.state_dir / "objects"), digest)
    before = os.stat(path).st_mtime_ns
    (tmp_path / "file").write_text("again")
    assert keep(str(tmp_path / "file"), "file", str(history.state_dir / "objects")) == digest
    assert os.stat(path).st_mtime_ns > before


def test_what_a_project_consists_of_now_stays_though_nothing_names_it(history, tmp_path):
    """A run has made its snapshot and is about to store an attempt of an old revision; its objects are old, too."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "wf.dig").write_text("+a: back again")
    _, manifest = snapshot(str(project), str(history.state_dir))
    current = history.revision({"wf.dig": "+a: back again"})
    history.revision({"wf.dig": "newest"})
    assert (history.prune().revisions, history.prune().objects) == (0, 0)
    assert manifest["wf.dig"][1] in history.objects()
    with history.store.reading() as tx:
        assert tx.get_revision(current.id)


def test_halves_that_a_killed_process_left_are_swept(history):
    history.file("objects/ab/cdef.123.456", "half")
    history.file("objects/ab/cdef.old", "half")
    for path in history.state_dir.glob("objects/ab/*"):
        os.utime(path, (0, 0))
    assert history.prune().objects == 2
    assert history.objects() == set()


class Stopping:
    """A store whose user is killed at a transaction: before it, or after its commit."""

    def __init__(self, store, number: int, *, committed: bool) -> None:
        self.store, self.number, self.committed = store, number, committed
        self.reading = store.reading

    @contextmanager
    def transaction(self):
        self.number -= 1
        if self.number == 0 and not self.committed:
            raise KeyboardInterrupt
        with self.store.transaction() as tx:
            yield tx
        if self.number == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("committed", [False, True])
def test_it_may_be_killed_anywhere_and_the_next_go_does_the_rest(history, committed):
    chain = None
    for days in range(40, 2, -1):
        chain = history.attempt(days, resumed_from=chain, reuses=chain)
    history.attempt(0.5)
    stop, stopped = 0, True
    while stopped:
        stop += 1
        try:
            history.prune(store=Stopping(history.store, stop, committed=committed))
            stopped = False
        except KeyboardInterrupt:
            pass
        ids = history.ids()
        assert ids[-1] == 39
        with history.store.reading() as tx:
            for row in tx.list_past():
                assert row.resumed_from is None or row.resumed_from in ids
                assert tx.count_rows(row.id) == (2, 1, 2)
                tx.get_revision(row.revision_id)
    assert (history.ids(), history.names("logs"), history.revisions(), len(history.objects())) == ([39], ["39"], 1, 1)


class Counting:
    """A store that notes how many attempts each writing transaction took away."""

    def __init__(self, history) -> None:
        self.history, self.counts = history, []
        self.reading = history.store.reading

    @contextmanager
    def transaction(self):
        before = len(self.history.ids())
        with self.history.store.transaction() as tx:
            yield tx
        self.counts.append(before - len(self.history.ids()))


def test_no_transaction_deletes_more_than_a_hundred_attempts(history):
    revision = history.revision({})
    with history.store.transaction() as tx:
        session = tx.ensure_session(revision.project_id, "wf", 0, "uuid")
        for number in range(250):
            row = attempt_row(session.id, revision.id, retry_name=str(number), state="error", finished_at=NOW - 2 * DAY)
            tx.insert_attempt(row)
    store = Counting(history)
    assert history.prune(store=store).attempts == 250
    assert [count for count in store.counts if count] == [MOST_ATTEMPTS, MOST_ATTEMPTS, 50]


class Resuming:
    """A store in which somebody goes on with an attempt just before it is deleted."""

    def __init__(self, history, old: int) -> None:
        self.history, self.old = history, old
        self.reading = history.store.reading

    @contextmanager
    def transaction(self):
        if self.old:
            old, self.old = self.old, 0
            self.history.attempt(None, resumed_from=old)
        with self.history.store.transaction() as tx:
            yield tx


def test_an_attempt_that_somebody_goes_on_with_meanwhile_stays_with_what_it_needs(history):
    first = history.attempt(9)
    second = history.attempt(8, resumed_from=first)
    third = history.attempt(7)
    history.prune(store=Resuming(history, second))
    assert history.ids() == [first, second, third + 1]
