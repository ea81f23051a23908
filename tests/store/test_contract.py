"""What `base.Store` and `base.Tx` promise, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.store.base import AttemptRow, TaskRow
from tests import postgres
from tests.store.rows import (
    LIMIT_SECONDS,
    TIME,
    attempt_row,
    make_attempt,
    move_row,
    outputs,
    programs,
    task_row,
    try_row,
)

NASTY_TEXT = "tab\t line\n return\r back\\slash \\N \\. 'quote' \"double\" % ? ü 日本 \U0001f600"


@pytest.fixture
def attempt(store) -> AttemptRow:
    with store.transaction() as tx:
        return make_attempt(tx)


def in_threads(count: int, work):
    """What `work(number)` gave in each thread; all begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(number: int):
        barrier.wait(LIMIT_SECONDS)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


class TestProjects:
    def test_a_project_is_made_once(self, store):
        with store.transaction() as tx:
            first = tx.ensure_project("p")
            assert tx.ensure_project("p") == first
            assert first == (first.id, "p", tx.now)

    def test_it_is_found_by_name_and_by_id(self, store):
        with store.transaction() as tx:
            project = tx.ensure_project("ü 'x'")
        with store.reading() as tx:
            assert tx.find_project("ü 'x'") == tx.get_project(project.id) == project

    def test_one_that_is_not_there_is_none_or_not_found(self, store):
        with store.reading() as tx:
            assert tx.find_project("p") is None
            with pytest.raises(NotFound, match="project not found: 7"):
                tx.get_project(7)

    def test_names_differ_by_case(self, store):
        with store.transaction() as tx:
            assert tx.ensure_project("p").id != tx.ensure_project("P").id

    def test_threads_that_make_the_same_one_get_the_same(self, store):
        def ensure(number):
            with store.transaction() as tx:
                return tx.ensure_project("p").id

        assert len(set(in_threads(4, ensure))) == 1


class TestRevisions:
    @pytest.fixture
    def project(self, store):
        with store.transaction() as tx:
            project = tx.ensure_project("p")
            for name in ("abc", "abcd1", "abcd2", "b0"):
                tx.ensure_revision(project.id, name, f'{{"{name}": []}}')
            tx.ensure_revision(tx.ensure_project("other").id, "c0", "{}")
        return project

    def test_a_revision_is_made_once_a_project(self, store, project):
        with store.transaction() as tx:
            first = tx.ensure_revision(project.id, "abc", "ignored, for it is there")
            assert (first.name, first.manifest) == ("abc", '{"abc": []}')
            assert tx.ensure_revision(tx.ensure_project("other").id, "abc", "{}").id != first.id

    @pytest.mark.parametrize(
        ("prefix", "found"),
        [("b0", "b0"), ("b", "b0"), ("abcd1", "abcd1"), ("abc", "abc"), ("c0", None), ("B", None), ("b00", None)],
    )
    def test_it_is_found_by_an_unambiguous_beginning(self, store, project, prefix, found):
        with store.reading() as tx:
            revision = tx.find_revision(project.id, prefix)
            assert (revision and revision.name) == found

    @pytest.mark.parametrize("prefix", ["a", "ab", "abcd", ""])
    def test_an_ambiguous_beginning_is_refused_with_the_candidates(self, store, project, prefix):
        with store.reading() as tx, pytest.raises(UserError, match=r"several revisions .*abcd1.*\n  write more"):
            tx.find_revision(project.id, prefix)

    def test_percent_and_underscore_are_no_wildcards(self, store, project):
        with store.reading() as tx:
            assert tx.find_revision(project.id, "b%") is tx.find_revision(project.id, "b_") is None

    def test_the_latest_is_the_one_made_last(self, store, project):
        with store.reading() as tx:
            assert tx.latest_revision(project.id).name == "b0"
            assert tx.latest_revision(project.id + 100) is None

    def test_it_is_found_by_id(self, store, project):
        with store.reading() as tx:
            latest = tx.latest_revision(project.id)
            assert tx.get_revision(latest.id) == latest
            with pytest.raises(NotFound, match="revision not found: 99"):
                tx.get_revision(99)

    def test_one_of_a_project_that_is_not_there_is_refused(self, store):
        with pytest.raises(Exception, match=r"(?i)foreign key"), store.transaction() as tx:
            tx.ensure_revision(7, "abc", "{}")


