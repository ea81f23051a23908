"""The shapes of `--json`, one a noun: the same in each command."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagrun.cli.opened import print_json
from dagrun.cli.times import iso
from dagrun.cli.words import attempt_state
from dagrun.core.session import format_time
from dagrun.core.state import SUCCESS
from dagrun.core.zone import zone
from dagrun.store.base import AttemptSummary, Store, TaskRow

if TYPE_CHECKING:
    from dagrun.core.timeline import Bar, Line, Span, Timeline


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
        "state": attempt_state(row),
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


def commit_object(commit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if commit is None:
        return None
    shown = {key: commit.get(key) for key in ("id", "author", "subject", "url", "branch", "path")}
    return shown | {"date": iso(commit["date"])}


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


def timeline_object(
    one: AttemptSummary, rows: Sequence[TaskRow], found: Timeline, usual: int | None, *, path_only: bool = False
) -> dict[str, Any]:
    """The bars of an attempt's tasks, in tree order, and its critical path; lengths are seconds."""
    critical = {rows[span.task].name for span in found.path}
    return {
        "attempt": one.attempt.id,
        "workflow": one.session.workflow,
        "session_time": format_time(one.session.session_time, zone(one.attempt.timezone)),
        "state": attempt_state(one.attempt),
        "done": one.attempt.finished_at is not None,
        "started_at": iso(one.started_at),
        "until": iso(found.end),
        "usual_seconds": seconds(usual) if usual is not None else None,
        "tasks": [
            line_object(line, rows[line.task.index], critical=line.task.full_name in critical)
            for line in found.lines
            if not path_only or line.task.full_name in critical
        ],
        "critical_path": [span_object(span, rows[span.task].name) for span in found.path],
    }


def line_object(line: Line, row: TaskRow, *, critical: bool) -> dict[str, Any]:
    return {
        "index": row.idx,
        "name": row.name,
        "parent": row.parent,
        "state": row.state,
        "critical": critical,
        "queued_seconds": seconds(line.length("queued")),
        "waited_seconds": seconds(line.length("waiting")),
        "ran_seconds": seconds(line.length("running")),
        "bars": [bar_object(bar) for bar in line.bars],
    }


def bar_object(bar: Bar) -> dict[str, Any]:
    return {
        "kind": bar.kind,
        "index": bar.task,
        "try": bar.number,
        "outcome": bar.outcome,
        "started_at": iso(bar.start),
        "finished_at": None if bar.open else iso(bar.end),
        "seconds": seconds(bar.end - bar.start),
    }


def span_object(span: Span, name: str) -> dict[str, Any]:
    return {
        "index": span.task,
        "name": name,
        "started_at": iso(span.start),
        "until": iso(span.end),
        "seconds": seconds(span.end - span.start),
    }


def seconds(microseconds: int) -> float:
    return microseconds / 1_000_000


def print_attempt(store: Store, attempt_id: int) -> None:
    with store.reading() as tx:
        (found,) = tx.list_attempts(before_id=attempt_id + 1, limit=1)
    print_json(attempt_object(found))
