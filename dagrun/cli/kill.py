"""`dagrun kill`: end a running attempt. Its process notices within a quarter of a second, and ends its tasks."""

from __future__ import annotations

import time

import click

from dagrun.cli.objects import print_attempt
from dagrun.cli.opened import Opened, find_attempt, json_option, open_here, project_options
from dagrun.cli.running import end_dead_attempts, end_one
from dagrun.core.events import Canceled
from dagrun.core.state import CANCELED
from dagrun.engine.owners import daemon_is_alive, is_of_daemon, workflow_of
from dagrun.engine.rows import decode
from dagrun.engine.submit import TASK_LIMIT
from dagrun.engine.turn import Live, take_turn
from dagrun.engine.waiting_room import BACKFILL, end_queued, is_queued
from dagrun.errors import Conflict, NotFound
from dagrun.store.base import AttemptRow, Store, Tx

PATIENCE_SECONDS = 60.0


@click.command("kill", short_help="End a running attempt.")
@click.argument("attempt", required=False)
@click.option("--backfill", metavar="NAME", help="All attempts of a backfill instead.")
@project_options
@click.option("--no-wait", is_flag=True, help="Don't wait until all of its tasks have ended.")
@json_option
def command(
    attempt: str | None, backfill: str | None, project: str | None, database: str | None, no_wait: bool, as_json: bool
) -> int:
    """End ATTEMPT and everything that it started. If its process is dead, what it left is ended."""
    opened = open_here(project, database)
    store = opened.existing_store
    with store.reading() as tx:
        rows = chosen(tx, attempt, backfill)
    # The newest first: one that waits must not begin because one before it has ended.
    return max(kill(opened, store, row, no_wait=no_wait, as_json=as_json) for row in rows)


def chosen(tx: Tx, attempt: str | None, backfill: str | None) -> list[AttemptRow]:
    """One attempt, or those of a backfill that aren't done. Raises NotFound, Conflict."""
    if (attempt is None) == (backfill is None):
        raise click.UsageError("name an attempt, or give --backfill NAME")
    if attempt is not None:
        row = find_attempt(tx, attempt)
        if row.finished_at is not None:
            raise Conflict(f"attempt {row.id} has ended already ({row.state})")
        return [row]
    rows = [row for row in tx.live_attempts() if decode(row.options).get(BACKFILL) == backfill]
    if not rows:
        raise NotFound("backfill", str(backfill), hint="none of its attempts waits or runs")
    return rows[::-1]


def kill(opened: Opened, store: Store, row: AttemptRow, *, no_wait: bool, as_json: bool) -> int:
    if end_waiting(store, row):
        if as_json:
            print_attempt(store, row.id)
        else:
            click.echo(f"attempt {row.id} is killed; it had not begun", err=True)
        return 0
    end_dead_attempts(opened, lambda text: click.echo(text, err=True))
    if is_of_daemon(row) and not daemon_is_alive(opened.state_dir):
        end_one(opened, store, row, lambda text: click.echo(text, err=True))
    with store.reading() as tx:
        workflow = workflow_of(tx, row, opened.state_dir)
    live = Live(row.id, workflow, TASK_LIMIT)
    turn = take_turn(store, live, [Canceled("killed by dagrun kill")])
    if not turn.done and not no_wait:
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with store.reading() as tx:
                now = tx.get_attempt(row.id)
            if now.finished_at is not None:
                break
            store.wait(end - time.monotonic())
        else:
            click.echo(f"attempt {row.id} is still ending its tasks", err=True)
            return 5
    with store.reading() as tx:
        now = tx.get_attempt(row.id)
    if as_json:
        print_attempt(store, row.id)
    if now.finished_at is not None and now.state != CANCELED:
        raise Conflict(f"attempt {row.id} ended by itself before it could be killed ({now.state})")
    if not as_json:
        click.echo(f"attempt {row.id} is killed", err=True)
    return 0


def end_waiting(store: Store, row: AttemptRow) -> bool:
    """End an attempt that waits for its turn; False if it has begun."""
    with store.transaction() as tx:
        now = tx.lock_attempt(row.id)
        if not is_queued(now):
            return False
        end_queued(tx, now, "killed by dagrun kill")
        return True
