"""The store on SQLite and PostgreSQL: one implementation of `base.Store` and `base.Tx`.

The statements are text, compiled ahead (`compiled.py`); what differs between the databases stands in `dialects.py`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.store.base import (
    AttemptRow,
    AttemptSummary,
    MoveRow,
    ProjectRow,
    RevisionRow,
    SessionRow,
    TaskRow,
    TryRow,
)
from dagrun.store.dialects import Dialect, Postgres, Sqlite

Row = TypeVar("Row", bound=tuple[Any, ...])

STATE = TaskRow._fields.index("state")
SESSION_COLUMNS = len(SessionRow._fields)
ATTEMPT_COLUMNS = len(AttemptRow._fields)
LAST_CHARACTER = "\U0010ffff"  # behind every text that begins alike


def open_store(url: str, *, durable: str = "normal") -> SqlStore:
    """Open the store, made or brought up to date if need be.

    `url` is `sqlite:///path`, a bare path, or `postgresql://…`. `durable` (SQLite): `normal` survives the death of any
    process, `full` also a loss of power. Raises UserError when it can't be opened.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return SqlStore(Postgres(url))
    scheme, separator, path = url.partition("://")
    if separator and scheme != "sqlite":
        raise UserError(f"{url}: unknown kind of database; use sqlite:///path or postgresql://host/name")
    return SqlStore(Sqlite(path.removeprefix("/") if separator else url, durable))


class SqlStore:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.url = dialect.url
        self.busy = threading.local()
        self.id = self.own_id()

    def own_id(self) -> str:
        with self.dialect.read() as connection:
            found = connection.execute("SELECT value FROM meta").fetchone()
        if found is None:
            with self.dialect.write() as connection:
                made = ("store", uuid.uuid4().hex[:12])
                connection.execute(self.dialect.statements.insert_store_id, made)
                found = connection.execute("SELECT value FROM meta").fetchone()
        return str(found[0])

    @contextmanager
    def transaction(self) -> Iterator[SqlTx]:
        assert not getattr(self.busy, "writing", False), "a thread has one writing transaction at a time"
        self.busy.writing = True
        try:
            with self.dialect.write() as connection:
                yield SqlTx(self.dialect, connection)
        finally:
            self.busy.writing = False

    @contextmanager
    def reading(self) -> Iterator[SqlTx]:
        with self.dialect.read() as connection:
            yield SqlTx(self.dialect, connection)

    def changes(self) -> int:
        return self.dialect.changes()

    def wait(self, seconds: float, since: int | None = None) -> None:
        self.dialect.wait(seconds, since)

    def close(self) -> None:
        self.dialect.close()


