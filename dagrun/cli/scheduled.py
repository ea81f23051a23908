"""What the commands about schedules share: finding the rows of a workflow, and reading times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import tzinfo
from functools import cached_property
from typing import Any

from dagrun.core.decide import Planned
from dagrun.core.schedule import instant_of
from dagrun.core.session import parse_session_time
from dagrun.core.zone import zone
from dagrun.errors import NotFound, UserError
from dagrun.light import NamedTuple, pattern
from dagrun.schedules.definition import planned_from
from dagrun.store.base import ScheduleRow, Tx

UNIX_SECONDS = pattern(r"[0-9]{9,11}\Z")
OFFSET = pattern(r" ([+-][0-9]{4})\Z")


class Definition(NamedTuple):
    """A row and its project, unfolded."""

    row: ScheduleRow
    project: str
    several: bool  # projects in this store


class Found(Definition):
    """A schedule as people see it."""

    @cached_property
    def parsed(self) -> tuple[str, Mapping[str, Any]]:
        timezone, config = json.loads(self.row.definition)
        return timezone, config

    @property
    def timezone(self) -> str:
        return self.parsed[0]

    @property
    def config(self) -> Mapping[str, Any]:
        return self.parsed[1]

    @property
    def place(self) -> tzinfo:
        return zone(self.timezone)

    @property
    def text(self) -> str:
        """`daily> 07:00:00`."""
        key = next((key for key in self.config if key.endswith(">")), "")
        return f"{key} {self.config.get(key)}"

    @property
    def name(self) -> str:
        return f"{self.project}/{self.row.workflow}" if self.several else self.row.workflow

    @property
    def planned(self) -> Planned:
        return planned_from(self.row.definition)


def find(tx: Tx, name: str | None) -> list[Found]:
    """The schedules of a workflow, `WF` or `PROJECT/WF`, or all. Raises NotFound; UserError when it is in several."""
    rows = tx.list_schedules()
    projects = {row.project_id: tx.get_project(row.project_id).name for row in rows}
    every = [Found(row, projects[row.project_id], len(projects) > 1) for row in rows]
    if name is None:
        return every
    found = [one for one in every if name in (one.row.workflow, f"{one.project}/{one.row.workflow}", str(one.row.id))]
    if not found:
        hint = "dagrun schedule makes them from the files" if not every else None
        raise NotFound("schedule", name, sorted({one.name for one in every}), hint=hint)
    if len({one.row.project_id for one in found}) > 1:
        names = ", ".join(f"{one.project}/{one.row.workflow}" for one in found)
        raise UserError(f"several projects have a workflow {name}: {names}\n  name one of these")
    return found


def find_to_change(tx: Tx, name: str | None) -> list[Found]:
    """The same; as long as the transaction lasts, nobody else changes the schedules of their projects."""
    for project_id in sorted({one.row.project_id for one in find(tx, name)}):
        tx.lock_project(project_id)
    return find(tx, name)  # as whoever had the lock before left them


def instant(text: str, place: tzinfo, option: str) -> int:
    """A time that somebody wrote: UNIX seconds, with an offset (Digdag: after a space), or one of the zone. Raises UserError."""
    if UNIX_SECONDS.match(text):
        return int(text) * 1_000_000
    at = parse_session_time(OFFSET.sub(r"\1", text), place)
    if at is not None:
        return at
    try:
        return instant_of(text, place)
    except UserError:
        raise UserError(
            f"{option} {text!r} is no time; write 2026-01-31, '2026-01-31 12:00:00' or 2026-01-31T12:00:00+09:00"
        ) from None
