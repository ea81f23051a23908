"""`dagrun reschedule`: leave out the next sessions, or move the next run."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.cli.scheduled import find_to_change, instant
from dagrun.cli.schedules import schedule_object
from dagrun.cli.times import short
from dagrun.core.schedule import END
from dagrun.core.session import format_time
from dagrun.engine import timetable


@click.command("reschedule", short_help="Leave out the next sessions of a schedule.")
@click.argument("workflow")
@click.option("--skip", "-s", type=click.IntRange(0), metavar="N", help="Leave out the next N sessions from now on.")
@click.option("--skip-to", "-t", metavar="T", help="Leave out the sessions that would run before that time, or `now`.")
@click.option("--run-at", "-a", metavar="T", help="Run the session that is then the next one at that time.")
@click.option("--dry-run", "-d", is_flag=True, help="Show what would be the next session, and change nothing.")
@project_options
@json_option
def command(
    workflow: str,
    skip: int | None,
    skip_to: str | None,
    run_at: str | None,
    dry_run: bool,
    project: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Move the schedule of WORKFLOW forward. What was left out can be made later with `dagrun backfill`."""
    if (skip is None) == (skip_to is None) and run_at is None:
        raise click.UsageError("give either --skip N or --skip-to T, or --run-at T alone")
    if skip is not None and skip_to is not None:
        raise click.UsageError("--skip and --skip-to can't be used together")
    store = open_here(project, database).existing_store
    with store.transaction() as tx:
        changed = []
        for one in find_to_change(tx, workflow):
            row = one.row
            if skip is not None:
                row = timetable.skip_count(tx, row, one.planned, skip, tx.now, dry_run=dry_run)
            elif skip_to is not None:
                at = tx.now if skip_to == "now" else instant(skip_to, one.place, "--skip-to")
                row = timetable.skip_to(tx, row, one.planned, at, dry_run=dry_run)
            if run_at is not None:
                row = timetable.run_at(tx, row, instant(run_at, one.place, "--run-at"), dry_run=dry_run)
            changed.append(one._replace(row=row))
    if as_json:
        print_json([schedule_object(one) for one in changed])
        return
    for one in changed:
        if one.row.next_session == END:
            click.echo(f"{one.name} ({one.text}) is over", err=True)
            continue
        session = format_time(one.row.next_session, one.place)
        click.echo(f"{one.name} ({one.text}): next session {session}, runs at {short(one.row.next_run)}", err=True)
