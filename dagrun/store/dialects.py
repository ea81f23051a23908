"""What differs between SQLite and PostgreSQL: connections, transactions, locks, and how changes are noticed.

`sql.py` is written once against `Dialect`. No SQLAlchemy here: the drivers execute the text of `compiled.py`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from typing import Any, Protocol

from dagrun.errors import LimitExceeded, UserError
from dagrun.store.compiled import HEAD, POSTGRESQL, SQLITE, Statements

BUSY_SECONDS = 60
LOOK_SECONDS = 0.05  # between two looks at SQLite's data_version while waiting
CHANNEL = "dagrun_changes"


class Dialect(Protocol):
    """One database. `write` and `read` give a connection for one transaction; `now` is the database's clock."""

    url: str
    statements: Statements

    def write(self) -> Any: ...
    def read(self) -> Any: ...
    def now(self, connection: Any) -> int: ...
    def changes(self) -> int: ...
    def wait(self, seconds: float, since: int | None) -> None: ...
    def close(self) -> None: ...


def schema(name: str) -> str:
    return files("dagrun.store").joinpath(name).read_text("utf-8")


# -- SQLite


class Sqlite:
    """WAL; one writer connection behind a lock, a reader for each thread.

    A transaction begins with BEGIN IMMEDIATE, so that the write lock is waited for at its beginning and never in between,
    where SQLite could only give up.
    """

    statements = SQLITE

    def __init__(self, path: str, durable: str) -> None:
        self.url = f"sqlite:///{path}"
        self.path = path
        self.durable = durable
        self.lock = threading.RLock()
        self.local = threading.local()
        self.readers: list[sqlite3.Connection] = []
        self.commits = 0
        with failing(path):
            self.prepare()

    def prepare(self) -> None:
        directory = os.path.dirname(self.path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        if os.path.isdir(self.path):
            raise UserError(f"{self.path} is a directory; the store must be a file, such as {self.path}/state.db")
        self.writer = self.connect()
        version = self.version()
        if version is None:
            self.create()
        elif version != HEAD:
            self.migrate(version)

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=100
        )
        connection.execute(f"PRAGMA synchronous={'FULL' if self.durable == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def version(self) -> str | None:
        try:
            row = self.writer.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as problem:
            if "no such table" in str(problem):
                return None
            raise
        return row[0] if row else None

    def create(self) -> None:
        """The newest schema in one transaction; when several processes come at once, the first one makes it."""
        self.enter_wal()
        self.writer.execute("BEGIN IMMEDIATE")
        try:
            if self.version() is None:
                for statement in schema("schema.sql").split(";\n"):
                    if statement.strip():
                        self.writer.execute(statement)
            self.writer.execute("COMMIT")
        except BaseException:
            self.writer.execute("ROLLBACK")
            raise

    def enter_wal(self) -> None:
        # SQLite does not wait for the lock that a change of the journal mode needs, however long its timeout is.
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.writer.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as problem:
                if "locked" not in str(problem) or time.monotonic() > end:
                    raise
                time.sleep(LOOK_SECONDS)

    def migrate(self, version: str) -> None:
        from dagrun.store.migrations import known

        if not known(version):
            raise newer(self.url, version)
        from sqlalchemy import create_engine
        from sqlalchemy.pool import StaticPool

        from dagrun.store.migrations import upgrade

        engine = create_engine("sqlite://", creator=lambda: self.writer, poolclass=StaticPool)
        with engine.begin() as connection:
            upgrade(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        with self.lock, failing(self.path):
            self.writer.execute("BEGIN IMMEDIATE")
            try:
                yield self.writer
                self.writer.execute("COMMIT")
            except BaseException:
                if self.writer.in_transaction:
                    self.writer.execute("ROLLBACK")
                raise
            self.commits += 1
            self.local.commits = getattr(self.local, "commits", 0) + 1

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with failing(self.path):
            reader = self.reader()
            reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.execute("ROLLBACK")

    def reader(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self.local, "reader", None)
        if found is None:
            found = self.local.reader = self.connect()
            self.readers.append(found)
        return found

    def now(self, connection: sqlite3.Connection) -> int:  # noqa: ARG002  (SQLite's clock is the machine's)
        return time.time_ns() // 1000

    def changes(self) -> int:
        """SQLite counts the commits of other connections; those of other threads on this one are added."""
        with self.lock:
            found: int = self.writer.execute("PRAGMA data_version").fetchone()[0]
            return found + (self.commits - getattr(self.local, "commits", 0) << 32)

    def wait(self, seconds: float, since: int | None) -> None:
        before = self.changes() if since is None else since
        end = time.monotonic() + seconds
        while self.changes() == before:
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, LOOK_SECONDS))

    def close(self) -> None:
        with self.lock:
            for connection in (*self.readers, self.writer):
                connection.close()


