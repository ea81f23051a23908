"""The shapes of `--json`, one a noun: the same in each command."""

from __future__ import annotations

import json
from typing import Any

from dagrun.cli.opened import print_json
from dagrun.cli.times import iso
from dagrun.core.session import format_time
from dagrun.core.state import SUCCESS
from dagrun.core.zone import zone
from dagrun.store.base import AttemptSummary, Store, TaskRow


def attempt_object(one: AttemptSummary) -> dict[str, Any]:
    row = one.attempt
    return {
        "id": row.id,
        "project": one.project,
        "workflow": one.session.workflow,
        "session_id": one.session.id,
        "session_uuid": one.session.uuid,
        "session_time": format_time(one.session.session_time, zone(row.timezone)),
        "number": row.number,
        "retry_name": row.retry_name or None,
        "state": row.state,
        "done": row.finished_at is not None,
        "success": row.state == SUCCESS,
        "cancel_requested": bool(row.cancel_requested),
        "revision": one.revision,
        "resumed_from": row.resumed_from,
        "params": json.loads(row.params),
        "created_at": iso(row.created_at),
        "finished_at": iso(row.finished_at),
        "error": json.loads(row.error) if row.error else None,
    }


def task_object(row: TaskRow) -> dict[str, Any]:
    error = json.loads(row.error) if row.error else None
    return {
        "index": row.idx,
        "name": row.name,
        "parent": row.parent,
        "state": row.state,
        "tries": row.tries,
        "started_at": iso(row.started_at),
        "finished_at": iso(row.finished_at),
        "error": {"kind": error["kind"], "message": error["message"]} if error else None,
        "stored": json.loads(row.stored) if row.stored else {},
        "exported": json.loads(row.exported) if row.exported else {},
        "reused_from": row.reused_from,
    }


def print_attempt(store: Store, attempt_id: int) -> None:
    with store.reading() as tx:
        (found,) = tx.list_attempts(before_id=attempt_id + 1, limit=1)
    print_json(attempt_object(found))
