"""PostgreSQL, through psycopg 3: connections kept for reuse, transactions in READ COMMITTED, LISTEN and NOTIFY.

Each connection is in autocommit mode and the words BEGIN and COMMIT are sent with what belongs to them (the time, the
notification), so that a transaction costs no extra round trips. Idle connections are kept on a stack; there are never
more than threads in transactions at the same time, and one that listens.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from threading import get_ident
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from dagrun.errors import LimitExceeded, UserError
from dagrun.store.base import TaskRow
from dagrun.store.compiled import POSTGRESQL
from dagrun.store.dialects import Migrating, Rows

CONNECT_SECONDS = 10
PAUSE_SECONDS = 0.25
LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(hashtext('dagrun schema'))"

_NOW = "SELECT (extract(epoch FROM now()) * 1000000)::bigint"
# now() is the time of BEGIN, from before the wait for the lock.
_LOCK_GATES = f"SELECT pg_advisory_xact_lock(hashtext('dagrun gates')); {_NOW.replace('now()', 'clock_timestamp()')}"
# READ COMMITTED is said aloud, for a server may have another default: after the wait for an attempt's lock each
# statement must see what the previous holder wrote.
_BEGIN = {
    True: f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_NOW}",
    False: f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_NOW}",
}
_COPY_TASKS = f"COPY tasks ({', '.join(TaskRow._fields)}) FROM STDIN"


class _Integer(Dumper):
    """Integers without a type of their own: the column gives it.

    psycopg's own choose a type by each value's size, and every mix of types would be prepared as another statement.
    """

    def dump(self, value: Any) -> bytes:
        return b"%d" % value


class Postgresql:
    """A PostgreSQL database. See `dialects.Database`."""

    statements = POSTGRESQL
    schema = "schema_postgresql.sql"

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            settings: dict[str, Any] = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise UserError(f"not a PostgreSQL URL: {error}".rstrip()) from error
        self.name = make_conninfo(**{k: v for k, v in settings.items() if k in ("host", "port", "dbname")})
        self._settings = {"connect_timeout": CONNECT_SECONDS, "application_name": "dagrun", **settings}
        self._idle: list[psycopg.Connection[Any]] = []
        self._closed = False
        self._channel = ""
        self._token = os.urandom(4).hex()
        self._ear: psycopg.Connection[Any] | None = None
        self._ear_lock = threading.Lock()
        self._heard: dict[str, int] = {}  # notifications by the thread that sent them
        self._total = 0

    # -- transactions

    def begin(self, writing: bool) -> tuple[Any, int]:
        while True:
            connection, reused = self._take()
            try:
                cursor = connection.execute(_BEGIN[writing])
                cursor.nextset()
                return connection, cursor.fetchall()[0][0]
            except psycopg.OperationalError as error:
                connection.close()
                if not reused:  # an idle connection may have died with the server; a new one says why
                    raise self.explain(error) or error from error

    def commit(self, connection: Any, wrote: bool) -> None:
        if wrote and self._channel:
            connection.execute(f"NOTIFY {self._channel}, '{self._sender()}'; COMMIT")
        else:
            connection.execute("COMMIT")

    def rollback(self, connection: Any) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    def give(self, connection: Any, writing: bool) -> None:  # noqa: ARG002 - SQLite's needs it
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def many(self, connection: Any, statement: str, rows: Rows) -> int:
        if len(rows) == 1:
            return int(connection.execute(statement, rows[0]).rowcount)
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)
            return int(cursor.rowcount)

    def bulk(self, connection: Any, statement: str, rows: Rows) -> None:
        if len(rows) < 20:
            self.many(connection, statement, rows)
            return
        with connection.cursor() as cursor, cursor.copy(_COPY_TASKS) as copy:
            for row in rows:
                copy.write_row(row)

    # -- the commits of others

    def changes(self) -> int:
        with self._ear_lock:
            try:
                self._listen()
            except (psycopg.Error, UserError):
                # What was missed meanwhile counts as one change; the next call tries again.
                self._total += 1
                self._deafen()
            return self._total - self._heard.get(self._sender(), 0)

    def pause(self, seconds: float) -> None:
        seconds, ear = min(seconds, PAUSE_SECONDS), self._ear
        if ear is None or ear.closed:
            time.sleep(seconds)
            return
        poll = select.poll()
        poll.register(ear.fileno(), select.POLLIN)
        poll.poll(seconds * 1000)

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        with self._ear_lock:
            self._deafen()

    def _listen(self) -> None:
        if self._ear is None:
            self._ear = self._connect()
            self._ear.execute(f"LISTEN {self._channel}")
        line = self._ear.pgconn
        line.consume_input()
        while (note := line.notifies()) is not None:
            sender = note.extra.decode()
            self._total += 1
            self._heard[sender] = self._heard.get(sender, 0) + 1

    def _deafen(self) -> None:
        if self._ear is not None:
            with suppress(psycopg.Error):
                self._ear.close()
        self._ear = None

    def _sender(self) -> str:
        return f"{self._token}-{get_ident()}"

    # -- opening

    def tables(self, connection: Any) -> set[str]:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return {name for (name,) in found}

    def lock_schema(self, connection: Any) -> None:
        connection.execute(LOCK_SCHEMA)

    def lock_gates(self, connection: Any) -> int:
        cursor = connection.execute(_LOCK_GATES)
        cursor.nextset()
        now: int = cursor.fetchall()[0][0]
        return now

    def reserve(self, connection: Any, tables: set[str]) -> None:
        # Tables of others may be there (extensions bring some); those with our names refuse the schema.
        pass

    def migrating(self) -> Migrating:
        return Migrating("postgresql+psycopg://", lambda: self._connect(autocommit=False), LOCK_SCHEMA)

    def opened(self, store_id: str) -> None:
        self._channel = f"dagrun_{store_id}"

    def _take(self) -> tuple[Any, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._connect(), False

    def _connect(self, autocommit: bool = True) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(autocommit=autocommit, **self._settings)
        except psycopg.OperationalError as error:
            reason = str(error).strip()
            raise UserError(
                f"can't reach PostgreSQL ({self.name}): {reason}\n  check the URL and that the server runs"
            ) from error
        connection.adapters.register_dumper(int, _Integer)
        connection.adapters.register_dumper(bool, _Integer)
        return connection

    # -- errors

    def explain(self, error: BaseException) -> UserError | None:
        match error:
            case errors.DiskFull():
                return LimitExceeded(f"PostgreSQL ({self.name}): the disk of the server is full")
            case errors.DuplicateTable():
                return UserError(
                    f"PostgreSQL ({self.name}): {_first_line(error)}, and it isn't dagrun's\n"
                    "  give dagrun a database or schema of its own"
                )
            case errors.InsufficientPrivilege() | errors.ReadOnlySqlTransaction():
                return UserError(f"PostgreSQL ({self.name}): {_first_line(error)}")
            case errors.QueryCanceled() | errors.DeadlockDetected():
                return None
            case psycopg.OperationalError():
                return UserError(f"PostgreSQL ({self.name}) went away: {_first_line(error)}")
        return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
