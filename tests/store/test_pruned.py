"""The contract of the store, third part: what `dagrun prune` reads and deletes."""

from __future__ import annotations

import pytest

from dagrun.store.base import PastRow, PauseRow, RevisionAge, ScheduleRow, SkipRow
from dagrun.store.noticed import NoticeRow
from tests.store.rows import TIME, attempt_row, make_attempt, move_row, task_row, try_row


def done(tx, workflow="wf", session_time=0, **more):
    row = make_attempt(tx, workflow, session_time)
    row = row._replace(state="success", finished_at=TIME)
    tx.save_attempt(row)
    tx.insert_tasks([task_row(row.id, 0, state="success", **more), task_row(row.id, 1, state="success")])
    tx.insert_tries([try_row(row.id, 0, 1)])
    tx.insert_moves([move_row(row.id, number) for number in (1, 2, 3)])
    return row


def schedule_row(project_id, revision_id):
    return ScheduleRow(0, project_id, "wf", 0, revision_id, "[]", 0, 0, 0, None, None, None, None, None, TIME, TIME)


def test_the_past_is_all_attempts_by_id(store):
    with store.transaction() as tx:
        one = done(tx)
        other = make_attempt(tx, "other", resumed_from=one.id, owner='{"pid":1}')
    with store.reading() as tx:
        project = tx.find_project("p").id
        assert tx.list_past() == [
            PastRow(one.id, project, "wf", one.session_id, one.revision_id, "success", TIME, None, "{}"),
            PastRow(other.id, project, "other", other.session_id, one.revision_id, "running", None, one.id, '{"pid":1}'),
        ]  # fmt: skip


def test_reuses_are_pairs_of_attempts(store):
    with store.transaction() as tx:
        old = [done(tx, session_time=number) for number in (0, 1)]
        row = make_attempt(tx, "other", resumed_from=old[1].id)
        tx.insert_tasks([task_row(row.id, number, reused_from=old[number % 2].id) for number in range(4)])
    with store.reading() as tx:
        assert sorted(tx.list_reuses()) == [(row.id, one.id) for one in old]
        assert tx.resumed_after(old[1].id) == [old[1].id]
        assert tx.resumed_after(row.id) == []


def test_an_attempt_goes_with_all_that_belongs_to_it(store):
    with store.transaction() as tx:
        gone, left = done(tx), done(tx, session_time=1)
        tx.insert_pause(PauseRow(gone.id, TIME, "why"))
        assert tx.count_rows(gone.id) == (2, 1, 3)
        assert tx.delete_attempts([gone.id]) == 1
    with store.transaction() as tx:
        assert [row.id for row in tx.list_past()] == [left.id]
        assert tx.count_rows(gone.id) == (0, 0, 0)
        assert tx.count_rows(left.id) == (2, 1, 3)
        assert tx.list_pauses() == []
        assert tx.delete_attempts([gone.id]) == 0


def test_an_attempt_that_is_not_done_is_not_deleted(store, attempt):
    with store.transaction() as tx:
        assert tx.delete_attempts([attempt.id]) == 0
        assert tx.get_attempt(attempt.id) == attempt


def test_a_new_attempt_gets_no_number_that_was_given_before(store):
    with store.transaction() as tx:
        row = done(tx)
        tx.delete_attempts([row.id])
        assert make_attempt(tx).id > row.id


def test_sessions_go_that_have_no_attempt(store):
    with store.transaction() as tx:
        project = tx.ensure_project("p")
        empty = tx.ensure_session(project.id, "wf", 7, "uuid")
        used = make_attempt(tx).session_id
        assert tx.list_empty_sessions(empty.created_at + 1) == [empty.id]
        assert tx.list_empty_sessions(empty.created_at) == []
        assert tx.delete_empty_sessions([empty.id, used]) == 1
        assert tx.find_session(project.id, "wf", 7) is None
        assert tx.get_session(used)


def test_skips_go_by_the_time_at_which_they_were_recorded(store):
    with store.transaction() as tx:
        project = tx.ensure_project("p").id
        for number in range(5):
            tx.insert_skip(SkipRow(project, "wf", number, number, TIME + number, "why"))
        assert tx.count_old_skips(TIME + 4) == 4
        assert tx.delete_old_skips(TIME + 4, 3) == 3
        assert tx.delete_old_skips(TIME + 4, 3) == 1
        assert [row.session_time for row in tx.list_skips(project, "wf")] == [4]


def test_notices_go_that_are_old_and_wait_no_more(store):
    def notice(number: int, state: str, at: int) -> NoticeRow:
        return NoticeRow(0, project, "wf", 0, None, "late", "t", "{}", str(number), at, at, 1, state, None)

    with store.transaction() as tx:
        project = tx.ensure_project("p").id
        for number, state in enumerate(["sent", "failed", "waiting", "sent"]):
            tx.insert_notice(notice(number, state, TIME))
        tx.insert_notice(notice(9, "sent", TIME + 1))
        assert tx.count_old_notices(TIME + 1) == 3
        assert tx.delete_old_notices(TIME + 1, 2) == 2
        assert tx.delete_old_notices(TIME + 1, 2) == 1
        assert sorted(row.once_key for row in tx.list_notices(10)) == ["2", "9"]


@pytest.mark.parametrize("named_by", ["attempt", "schedule", None])
def test_a_revision_goes_that_nothing_names(store, named_by):
    with store.transaction() as tx:
        project = tx.ensure_project("p").id
        revision = tx.ensure_revision(project, "one", "{}")
        assert tx.list_revision_ages() == [RevisionAge(revision.id, project, revision.created_at)]
        if named_by == "attempt":
            session = tx.ensure_session(project, "wf", 0, "uuid")
            tx.insert_attempt(attempt_row(session.id, revision.id))
        if named_by == "schedule":
            tx.insert_schedule(schedule_row(project, revision.id))
        assert tx.delete_unnamed_revisions([revision.id]) == (0 if named_by else 1)
        assert len(tx.list_revision_ages()) == (1 if named_by else 0)


def test_what_somebody_else_is_about_to_use_stays(store, open_another):
    """SQLite has one writer, so that nobody can be in between."""
    if "postgresql" not in store.url:
        pytest.skip("one writer")
    with store.transaction() as tx:
        project = tx.ensure_project("p").id
        session = tx.ensure_session(project, "wf", 0, "uuid")
        revision = tx.ensure_revision(project, "one", "{}")
    with open_another().transaction() as tx:
        tx.ensure_session(project, "wf", 0, "uuid")
        tx.insert_attempt(attempt_row(session.id, revision.id))
        with store.transaction() as other:
            assert other.delete_empty_sessions([session.id]) == 0
            assert other.delete_unnamed_revisions([revision.id]) == 0
    with store.reading() as tx:
        assert len(tx.list_past()) == 1