class TestSessions:
    def test_a_session_is_made_once_and_keeps_its_first_uuid(self, store):
        with store.transaction() as tx:
            project = tx.ensure_project("p")
            first = tx.ensure_session(project.id, "wf", TIME, "one")
            assert tx.ensure_session(project.id, "wf", TIME, "two") == first
            assert first == (first.id, "one", project.id, "wf", TIME, tx.now)

    def test_project_workflow_and_time_tell_sessions_apart(self, store):
        with store.transaction() as tx:
            project, other = tx.ensure_project("p"), tx.ensure_project("other")
            keys = [(project.id, "wf", 0), (other.id, "wf", 0), (project.id, "wf2", 0), (project.id, "wf", 1)]
            assert len({tx.ensure_session(*key, str(key)).id for key in keys}) == 4

    def test_it_is_found_by_its_key_and_by_id(self, store):
        with store.transaction() as tx:
            project = tx.ensure_project("p")
            session = tx.ensure_session(project.id, "wf", -5_000_000, "one")
        with store.reading() as tx:
            assert tx.find_session(project.id, "wf", -5_000_000) == tx.get_session(session.id) == session
            assert tx.find_session(project.id, "wf", 5) is None
            with pytest.raises(NotFound, match="session not found: 99"):
                tx.get_session(99)


