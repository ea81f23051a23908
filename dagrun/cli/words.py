"""Words for results, derived from state and error kind, never stored (features, spelling rule 5)."""

from __future__ import annotations

import json

from dagrun.core.state import CANCELED, FAILED, SUCCESS
from dagrun.engine.waiting_room import is_queued
from dagrun.store.base import AttemptRow, TaskRow

KINDS = {"timed_out": "timed out", "lost": "lost", "oom": "failed (oom)"}


def task_word(row: TaskRow) -> str:
    """One word for what became of a task."""
    if row.state in FAILED:
        kind = json.loads(row.error)["kind"] if row.error else ""
        return KINDS.get(kind, "failed")
    if row.state == CANCELED:
        return "killed"
    if row.state == SUCCESS and row.reason is not None:
        return "skipped"
    if row.reused_from is not None:
        return f"success in {row.reused_from}"
    return row.state


def attempt_state(row: AttemptRow) -> str:
    """Its state for programs: one that waits for its turn doesn't run yet."""
    return "queued" if is_queued(row) else row.state


def attempt_word(row: AttemptRow, *, alive: bool) -> str:
    """One word for what became of an attempt."""
    if row.finished_at is None:
        return attempt_state(row) if alive or is_queued(row) else "lost"
    if row.state == CANCELED:
        return "killed"
    return "success" if row.state == SUCCESS else "failed"