@contextmanager
def failing(path: str) -> Iterator[None]:
    """What SQLite says when the store itself fails, as an error that its reader can mend."""
    try:
        yield
    except sqlite3.DatabaseError as problem:
        text = str(problem)
        if "not a database" in text or "malformed" in text:
            raise UserError(f"{path} is not a store of dagrun ({text}); name another with --database") from problem
        if "full" in text:
            raise LimitExceeded(f"the disk is full: {path} can't be written; make room and retry") from problem
        if "readonly" in text or "unable to open" in text:
            raise UserError(f"{path} can't be written ({text}); check its permissions, or use --database") from problem
        if "locked" in text:
            raise UserError(f"{path} has been locked for {BUSY_SECONDS} s by another process") from problem
        raise
    except PermissionError as problem:
        raise UserError(f"{problem.filename} can't be written; check its permissions, or use --database") from problem


def newer(url: str, version: str) -> UserError:
    return UserError(f"{url} was made by a newer dagrun (schema {version}, this one knows {HEAD}); upgrade dagrun")


# -- PostgreSQL


class Postgres:
    """psycopg 3; READ COMMITTED; connections are kept on a stack, one for each transaction under way."""

    statements = POSTGRESQL

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise UserError("PostgreSQL needs psycopg: pip install 'dagrun[postgresql]'") from None
        self.psycopg = psycopg
        self.url = url
        self.lock = threading.Lock()
        self.idle: list[Any] = []
        self.listener: Any = None
        self.seen = 0
        self.prepare()

    def connect(self) -> Any:
        try:
            return self.psycopg.connect(self.url, autocommit=True)
        except self.psycopg.OperationalError as problem:
            raise UserError(f"PostgreSQL can't be reached: {str(problem).strip()}; check --database") from problem

    def prepare(self) -> None:
        connection = self.connect()
        self.idle.append(connection)
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('dagrun schema'))")
            found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if found[0] is None:
                connection.execute(schema("schema_postgresql.sql"), prepare=False)
                return
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        if version != HEAD:
            self.migrate(version)

    def migrate(self, version: str) -> None:
        from dagrun.store.migrations import known

        if not known(version):
            raise newer(self.url, version)
        from sqlalchemy import create_engine

        from dagrun.store.migrations import upgrade

        engine = create_engine("postgresql+psycopg://", creator=lambda: self.psycopg.connect(self.url))
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Any]:
        with self.borrowed() as connection, connection.transaction():
            yield connection
            connection.execute(f"NOTIFY {CHANNEL}")

    @contextmanager
    def read(self) -> Iterator[Any]:
        with self.borrowed() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def borrowed(self) -> Iterator[Any]:
        with self.lock:
            connection = self.idle.pop() if self.idle else None
        connection = connection or self.connect()
        try:
            yield connection
        except self.psycopg.OperationalError as problem:
            raise UserError(f"PostgreSQL failed: {str(problem).strip()}") from problem
        finally:
            if connection.closed or connection.broken:
                with suppress(self.psycopg.Error):
                    connection.close()
            else:
                with self.lock:
                    self.idle.append(connection)

    def now(self, connection: Any) -> int:
        row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
        return int(row[0])

    def changes(self) -> int:
        self.listen(0)
        return self.seen

    def wait(self, seconds: float, since: int | None) -> None:
        if since is not None and self.changes() != since:
            return
        self.listen(seconds)

    def listen(self, seconds: float) -> None:
        if self.listener is None or self.listener.closed:
            self.listener = self.connect()
            self.listener.execute(f"LISTEN {CHANNEL}")
        for notice in self.listener.notifies(timeout=seconds, stop_after=1 if seconds else None):
            if notice.pid not in self.own_pids():
                self.seen += 1

    def own_pids(self) -> set[int]:
        with self.lock:
            return {connection.info.backend_pid for connection in self.idle}

    def close(self) -> None:
        for connection in (*self.idle, *([self.listener] if self.listener else [])):
            connection.close()
        self.idle.clear()
