"""`dagrun attempts`: what has run here, newest first."""

from __future__ import annotations

import click

from dagrun.cli.objects import attempt_object
from dagrun.cli.opened import Opened, json_option, limit_option, open_here, print_json, project_options
from dagrun.cli.table import print_table
from dagrun.cli.times import duration, short
from dagrun.cli.words import attempt_word
from dagrun.core.session import format_time
from dagrun.core.zone import zone
from dagrun.engine.owners import is_alive
from dagrun.store.base import AttemptSummary

STATES = {
    "success": ("success",), "failed": ("error", "group_error"), "killed": ("canceled",), "running": ("running",),
    "queued": ("running",),
}  # fmt: skip
QUEUED = {"running": False, "queued": True}  # in the store, both are `running`


@click.command("attempts", short_help="List the attempts, newest first.")
@click.argument("workflow", required=False)
@click.option("--state", type=click.Choice(list(STATES)), help="Only those.")
@limit_option
@project_options
@json_option
def command(
    workflow: str | None, state: str | None, limit: int, project: str | None, database: str | None, as_json: bool
) -> None:
    """List attempts, of WORKFLOW or of all, newest first."""
    opened = open_here(project, database)
    with opened.existing_store.reading() as tx:
        found = tx.list_attempts(
            workflow=workflow, states=STATES.get(state or "", ()), queued=QUEUED.get(state or ""), limit=limit
        )
    if as_json:
        print_json([attempt_object(one) for one in found])
        return
    columns = ("id", "session", "no", "state", "started", "took", "revision", "retries")
    print_table(columns, [cells(opened, one) for one in found])


def session_name(one: AttemptSummary) -> str:
    return f"{one.session.workflow}@{format_time(one.session.session_time, zone(one.attempt.timezone))}"


def cells(opened: Opened, one: AttemptSummary) -> tuple[str, ...]:
    row = one.attempt
    alive = row.finished_at is not None or is_alive(opened.state_dir, row)
    return (
        str(row.id),
        session_name(one),
        f"#{row.number}",
        attempt_word(row, alive=alive),
        short(one.started_at),
        duration(one.length) if one.length is not None else "",
        one.revision[:12],
        str(row.resumed_from or ""),
    )
