"""Tasks from rows and rows from tasks. The only place that knows how the store spells a task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from dagrun.core.files import Output
from dagrun.core.kinds import is_unicode
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import NOTHING, TaskSpec, Workflow
from dagrun.store.base import TaskRow

ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"))
decode = json.loads


def encode(value: Any) -> str:
    """JSON that a database can hold: half of a pair of UTF-16, which isn't a character, stays an escape."""
    text = ENCODER.encode(value)
    return text if text.isascii() or is_unicode(text) else ASCII_ENCODER.encode(value)


def load_tree(workflow: Workflow, rows: Sequence[TaskRow], version: int) -> TaskTree:
    """An attempt's tree from all of its rows, by index."""
    tree = TaskTree(static=len(workflow.nodes), version=version)
    for row in rows:
        tree.attach(from_row(row, workflow, tree))
    tree.count()
    return tree


def catch_up(tree: TaskTree, workflow: Workflow, rows: Iterable[TaskRow], version: int) -> None:
    """Bring a cached tree up to the rows that others changed."""
    for row in rows:
        if row.idx < len(tree.tasks):
            read_state(tree.tasks[row.idx], row)
        else:
            tree.attach(from_row(row, workflow, tree))
    tree.version = version
    tree.count()


def from_row(row: TaskRow, workflow: Workflow, tree: TaskTree) -> Task:
    spec, upstreams = definition_of(row, workflow, tree)
    task = Task(row.idx, row.parent, row.name, spec, upstreams, row.source)
    read_state(task, row)
    return task


def definition_of(row: TaskRow, workflow: Workflow, tree: TaskTree) -> tuple[TaskSpec, tuple[int, ...]]:
    if row.definition is not None:
        spec = TaskSpec.from_json(decode(row.definition))
    elif row.source < len(workflow.nodes):
        spec = workflow.nodes[row.source].spec
    else:
        spec = tree.tasks[row.source].spec
    if row.upstreams is not None:
        return spec, tuple(decode(row.upstreams))
    return spec, workflow.nodes[row.source].upstreams


def read_state(task: Task, row: TaskRow) -> None:
    task.state = row.state
    task.superseded = bool(row.superseded)
    task.tries, task.retries, task.platform_retries = row.tries, row.retries, row.platform_retries
    task.memo = decode(row.memo) if row.memo else NOTHING
    task.lease, task.handle = row.lease, row.handle
    task.due_at, task.started_at, task.finished_at = row.due_at, row.started_at, row.finished_at
    task.stored = decode(row.stored) if row.stored else NOTHING
    task.reset = decode(row.reset) if row.reset else ()
    task.exported = decode(row.exported) if row.exported else NOTHING
    task.error = decode(row.error) if row.error else None
    task.reason, task.reused_from = row.reason, row.reused_from
    task.outputs = [Output(*one) for one in decode(row.outputs)] if row.outputs else ()
    task.effects = None


def to_row(task: Task, attempt_id: int, version: int, static: int) -> TaskRow:
    """The task's row. A task of the file carries no definition; a copy only the edges that the file can't tell."""
    own_place = task.index < static
    return TaskRow(
        attempt_id,
        task.index,
        task.parent,
        task.full_name,
        task.source,
        None if own_place else encode(task.upstreams),
        None if own_place or task.source != task.index else encode(task.spec.to_json()),
        task.state,
        version,
        1 if task.superseded else 0,
        task.tries,
        task.retries,
        task.platform_retries,
        encode(task.memo) if task.memo else None,
        task.lease,
        task.handle,
        task.due_at,
        task.started_at,
        task.finished_at,
        encode(task.stored) if task.stored else None,
        encode(list(task.reset)) if task.reset else None,
        encode(task.exported) if task.exported else None,
        encode(task.error) if task.error else None,
        task.reason,
        task.reused_from,
        encode(task.outputs) if task.outputs else None,
    )
