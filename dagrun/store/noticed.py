"""Notices in the store: their row, the part of a transaction that they are for, and its implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dagrun.light import NamedTuple, Protocol

Row = TypeVar("Row", bound=NamedTuple)

WAITING, SENT, FAILED = STATES = ("waiting", "sent", "failed")


class NoticeRow(NamedTuple):
    """What one target is to be told, and how far its delivery is."""

    id: int
    project_id: int
    workflow: str
    session_time: int
    attempt_id: int | None  # None: of a session that never began
    kind: str  # failed, late, recovered …
    target: str
    body: str  # JSON {"notice", "payload"}
    once_key: str | None  # of two notices with the same one there is only the first
    created_at: int
    due_at: int  # when it is tried next; with a try under way, when that one is given up for lost
    tries: int  # begun so far
    state: str  # waiting, sent or failed
    error: str | None  # why the last try failed


class Noticed(Protocol):
    """The part of a transaction that notices are for."""

    def insert_notice(self, row: NoticeRow) -> bool:
        """`id` of the row is ignored. False when there is one with its `once_key` already."""

    def due_notices(self, project_id: int, now: int) -> list[NoticeRow]:
        """Those of a project that wait and are due, the longest due first."""

    def next_due_notice(self, project_id: int) -> int | None:
        """When the next one of a project is due."""

    def claim_notice(self, row: NoticeRow, until: int) -> NoticeRow | None:
        """A try begins, which counts as lost at that time. None when another process was faster."""

    def save_notice(self, row: NoticeRow) -> bool:
        """How a try ended: `due_at`, `tries`, `state`, `error`. False when it waits no more: another try was faster."""

    def waiting_notices_of(self, attempt_id: int) -> list[NoticeRow]: ...
    def list_notices(self, limit: int = 100) -> list[NoticeRow]:
        """Newest first."""


class NoticedTx:
    """What `sql.SqlTx` inherits; the ways in which it reads and writes are its own."""

    __slots__ = ()

    _sql: Any
    _execute: Any

    def insert_notice(self, row: NoticeRow) -> bool:
        return self._change(self._sql.insert_notice, row[1:]) > 0

    def due_notices(self, project_id: int, now: int) -> list[NoticeRow]:
        return self._list(NoticeRow, self._sql.due_notices, project_id, WAITING, now)

    def next_due_notice(self, project_id: int) -> int | None:
        ((found,),) = self._execute(self._sql.next_due_notice, (project_id, WAITING)).fetchall()
        due: int | None = found
        return due

    def claim_notice(self, row: NoticeRow, until: int) -> NoticeRow | None:
        claimed = row._replace(tries=row.tries + 1, due_at=until)
        changed = self._change(self._sql.claim_notice, (until, claimed.tries, row.id, WAITING, row.tries))
        return claimed if changed else None

    def save_notice(self, row: NoticeRow) -> bool:
        changing = row.due_at, row.tries, row.state, row.error
        return self._change(self._sql.save_notice, (*changing, row.id, WAITING)) > 0

    def waiting_notices_of(self, attempt_id: int) -> list[NoticeRow]:
        return self._list(NoticeRow, self._sql.waiting_notices_of, attempt_id, WAITING)

    def list_notices(self, limit: int = 100) -> list[NoticeRow]:
        return self._list(NoticeRow, self._sql.list_notices, limit, 0)

    # -- given by SqlTx

    def _list(self, kind: type[Row], query: str, *values: object) -> list[Row]:
        raise NotImplementedError

    def _change(self, statement: str, values: Sequence[object]) -> int:
        raise NotImplementedError
