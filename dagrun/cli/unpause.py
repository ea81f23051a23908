"""`dagrun unpause`: let a paused attempt, or everything, go on."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.cli.pause import chosen, name_of
from dagrun.errors import Conflict


@click.command("unpause", short_help="Let a paused attempt, or everything, go on.")
@click.argument("attempt", required=False)
@click.option("--all", "everything", is_flag=True, help="What `pause --all` stopped.")
@project_options
@json_option
def command(attempt: str | None, everything: bool, project: str | None, database: str | None, as_json: bool) -> None:
    """Let ATTEMPT start tasks again."""
    with open_here(project, database).existing_store.transaction() as tx:
        number = chosen(tx, attempt, everything)
        if not tx.delete_pause(number):
            raise Conflict(f"{name_of(number)} is not paused")
    if as_json:
        print_json({"attempt": number or None, "paused": False})
    else:
        click.echo(f"{name_of(number)} goes on", err=True)
