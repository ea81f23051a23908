"""Attempts that wait for their turn: made, visible, and without tasks until they start.

A backfill, `overlap: queue` and `concurrency` make them. First come, first served among those of one workflow and key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from dagrun.core.state import CANCELED, ERROR, FAILED
from dagrun.engine.rows import decode, encode
from dagrun.engine.submit import Submission, insert
from dagrun.store.base import AttemptRow, QueueRow, Tx

STRICT = "strict"  # in its options: a failure before it stops the line
LOOKED_BACK = 1000  # attempts
BACKFILL = "backfill"  # in an attempt's options: the name of its backfill
KEY = "key"  # in an attempt's options: with which others of its workflow it is counted


def queue(
    tx: Tx,
    wanted: Submission,
    owner: Mapping[str, Any],
    *,
    most: int,
    key: str = "",
    after_session: int | None = None,
    why: str,
) -> AttemptRow:
    """Make an attempt that starts when fewer than `most` of its kind are at work, and no attempt of that session."""
    row = insert(tx, wanted._replace(options={**wanted.options, KEY: key}), owner)
    tx.insert_queued(
        QueueRow(row.id, wanted.project_id, wanted.workflow.name, key, most, after_session, row.created_at, why)
    )
    return row


def ready(tx: Tx, projects: Collection[int]) -> list[QueueRow]:
    """Those of the projects whose turn it is, in order; each that starts counts for the next ones."""
    waiting = [row for row in tx.list_queued() if row.project_id in projects]
    if not waiting:
        return []
    paused = {row.attempt_id for row in tx.list_pauses()}
    if 0 in paused:
        return []
    queued = {row.attempt_id for row in waiting}
    at_work: Counter[tuple[int, str, str]] = Counter()
    looked_at: set[tuple[int, str]] = set()
    found = []
    for entry in waiting:
        workflow = entry.project_id, entry.workflow
        if workflow not in looked_at:
            looked_at.add(workflow)
            for row in tx.live_attempts_of(*workflow):
                if row.id not in queued:
                    at_work[*workflow, decode(row.options).get(KEY, "")] += 1
        kind = (*workflow, entry.key)
        if entry.attempt_id in paused or entry.due_at > tx.now:
            continue
        if (entry.most and at_work[kind] >= entry.most) or is_open(tx, entry.after_session):
            continue
        if is_strict(tx, entry) and last_failed(tx, *kind):
            continue
        at_work[kind] += 1
        found.append(entry)
    return found


def last_failed(tx: Tx, project_id: int, workflow: str, key: str) -> AttemptRow | None:
    """The attempt at which the line stops: the last one of that key that is done failed, and was not retried with success."""
    for one in tx.list_attempts(project_id=project_id, workflow=workflow, limit=LOOKED_BACK):
        if one.attempt.finished_at is not None and decode(one.attempt.options).get(KEY, "") == key:
            return one.attempt if one.attempt.state in FAILED else None
    return None


def is_strict(tx: Tx, entry: QueueRow) -> bool:
    return bool(decode(tx.get_attempt(entry.attempt_id).options).get(STRICT))


def is_open(tx: Tx, session_id: int | None) -> bool:
    """Whether the session has an attempt that is not done."""
    if session_id is None:
        return False
    newest = tx.newest_attempt_of_session(session_id)
    return newest is not None and newest.finished_at is None


def is_queued(row: AttemptRow) -> bool:
    return row.version == 0 and row.finished_at is None


def busy_word(row: AttemptRow) -> str:
    """What people are told that an attempt is which isn't done."""
    return "queued" if is_queued(row) else "at work"


def end_queued(tx: Tx, row: AttemptRow, reason: str) -> AttemptRow:
    """It will never start."""
    return close(tx, row._replace(state=CANCELED, cancel_requested=1), "killed", reason)


def fail_queued(tx: Tx, row: AttemptRow, reason: str) -> AttemptRow:
    """There is no room for it: it has failed."""
    return close(tx, row._replace(state=ERROR), "no_room", reason)


def close(tx: Tx, row: AttemptRow, kind: str, reason: str) -> AttemptRow:
    tx.delete_queued(row.id)
    row = row._replace(finished_at=tx.now, error=encode({"kind": kind, "message": reason}))
    tx.save_attempt(row)
    return row
