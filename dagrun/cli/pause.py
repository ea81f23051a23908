"""`dagrun pause` and `dagrun unpause`: nothing new starts of an attempt, or of anything; what is running goes on."""

from __future__ import annotations

import click

from dagrun.cli.kill import chosen as attempts_of
from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.errors import Conflict
from dagrun.store.base import PauseRow, Tx

EVERYTHING = 0


@click.command("pause", short_help="Start no more tasks of an attempt, or none at all.")
@click.argument("attempt", required=False)
@click.option("--all", "everything", is_flag=True, help="Everything: all attempts, and the schedules.")
@click.option("--backfill", metavar="NAME", help="All attempts of a backfill.")
@click.option("--reason", default="", help="Why; `dagrun why` shows it.")
@project_options
@json_option
def command(
    attempt: str | None,
    everything: bool,
    backfill: str | None,
    reason: str,
    project: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Start no task of ATTEMPT, nor of the attempts that it required, until `dagrun unpause`. Running tasks end."""
    with open_here(project, database).existing_store.transaction() as tx:
        paused = {row.attempt_id for row in tx.list_pauses()}
        numbers = [number for number in chosen(tx, attempt, everything, backfill) if number not in paused]
        if not numbers:
            raise Conflict("it is paused already")
        for number in numbers:
            tx.insert_pause(PauseRow(number, tx.now, reason))
    tell(numbers, paused=True, as_json=as_json)


def tell(numbers: list[int], *, paused: bool, as_json: bool) -> None:
    if as_json:
        print_json([{"attempt": number or None, "paused": paused} for number in numbers])
        return
    for number in numbers:
        click.echo(f"{name_of(number)} {'is paused' if paused else 'goes on'}", err=True)


def chosen(tx: Tx, attempt: str | None, everything: bool, backfill: str | None) -> list[int]:
    """The attempts that are meant, 0 for everything. Raises NotFound, Conflict."""
    if [attempt is not None, everything, backfill is not None].count(True) != 1:
        raise click.UsageError("name an attempt, or give --all or --backfill NAME")
    if everything:
        return [EVERYTHING]
    if backfill is not None:
        return [row.id for row in attempts_of(tx, None, backfill)]
    return [row.id for row in attempts_of(tx, attempt, None)]


def name_of(number: int) -> str:
    return f"attempt {number}" if number else "everything"