class TestAttempts:
    def test_the_store_chooses_id_and_number(self, store):
        with store.transaction() as tx:
            given = make_attempt(tx, id=77, number=77)
            assert given.id != 77 and given.number == 1
            assert tx.get_attempt(given.id) == given

    def test_numbers_count_from_one_in_each_session(self, store):
        with store.transaction() as tx:
            names = ("", "a", "b")
            assert [make_attempt(tx, "wf", 0, retry_name=name).number for name in names] == [1, 2, 3]
            assert [make_attempt(tx, "wf", 1, retry_name=name).number for name in names] == [1, 2, 3]

    def test_every_column_comes_back_as_it_was(self, store, attempt):
        wanted = attempt_row(
            attempt.session_id, attempt.revision_id, retry_name=NASTY_TEXT, timezone="Asia/Tokyo", state="error",
            version=1 << 40, cancel_requested=1, params=NASTY_TEXT, options=NASTY_TEXT, resumed_from=attempt.id,
            owner=NASTY_TEXT, error=NASTY_TEXT, created_at=-1, finished_at=(1 << 63) - 1,
        )  # fmt: skip
        with store.transaction() as tx:
            given = tx.insert_attempt(wanted)
        with store.reading() as tx:
            assert tx.get_attempt(given.id) == given == wanted._replace(id=given.id, number=2)

    @pytest.mark.parametrize("name", ["", "again"])
    def test_a_second_one_of_the_same_name_is_a_conflict(self, store, name):
        with store.transaction() as tx:
            make_attempt(tx, retry_name=name)
        with pytest.raises(Conflict, match="again" if name else "without a name"), store.transaction() as tx:
            make_attempt(tx, retry_name=name)

    def test_the_transaction_goes_on_after_a_conflict(self, store, attempt):
        with store.transaction() as tx:
            with pytest.raises(Conflict):
                make_attempt(tx)
            assert make_attempt(tx, retry_name="b").number == 2

    def test_one_of_a_session_that_is_not_there_is_not_found(self, store, attempt):
        with pytest.raises(NotFound, match="session not found: 99"), store.transaction() as tx:
            tx.insert_attempt(attempt_row(99, attempt.revision_id))

    def test_it_is_found_by_id_and_by_name(self, store, attempt):
        with store.transaction() as tx:
            named = make_attempt(tx, retry_name="b")
            assert tx.get_attempt(attempt.id) == tx.lock_attempt(attempt.id) == attempt
            assert tx.find_attempt(attempt.session_id, "") == attempt
            assert tx.find_attempt(attempt.session_id, "b") == named
            assert tx.find_attempt(attempt.session_id, "B") is None

    @pytest.mark.parametrize("method", ["get_attempt", "lock_attempt"])
    def test_one_that_is_not_there_is_not_found(self, store, method):
        with store.transaction() as tx, pytest.raises(NotFound, match="attempt not found: 7"):
            getattr(tx, method)(7)

    def test_the_newest_is_the_one_made_last(self, store):
        with store.transaction() as tx:
            assert tx.newest_attempt() is None
            one = make_attempt(tx, "a", 5)
            two = make_attempt(tx, "a", 3)
            other = make_attempt(tx, "b", 9)
            assert tx.newest_attempt() == other
            assert tx.newest_attempt_of_session(one.session_id) == one
            assert tx.newest_attempt_of_session(99) is None
            project_id = tx.find_project("p").id
            assert tx.newest_attempt_of_workflow(project_id, "a") == two
            assert tx.newest_attempt_of_workflow(project_id, "c") is None
            assert tx.newest_attempt_of_workflow(project_id + 1, "a") is None

    def test_saving_changes_the_columns_that_may_change_and_no_other(self, store, attempt):
        changed = attempt._replace(
            state="success", version=9, cancel_requested=1, owner="o", error="e", finished_at=TIME
        )
        other = {"retry_name": "x", "timezone": "x", "params": "x", "options": "x", "created_at": 0, "number": 9}
        with store.transaction() as tx:
            tx.save_attempt(changed._replace(**other))
        with store.reading() as tx:
            assert tx.get_attempt(attempt.id) == changed

    def test_one_that_is_not_there_can_not_be_saved(self, store, attempt):
        with pytest.raises(NotFound, match="attempt not found: 99"), store.transaction() as tx:
            tx.save_attempt(attempt._replace(id=99))

    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            ({"state": "stopping", "finished_at": TIME}, "ck_attempts_state"),
            ({"state": "no such", "finished_at": TIME}, "ck_attempts_state"),
            ({"state": "success"}, "ck_attempts_finished"),
            ({"finished_at": TIME}, "ck_attempts_finished"),
            ({"cancel_requested": 2}, "ck_attempts_cancel"),
        ],
    )
    def test_what_must_never_be_is_refused(self, store, attempt, change, rule):
        with pytest.raises(Exception, match=rule) as caught, store.transaction() as tx:
            tx.save_attempt(attempt._replace(**change))
        assert not isinstance(caught.value, UserError), "it is a bug of ours, and not the reader's"
        with store.reading() as tx:
            assert tx.get_attempt(attempt.id) == attempt

    def test_live_ones_are_those_without_an_end_oldest_first(self, store):
        with store.transaction() as tx:
            one, done, two = (make_attempt(tx, "wf", number) for number in range(3))
            tx.save_attempt(done._replace(state="canceled", finished_at=TIME))
            assert tx.live_attempts() == [one, two]


