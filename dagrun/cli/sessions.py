"""`dagrun sessions`: the sessions of workflows, also those that were skipped, and why."""

from __future__ import annotations

from typing import Any

import click

from dagrun.cli.opened import json_option, limit_option, open_here, print_json, project_options
from dagrun.cli.table import print_table
from dagrun.cli.times import iso, short
from dagrun.cli.words import attempt_state, attempt_word
from dagrun.core.session import format_time
from dagrun.core.zone import zone
from dagrun.light import NamedTuple
from dagrun.store.base import AttemptSummary, SkipRow, Tx

MOST_READ = 100_000  # attempts


class Line(NamedTuple):
    """One session: its newest attempt and how many it had, or why it was skipped."""

    project: str
    workflow: str
    session_time: int
    timezone: str
    newest: AttemptSummary | None
    attempts: int
    skip: SkipRow | None


@click.command("sessions", short_help="List the sessions, also those that were skipped.")
@click.argument("workflow", required=False)
@limit_option
@project_options
@json_option
def command(workflow: str | None, limit: int, project: str | None, database: str | None, as_json: bool) -> None:
    """List the sessions of WORKFLOW or of all, newest first, with what became of them."""
    with open_here(project, database).existing_store.reading() as tx:
        found = lines(tx, workflow)[:limit]
    if as_json:
        print_json([session_object(one) for one in found])
        return
    print_table(("session", "state", "attempts", "last", "started", "reason"), [cells(one) for one in found])


def lines(tx: Tx, workflow: str | None) -> list[Line]:
    by_session: dict[int, Line] = {}
    for one in tx.list_attempts(workflow=workflow, limit=MOST_READ):
        known = by_session.get(one.session.id)
        by_session[one.session.id] = (
            known._replace(attempts=known.attempts + 1)
            if known
            else Line(one.project, one.session.workflow, one.session.session_time, one.attempt.timezone, one, 1, None)
        )
    found = list(by_session.values())
    started = {(one.project, one.workflow, one.session_time) for one in found}
    for row in tx.list_schedules():
        if row.position == 0 and workflow in (None, row.workflow):
            project = tx.get_project(row.project_id).name
            found += [
                Line(project, row.workflow, skip.session_time, zone_of(row.definition), None, 0, skip)
                for skip in tx.list_skips(row.project_id, row.workflow)
                if (project, row.workflow, skip.session_time) not in started
            ]
    return sorted(found, key=lambda one: (one.session_time, one.workflow), reverse=True)


def zone_of(definition: str) -> str:
    import json

    name: str = json.loads(definition)[0]
    return name


def name_of(one: Line) -> str:
    return f"{one.workflow}@{format_time(one.session_time, zone(one.timezone))}"


def cells(one: Line) -> tuple[str, ...]:
    if one.newest is None:
        assert one.skip is not None
        return (name_of(one), "skipped", "", "", short(one.skip.at), one.skip.reason)
    row = one.newest.attempt
    return (
        name_of(one),
        attempt_word(row, alive=True),
        str(one.attempts),
        str(row.id),
        short(one.newest.started_at),
        "",
    )


def session_object(one: Line) -> dict[str, Any]:
    newest = one.newest
    return {
        "project": one.project,
        "workflow": one.workflow,
        "session_time": format_time(one.session_time, zone(one.timezone)),
        "state": attempt_state(newest.attempt) if newest else "skipped",
        "attempts": one.attempts,
        "last_attempt": newest.attempt.id if newest else None,
        "started_at": iso(newest.started_at) if newest else None,
        "skipped_at": iso(one.skip.at) if one.skip else None,
        "reason": one.skip.reason if one.skip else None,
    }
