"""What a database must offer to `sql.py`, and the choice between the two by URL.

`sqlite.py` and `postgresql.py` hold all that differs: how one connects, begins and ends a transaction, learns of the
commits of others, and what a driver's error means to a person. psycopg is imported only for a PostgreSQL URL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from dagrun.errors import UserError
from dagrun.light import NamedTuple, Protocol
from dagrun.store.compiled import Statements

Rows = Sequence[tuple[Any, ...]]


class Migrating(NamedTuple):
    """How SQLAlchemy comes to a connection, and the statement that keeps other migrations away."""

    url: str
    connect: Callable[[], Any]
    first: str


class Database(Protocol):
    """A database, its connections and its errors. Knows no table but those of `store_id`."""

    url: str
    name: str  # for messages: without a password

    @property
    def statements(self) -> type[Statements]: ...

    schema: str  # the file with the text of a fresh store

    def begin(self, writing: bool) -> tuple[Any, int]:
        """A connection in a transaction, and the database's time. Raises UserError."""

    def commit(self, connection: Any, wrote: bool) -> None:
        """Durable; whoever waits is woken if something was written."""

    def rollback(self, connection: Any) -> None:
        """Whatever happened, nothing of it stays. Never raises."""

    def give(self, connection: Any, writing: bool) -> None:
        """The connection may serve the next transaction."""

    def many(self, connection: Any, statement: str, rows: Rows) -> int:
        """The statement once for each row; how many rows of the table it touched."""

    def bulk(self, connection: Any, statement: str, rows: Rows) -> None:
        """Insert many tasks, the fastest way there is."""

    def tables(self, connection: Any) -> set[str]:
        """The names of all tables."""

    def lock_schema(self, connection: Any) -> None:
        """Nobody else makes or migrates a store until this writing transaction ends."""

    def lock_gates(self, connection: Any) -> int:
        """Nobody else has this lock until this writing transaction ends; the database's time now."""

    def reserve(self, connection: Any, tables: set[str]) -> None:
        """Make room for a fresh store. Raises UserError where another program's data are in the way."""

    def migrating(self) -> Migrating: ...

    def explain(self, error: BaseException) -> UserError | None:
        """What the driver's error means, if the reader can mend it."""

    def opened(self, store_id: str) -> None:
        """The store is there and has that id."""

    def changes(self) -> int: ...

    def pause(self, seconds: float) -> None:
        """Sleep so long, or less if it looks as if `changes` had changed."""

    def close(self) -> None: ...


def choose(url: str, durable: str) -> Database:
    """The database of that URL or path. Raises UserError."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _sqlite(url, durable)
    if scheme == "sqlite":
        return _sqlite(rest.removeprefix("/"), durable)
    if scheme in ("postgresql", "postgres"):
        return _postgresql(f"postgresql://{rest}")
    raise UserError(
        f"not a store: {without_password(url)}\n  write sqlite:///PATH, a path, or postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def without_password(url: str) -> str:
    """For people: `postgresql://me:***@host/name`."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:***@{place}" if separator and at and colon else url


def _sqlite(path: str, durable: str) -> Database:
    from dagrun.store.sqlite import Sqlite

    if not path or path == ":memory:":
        raise UserError("a store needs a file: write sqlite:///PATH or a path")
    return Sqlite(os.path.abspath(path), durable)


def _postgresql(url: str) -> Database:
    try:
        from dagrun.store.postgresql import Postgresql
    except ImportError as error:
        raise UserError(f"a PostgreSQL store needs psycopg ({error})\n  pip install 'dagrun[postgresql]'") from error
    return Postgresql(url)