class TestLists:
    @pytest.fixture
    def ids(self, store) -> list[int]:
        """a@0 running, a@0 error, a@1 success, b@0 running, and one in another project."""
        with store.transaction() as tx:
            made = [
                make_attempt(tx, "a", 0),
                make_attempt(tx, "a", 0, retry_name="2", state="error", finished_at=TIME),
                make_attempt(tx, "a", 1, state="success", finished_at=TIME),
                make_attempt(tx, "b", 0),
            ]
            other = tx.ensure_project("other")
            revision = tx.ensure_revision(other.id, "def", "{}")
            session = tx.ensure_session(other.id, "a", 0, "u")
            made.append(tx.insert_attempt(attempt_row(session.id, revision.id)))
        return [row.id for row in made]

    @pytest.mark.parametrize(
        ("wanted", "places"),
        [
            ({}, [4, 3, 2, 1, 0]),
            ({"project": "p"}, [3, 2, 1, 0]),
            ({"workflow": "a"}, [4, 2, 1, 0]),
            ({"project": "p", "workflow": "a"}, [2, 1, 0]),
            ({"session": 0}, [1, 0]),
            ({"states": ["running"]}, [4, 3, 0]),
            ({"states": ["error", "success"]}, [2, 1]),
            ({"states": ["no such"]}, []),
            ({"states": ["running"], "workflow": "a"}, [4, 0]),
            ({"before": 2}, [1, 0]),
            ({"limit": 2}, [4, 3]),
            ({"before": 3, "limit": 1, "states": ["running", "error"]}, [1]),
            ({"limit": 0}, []),
        ],
    )
    def test_attempts_are_listed_newest_first_by_any_mix_of_filters(self, store, ids, wanted, places):
        with store.reading() as tx:
            filters = {key: wanted[key] for key in ("workflow", "states", "limit") if key in wanted}
            if "project" in wanted:
                filters["project_id"] = tx.find_project(wanted["project"]).id
            if "session" in wanted:
                filters["session_id"] = tx.get_attempt(ids[wanted["session"]]).session_id
            if "before" in wanted:
                filters["before_id"] = ids[wanted["before"]]
            assert [line.attempt.id for line in tx.list_attempts(**filters)] == [ids[place] for place in places]

    def test_a_line_tells_attempt_session_project_and_revision(self, store, ids):
        with store.reading() as tx:
            line = tx.list_attempts(limit=1)[0]
            assert line.attempt == tx.get_attempt(ids[-1])
            assert line.session == tx.get_session(line.attempt.session_id)
            assert (line.project, line.revision) == ("other", "def")


class TestTasks:
    @pytest.mark.parametrize("count", [1, 12, 13, 19, 20, 500])
    def test_any_number_comes_back_in_order(self, store, attempt, count):
        rows = [task_row(attempt.id, number) for number in range(count)]
        with store.transaction() as tx:
            tx.insert_tasks(rows[::-1])
        with store.reading() as tx:
            assert tx.load_tasks(attempt.id) == rows

    @pytest.mark.parametrize("count", [1, 30])
    def test_every_column_comes_back_as_it_was(self, store, attempt, count):
        rows = [
            TaskRow(
                attempt.id, number, 3, NASTY_TEXT, 4, NASTY_TEXT, NASTY_TEXT, "running", 1 << 40, 1, 5, 6, 7, NASTY_TEXT,
                NASTY_TEXT, NASTY_TEXT, 8, -9, 10, NASTY_TEXT, NASTY_TEXT, NASTY_TEXT, NASTY_TEXT, NASTY_TEXT, 11,
            )
            for number in range(count)
        ]  # fmt: skip
        with store.transaction() as tx:
            tx.insert_tasks(rows)
        with store.reading() as tx:
            assert tx.load_tasks(attempt.id) == rows

    def test_empty_text_is_not_the_same_as_none(self, store, attempt):
        rows = [task_row(attempt.id, number, memo="" if number % 2 else None) for number in range(30)]
        with store.transaction() as tx:
            tx.insert_tasks(rows)
            assert tx.load_tasks(attempt.id) == rows

    def test_only_newer_versions_are_loaded_when_asked(self, store, attempt):
        with store.transaction() as tx:
            tx.insert_tasks([task_row(attempt.id, number, version=number) for number in range(4)])
            assert [row.idx for row in tx.load_tasks(attempt.id, after_version=1)] == [2, 3]
            assert tx.load_tasks(attempt.id + 1) == []

    @pytest.mark.parametrize("count", [1, 3, 40])
    def test_saving_changes_the_columns_from_state_on_and_no_other(self, store, attempt, count):
        before = [task_row(attempt.id, number) for number in range(count)]
        change = {"state": "success", "version": 2, "stored": NASTY_TEXT, "finished_at": TIME, "reused_from": 1}
        with store.transaction() as tx:
            tx.insert_tasks(before)
            tx.save_tasks([row._replace(**change, name="other", source=99, definition="x") for row in before])
        with store.reading() as tx:
            assert tx.load_tasks(attempt.id) == [row._replace(**change) for row in before]

    @pytest.mark.parametrize("count", [1, 20])
    def test_one_that_is_not_there_can_not_be_saved(self, store, attempt, count):
        rows = [task_row(attempt.id, number) for number in range(count)]
        with pytest.raises(RuntimeError, match=f"only {count - 1} of {count} tasks"), store.transaction() as tx:
            tx.insert_tasks(rows[1:])
            tx.save_tasks(rows)

    @pytest.mark.parametrize("count", [1, 30])
    def test_an_index_is_used_once_in_an_attempt(self, store, attempt, count):
        rows = [task_row(attempt.id, number) for number in range(count)]
        with store.transaction() as tx:
            tx.insert_tasks(rows)
        with pytest.raises(Exception, match=r"(?i)unique"), store.transaction() as tx:
            tx.insert_tasks(rows)

    @pytest.mark.parametrize("state", ["success", "error", "group_error", "canceled"])
    def test_a_done_task_holds_no_lease(self, store, attempt, state):
        with store.transaction() as tx:
            tx.insert_tasks([task_row(attempt.id, 0, state="running", lease="l")])
        with pytest.raises(Exception, match="ck_tasks_lease"), store.transaction() as tx:
            tx.save_tasks([task_row(attempt.id, 0, state=state, lease="l")])
        with store.transaction() as tx:
            tx.save_tasks([task_row(attempt.id, 0, state=state)])

    @pytest.mark.parametrize(
        ("change", "rule"), [({"state": "skipped"}, "ck_tasks_state"), ({"superseded": 2}, "ck_tasks_superseded")]
    )
    def test_what_must_never_be_is_refused(self, store, attempt, change, rule):
        with pytest.raises(Exception, match=rule), store.transaction() as tx:
            tx.insert_tasks([task_row(attempt.id, 0, **change)])

    def test_nothing_to_insert_or_save_is_fine(self, store, attempt):
        with store.transaction() as tx:
            tx.insert_tasks([])
            tx.save_tasks([])
            tx.insert_tries([])
            tx.insert_moves([])
            assert tx.load_tasks(attempt.id) == tx.load_tries(attempt.id) == tx.load_moves(attempt.id) == []


