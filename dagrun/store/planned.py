"""The part of a transaction that schedules, queues and pauses are for. See `base.Planned`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dagrun.errors import NotFound
from dagrun.light import NamedTuple
from dagrun.store.base import (
    AttemptRow,
    HoldRow,
    PauseRow,
    PoolRow,
    QueueRow,
    ScheduleRow,
    SessionRow,
    SkipRow,
)

Row = TypeVar("Row", bound=NamedTuple)

_CHANGING = ScheduleRow._fields.index("revision_id")


class PlannedTx:
    """What `sql.SqlTx` inherits; the ways in which it reads and writes are its own."""

    __slots__ = ()

    _sql: Any
    _execute: Any

    # -- schedules

    def insert_schedule(self, row: ScheduleRow) -> None:
        self._change(self._sql.insert_schedule, row[1:])

    def save_schedule(self, row: ScheduleRow) -> None:
        if self._change(self._sql.save_schedule, (*row[_CHANGING:], row.id)) != 1:
            raise NotFound("schedule", str(row.id))

    def delete_schedule(self, schedule_id: int) -> None:
        self._change(self._sql.delete_schedule, (schedule_id,))

    def list_schedules(self, project_id: int | None = None) -> list[ScheduleRow]:
        if project_id is None:
            return self._list(ScheduleRow, self._sql.list_schedules)
        return self._list(ScheduleRow, self._sql.list_schedules_of, project_id)

    def due_schedules(self, project_id: int, now: int, limit: int) -> list[ScheduleRow]:
        return self._list(ScheduleRow, self._sql.due_schedules, project_id, now, limit, 0)

    def next_due_schedule(self, project_id: int) -> int | None:
        ((found,),) = self._execute(self._sql.next_due_schedule, (project_id,)).fetchall()
        due: int | None = found
        return due

    def ended_pauses(self, now: int) -> list[ScheduleRow]:
        return self._list(ScheduleRow, self._sql.ended_pauses, now)

    def lock_schedule(self, schedule_id: int) -> ScheduleRow:
        return self._get(ScheduleRow, "schedule", self._sql.lock_schedule, schedule_id)

    def insert_skip(self, row: SkipRow) -> None:
        self._change(self._sql.insert_skip, row)

    def list_skips(self, project_id: int, workflow: str, limit: int = 100) -> list[SkipRow]:
        return self._list(SkipRow, self._sql.list_skips, project_id, workflow)[:limit]

    # -- attempts that wait for their turn

    def insert_queued(self, row: QueueRow) -> None:
        self._change(self._sql.insert_queued, row)

    def delete_queued(self, attempt_id: int) -> None:
        self._change(self._sql.delete_queued, (attempt_id,))

    def list_queued(self) -> list[QueueRow]:
        return self._list(QueueRow, self._sql.list_queued)

    def live_attempts_of(self, project_id: int, workflow: str) -> list[AttemptRow]:
        return self._list(AttemptRow, self._sql.live_attempts_of, project_id, workflow)

    def count_live(self) -> int:
        ((found,),) = self._execute(self._sql.count_live, ()).fetchall()
        return int(found)

    def previous_session(self, project_id: int, workflow: str, before: int) -> SessionRow | None:
        key = project_id, workflow
        return self._find(SessionRow, self._sql.previous_session, *key, *key, before)

    # -- pauses

    def insert_pause(self, row: PauseRow) -> None:
        self._change(self._sql.insert_pause, row)

    def delete_pause(self, attempt_id: int) -> bool:
        return self._change(self._sql.delete_pause, (attempt_id,)) > 0

    def list_pauses(self) -> list[PauseRow]:
        return self._list(PauseRow, self._sql.list_pauses)

    # -- pools and rates

    def save_pool(self, row: PoolRow) -> None:
        if self._change(self._sql.save_pool, (row.size, row.name)) == 0:
            self._change(self._sql.insert_pool, row)

    def delete_pool(self, name: str) -> bool:
        return self._change(self._sql.delete_pool, (name,)) > 0

    def list_pools(self) -> list[PoolRow]:
        return self._list(PoolRow, self._sql.list_pools)

    def find_pool(self, name: str) -> PoolRow | None:
        return self._find(PoolRow, self._sql.find_pool, name)

    def insert_hold(self, row: HoldRow) -> None:
        self._change(self._sql.insert_hold, row)

    def delete_holds(self, attempt_id: int, idx: int) -> None:
        self._change(self._sql.delete_holds, (attempt_id, idx))

    def list_holds(self, pool: str | None = None) -> list[HoldRow]:
        if pool is None:
            return self._list(HoldRow, self._sql.list_holds)
        return self._list(HoldRow, self._sql.list_holds_of, pool)

    def count_starts(self, rate: str, after: int) -> tuple[int, int | None]:
        ((count, first),) = self._execute(self._sql.count_starts, (rate, after)).fetchall()
        return int(count), first

    def insert_start(self, rate: str, at: int) -> None:
        self._change(self._sql.insert_start, (rate, at))

    def delete_starts(self, rate: str, before: int) -> None:
        self._change(self._sql.delete_starts, (rate, before))

    # -- given by SqlTx

    def _list(self, kind: type[Row], query: str, *values: object) -> list[Row]:
        raise NotImplementedError

    def _find(self, kind: type[Row], query: str, *values: object) -> Row | None:
        raise NotImplementedError

    def _get(self, kind: type[Row], noun: str, query: str, key: int) -> Row:
        raise NotImplementedError

    def _change(self, statement: str, values: Sequence[object]) -> int:
        raise NotImplementedError
