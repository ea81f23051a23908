"""Starting an attempt: its session, its row and all of its tasks, in one transaction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagrun.core.events import Started
from dagrun.core.machine import step
from dagrun.core.reuse import Plan, build_tree
from dagrun.core.state import DONE
from dagrun.core.workflow import NOTHING, Workflow
from dagrun.engine.rows import encode, to_row
from dagrun.engine.turn import MOVE_BITS, Live
from dagrun.errors import LimitExceeded
from dagrun.light import NamedTuple
from dagrun.store.base import AttemptRow, MoveRow, RevisionRow, Tx

TASK_LIMIT = 100_000  # features, section 0


class Submission(NamedTuple):
    """What to start. `options` is kept with the attempt: how it was asked to run (workspace, task limit …)."""

    workflow: Workflow
    project_id: int
    revision: RevisionRow
    session_time: int
    params: Mapping[str, Any] = NOTHING
    retry_name: str = ""
    options: Mapping[str, Any] = NOTHING
    plan: Plan | None = None
    resumed_from: int | None = None


def submit(tx: Tx, wanted: Submission, owner: Mapping[str, Any] = NOTHING) -> tuple[AttemptRow, Live]:
    """Make the attempt and its tasks. Raises Conflict when its session has one of that retry name, LimitExceeded: too
    many tasks.
    """
    return start(tx, insert(tx, wanted, owner), wanted)


def insert(tx: Tx, wanted: Submission, owner: Mapping[str, Any]) -> AttemptRow:
    """The attempt without its tasks: it waits for its turn until `start`. Raises as `submit`."""
    limit = task_limit(wanted.options)
    if len(wanted.workflow.nodes) > limit:
        raise LimitExceeded(
            f"Too many tasks. Limit: {limit}, in {wanted.workflow.file or wanted.workflow.name}: "
            f"{len(wanted.workflow.nodes)}; split the workflow"
        )
    session = tx.ensure_session(wanted.project_id, wanted.workflow.name, wanted.session_time, new_uuid())
    return tx.insert_attempt(
        AttemptRow(
            id=0,
            session_id=session.id,
            number=0,
            retry_name=wanted.retry_name,
            revision_id=wanted.revision.id,
            timezone=wanted.workflow.timezone,
            state="running",
            version=0,
            cancel_requested=0,
            params=encode(wanted.params),
            options=encode(wanted.options),
            resumed_from=wanted.resumed_from,
            owner=encode(owner),
            error=None,
            created_at=tx.now,
            finished_at=None,
        )
    )


def start(tx: Tx, row: AttemptRow, wanted: Submission) -> tuple[AttemptRow, Live]:
    """The tasks of an attempt that has none yet."""
    limit = task_limit(wanted.options)
    tree = build_tree(wanted.workflow, wanted.plan, wanted.resumed_from)
    tree.task_limit = limit
    first = step(tree, [Started()], tx.now)
    tree.version = 1
    tx.insert_tasks([to_row(task, row.id, tree.version, tree.static) for task in tree.tasks])
    tx.insert_moves(
        [
            MoveRow(row.id, tree.version << MOVE_BITS | number, move.task, move.before, move.after, tx.now, move.reason)
            for number, move in enumerate(first.moves)
        ]
    )
    row = row._replace(version=tree.version)
    if tree.root.state in DONE:
        row = row._replace(state=tree.root.state, finished_at=tx.now)
        tx.save_attempt(row)
    else:
        tx.save_version(row.id, row.version)
    return row, Live(row.id, wanted.workflow, limit, tree, row)


def task_limit(options: Mapping[str, Any]) -> int:
    return int(options.get("task_limit", TASK_LIMIT))


def new_uuid() -> str:
    """A random UUID (RFC 9562, version 4). The standard library's module takes 4 ms to import."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def process(state_dir: str | None, *, daemon: bool = False) -> dict[str, Any]:
    """Who runs the attempt: shown to people. Whether a process lives is told by its lock file alone, in that directory;
    the attempts of a daemon outlive its process.
    """
    found = {"host": os.uname().nodename, "pid": os.getpid(), "state_dir": state_dir and os.path.abspath(state_dir)}
    return {**found, "daemon": True} if daemon else found
