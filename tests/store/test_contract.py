"""What `base.Store` and `base.Tx` promise, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.store.base import PoolRow, TaskRow
from tests.store.rows import (
    NASTY_TEXT,
    TIME,
    attempt_row,
    in_threads,
    make_attempt,
    move_row,
    task_row,
    try_row,
)


class TestProjects:
    def test_a_project_is_made_once(self, store):
        with store.transaction() as tx:
            first = tx.ensure_project("p")
            assert tx.ensure_project("p") == first
            assert first == (first.id, "p", tx.now)

    def test_it_is_found_by_name_and_by_id(self, store):
        with store.transaction() as tx:
            project = tx.ensure_project("ü 'x'")
            assert tx.lock_project(project.id) == project
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
        with pytest.raises(NotFound, match="attempt not found: 99"), store.transaction() as tx:
            tx.save_version(99, 7)

    def test_saving_its_version_changes_nothing_else(self, store, attempt):
        with store.transaction() as tx:
            tx.save_version(attempt.id, 7)
        with store.reading() as tx:
            assert tx.get_attempt(attempt.id) == attempt._replace(version=7)

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
        """a@0 queued, a@0 error, a@1 success, b@0 running, and one in another project, queued."""
        with store.transaction() as tx:
            made = [
                make_attempt(tx, "a", 0),
                make_attempt(tx, "a", 0, retry_name="2", state="error", finished_at=TIME),
                make_attempt(tx, "a", 1, state="success", finished_at=TIME),
                make_attempt(tx, "b", 0, version=1),
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
            ({"states": ["running"], "queued": True}, [4, 0]),
            ({"queued": False, "workflow": "b"}, [3]),
            ({"before": 2}, [1, 0]),
            ({"limit": 2}, [4, 3]),
            ({"before": 3, "limit": 1, "states": ["running", "error"]}, [1]),
            ({"limit": 0}, []),
        ],
    )
    def test_attempts_are_listed_newest_first_by_any_mix_of_filters(self, store, ids, wanted, places):
        with store.reading() as tx:
            filters = {key: wanted[key] for key in ("workflow", "states", "queued", "limit") if key in wanted}
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

    @pytest.mark.parametrize(
        ("root_started_at", "started_at", "length"),
        [(None, None, None), (TIME + 20, TIME + 20, 10), (TIME - 20, TIME, 30)],
        ids=["never begun", "waited for its turn", "taken over"],
    )
    def test_a_line_tells_when_the_attempt_began_and_how_long_it_took(self, store, root_started_at, started_at, length):
        with store.transaction() as tx:
            row = make_attempt(tx, created_at=TIME, state="success", finished_at=TIME + 30)
            tx.insert_tasks([task_row(row.id, 1, started_at=TIME + 1)])
            if root_started_at is not None:
                tx.insert_tasks([task_row(row.id, 0, started_at=root_started_at)])
            (line,) = tx.list_attempts()
        assert (line.started_at, line.length) == (started_at, length)


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


class TestPools:
    def test_who_only_reads_finds_the_size_of_a_pool(self, store):
        with store.transaction() as tx:
            tx.save_pool(PoolRow("warehouse", 1000))
            tx.save_pool(PoolRow("warehouse", 3000))
        with store.reading() as tx:
            assert tx.find_pool("warehouse") == PoolRow("warehouse", 3000)
            assert tx.find_pool("nowhere") is None


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
