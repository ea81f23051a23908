"""`dagrun unpause`: let a paused attempt, or everything, go on."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, project_options
from dagrun.cli.pause import chosen, tell
from dagrun.errors import Conflict


@click.command("unpause", short_help="Let a paused attempt, or everything, go on.")
@click.argument("attempt", required=False)
@click.option("--all", "everything", is_flag=True, help="What `pause --all` stopped.")
@click.option("--backfill", metavar="NAME", help="All attempts of a backfill.")
@project_options
@json_option
def command(
    attempt: str | None,
    everything: bool,
    backfill: str | None,
    project: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Let ATTEMPT start tasks again."""
    with open_here(project, database).existing_store.transaction() as tx:
        numbers = [number for number in chosen(tx, attempt, everything, backfill) if tx.delete_pause(number)]
        if not numbers:
            raise Conflict("it is not paused")
    tell(numbers, paused=False, as_json=as_json)
