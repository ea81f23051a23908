"""`dagrun pools`: named pools, who holds parts of them, and their sizes."""

from __future__ import annotations

import click

from dagrun.cli.opened import json_option, open_here, print_json, project_options
from dagrun.cli.running import gates_of
from dagrun.cli.table import print_table
from dagrun.cli.times import iso, short
from dagrun.core.uses import LOCK, WHOLE
from dagrun.errors import NotFound, UserError
from dagrun.store.base import HoldRow, PoolRow, Tx


@click.command("pools", short_help="List pools and who holds them; set their sizes.")
@click.option("--set", "set_", metavar="NAME=SIZE", multiple=True, help="Set the size of a pool.")
@click.option("--delete", metavar="NAME", multiple=True, help="Forget the size of a pool.")
@project_options
@json_option
def command(
    set_: tuple[str, ...], delete: tuple[str, ...], project: str | None, database: str | None, as_json: bool
) -> None:
    """Show each pool with its size and what holds parts of it; tasks take them with `_use`."""
    opened = open_here(project, database)
    store = opened.store if set_ else opened.existing_store
    sizes = {name: round(size * WHOLE) for name, size in gates_of(opened).pools.items()}
    with store.transaction() as tx:
        for text in set_:
            tx.save_pool(parse(text))
        for name in delete:
            if not tx.delete_pool(name):
                raise NotFound("pool", name, [row.name for row in tx.list_pools()])
        sizes |= {row.name: row.size for row in tx.list_pools()}
        holds = tx.list_holds()
        tasks = {(row.attempt_id, row.idx): name_of(tx, row) for row in holds}
    for row in holds:
        sizes.setdefault(row.pool, WHOLE)
    if as_json:
        print_json([pool_object(name, size, holds, tasks) for name, size in sorted(sizes.items())])
        return
    rows = []
    for name, size in sorted(sizes.items()):
        held = [row for row in holds if row.pool == name]
        used = sum(row.amount for row in held)
        holders = ", ".join(f"{tasks[row.attempt_id, row.idx]} since {short(row.since)}" for row in held)
        rows.append((name, "lock" if name.startswith(LOCK) else "pool", f"{used / WHOLE:g}/{size / WHOLE:g}", holders))
    print_table(("name", "kind", "used", "held by"), rows)


def parse(text: str) -> PoolRow:
    name, _, size = text.rpartition("=")
    try:
        number = float(size)
    except ValueError:
        number = -1.0
    if not name or not 0 <= number < 1_000_000:
        raise UserError(f"--set {text!r} must be NAME=SIZE, such as warehouse=3")
    return PoolRow(name, round(number * WHOLE))


def name_of(tx: Tx, row: HoldRow) -> str:
    found = [task for task in tx.load_tasks(row.attempt_id) if task.idx == row.idx]
    return f"#{row.attempt_id} {found[0].name}" if found else f"#{row.attempt_id}"


def pool_object(name: str, size: int, holds: list[HoldRow], tasks: dict[tuple[int, int], str]) -> dict[str, object]:
    return {
        "name": name,
        "size": size / WHOLE,
        "holders": [
            {
                "attempt": row.attempt_id,
                "task": tasks[row.attempt_id, row.idx].partition(" ")[2],
                "amount": row.amount / WHOLE,
                "since": iso(row.since),
            }
            for row in holds
            if row.pool == name
        ],
    }
