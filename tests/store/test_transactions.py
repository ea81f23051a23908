"""The contract of the store, second part: transactions, concurrency, and how changes are noticed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagrun.errors import Conflict
from tests import postgres
from tests.store.rows import (
    LIMIT_SECONDS,
    in_threads,
    make_attempt,
    move_row,
    outputs,
    programs,
    task_row,
)


class TestTransactions:
    @pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Conflict])
    def test_an_error_takes_everything_back(self, store, attempt, kind):
        with pytest.raises(kind), store.transaction() as tx:
            tx.ensure_project("new")
            tx.save_attempt(attempt._replace(version=5))
            tx.insert_tasks([task_row(attempt.id, number) for number in range(30)])
            raise kind("stop")
        with store.transaction() as tx:
            assert tx.find_project("new") is None
            assert tx.get_attempt(attempt.id) == attempt
            assert tx.load_tasks(attempt.id) == []

    def test_an_error_of_the_database_takes_everything_back(self, store, attempt):
        with pytest.raises(Exception, match=r"(?i)unique"), store.transaction() as tx:
            tx.ensure_project("new")
            tx.insert_tasks([task_row(attempt.id, 0)] * 30)
        with store.transaction() as tx:
            assert tx.find_project("new") is None

    def test_what_was_committed_is_there_for_another_store_object(self, store, open_another):
        with store.transaction() as tx:
            project = tx.ensure_project("p")
        with open_another().reading() as tx:
            assert tx.find_project("p") == project

    def test_a_thread_has_one_writing_transaction_at_a_time(self, store):
        with store.transaction() as tx:
            with pytest.raises(RuntimeError, match="wait for itself"), store.transaction():
                pass
            tx.ensure_project("p")
        with store.reading() as tx:
            assert tx.find_project("p")

    @pytest.mark.parametrize(
        "write",
        [
            lambda tx, row: tx.ensure_project("new"),
            lambda tx, row: tx.save_attempt(row),
            lambda tx, row: tx.insert_tasks([task_row(row.id, 0)]),
            lambda tx, row: tx.insert_moves([move_row(row.id, 1)]),
            lambda tx, row: tx.lock_gates(),
        ],
        ids=["ensure_project", "save_attempt", "insert_tasks", "insert_moves", "lock_gates"],
    )
    def test_a_reading_transaction_does_not_write(self, store, attempt, write):
        with store.reading() as tx, pytest.raises(RuntimeError, match="doesn't write"):
            write(tx, attempt)

    def test_a_reader_sees_one_view_however_long_it_reads(self, store, attempt):
        with store.reading() as view:
            assert view.get_attempt(attempt.id).version == 0
            with store.transaction() as tx:
                tx.save_attempt(attempt._replace(version=1))
                tx.insert_tasks([task_row(attempt.id, 0)])
            assert view.get_attempt(attempt.id).version == 0
            assert view.load_tasks(attempt.id) == []
        with store.reading() as view:
            assert view.get_attempt(attempt.id).version == 1

    def test_a_reader_does_not_wait_for_a_writer_and_sees_nothing_of_it(self, store, attempt):
        with store.transaction() as tx:
            tx.save_attempt(tx.lock_attempt(attempt.id)._replace(version=1))
            with store.reading() as view:
                assert view.get_attempt(attempt.id).version == 0

    def test_the_time_is_the_databases_and_stands_still(self, store):
        with store.transaction() as tx:
            assert tx.now == pytest.approx(time.time() * 1e6, abs=30e6)
            now = tx.now
            tx.ensure_project("p")
            assert tx.now == now
        with store.reading() as later:
            assert later.now >= now

    def test_the_id_of_a_store_is_stable(self, store, open_another):
        assert open_another().id == store.id and store.id

    def test_the_url_opens_the_store_again(self, store):
        from dagrun.store.sql import open_store

        again = open_store(store.url)
        assert (again.url, again.id) == (store.url, store.id)
        again.close()


class TestConcurrency:
    def test_who_locks_an_attempt_waits_for_its_holder(self, store, attempt):
        history, begun = [], threading.Event()

        def second():
            begun.set()
            with store.transaction() as tx:
                version = tx.lock_attempt(attempt.id).version
                history.append(f"second sees {version}")

        thread = threading.Thread(target=second)
        with store.transaction() as tx:
            tx.lock_attempt(attempt.id)
            thread.start()
            assert begun.wait(LIMIT_SECONDS)
            tx.save_attempt(attempt._replace(version=1))
            history.append("first is done")
        thread.join(LIMIT_SECONDS)
        assert history == ["first is done", "second sees 1"]

    def test_no_turn_is_lost_between_threads_and_stores(self, store, open_another, attempt):
        stores = [store, store, open_another(), open_another()]

        def turns(number):
            for _ in range(20):
                with stores[number].transaction() as tx:
                    row = tx.lock_attempt(attempt.id)
                    tx.save_attempt(row._replace(version=row.version + 1))
                    tx.insert_moves([move_row(attempt.id, row.version + 1, idx=number)])

        in_threads(4, turns)
        with store.reading() as tx:
            assert tx.get_attempt(attempt.id).version == 80
            assert [move.seq for move in tx.load_moves(attempt.id)] == list(range(1, 81))

    def test_who_locks_the_gates_counts_what_every_holder_before_it_took(self, open_another):
        stores = [open_another() for _ in range(6)]

        def take(number: int) -> tuple[int, int]:
            with stores[number].transaction() as tx:
                at = tx.lock_gates()
                count, _ = tx.count_starts("api", 0)
                tx.insert_start("api", at)
                return at, count

        assert [count for _, count in sorted(in_threads(6, take))] == list(range(6))

    def test_of_several_that_start_the_same_attempt_one_wins(self, store):
        def start(number):
            try:
                with store.transaction() as tx:
                    return make_attempt(tx).number
            except Conflict:
                return "conflict"

        assert sorted(map(str, in_threads(5, start))) == ["1"] + ["conflict"] * 4

    def test_numbers_have_no_gaps_when_many_start_at_once(self, store):
        def start(number):
            with store.transaction() as tx:
                return make_attempt(tx, retry_name=str(number)).number

        assert sorted(in_threads(5, start)) == [1, 2, 3, 4, 5]


COMMIT = """
import sys
from dagrun.store.sql import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with store.transaction() as tx:
    tx.ensure_project("from another process")
