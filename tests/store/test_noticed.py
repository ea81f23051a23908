"""Notices: made once, tried by one process at a time, and neither sent nor given up twice."""

from __future__ import annotations

import pytest

from tests.store.rows import NASTY_TEXT, TIME, in_threads, notice_row


@pytest.fixture
def project(store) -> int:
    with store.transaction() as tx:
        return tx.ensure_project("p").id


def insert(store, row) -> bool:
    with store.transaction() as tx:
        return tx.insert_notice(row)


def all_of(store):
    with store.reading() as tx:
        return tx.list_notices()


def test_a_notice_is_kept_as_it_was_made(store, project):
    row = notice_row(project, workflow=NASTY_TEXT, target=NASTY_TEXT, body=NASTY_TEXT, error=NASTY_TEXT)
    assert insert(store, row)
    assert all_of(store) == [row._replace(id=1)]


def test_it_needs_no_attempt(store, project):
    assert insert(store, notice_row(project, attempt_id=None))
    assert all_of(store)[0].attempt_id is None


def test_of_two_with_the_same_key_there_is_the_first(store, project):
    assert insert(store, notice_row(project, once_key="a", kind="first"))
    assert not insert(store, notice_row(project, once_key="a", kind="second"))
    assert [row.kind for row in all_of(store)] == ["first"]


def test_any_number_may_have_no_key(store, project):
    assert insert(store, notice_row(project)) and insert(store, notice_row(project))
    assert [row.id for row in all_of(store)] == [2, 1]


def test_the_list_is_the_newest_ones(store, project):
    for number in range(4):
        insert(store, notice_row(project, attempt_id=number))
    with store.reading() as tx:
        assert [row.attempt_id for row in tx.list_notices(2)] == [3, 2]


def test_due_are_those_of_a_project_that_wait_the_longest_due_first(store, project):
    with store.transaction() as tx:
        other = tx.ensure_project("other").id
    for due_at, more in [(3, {}), (1, {}), (9, {}), (2, {"state": "sent"}), (2, {"state": "failed"})]:
        insert(store, notice_row(project, due_at=due_at, **more))
    insert(store, notice_row(other, due_at=0))
    with store.reading() as tx:
        assert [row.due_at for row in tx.due_notices(project, 3)] == [1, 3]
        assert (tx.next_due_notice(project), tx.next_due_notice(other), tx.next_due_notice(99)) == (1, 0, None)


def test_one_of_several_processes_gets_the_claim(store, open_another, project):
    insert(store, notice_row(project))
    (row,) = all_of(store)

    def claim(number):
        with open_another().transaction() as tx:
            return tx.claim_notice(row, TIME + number)

    (claimed,) = [found for found in in_threads(3, claim) if found is not None]
    assert (claimed.tries, claimed) == (1, all_of(store)[0])


def test_how_a_try_ended_is_kept_and_a_later_answer_changes_nothing(store, project):
    insert(store, notice_row(project))
    (row,) = all_of(store)
    sent = row._replace(due_at=TIME + 5, tries=3, state="sent", error="before that: refused")
    with store.transaction() as tx:
        assert tx.save_notice(sent)
        assert not tx.save_notice(row._replace(state="failed"))
        assert tx.claim_notice(sent, TIME) is None
    assert all_of(store) == [sent]


def test_those_of_an_attempt_that_still_wait(store, project):
    for attempt_id, state in [(1, "waiting"), (1, "sent"), (2, "waiting"), (1, "waiting")]:
        insert(store, notice_row(project, attempt_id=attempt_id, state=state))
    with store.reading() as tx:
        assert [row.id for row in tx.waiting_notices_of(1)] == [1, 4]


def test_they_go_with_their_attempt(store, project):
    for attempt_id in (1, 2, None):
        insert(store, notice_row(project, attempt_id=attempt_id))
    with store.transaction() as tx:
        tx.delete_attempts([1])
    assert [row.attempt_id for row in all_of(store)] == [None, 2]


@pytest.mark.parametrize("wrong", [{"state": "lost"}, {"tries": -1}, {"project_id": 99}])
def test_the_database_refuses_what_must_not_be(store, project, wrong):
    with pytest.raises(Exception, match=r"(?i)constraint"):
        insert(store, notice_row(project)._replace(**wrong))
