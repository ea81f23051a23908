"""The rows of schedules: what a new revision makes of them, and how people move them.

Everything here is one transaction's work; nothing is started. Sources: spec/scheduling 5.2, 5.4, 8; features F64.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping

from dagrun.core.decide import Planned
from dagrun.core.schedule import END, Slot
from dagrun.errors import Conflict, NotFound, UserError
from dagrun.store.base import ScheduleRow, Tx

Key = tuple[str, int]  # workflow, position in its list


def take_over(
    tx: Tx,
    project_id: int,
    revision_id: int,
    planned: Mapping[Key, Planned],
    now: int,
    clear: Collection[str] = (),
    *,
    goes_on: bool = False,
) -> None:
    """The project has these schedules from now on. `clear`: workflows whose history of sessions is forgotten (5.3).

    `goes_on`: nobody pushed it, a daemon reads its files again; then a schedule that has not changed goes on from where it is
    (5.6).
    """
    known = {(row.workflow, row.position): row for row in tx.list_schedules(project_id)}
    unknown = set(clear) - {workflow for workflow, _ in planned}
    if unknown:
        raise UserError(f"no schedule of {', '.join(sorted(unknown))} to clear: there is no such workflow")
    for key, one in planned.items():
        row = known.pop(key, None)
        if row is None:
            slot = one.schedule.first_at(now)
            tx.insert_schedule(
                ScheduleRow(
                    id=0, project_id=project_id, workflow=key[0], position=key[1], revision_id=revision_id,
                    definition=one.text, next_session=slot.session_time, next_run=start_of(slot, one, key),
                    planned_run=slot.run_time, last_session=None, disabled_at=None, disabled_until=None, skip_before=None, note=None,
                    created_at=now, updated_at=now,
                )
            )  # fmt: skip
            continue
        cleared = key[0] in clear
        slot = one.schedule.first_at(now) if cleared else next_slot(row, one, now, goes_on=goes_on)
        was_over = row.next_session == END and row.definition != one.text
        tx.save_schedule(
            moved_to(row, slot, one)._replace(
                revision_id=revision_id, definition=one.text, last_session=None if cleared else row.last_session,
                updated_at=now, skip_before=now if was_over else row.skip_before,
            )
        )  # fmt: skip
    for row in known.values():
        tx.delete_schedule(row.id)


def next_slot(row: ScheduleRow, one: Planned, now: int, *, goes_on: bool) -> Slot:
    """The next session under the new definition. A skip survives as long as the definition stays the same (Digdag loses it)."""
    stored = Slot(row.next_session, row.planned_run)
    same = row.definition == one.text
    if same and goes_on:
        return stored
    if row.last_session is None:
        return one.schedule.first_at(now)
    slot = one.schedule.next_after(row.last_session)
    return max(slot, stored) if same else slot


def start_of(slot: Slot, one: Planned, key: Key) -> int:
    """When the session starts: at its run time, or later by the workflow's own share of the jitter."""
    if not one.policy.jitter or slot.session_time == END:
        return slot.run_time
    return slot.run_time + share(key, one.policy.jitter)


def share(key: Key, length: int) -> int:
    """A part of a length of time, always the same for one schedule, so that many don't start at once."""
    return zlib.crc32(f"{key[0]}/{key[1]}".encode()) % length if length > 0 else 0


def moved_to(row: ScheduleRow, slot: Slot, one: Planned) -> ScheduleRow:
    key = row.workflow, row.position
    return row._replace(
        next_session=slot.session_time, planned_run=slot.run_time, next_run=start_of(slot, one, key), note=None
    )


# -- what people ask for


def disable(tx: Tx, row: ScheduleRow, now: int, until: int | None = None) -> ScheduleRow:
    """It starts nothing until it is enabled, or until that time. Attempts that are at work go on."""
    row = row._replace(disabled_at=now, disabled_until=until, updated_at=now)
    tx.save_schedule(row)
    return row


def enable(tx: Tx, row: ScheduleRow, now: int) -> ScheduleRow:
    """What became due meanwhile starts, as the schedule's `catchup` allows."""
    row = row._replace(disabled_at=None, disabled_until=None, updated_at=now)
    tx.save_schedule(row)
    return row


def skip_to(tx: Tx, row: ScheduleRow, one: Planned, at: int, *, dry_run: bool = False) -> ScheduleRow:
    """On to the first session whose run time isn't before `at` (8.3). Raises Conflict when that isn't later than now."""
    return skip(tx, row, one, one.schedule.first_at(at), dry_run)


def skip_count(tx: Tx, row: ScheduleRow, one: Planned, count: int, at: int, *, dry_run: bool = False) -> ScheduleRow:
    """On by so many sessions, from the first one that isn't before `at`."""
    slot = one.schedule.first_at(at)
    for _ in range(count):
        slot = one.schedule.next_after(slot.session_time)
    return skip(tx, row, one, slot, dry_run)


def skip(tx: Tx, row: ScheduleRow, one: Planned, slot: Slot, dry_run: bool) -> ScheduleRow:
    if slot.session_time <= row.next_session:
        raise Conflict("Specified time to skip schedules is already past; sessions that have passed: dagrun backfill")
    row = moved_to(row, slot, one)
    if not dry_run:
        tx.save_schedule(row._replace(updated_at=tx.now))
    return row


def run_at(tx: Tx, row: ScheduleRow, at: int, *, dry_run: bool = False) -> ScheduleRow:
    """Its next session runs at that time; the session stays the same."""
    row = row._replace(next_run=at, planned_run=at, note=None)
    if not dry_run:
        tx.save_schedule(row._replace(updated_at=tx.now))
    return row


def rows_of(tx: Tx, project_id: int, workflow: str) -> list[ScheduleRow]:
    """The schedules of a workflow. Raises NotFound when it has none."""
    rows = tx.list_schedules(project_id)
    found = [row for row in rows if row.workflow == workflow]
    if not found:
        raise NotFound("schedule", workflow, sorted({row.workflow for row in rows}))
    return found