"""


class TestChanges:
    """PostgreSQL tells of a commit a moment after it: who expects a change waits for it."""

    def commit(self, store, name: str = "new") -> None:
        with store.transaction() as tx:
            tx.ensure_project(name)

    def test_the_commit_of_another_store_object_counts(self, store, open_another):
        other, before = open_another(), store.changes()
        self.commit(other)
        store.wait(LIMIT_SECONDS, before)
        assert store.changes() > before

    def test_the_commit_of_another_thread_counts(self, store):
        before = store.changes()
        in_threads(1, lambda number: self.commit(store))
        store.wait(LIMIT_SECONDS, before)
        assert store.changes() > before

    def test_the_commit_of_another_process_counts(self, store):
        before = store.changes()
        with programs(COMMIT, [[store.url]]) as (program,):
            assert program.stdout.readline() == "ready\n"
            assert store.changes() == before
            program.stdin.write("go\n")
            program.stdin.flush()
            started = time.monotonic()
            store.wait(LIMIT_SECONDS, before)
            assert time.monotonic() - started < LIMIT_SECONDS / 2
        assert store.changes() > before
        with store.reading() as tx:
            assert tx.find_project("from another process")

    def test_ones_own_commit_does_not_count(self, store, open_another):
        before = store.changes()
        self.commit(store)
        assert store.changes() == before

    @pytest.mark.parametrize("count", [1, 3])
    def test_ones_own_commits_do_not_hide_those_of_others(self, store, open_another, count):
        other, before = open_another(), store.changes()
        for number in range(count):
            self.commit(store, f"mine {number}")
        self.commit(other)
        store.wait(LIMIT_SECONDS, before)
        assert store.changes() > before

    def test_what_changed_nothing_does_not_count(self, store, open_another):
        other = open_another()
        self.commit(other)
        with store.reading() as tx:
            assert tx.find_project("new")
        store.wait(0.3, store.changes())
        before = store.changes()
        self.commit(other)  # is there already
        with pytest.raises(ValueError), other.transaction() as tx:
            tx.ensure_project("taken back")
            raise ValueError
        with other.reading() as tx:
            tx.find_project("new")
        store.wait(0.05, before)
        assert store.changes() == before

    def test_asking_in_the_middle_of_a_transaction_is_allowed(self, store):
        with store.transaction() as tx:
            before = store.changes()
            tx.ensure_project("p")
            assert store.changes() == before

    def test_a_wait_ends_at_once_for_what_happened_while_one_looked(self, store, open_another):
        other, before = open_another(), store.changes()
        self.commit(other)
        started = time.monotonic()
        store.wait(LIMIT_SECONDS, before)
        assert time.monotonic() - started < 5

    def test_a_wait_ends_when_another_thread_commits(self, store):
        before, waits = store.changes(), threading.Event()

        def other():
            waits.wait(LIMIT_SECONDS)
            self.commit(store)

        thread = threading.Thread(target=other)
        thread.start()
        started = time.monotonic()
        waits.set()
        store.wait(LIMIT_SECONDS, before)
        assert time.monotonic() - started < 5
        thread.join()

    def test_a_wait_for_nothing_ends_after_its_time(self, store):
        started = time.monotonic()
        store.wait(0.05)
        assert 0.05 <= time.monotonic() - started < 5

    def test_several_threads_that_wait_are_all_woken(self, store, open_another):
        waits, other = threading.Barrier(4), open_another()

        def wait(number):
            before = store.changes()
            waits.wait(LIMIT_SECONDS)
            store.wait(LIMIT_SECONDS, before)
            return store.changes() > before

        with ThreadPoolExecutor(3) as pool:
            found = [pool.submit(wait, number) for number in range(3)]
            waits.wait(LIMIT_SECONDS)
            self.commit(other)
            assert [future.result(LIMIT_SECONDS) for future in found] == [True] * 3


def test_processes_share_one_store(store):
    script = """
import sys
from dagrun.store.sql import open_store
from tests.store.rows import make_attempt
store = open_store(sys.argv[1])
with store.transaction() as tx:
    print(make_attempt(tx, retry_name=sys.argv[2]).number)
"""
    printed = outputs(script, [[store.url, name] for name in "abc"])
    assert sorted(printed) == ["1\n", "2\n", "3\n"]


@pytest.mark.parametrize("url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def test_eight_processes_that_make_the_store_at_once_share_it(url, tmp_path):
    script = """
import sys
from dagrun.store.sql import open_store
print("ready", flush=True)
sys.stdin.readline()
print(open_store(sys.argv[1]).id)
"""
    url = str(tmp_path / "fresh.db") if url == "sqlite" else postgres.database_url(made=False)
    with programs(script, [[url]] * 8) as running:
        assert [program.stdout.readline() for program in running] == ["ready\n"] * 8
        for program in running:
            program.stdin.write("go\n")
            program.stdin.flush()
        ends = [program.communicate(timeout=LIMIT_SECONDS) for program in running]
    assert [problem for _, problem in ends] == [""] * 8
    assert len({printed for printed, _ in ends}) == 1
