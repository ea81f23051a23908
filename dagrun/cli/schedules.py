"""`dagrun schedules`: what is scheduled, or when a workflow will run. The preview needs no daemon and records nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import tzinfo
from heapq import merge
from itertools import islice
from typing import Any

import click

from dagrun.cli.opened import MOST, Opened, json_option, open_here, print_json, project_options
from dagrun.cli.scheduled import Found, find, instant
from dagrun.cli.table import print_table
from dagrun.cli.times import iso, short
from dagrun.core.schedule import END, Schedule
from dagrun.core.session import format_time
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.errors import NotFound, WorkflowError
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, workflow_files
from dagrun.project.sources import Folder
from dagrun.schedules.definition import schedules_of


@click.command("schedules", short_help="List the schedules, or the next runs.")
@click.argument("workflow", required=False)
@click.option("--next", "count", type=click.IntRange(1, MOST), metavar="N", help="The next N runs, from the files.")
@click.option("--from", "start", metavar="T", help="With --next: from that time on, instead of now.")
@project_options
@json_option
def command(
    workflow: str | None,
    count: int | None,
    start: str | None,
    project: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """List the schedules, of WORKFLOW or of all, as `dagrun schedule` keeps them; with --next the runs to come."""
    opened = open_here(project, database)
    if start is not None and count is None:
        count = 20
    if count is not None:
        show_next(opened, workflow, count, start, as_json=as_json)
        return
    with opened.existing_store.reading() as tx:
        found = find(tx, workflow)
    if as_json:
        print_json([schedule_object(one) for one in found])
        return
    columns = ("id", "workflow", "schedule", "next session", "next run", "last session", "state")
    print_table(columns, [cells(one) for one in found])


def cells(one: Found) -> tuple[str, ...]:
    row = one.row
    over = row.next_session == END
    return (
        str(row.id),
        one.name,
        one.text,
        "" if over else format_time(row.next_session, one.place),
        "" if over else short(row.next_run),
        "" if row.last_session is None else format_time(row.last_session, one.place),
        state(one),
    )


def state(one: Found) -> str:
    row = one.row
    if row.disabled_at is not None:
        until = f" until {short(row.disabled_until)}" if row.disabled_until else ""
        return f"disabled since {short(row.disabled_at)}{until}"
    if row.next_session == END:
        return "over"
    return row.note or "enabled"


def schedule_object(one: Found) -> dict[str, Any]:
    row = one.row
    over = row.next_session == END
    return {
        "id": row.id,
        "project": one.project,
        "workflow": row.workflow,
        "position": row.position,
        "schedule": one.config,
        "timezone": one.timezone,
        "next_session_time": None if over else format_time(row.next_session, one.place),
        "next_run_time": None if over else iso(row.next_run),
        "last_session_time": None if row.last_session is None else format_time(row.last_session, one.place),
        "disabled_at": iso(row.disabled_at),
        "disabled_until": iso(row.disabled_until),
        "note": row.note,
    }


# -- the runs to come


def show_next(opened: Opened, name: str | None, count: int, start: str | None, *, as_json: bool) -> None:
    runs = [runs_of(workflow, start) for workflow in workflows(opened, name)] or stored_runs(opened, name, start)
    found = list(islice(merge(*runs), count))
    if as_json:
        print_json([
            {"workflow": workflow, "session_time": session_time, "run_time": run_time}
            for _, workflow, session_time, run_time in found
        ])  # fmt: skip
        return
    print_table(("workflow", "session time", "run time"), [row[1:] for row in found])


def workflows(opened: Opened, name: str | None) -> list[Workflow]:
    """Those with a schedule in the project, or in the folders that are projects. Raises NotFound, WorkflowError."""
    found: list[Workflow] = []
    names: list[str] = []
    for place in Folder(opened.project_dir, "").look():
        files = Directory(place.directory)
        for path in workflow_files(files):
            label = f"{place.name}/" if place.name else ""
            try:
                workflow = compile_file(files, path)
            except WorkflowError:
                if name is None or os.path.splitext(path)[0] in (name, name.rpartition("/")[2]):
                    raise
                continue
            names.append(label + workflow.name)
            if name in (None, workflow.name, label + workflow.name) and workflow.schedule is not None:
                found.append(workflow)
    if name is not None and not found and (names or not has_state(opened)):
        hint = "it has no schedule" if any(known.rpartition("/")[2] == name for known in names) else None
        raise NotFound("schedule", name, names, hint=hint)
    return found


Run = tuple[int, str, str, str]  # run time, workflow, session time, run time


def runs_of(workflow: Workflow, start: str | None) -> Iterator[Run]:
    """By run time."""
    place = zone(workflow.timezone)
    return merge(*(runs(workflow.name, one.schedule, place, start) for one in schedules_of(workflow)))


def stored_runs(opened: Opened, name: str | None, start: str | None) -> list[Iterator[Run]]:
    """Where the files aren't here but in git: as the daemon took them over last."""
    if not has_state(opened):
        return []
    with opened.existing_store.reading() as tx:
        found = find(tx, name)
    return [runs(one.row.workflow, one.planned.schedule, one.place, start) for one in found]


def has_state(opened: Opened) -> bool:
    return opened.database is not None or os.path.exists(os.path.join(opened.state_dir, "state.db"))


def runs(name: str, schedule: Schedule, place: tzinfo, start: str | None) -> Iterator[Run]:
    slot = schedule.first_at(time.time_ns() // 1000 if start is None else instant(start, place, "--from"))
    while slot.session_time != END:
        yield slot.run_time, name, format_time(slot.session_time, place), format_time(slot.run_time, place)
        slot = schedule.next_after(slot.session_time)
