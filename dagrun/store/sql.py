"""The store on a database: one implementation for SQLite and PostgreSQL.

The statements come as text from `compiled.py`; what differs between the databases is behind `dialects.Database`.
Nothing here imports SQLAlchemy, Alembic or a driver: a store at the newest version is opened and used without them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import get_ident
from time import monotonic
from typing import Any, TypeVar

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.light import NamedTuple
from dagrun.store.base import (
    AttemptRow,
    AttemptSummary,
    MoveRow,
    ProjectRow,
    RevisionRow,
    SessionRow,
    Store,
    TaskRow,
    TryRow,
)
from dagrun.store.compiled import HEAD
from dagrun.store.dialects import Database, choose
from dagrun.store.noticed import NoticedTx
from dagrun.store.planned import PlannedTx
from dagrun.store.pruned import PrunedTx

Row = TypeVar("Row", bound=NamedTuple)

_STATE = TaskRow._fields.index("state")  # the columns of a task from here on change
_ATTEMPT_END = len(AttemptRow._fields)
_SESSION_END = _ATTEMPT_END + len(SessionRow._fields)
_UNBEGUN = 0  # the version of an attempt that no turn was taken of
_ROOT = 0  # the index of the task whose start is that of its attempt
_LAST_CHARACTER = "\U0010ffff"


def open_store(url: str, *, durable: str = "normal") -> Store:
    """The store at a URL or path, made or migrated if it has to be.

    `durable`, for SQLite: "normal" survives the death of the process at any point, "full" a loss of power too.
    Raises UserError when there can be no store or it is a newer program's.
    """
    database = choose(url, durable)
    try:
        return SqlStore(database, _prepare(database))
    except BaseException:
        database.close()
        raise


class SqlStore:
    """A store on a database."""

    def __init__(self, database: Database, store_id: str) -> None:
        self.url = database.url
        self.id = store_id
        self._database = database
        self._writing: set[int] = set()  # threads that are in a writing transaction

    def transaction(self) -> _Transaction:
        return _Transaction(self._database, True, self._writing)

    def reading(self) -> _Transaction:
        return _Transaction(self._database, False)

    def changes(self) -> int:
        return self._database.changes()

    def wait(self, seconds: float, since: int | None = None) -> None:
        end = monotonic() + seconds
        if since is None:
            since = self.changes()
        while self.changes() == since and (left := end - monotonic()) > 0:
            self._database.pause(left)

    def close(self) -> None:
        self._database.close()


class _Transaction(AbstractContextManager["SqlTx"]):
    """Committed at its end, rolled back when that is an exception. A class, since each task pays for it: a generator costs
    three times as much. `threads` are those that are in a writing transaction.
    """

    __slots__ = ("_database", "_threads", "_tx", "_writing")

    def __init__(self, database: Database, writing: bool, threads: set[int] | None = None) -> None:
        self._database = database
        self._writing = writing
        self._threads = threads

    def __enter__(self) -> SqlTx:
        if self._threads is not None:
            me = get_ident()
            if me in self._threads:
                raise RuntimeError("a transaction inside a transaction would wait for itself")
            self._threads.add(me)
        try:
            connection, now = self._database.begin(self._writing)
        except BaseException:
            self._leave()
            raise
        self._tx = SqlTx(self._database, connection, now, self._writing)
        return self._tx

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        database, connection = self._database, self._tx.connection
        try:
            if error is None:
                try:
                    database.commit(connection, self._tx.wrote)
                except BaseException as problem:
                    self._undo(problem)
                    raise
            else:
                self._undo(error)
        finally:
            database.give(connection, self._writing)
            self._leave()

    def _undo(self, error: BaseException) -> None:
        """Raises what explains the error, if anything does."""
        self._database.rollback(self._tx.connection)
        if (explained := self._database.explain(error)) is not None:
            raise explained from error

    def _leave(self) -> None:
        if self._threads is not None:
            self._threads.discard(get_ident())


# -- opening


def _prepare(database: Database) -> str:
    """The store is at the newest version; its id."""
    with _Transaction(database, False) as tx:
        found = tx.identity()
    if found is None:
        found = _create(database)
    version, store_id = found
    if version != HEAD:
        _migrate(database, version)
    database.opened(store_id)
    return store_id


def _create(database: Database) -> tuple[str, str]:
    with _Transaction(database, True) as tx:
        database.lock_schema(tx.connection)
        found = tx.identity()  # another process may have been faster
        if found is None:
            database.reserve(tx.connection, database.tables(tx.connection))
            found = HEAD, os.urandom(8).hex()
            tx.create(_schema(database.schema), found[1])
    return found


def _schema(name: str) -> list[str]:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return file.read().split(";\n")[:-1]


def _migrate(database: Database, version: str) -> None:
    from dagrun.store import migrations

    if not migrations.known(version):
        raise UserError(
            f"store {database.name} was made by a newer dagrun (its version is {version}, ours {HEAD})\n"
            "  pip install --upgrade dagrun"
        )
    migrations.upgrade(database.migrating())


# -- the transaction


class SqlTx(PlannedTx, PrunedTx, NoticedTx):
    """One transaction. See `base.Tx`."""

    __slots__ = ("_database", "_execute", "_sql", "_writing", "connection", "now", "wrote")

    def __init__(self, database: Database, connection: Any, now: int, writing: bool) -> None:
        self.connection = connection
        self.now = now
        self.wrote = False
        self._writing = writing
        self._database = database
        self._execute = connection.execute
        self._sql = database.statements

    # -- the store itself

    def identity(self) -> tuple[str, str] | None:
        """Version and id of the store, if there is one."""
        if not {"alembic_version", "meta"} <= self._database.tables(self.connection):
            return None
        query = "SELECT version_num, value FROM alembic_version, meta WHERE meta.key = 'store_id'"
        rows = self._execute(query).fetchall()
        return (rows[0][0], rows[0][1]) if rows else None

    def create(self, schema: Sequence[str], store_id: str) -> None:
        for statement in schema:
            self._execute(statement)
        self._change(self._sql.insert_store_id, ("store_id", store_id))

    # -- projects, revisions, sessions

    def ensure_project(self, name: str) -> ProjectRow:
        found = self.find_project(name)
        if found is None:
            self._change(self._sql.insert_project, (name, self.now))
            found = self.find_project(name)
            assert found is not None
        return found

    def get_project(self, project_id: int) -> ProjectRow:
        return self._get(ProjectRow, "project", self._sql.get_project, project_id)

    def lock_project(self, project_id: int) -> ProjectRow:
        return self._get(ProjectRow, "project", self._sql.lock_project, project_id)

    def find_project(self, name: str) -> ProjectRow | None:
        return self._find(ProjectRow, self._sql.find_project, name)

    def ensure_revision(self, project_id: int, name: str, manifest: str) -> RevisionRow:
        found = self._find(RevisionRow, self._sql.find_revision, project_id, name)
        if found is None:
            self._change(self._sql.insert_revision, (project_id, name, manifest, self.now))
            found = self._find(RevisionRow, self._sql.find_revision, project_id, name)
            assert found is not None
        return found

    def get_revision(self, revision_id: int) -> RevisionRow:
        return self._get(RevisionRow, "revision", self._sql.get_revision, revision_id)

    def find_revision(self, project_id: int, prefix: str) -> RevisionRow | None:
        end = prefix + _LAST_CHARACTER
        found = self._list(RevisionRow, self._sql.match_revisions, project_id, prefix, end)
        if len(found) > 1 and found[0].name != prefix:  # in order of names, so the exact one would be first
            names = ", ".join(row.name for row in found[:3])
            raise UserError(f"several revisions begin with {prefix!r}: {names}\n  write more of its name")
        return found[0] if found else None

    def latest_revision(self, project_id: int) -> RevisionRow | None:
        return self._find(RevisionRow, self._sql.latest_revision, project_id)

    def ensure_session(self, project_id: int, workflow: str, session_time: int, uuid: str) -> SessionRow:
        key = project_id, workflow, session_time
        found = self._find(SessionRow, self._sql.claim_session, *key)
        if found is None:
            self._check_writing()
            given = self._execute(self._sql.insert_session, (uuid, *key, self.now)).fetchall()
            if given:
                self.wrote = True
                return SessionRow(given[0][0], uuid, *key, self.now)
            found = self._find(SessionRow, self._sql.claim_session, *key)  # another process was faster
            assert found is not None
        return found

    def find_session(self, project_id: int, workflow: str, session_time: int) -> SessionRow | None:
        return self._find(SessionRow, self._sql.find_session, project_id, workflow, session_time)

    def get_session(self, session_id: int) -> SessionRow:
        return self._get(SessionRow, "session", self._sql.get_session, session_id)

    # -- attempts

    def insert_attempt(self, row: AttemptRow) -> AttemptRow:
        session = self._get(SessionRow, "session", self._sql.lock_session, row.session_id)
        ((highest,),) = self._execute(self._sql.highest_number, (session.id,)).fetchall()
        row = row._replace(number=(highest or 0) + 1)
        self._check_writing()
        given = self._execute(self._sql.insert_attempt, (*row[1:], session.project_id, session.workflow)).fetchall()
        if not given:
            name = f"attempt {row.retry_name!r}" if row.retry_name else "attempt without a name"
            raise Conflict(f"the session has an {name} already\n  give the new attempt a name of its own")
        self.wrote = True
        return row._replace(id=given[0][0])

    def lock_attempt(self, attempt_id: int) -> AttemptRow:
        return self._get(AttemptRow, "attempt", self._sql.lock_attempt, attempt_id)

    def get_attempt(self, attempt_id: int) -> AttemptRow:
        return self._get(AttemptRow, "attempt", self._sql.get_attempt, attempt_id)

    def find_attempt(self, session_id: int, retry_name: str) -> AttemptRow | None:
        return self._find(AttemptRow, self._sql.find_attempt, session_id, retry_name)

    def newest_attempt(self) -> AttemptRow | None:
        return self._find(AttemptRow, self._sql.newest_attempt)

    def newest_attempt_of_session(self, session_id: int) -> AttemptRow | None:
        return self._find(AttemptRow, self._sql.newest_attempt_of_session, session_id)

    def newest_attempt_of_workflow(self, project_id: int, workflow: str) -> AttemptRow | None:
        return self._find(AttemptRow, self._sql.newest_attempt_of_workflow, project_id, workflow)

    def save_version(self, attempt_id: int, version: int) -> None:
        if self._change(self._sql.save_version, (version, attempt_id)) != 1:
            raise NotFound("attempt", str(attempt_id))

    def save_attempt(self, row: AttemptRow) -> None:
        changing = row.state, row.version, row.cancel_requested, row.owner, row.error, row.finished_at
        if self._change(self._sql.save_attempt, (*changing, row.id)) != 1:
            raise NotFound("attempt", str(row.id))

    def list_attempts(
        self, *, project_id: int | None = None, workflow: str | None = None, session_id: int | None = None,
        states: Sequence[str] = (), queued: bool | None = None, before_id: int | None = None, limit: int = 100,
    ) -> list[AttemptSummary]:  # fmt: skip
        sql = self._sql
        wanted: list[tuple[str, Any]] = [
            (sql.where_project, project_id),
            (sql.where_workflow, workflow),
            (sql.where_session, session_id),
            (sql.where_before, before_id),
            (sql.where_version, _UNBEGUN if queued is True else None),
            (sql.where_version_above, _UNBEGUN if queued is False else None),
        ]
        rules = [rule for rule, value in wanted if value is not None]
        values = [value for _, value in wanted if value is not None]
        if states:
            rules.append(f"({' OR '.join([sql.where_state] * len(states))})")
        where = f"WHERE {' AND '.join(rules)}" if rules else ""
        query = f"{sql.list_attempts} {where} {sql.list_attempts_end}"
        found = self._execute(query, (_ROOT, *values, *states, limit, 0)).fetchall()
        return [_summary(row) for row in found]

    def live_attempts(self) -> list[AttemptRow]:
        return self._list(AttemptRow, self._sql.live_attempts)

    def lock_gates(self) -> int:
        self._check_writing()
        return self._database.lock_gates(self.connection)

    # -- tasks

    def insert_tasks(self, rows: Sequence[TaskRow]) -> None:
        if rows:
            self._check_writing()
            self._database.bulk(self.connection, self._sql.insert_task, rows)
            self.wrote = True

    def save_tasks(self, rows: Sequence[TaskRow]) -> None:
        saved = self._change_many(self._sql.save_task, [row[_STATE:] + row[:2] for row in rows])
        if saved != len(rows):
            raise RuntimeError(f"only {saved} of {len(rows)} tasks are there to be saved")

    def load_tasks(self, attempt_id: int, after_version: int = -1) -> list[TaskRow]:
        return self._list(TaskRow, self._sql.load_tasks, attempt_id, after_version)

    def insert_tries(self, rows: Sequence[TryRow]) -> None:
        self._change_many(self._sql.insert_try, rows)

    def load_tries(self, attempt_id: int, idx: int | None = None) -> list[TryRow]:
        if idx is None:
            return self._list(TryRow, self._sql.load_tries, attempt_id)
        return self._list(TryRow, self._sql.load_tries_of_task, attempt_id, idx)

    def insert_moves(self, rows: Sequence[MoveRow]) -> None:
        self._change_many(self._sql.insert_move, rows)

    def load_moves(self, attempt_id: int, after_seq: int = 0) -> list[MoveRow]:
        return self._list(MoveRow, self._sql.load_moves, attempt_id, after_seq)

    # -- how all of them read and write

    def _list(self, kind: type[Row], query: str, *values: object) -> list[Row]:
        return list(map(kind._make, self._execute(query, values).fetchall()))

    def _find(self, kind: type[Row], query: str, *values: object) -> Row | None:
        rows = self._execute(query, values).fetchall()
        return kind._make(rows[0]) if rows else None

    def _get(self, kind: type[Row], noun: str, query: str, key: int) -> Row:
        found = self._find(kind, query, key)
        if found is None:
            raise NotFound(noun, str(key))
        return found

    def _change(self, statement: str, values: Sequence[object]) -> int:
        self._check_writing()
        changed: int = self._execute(statement, values).rowcount
        self.wrote = self.wrote or changed > 0
        return changed

    def _change_many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        if not rows:
            return 0
        self._check_writing()
        changed = self._database.many(self.connection, statement, rows)
        self.wrote = self.wrote or changed > 0
        return changed

    def _check_writing(self) -> None:
        if not self._writing:
            raise RuntimeError("a reading transaction doesn't write")


def _summary(row: tuple[Any, ...]) -> AttemptSummary:
    attempt = AttemptRow._make(row[:_ATTEMPT_END])
    session = SessionRow._make(row[_ATTEMPT_END:_SESSION_END])
    return AttemptSummary(attempt, session, *row[_SESSION_END:])