class TestHistory:
    def test_tries_come_back_by_index_and_number(self, store, attempt):
        rows = [try_row(attempt.id, idx, number) for idx in (0, 1) for number in (1, 2)]
        lost = try_row(attempt.id, 2, 1, outcome="lost", exit_code=None, peak_memory=None, cpu=None, log=None)
        rows.append(lost._replace(error=NASTY_TEXT))
        with store.transaction() as tx:
            tx.insert_tries(rows[::-1])
        with store.reading() as tx:
            assert tx.load_tries(attempt.id) == rows
            assert tx.load_tries(attempt.id, 1) == rows[2:4]
            assert tx.load_tries(attempt.id, 9) == tx.load_tries(attempt.id + 1) == []

    def test_a_try_is_told_once(self, store, attempt):
        with pytest.raises(Exception, match=r"(?i)unique"), store.transaction() as tx:
            tx.insert_tries([try_row(attempt.id, 0, 1), try_row(attempt.id, 0, 1)])

    def test_moves_come_back_in_order_from_where_one_left_off(self, store, attempt):
        rows = [move_row(attempt.id, seq, reason=NASTY_TEXT if seq % 2 else None) for seq in range(1, 31)]
        with store.transaction() as tx:
            tx.insert_moves(rows[::-1])
        with store.reading() as tx:
            assert tx.load_moves(attempt.id) == rows
            assert tx.load_moves(attempt.id, 28) == rows[28:]
            assert tx.load_moves(attempt.id + 1) == []

    def test_a_move_has_its_number_alone(self, store, attempt):
        with pytest.raises(Exception, match=r"(?i)unique"), store.transaction() as tx:
            tx.insert_moves([move_row(attempt.id, 1), move_row(attempt.id, 1)])


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
        ],
        ids=["ensure_project", "save_attempt", "insert_tasks", "insert_moves"],
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


@pytest.mark.parametrize("url", ["sqlite", "postgresql"])
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
