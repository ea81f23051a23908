"""`dagrun tasks`: the tasks of an attempt, as a tree."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from dagrun.cli.objects import task_object
from dagrun.cli.opened import find_attempt, json_option, open_here, print_json, project_options, retry_command
from dagrun.cli.table import print_table
from dagrun.cli.times import duration
from dagrun.cli.words import task_word
from dagrun.engine.owners import is_alive
from dagrun.store.base import TaskRow


@click.command("tasks", short_help="Show the tasks of an attempt.")
@click.argument("attempt")
@click.option("--all", "everything", is_flag=True, help="Also what earlier rounds of a retried group did.")
@project_options
@json_option
def command(attempt: str, everything: bool, project: str | None, database: str | None, as_json: bool) -> None:
    """Show the tasks of ATTEMPT: its number, last, or workflow@SESSION-TIME."""
    opened = open_here(project, database)
    with opened.existing_store.reading() as tx:
        row = find_attempt(tx, attempt)
        rows = tx.load_tasks(row.id)
    found = in_tree_order([one for one in rows if everything or not one.superseded])
    if as_json:
        print_json([task_object(one) for one, _ in found])
        return
    if row.finished_at is None and not is_alive(opened.state_dir, row):
        click.echo(f"the process that ran it is dead; to go on: {retry_command(opened, row.id)}", err=True)
    print_table(("task", "state", "tries", "took", "error"), [cells(one, depth) for one, depth in found])


def in_tree_order(rows: Sequence[TaskRow]) -> list[tuple[TaskRow, int]]:
    """Each task behind its parent, with its depth."""
    below: dict[int | None, list[TaskRow]] = {}
    for row in rows:
        below.setdefault(row.parent, []).append(row)
    found = []
    todo = [(row, 0) for row in reversed(below.get(None, []))]
    while todo:
        row, depth = todo.pop()
        found.append((row, depth))
        todo += [(child, depth + 1) for child in reversed(below.get(row.idx, []))]
    return found


def own_name(row: TaskRow) -> str:
    """The last part of the full name."""
    start = max(row.name.rfind("+"), row.name.rfind("^"))
    return row.name[start:]


def cells(row: TaskRow, depth: int) -> tuple[str, ...]:
    took = ""
    if row.started_at is not None and row.finished_at is not None:
        took = duration(row.finished_at - row.started_at)
    message = json.loads(row.error)["message"].splitlines()[:1] if row.error else []
    return ("  " * depth + own_name(row), task_word(row), str(row.tries), took, (message or [row.reason or ""])[0])
