"""What only SQLite has: a file that many processes share, that survives their death, and that may be anything."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest

from dagrun.errors import LimitExceeded, UserError
from dagrun.store import sqlite
from dagrun.store.sql import open_store
from tests.store.rows import LIMIT_SECONDS, make_attempt, outputs, programs, task_row

NOT_AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")

TURNS = """
import sys
from dagrun.store.sql import open_store
from tests.store.rows import move_row, task_row
store, attempt_id, turns = open_store(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for _ in range(turns):
    with store.transaction() as tx:
        row = tx.lock_attempt(attempt_id)
        version = row.version + 1
        tx.insert_tasks([task_row(attempt_id, version)])
        tx.insert_moves([move_row(attempt_id, version)])
        tx.save_attempt(row._replace(version=version))
    with store.reading() as tx:
        assert len(tx.load_moves(attempt_id)) == tx.get_attempt(attempt_id).version
    print(version, flush=True)
"""

MIDDLE = """
import sys
from dagrun.store.sql import open_store
with open_store(sys.argv[1]).transaction() as tx:
    tx.ensure_project("half")
    print("in the middle", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "dagrun.db")


@pytest.fixture
def attempt_id(path) -> int:
    store = open_store(path)
    with store.transaction() as tx:
        found = make_attempt(tx).id
    store.close()
    return found


def versions(path: str, attempt_id: int) -> tuple[int, list[int], list[int]]:
    """The attempt's version, its moves and its tasks: they belong together."""
    store = open_store(path)
    with store.reading() as tx:
        found = tx.get_attempt(attempt_id).version, tx.load_moves(attempt_id), tx.load_tasks(attempt_id)
    store.close()
    return found[0], [move.seq for move in found[1]], [task.idx for task in found[2]]


class TestProcesses:
    def test_eight_that_hammer_one_attempt_lose_nothing_and_are_never_refused(self, path, attempt_id):
        printed = outputs(TURNS, [[path, str(attempt_id), "25"]] * 8)
        assert sorted(int(line) for text in printed for line in text.split()) == list(range(1, 201))
        every = list(range(1, 201))
        assert versions(path, attempt_id) == (200, every, every)

    def test_one_that_is_killed_while_it_writes_leaves_whole_turns(self, path, attempt_id):
        with programs(TURNS, [[path, str(attempt_id), "1000000"]]) as (writer,):
            told = [int(writer.stdout.readline()) for _ in range(30)][-1]
            writer.kill()
            rest, _ = writer.communicate(timeout=LIMIT_SECONDS)
        told = int(rest.rpartition("\n")[0].rpartition("\n")[2] or told)
        version, moves, tasks = versions(path, attempt_id)
        assert version >= told, "what was committed has stayed"
        assert moves == tasks == list(range(1, version + 1))
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_one_that_is_killed_in_a_transaction_leaves_nothing_of_it_and_no_lock(self, path):
        with programs(MIDDLE, [[path]]) as (writer,):
            assert writer.stdout.readline() == "in the middle\n"
            writer.kill()
            writer.wait(LIMIT_SECONDS)
        store = open_store(path)
        with store.transaction() as tx:
            assert tx.find_project("half") is None
            tx.ensure_project("whole")
        store.close()


class TestOpening:
    def test_the_file_and_its_directories_are_made(self, tmp_path):
        open_store(str(tmp_path / "a" / "b" / "dagrun.db")).close()
        assert (tmp_path / "a" / "b" / "dagrun.db").is_file()

    @pytest.mark.parametrize("form", ["sqlite:///{}", "{}"])
    def test_a_url_and_a_path_name_the_same_store(self, path, form):
        store = open_store(form.format(path))
        assert store.url == f"sqlite:///{path}"
        store.close()

    def test_a_relative_path_is_one_below_the_current_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = open_store("x.db")
        assert store.url == f"sqlite:///{tmp_path}/x.db"
        store.close()

    @pytest.mark.parametrize(("durable", "level"), [("normal", 1), ("full", 2)])
    def test_how_durable_a_commit_is_can_be_chosen(self, path, durable, level):
        store = open_store(path, durable=durable)
        with store.transaction() as tx:
            assert tx.connection.execute("PRAGMA synchronous").fetchall() == [(level,)]
            assert tx.connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        store.close()

    def test_two_stores_have_different_ids(self, tmp_path):
        stores = [open_store(str(tmp_path / name)) for name in "ab"]
        assert stores[0].id != stores[1].id
        for store in stores:
            store.close()


class TestErrors:
    """Each names the file and a remedy."""

    def refused(self, url: str, text: str, kind: type[UserError] = UserError) -> None:
        with pytest.raises(kind) as caught:
            open_store(url)
        first, _, remedy = str(caught.value).partition("\n")
        assert text in first and url in first
        assert remedy.strip()

    def test_a_file_that_is_no_database(self, path):
        with open(path, "w") as file:
            file.write("Dear diary, " * 1000)
        self.refused(path, "file is not a database")
        with open(path) as file:
            assert file.read(11) == "Dear diary,", "it was left alone"

    def test_a_directory(self, tmp_path):
        self.refused(str(tmp_path), "it is a directory")

    def test_a_directory_that_can_not_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        self.refused(str(tmp_path / "file" / "dagrun.db"), "its directory can't be made")

    def test_the_database_of_another_program(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE cookies (id)")
        self.refused(path, "another program's tables")

    def test_a_store_of_a_newer_dagrun(self, path):
        open_store(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        self.refused(path, "made by a newer dagrun (its version is 9999")

    def test_a_damaged_file(self, path):
        open_store(path).close()
        with open(path, "r+b") as file:
            file.seek(100)  # behind the header that says what the file is
            file.write(b"\xff" * 3996)
        self.refused(path, "malformed")

    @NOT_AS_ROOT
    def test_a_directory_without_the_right_to_write(self, tmp_path):
        tmp_path.chmod(0o500)
        self.refused(str(tmp_path / "dagrun.db"), "unable to open database file")

    @NOT_AS_ROOT
    def test_a_file_without_the_right_to_write(self, path):
        open_store(path).close()
        os.chmod(path, 0o400)
        store = open_store(path)
        remedy = r"readonly database\n  make the file and its directory writable"
        with pytest.raises(UserError, match=remedy), store.transaction() as tx:
            tx.ensure_project("p")
        store.close()

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:"])
    def test_no_file(self, url):
        with pytest.raises(UserError, match="a store needs a file"):
            open_store(url)

    def test_a_database_that_is_not_known(self):
        self.refused("mysql://host/db", "not a store")

    def test_a_file_that_another_process_keeps_locked(self, path, monkeypatch):
        monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.02)
        open_store(path).close()
        other = sqlite3.connect(path, isolation_level=None)
        store = open_store(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LimitExceeded, match="another process has locked it"), store.transaction():
            pass
        other.execute("COMMIT")
        with store.transaction() as tx:
            tx.ensure_project("p")
        other.close()
        store.close()

    def test_a_full_disk_takes_the_transaction_back_and_no_more(self, path):
        store = open_store(path)
        with store.transaction() as tx:
            attempt = make_attempt(tx)
            tx.connection.execute("PRAGMA max_page_count = 1")  # it takes the present size, then
        with pytest.raises(LimitExceeded, match="the disk is full"), store.transaction() as tx:
            tx.insert_tasks([task_row(attempt.id, number, memo="x" * 1000) for number in range(100)])
        with store.transaction() as tx:
            assert tx.load_tasks(attempt.id) == []
            tx.connection.execute("PRAGMA max_page_count = 1000000")
            tx.insert_tasks([task_row(attempt.id, 0)])
        store.close()


def test_many_readers_at_once_have_a_connection_each_and_give_it_back(path):
    store = open_store(path)
    barrier = threading.Barrier(6)

    def read():
        with store.reading() as tx:
            tx.find_project("p")
            barrier.wait(LIMIT_SECONDS)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with store.reading() as tx:
            tx.find_project("p")
    assert len(os.listdir("/proc/self/fd")) == before
    store.close()
