"""`dagrun enable`: a disabled schedule starts sessions again."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.cli.scheduled import find_to_change, instant
from dagrun.cli.schedules import schedule_object
from dagrun.core.session import format_time
from dagrun.engine import timetable


@click.command("enable", short_help="Let a disabled schedule start sessions again.")
@click.argument("workflow")
@click.option("--skip-to", metavar="T", help="Leave out the sessions before that time; `now` for all that were missed.")
@project_options
@json_option
def command(workflow: str, skip_to: str | None, project: str | None, database: str | None, as_json: bool) -> None:
    """Start the sessions of WORKFLOW again. Those that were missed start too, as its `catchup` says."""
    store = open_here(project, database).existing_store
    with store.transaction() as tx:
        changed = []
        for one in find_to_change(tx, workflow):
            row = one.row
            if skip_to is not None:
                at = tx.now if skip_to == "now" else instant(skip_to, one.place, "--skip-to")
                if one.planned.schedule.first_at(at).session_time > row.next_session:
                    row = timetable.skip_to(tx, row, one.planned, at)
            changed.append(one._replace(row=timetable.enable(tx, row, tx.now)))
    if as_json:
        print_json([schedule_object(one) for one in changed])
        return
    for one in changed:
        click.echo(
            f"{one.name} ({one.text}) is enabled; its next session is {format_time(one.row.next_session, one.place)}",
            err=True,
        )
