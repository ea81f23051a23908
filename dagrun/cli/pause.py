"""`dagrun pause` and `dagrun unpause`: nothing new starts of an attempt, or of anything; what is running goes on."""

from __future__ import annotations

import click

from dagrun.cli.opened import find_attempt, json_option, open_here, print_json, project_options
from dagrun.errors import Conflict
from dagrun.store.base import PauseRow, Tx

EVERYTHING = 0


@click.command("pause", short_help="Start no more tasks of an attempt, or none at all.")
@click.argument("attempt", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything: all attempts, and the schedules.")
@click.option("--reason", default="", help="Why; `dagrun why` shows it.")
@project_options
@json_option
def command(
    attempt: str | None, everything: bool, reason: str, project: str | None, database: str | None, as_json: bool
) -> None:
    """Start no task of ATTEMPT, nor of the attempts that it required, until `dagrun unpause`. Running tasks end."""
    with open_here(project, database).existing_store.transaction() as tx:
        number = chosen(tx, attempt, everything)
        if any(row.attempt_id == number for row in tx.list_pauses()):
            raise Conflict(f"{name_of(number)} is paused already")
        tx.insert_pause(PauseRow(number, tx.now, reason))
    if as_json:
        print_json({"attempt": number or None, "paused": True, "reason": reason or None})
    else:
        click.echo(f"{name_of(number)} is paused", err=True)


def chosen(tx: Tx, attempt: str | None, everything: bool) -> int:
    if (attempt is None) != everything:
        raise click.UsageError("name an attempt, or give --all")
    if attempt is None:
        return EVERYTHING
    row = find_attempt(tx, attempt)
    if row.finished_at is not None:
        raise Conflict(f"attempt {row.id} has ended already ({row.state})")
    return row.id


def name_of(number: int) -> str:
    return f"attempt {number}" if number else "everything"
