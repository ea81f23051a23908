"""`dagrun disable`: a schedule starts nothing for a while."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.cli.scheduled import find_to_change, instant
from dagrun.cli.schedules import schedule_object
from dagrun.cli.times import short
from dagrun.engine import timetable


@click.command("disable", short_help="Stop a schedule from starting sessions.")
@click.argument("workflow")
@click.option("--until", metavar="T", help="Enable it again at that time.")
@project_options
@json_option
def command(workflow: str, until: str | None, project: str | None, database: str | None, as_json: bool) -> None:
    """Start no session of WORKFLOW until `dagrun enable`, or until T. What is running goes on."""
    store = open_here(project, database).existing_store
    with store.transaction() as tx:
        changed = []
        for one in find_to_change(tx, workflow):
            end = instant(until, one.place, "--until") if until else None
            changed.append(one._replace(row=timetable.disable(tx, one.row, tx.now, end)))
    if as_json:
        print_json([schedule_object(one) for one in changed])
        return
    for one in changed:
        back = f" until {short(one.row.disabled_until)}" if one.row.disabled_until else ""
        click.echo(f"{one.name} ({one.text}) is disabled{back}", err=True)
