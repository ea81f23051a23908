"""The part of a transaction that forgets what is old. See `base.Pruned`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from dagrun.light import NamedTuple
from dagrun.store.base import PastRow, RevisionAge, SkipRow

Row = TypeVar("Row", bound=NamedTuple)


class PrunedTx:
    """What `sql.SqlTx` inherits; the ways in which it reads and writes are its own."""

    __slots__ = ()

    _sql: Any
    _execute: Any

    # -- attempts

    def list_past(self) -> list[PastRow]:
        return self._list(PastRow, self._sql.list_past)

    def list_reuses(self) -> list[tuple[int, int]]:
        return [(row[0], row[1]) for row in self._execute(self._sql.list_reuses, ()).fetchall()]

    def list_outputs(self) -> list[tuple[int, str]]:
        return [(row[0], row[1]) for row in self._execute(self._sql.list_outputs, ()).fetchall()]

    def resumed_after(self, attempt_id: int) -> list[int]:
        return [row[0] for row in self._execute(self._sql.resumed_after, (attempt_id,)).fetchall()]

    def count_rows(self, attempt_id: int) -> tuple[int, int, int]:
        ((tasks, tries, moves),) = self._execute(self._sql.count_rows, (attempt_id,) * 3).fetchall()
        return int(tasks), int(tries), int(moves)

    def delete_attempts(self, attempt_ids: Sequence[int]) -> int:
        keys = [(one,) for one in attempt_ids]
        of_attempt = (
            self._sql.delete_tasks,
            self._sql.delete_tries,
            self._sql.delete_moves,
            self._sql.delete_notices_of,
        )
        for statement in of_attempt:
            self._change_many(statement, keys)
        self._change_many(self._sql.delete_pause, keys)
        return self._change_many(self._sql.delete_attempt, keys)

    # -- what attempts leave behind

    def list_empty_sessions(self, before: int) -> list[int]:
        return [row[0] for row in self._execute(self._sql.list_empty_sessions, (before,)).fetchall()]

    def delete_empty_sessions(self, session_ids: Sequence[int]) -> int:
        free = self._free(self._sql.lock_free_session, session_ids)
        return self._change_many(self._sql.delete_empty_session, free)

    def count_old_skips(self, before: int) -> int:
        ((found,),) = self._execute(self._sql.count_old_skips, (before,)).fetchall()
        return int(found)

    def delete_old_skips(self, before: int, limit: int) -> int:
        rows = self._list(SkipRow, self._sql.list_old_skips, before, limit, 0)
        return self._change_many(self._sql.delete_skip, [row[:3] for row in rows])

    def count_old_notices(self, before: int) -> int:
        ((found,),) = self._execute(self._sql.count_old_notices, (before, "waiting")).fetchall()
        return int(found)

    def delete_old_notices(self, before: int, limit: int) -> int:
        keys = self._execute(self._sql.list_old_notices, (before, "waiting", limit, 0)).fetchall()
        return self._change_many(self._sql.delete_notice, [(row[0],) for row in keys])

    def list_revision_ages(self) -> list[RevisionAge]:
        return self._list(RevisionAge, self._sql.list_revision_ages)

    def delete_unnamed_revisions(self, revision_ids: Sequence[int]) -> int:
        free = self._free(self._sql.lock_free_revision, revision_ids)
        return self._change_many(self._sql.delete_unnamed_revision, free)

    def _free(self, statement: str, keys: Sequence[int]) -> list[tuple[int]]:
        """Those that nobody else is just about to use: they are ours until the transaction ends."""
        return [(key,) for key in keys if self._execute(statement, (key,)).fetchall()]

    # -- given by SqlTx

    def _list(self, kind: type[Row], query: str, *values: object) -> list[Row]:
        raise NotImplementedError

    def _change_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        raise NotImplementedError
