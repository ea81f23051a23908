"""SQLite: one writing connection behind a lock, readers apart, in WAL mode.

Between processes the writers queue up at BEGIN IMMEDIATE: a transaction that read first and wrote later could be
refused at once (SQLITE_BUSY_SNAPSHOT), however long it was willing to wait. The clock is this machine's, read when
the lock is held.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any

from dagrun.errors import LimitExceeded, UserError
from dagrun.light import pattern
from dagrun.store.compiled import SQLITE
from dagrun.store.dialects import Migrating, Rows

BUSY_SECONDS = 60.0
LONGEST = 0.25  # seconds that a wait sleeps between two looks at the file
OLDEST = (3, 37)  # the first with STRICT tables

_INSERT = pattern(r"\s*(INSERT INTO [^?]* VALUES )(\([?,\s]+\))\s*")
_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_REMEDIES = {
    sqlite3.SQLITE_NOTADB: "it is not a dagrun store; name another file, or move this one away",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup, or move it away to begin anew",
    sqlite3.SQLITE_CANTOPEN: "check that the directory is there and that you may write in it",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable, or name another file",
    sqlite3.SQLITE_PERM: "make the file and its directory writable, or name another file",
    sqlite3.SQLITE_IOERR: "the disk or the file system failed; a store needs a local disk with free space",
}


def machine_clock() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class _Mine(threading.local):
    """What one thread knows of the commits of this process."""

    commits = 0  # its own
    seen = 0  # all, when it last asked for changes


class Sqlite:
    """A database file. See `dialects.Database`."""

    statements = SQLITE
    schema = "schema.sql"

    def __init__(self, path: str, durable: str) -> None:
        self.path = self.name = path
        self.url = f"sqlite:///{path}"
        self.clock = machine_clock
        self._synchronous = {"normal": "NORMAL", "full": "FULL"}[durable]
        self._lock = threading.RLock()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._committed = threading.Condition()
        self._commits = 0  # by all threads of this process
        self._waiting = 0  # threads, for the next one
        self._version = 0  # grows with the commits of other processes
        self._mine = _Mine()
        self._check_place()
        try:
            self._writer = self._connect()
            self._use_wal()
        except sqlite3.Error as error:
            raise self.explain(error) or error from error

    # -- transactions

    def begin(self, writing: bool) -> tuple[sqlite3.Connection, int]:
        if not writing:
            connection = self._reader()
            connection.execute("BEGIN")
            return connection, self.clock()
        self._lock.acquire()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._lock.release()
            raise self.explain(error) or error from error
        return self._writer, self.clock()

    def commit(self, connection: sqlite3.Connection, wrote: bool) -> None:
        connection.execute("COMMIT")
        if wrote:  # the lock of the writer is held
            self._commits += 1
            self._mine.commits += 1
            if self._waiting:
                with self._committed:
                    self._committed.notify_all()

    def rollback(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # a full disk has ended it already
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def give(self, connection: sqlite3.Connection, writing: bool) -> None:
        if writing:
            self._lock.release()
        elif self._closed:
            connection.close()
        else:
            self._readers.append(connection)

    def many(self, connection: sqlite3.Connection, statement: str, rows: Rows) -> int:
        # Measured: up to some dozen rows a loop is no slower than executemany, which has to be set up.
        if len(rows) > 12:
            return connection.executemany(statement, rows).rowcount
        together = _together(statement, len(rows)) if len(rows) > 1 else None
        if together is not None:
            return connection.execute(together, tuple(chain.from_iterable(rows))).rowcount
        changed = 0
        for row in rows:
            changed += connection.execute(statement, row).rowcount
        return changed

    def bulk(self, connection: sqlite3.Connection, statement: str, rows: Rows) -> None:
        connection.executemany(statement, rows)

    # -- the commits of others

    def changes(self) -> int:
        # The writer's data_version ignores its own commits, so it counts other processes; threads are counted
        # apart. While one of our threads holds the lock, the number of its BEGIN will be right soon enough.
        if self._lock.acquire(blocking=False):
            try:
                self._version = self._writer.execute("PRAGMA data_version").fetchall()[0][0]
            finally:
                self._lock.release()
        self._mine.seen = self._commits
        return self._version + self._mine.seen - self._mine.commits

    def pause(self, seconds: float) -> None:
        with self._committed:
            self._waiting += 1  # before the look at the commits, so that one after it sees that somebody waits
            if self._commits == self._mine.seen:
                self._committed.wait(min(seconds, LONGEST))
            self._waiting -= 1

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._readers:
                self._readers.pop().close()
            self._writer.close()

    # -- opening

    def tables(self, connection: sqlite3.Connection) -> set[str]:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def lock_schema(self, connection: sqlite3.Connection) -> None:
        pass  # BEGIN IMMEDIATE has locked the whole file

    def lock_gates(self, connection: sqlite3.Connection) -> int:  # noqa: ARG002 - BEGIN IMMEDIATE has locked the whole file
        return self.clock()

    def reserve(self, connection: sqlite3.Connection, tables: set[str]) -> None:  # noqa: ARG002 - as everywhere
        if tables:
            raise self._problem("the file holds another program's tables", _REMEDIES[sqlite3.SQLITE_NOTADB])

    def migrating(self) -> Migrating:
        return Migrating("sqlite://", self._connect, "BEGIN IMMEDIATE")

    def opened(self, store_id: str) -> None:
        pass

    def _check_place(self) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise self._problem(f"SQLite {sqlite3.sqlite_version} is too old", f"{oldest} or newer is needed")
        if os.path.isdir(self.path):
            raise self._problem("it is a directory", "name a file in it")
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
        except OSError as error:
            hint = _REMEDIES[sqlite3.SQLITE_CANTOPEN]
            raise self._problem(f"its directory can't be made: {error.strerror}", hint) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _use_wal(self) -> None:
        # The switch needs the file for itself, and SQLite doesn't wait for that: when several processes make a
        # store at once, all but one are refused.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                ((mode,),) = self._writer.execute("PRAGMA journal_mode = WAL").fetchall()
                break
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        if mode != "wal":
            raise self._problem("its file system can't share memory", "a store needs a local disk")

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return self._connect()

    # -- errors

    def explain(self, error: BaseException) -> UserError | None:
        if not isinstance(error, sqlite3.Error):
            return None
        code = _code(error)
        if code in _FULL:
            return self._problem("the disk is full", "free some space; nothing is half written", LimitExceeded)
        if code in _BUSY:
            what = f"another process has locked it for {BUSY_SECONDS:.0f} seconds"
            return self._problem(what, "end that process, or try again", LimitExceeded)
        return self._problem(str(error), _REMEDIES[code]) if code in _REMEDIES else None

    def _problem(self, what: str, remedy: str, kind: type[UserError] = UserError) -> UserError:
        return kind(f"store {self.path}: {what}\n  {remedy}")


@lru_cache
def _together(statement: str, number: int) -> str | None:
    """An INSERT that inserts several rows; None for other statements."""
    found = _INSERT.fullmatch(statement)
    return f"{found[1]}{', '.join([found[2]] * number)}" if found else None


def _code(error: Any) -> int:
    """SQLite's primary error code; the higher bits say more than anybody needs."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
