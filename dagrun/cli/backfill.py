"""`dagrun backfill`: make sessions of the past."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from dagrun.cli.opened import MOST, Opened, json_option, open_here, print_json, project_options
from dagrun.cli.running import revision_of
from dagrun.cli.scheduled import Found, find_to_change, instant
from dagrun.cli.table import print_table
from dagrun.cli.times import schedule_params
from dagrun.core.schedule import DAY
from dagrun.core.session import format_time
from dagrun.engine import backfill
from dagrun.engine.owners import daemon_is_alive
from dagrun.engine.submit import new_uuid, process
from dagrun.errors import UserError
from dagrun.project.archive import snapshot
from dagrun.project.sources import taken_commit
from dagrun.store.base import AttemptRow, RevisionRow, Tx


@click.command("backfill", short_help="Make sessions of the past.")
@click.argument("workflow")
@click.argument("range_", metavar="FROM[..TO]", required=False)
@click.option("--from", "-f", "start", metavar="T", help="The first session: the first whose run isn't before T.")
@click.option("--count", type=click.IntRange(0, MOST), metavar="N", help="So many sessions.")
@click.option("--only", type=click.Choice(backfill.ONLY), default="all", show_default=True, help="Which of them.")
@click.option("--parallel", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="At work at once.")
@click.option("--order", type=click.Choice(["oldest", "newest"]), default="oldest", show_default=True)
@click.option("--stop-after", type=click.IntRange(1), metavar="N", help="After N failures start no more.")
@click.option("--name", help="The name of its attempts; a name can be used once.")
@click.option("--dry-run", "-d", is_flag=True, help="Show the sessions, make none.")
@project_options
@json_option
def command(
    workflow: str,
    range_: str | None,
    start: str | None,
    project: str | None,
    database: str | None,
    as_json: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Make the sessions of WORKFLOW from FROM to TO, both included, or up to its next one. The daemon runs them.

    FROM and TO are dates or times in the workflow's zone. The schedule itself is not changed.
    """
    first, last = bounds(range_, start)
    opened = open_here(project, database)
    name = options["name"] if options["name"] is not None else new_uuid()
    wish = backfill.Wish(
        name, options["parallel"], options["order"] == "newest", options["only"], options["stop_after"]
    )
    with opened.existing_store.transaction() as tx:
        one, *more = find_to_change(tx, workflow)
        if more:
            raise UserError(f"{workflow} has several schedules; name one by its number: dagrun schedules {workflow}")
        row = one.row
        times = sessions_between(one, first, last, options["count"], row.next_session)
        backfill.check_name(tx, row.project_id, row.workflow, times, name)
        times = backfill.chosen(tx, row.project_id, row.workflow, times, wish)
        made = [] if dry_run else begin(tx, opened, one, times, wish)
    show(one, times, made, name, as_json=as_json)
    if made and not as_json and not daemon_is_alive(opened.state_dir):
        click.echo("no daemon runs here: they start with  dagrun schedule", err=True)


def bounds(range_: str | None, start: str | None) -> tuple[str, str | None]:
    if (range_ is None) == (start is None):
        raise click.UsageError("give FROM or FROM..TO, such as 2026-01-01..2026-01-31, or --from T")
    first, _, last = (range_ or start or "").partition("..")
    return first, last or None


def sessions_between(one: Found, first: str, last: str | None, count: int | None, before: int) -> list[int]:
    end = before
    if last is not None:
        at = instant(last, one.place, "TO")
        whole_day = len(last) == len("2026-01-31")
        end = min(before, at + DAY if whole_day else at + 1)
    return backfill.sessions(one.planned.schedule, instant(first, one.place, "FROM"), end, count)


def begin(tx: Tx, opened: Opened, one: Found, times: list[int], wish: backfill.Wish) -> list[AttemptRow]:
    """Of the revision that the daemon took over last."""
    revision_row = tx.get_revision(one.row.revision_id)
    revision = revision_of(opened, revision_row)
    workflow = revision.workflow(one.row.workflow)
    return backfill.start(
        tx, workflow, revision_row, times, wish, lambda time: schedule_params(workflow, time),
        process(opened.state_dir, daemon=True), one.place, commit_of(opened, one.project, revision_row),
    )  # fmt: skip


def commit_of(opened: Opened, project: str, revision: RevisionRow) -> Mapping[str, Any] | None:
    """The commit that the daemon took over last, if the revision consists of its files."""
    commit = taken_commit(os.path.join(opened.state_dir, "git", project))
    tree = os.path.join(opened.state_dir, commit.get("tree", ""))
    if not commit or not os.path.isdir(tree):
        return None
    digest, _ = snapshot(tree, opened.state_dir, f"index-{project}")
    return commit if digest == revision.name else None


def show(one: Found, times: list[int], made: list[AttemptRow], name: str, *, as_json: bool) -> None:
    ids: list[int | None] = [row.id for row in made] or [None] * len(times)
    if as_json:
        print_json([
            {"workflow": one.row.workflow, "session_time": format_time(at, one.place), "attempt": number, "name": name}
            for at, number in zip(times, ids, strict=True)
        ])  # fmt: skip
        return
    rows = [
        (f"{one.row.workflow}@{format_time(at, one.place)}", str(number or ""))
        for at, number in zip(times, ids, strict=True)
    ]
    print_table(("session", "attempt"), rows)
    click.echo(
        f"{len(made)} attempts of the backfill {name} wait for their turn" if made else "none was made", err=True
    )