class SqlTx:
    def __init__(self, dialect: Dialect, connection: Any) -> None:
        self.statements = dialect.statements
        self.connection = connection
        self.now = dialect.now(connection)

    # -- how rows are read and written

    def one(self, kind: type[Row], statement: str, *parameters: Any) -> Row | None:
        found = self.connection.execute(statement, parameters).fetchone()
        return kind(*found) if found is not None else None

    def all(self, kind: type[Row], statement: str, *parameters: Any) -> list[Row]:
        return [kind(*found) for found in self.connection.execute(statement, parameters).fetchall()]

    def many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self.connection.execute(statement, rows[0])
        elif rows:
            self.connection.cursor().executemany(statement, rows)

    @staticmethod
    def there(row: Row | None, kind: str, name: object) -> Row:
        if row is None:
            raise NotFound(kind, str(name))
        return row

    # -- projects, revisions, sessions

    def ensure_project(self, name: str) -> ProjectRow:
        found = self.find_project(name)
        if found is None:
            self.connection.execute(self.statements.insert_project, (name, self.now))
            found = self.find_project(name)
        return self.there(found, "project", name)

    def get_project(self, project_id: int) -> ProjectRow:
        return self.there(self.one(ProjectRow, self.statements.get_project, project_id), "project", project_id)

    def find_project(self, name: str) -> ProjectRow | None:
        return self.one(ProjectRow, self.statements.find_project, name)

    def ensure_revision(self, project_id: int, name: str, manifest: str) -> RevisionRow:
        found = self.one(RevisionRow, self.statements.find_revision, project_id, name)
        if found is None:
            self.connection.execute(self.statements.insert_revision, (project_id, name, manifest, self.now))
            found = self.one(RevisionRow, self.statements.find_revision, project_id, name)
        return self.there(found, "revision", name)

    def get_revision(self, revision_id: int) -> RevisionRow:
        return self.there(self.one(RevisionRow, self.statements.get_revision, revision_id), "revision", revision_id)

    def find_revision(self, project_id: int, prefix: str) -> RevisionRow | None:
        found = self.all(RevisionRow, self.statements.match_revisions, project_id, prefix, prefix + LAST_CHARACTER)
        if len(found) > 1 and found[0].name != prefix:
            names = ", ".join(row.name[:12] for row in found[:5])
            raise UserError(f"several revisions begin with {prefix}: {names}; write more of it")
        return found[0] if found else None

    def latest_revision(self, project_id: int) -> RevisionRow | None:
        return self.one(RevisionRow, self.statements.latest_revision, project_id)

    def ensure_session(self, project_id: int, workflow: str, session_time: int, uuid: str) -> SessionRow:
        key = (project_id, workflow, session_time)
        found = self.one(SessionRow, self.statements.claim_session, *key)
        if found is None:
            self.connection.execute(self.statements.insert_session, (uuid, *key, self.now))
            found = self.one(SessionRow, self.statements.claim_session, *key)
        return self.there(found, "session", key)

    def find_session(self, project_id: int, workflow: str, session_time: int) -> SessionRow | None:
        return self.one(SessionRow, self.statements.find_session, project_id, workflow, session_time)

    def get_session(self, session_id: int) -> SessionRow:
        return self.there(self.one(SessionRow, self.statements.get_session, session_id), "session", session_id)

    # -- attempts

    def insert_attempt(self, row: AttemptRow) -> AttemptRow:
        session = self.there(
            self.one(SessionRow, self.statements.lock_session, row.session_id), "session", row.session_id
        )
        highest = self.connection.execute(self.statements.highest_number, (session.id,)).fetchone()[0]
        row = row._replace(number=(highest or 0) + 1)
        parameters = (*row[1:], session.project_id, session.workflow)
        found = self.connection.execute(self.statements.insert_attempt, parameters).fetchone()
        if found is None:
            name = f" named {row.retry_name}" if row.retry_name else ""
            raise Conflict(f"the session of {session.workflow} has an attempt{name} already")
        return row._replace(id=found[0])

    def lock_attempt(self, attempt_id: int) -> AttemptRow:
        return self.there(self.one(AttemptRow, self.statements.lock_attempt, attempt_id), "attempt", attempt_id)

    def get_attempt(self, attempt_id: int) -> AttemptRow:
        return self.there(self.one(AttemptRow, self.statements.get_attempt, attempt_id), "attempt", attempt_id)

    def find_attempt(self, session_id: int, retry_name: str) -> AttemptRow | None:
        return self.one(AttemptRow, self.statements.find_attempt, session_id, retry_name)

    def newest_attempt(self) -> AttemptRow | None:
        return self.one(AttemptRow, self.statements.newest_attempt)

    def newest_attempt_of_session(self, session_id: int) -> AttemptRow | None:
        return self.one(AttemptRow, self.statements.newest_attempt_of_session, session_id)

    def newest_attempt_of_workflow(self, project_id: int, workflow: str) -> AttemptRow | None:
        return self.one(AttemptRow, self.statements.newest_attempt_of_workflow, project_id, workflow)

    def save_attempt(self, row: AttemptRow) -> None:
        changing = (row.state, row.version, row.cancel_requested, row.owner, row.error, row.finished_at)
        self.connection.execute(self.statements.save_attempt, (*changing, row.id))

    def live_attempts(self) -> list[AttemptRow]:
        return self.all(AttemptRow, self.statements.live_attempts)

    def list_attempts(
        self,
        *,
        project_id: int | None = None,
        workflow: str | None = None,
        session_id: int | None = None,
        states: Sequence[str] = (),
        before_id: int | None = None,
        limit: int = 100,
    ) -> list[AttemptSummary]:
        conditions, parameters = [], []
        for text, value in (
            (self.statements.where_project, project_id),
            (self.statements.where_workflow, workflow),
            (self.statements.where_session, session_id),
            (self.statements.where_before, before_id),
        ):
            if value is not None:
                conditions.append(text)
                parameters.append(value)
        if states:
            conditions.append("(" + " OR ".join([self.statements.where_state] * len(states)) + ")")
            parameters += states
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        text = f"{self.statements.list_attempts}{where} {self.statements.list_attempts_end}"
        found = self.connection.execute(text, (*parameters, limit, 0)).fetchall()
        return [summary(row) for row in found]

    # -- tasks

    def insert_tasks(self, rows: Sequence[TaskRow]) -> None:
        self.many(self.statements.insert_task, rows)

    def save_tasks(self, rows: Sequence[TaskRow]) -> None:
        self.many(self.statements.save_task, [(*row[STATE:], row[0], row[1]) for row in rows])

    def load_tasks(self, attempt_id: int, after_version: int = -1) -> list[TaskRow]:
        return self.all(TaskRow, self.statements.load_tasks, attempt_id, after_version)

    def insert_tries(self, rows: Sequence[TryRow]) -> None:
        self.many(self.statements.insert_try, rows)

    def load_tries(self, attempt_id: int, idx: int | None = None) -> list[TryRow]:
        if idx is None:
            return self.all(TryRow, self.statements.load_tries, attempt_id)
        return self.all(TryRow, self.statements.load_tries_of_task, attempt_id, idx)

    def insert_moves(self, rows: Sequence[MoveRow]) -> None:
        self.many(self.statements.insert_move, rows)

    def load_moves(self, attempt_id: int, after_seq: int = 0) -> list[MoveRow]:
        return self.all(MoveRow, self.statements.load_moves, attempt_id, after_seq)


def summary(row: Sequence[Any]) -> AttemptSummary:
    attempt, rest = row[:ATTEMPT_COLUMNS], row[ATTEMPT_COLUMNS:]
    return AttemptSummary(AttemptRow(*attempt), SessionRow(*rest[:SESSION_COLUMNS]), *rest[SESSION_COLUMNS:])
