"""The tables, once for both databases, with SQLAlchemy Core.

Columns stand in the order of the rows in `base.py`. Types are the few that mean the same in SQLite and in
PostgreSQL: 64-bit integers (times are microseconds since 1970 UTC) and text, compared byte by byte. The
database has the last word: what must never be is forbidden here, not in the code that writes.

Read by `statements.py`, `generate.py`, the migrations and the tests; never imported while a workflow runs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    column,
)

from dagrun.core.state import DONE, READY, RUNNING, STATES, WAITING

INT = BigInteger().with_variant(Integer(), "sqlite")  # SQLite makes row ids only of INTEGER
TEXT = Text().with_variant(Text(collation="C"), "postgresql")

# Rows of these tables are found by their key alone; without a row id of its own a turn was a fifth faster.
BY_KEY: dict[str, Any] = {"sqlite_with_rowid": False, "sqlite_strict": True}
# Ids are never given twice, not even after the newest row was deleted.
BY_ID: dict[str, Any] = {"sqlite_autoincrement": True, "sqlite_strict": True}

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", INT, Identity(), primary_key=True)


def _int(name: str, *rules: Any, null: bool = False) -> Column[int]:
    return Column(name, INT, *rules, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, TEXT, nullable=null)


def _one_of(name: str, values: list[str]) -> str:
    return f"{name} IN ({', '.join(repr(value) for value in values)})"


meta = Table(
    "meta",
    metadata,
    Column("key", TEXT, primary_key=True),  # "store_id"
    _text("value"),
    **BY_KEY,
)

projects = Table(
    "projects",
    metadata,
    _id(),
    _text("name"),
    _int("created_at"),
    UniqueConstraint("name"),
    **BY_ID,
)

revisions = Table(
    "revisions",
    metadata,
    _id(),
    _int("project_id", ForeignKey("projects.id")),
    _text("name"),
    _text("manifest"),
    _int("created_at"),
    UniqueConstraint("project_id", "name"),
    **BY_ID,
)

sessions = Table(
    "sessions",
    metadata,
    _id(),
    _text("uuid"),
    _int("project_id", ForeignKey("projects.id")),
    _text("workflow"),
    _int("session_time"),
    _int("created_at"),
    UniqueConstraint("project_id", "workflow", "session_time"),
    **BY_ID,
)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    _int("session_id", ForeignKey("sessions.id")),
    _int("number"),
    _text("retry_name"),
    _int("revision_id", ForeignKey("revisions.id")),
    _text("timezone"),
    _text("state"),
    _int("version"),
    _int("cancel_requested"),
    _text("params"),
    _text("options"),
    _int("resumed_from", null=True),
    _text("owner"),
    _text("error", null=True),
    _int("created_at"),
    _int("finished_at", null=True),
    # Copies of the session's, which never change: so that the newest attempts of a workflow are one look-up.
    _int("project_id"),
    _text("workflow"),
    UniqueConstraint("session_id", "retry_name"),
    UniqueConstraint("session_id", "number"),
    CheckConstraint(_one_of("state", [RUNNING, *sorted(DONE)]), name="state"),
    CheckConstraint(f"(state = '{RUNNING}') = (finished_at IS NULL)", name="finished"),
    CheckConstraint("cancel_requested IN (0, 1)", name="cancel"),
    Index("ix_attempts_workflow", "project_id", "workflow", "id"),
    **BY_ID,
)
Index(
    "ix_attempts_live",
    attempts.c.project_id,
    attempts.c.workflow,
    attempts.c.id,
    sqlite_where=column("finished_at").is_(None),
    postgresql_where=column("finished_at").is_(None),
)

tasks = Table(
    "tasks",
    metadata,
    _int("attempt_id"),
    _int("idx"),
    _int("parent", null=True),
    _text("name"),
    _int("source"),
    _text("upstreams", null=True),
    _text("definition", null=True),
    _text("state"),
    _int("version"),
    _int("superseded"),
    _int("tries"),
    _int("retries"),
    _int("platform_retries"),
    _text("memo", null=True),
    _text("lease", null=True),
    _text("handle", null=True),
    _int("due_at", null=True),
    _int("started_at", null=True),
    _int("finished_at", null=True),
    _text("stored", null=True),
    _text("reset", null=True),
    _text("exported", null=True),
    _text("error", null=True),
    _text("reason", null=True),
    _int("reused_from", null=True),
    _text("outputs", null=True),
    PrimaryKeyConstraint("attempt_id", "idx"),
    CheckConstraint(_one_of("state", list(STATES)), name="state"),
    CheckConstraint(f"lease IS NULL OR NOT {_one_of('state', sorted(DONE))}", name="lease"),
    CheckConstraint("superseded IN (0, 1)", name="superseded"),
    **BY_KEY,
)
Index(
    "ix_tasks_ready",
    tasks.c.attempt_id,
    tasks.c.idx,
    sqlite_where=column("state") == READY,
    postgresql_where=column("state") == READY,
)
Index(
    "ix_tasks_due",
    tasks.c.due_at,
    sqlite_where=column("state") == WAITING,
    postgresql_where=column("state") == WAITING,
)

tries = Table(
    "tries",
    metadata,
    _int("attempt_id"),
    _int("idx"),
    _int("try_number"),
    _int("started_at"),
    _int("finished_at"),
    _text("outcome"),
    _int("exit_code", null=True),
    _text("error", null=True),
    _int("peak_memory", null=True),
    _int("cpu", null=True),
    _text("log", null=True),
    PrimaryKeyConstraint("attempt_id", "idx", "try_number"),
    **BY_KEY,
)

moves = Table(
    "moves",
    metadata,
    _int("attempt_id"),
    _int("seq"),
    _int("idx"),
    _text("before"),
    _text("after"),
    _int("at"),
    _text("reason", null=True),
    PrimaryKeyConstraint("attempt_id", "seq"),
    **BY_KEY,
)

schedules = Table(
    "schedules",
    metadata,
    _id(),
    _int("project_id", ForeignKey("projects.id")),
    _text("workflow"),
    _int("position"),
    _int("revision_id", ForeignKey("revisions.id")),
    _text("definition"),
    _int("next_session"),
    _int("next_run"),
    _int("planned_run"),
    _int("last_session", null=True),
    _int("disabled_at", null=True),
    _int("disabled_until", null=True),
    _int("skip_before", null=True),
    _text("note", null=True),
    _int("created_at"),
    _int("updated_at"),
    UniqueConstraint("project_id", "workflow", "position"),
    **BY_ID,
)
Index(
    "ix_schedules_due",
    schedules.c.project_id,
    schedules.c.next_run,
    sqlite_where=column("disabled_at").is_(None),
    postgresql_where=column("disabled_at").is_(None),
)

skips = Table(
    "skips",
    metadata,
    _int("project_id"),
    _text("workflow"),
    _int("session_time"),
    _int("run_time"),
    _int("at"),
    _text("reason"),
    PrimaryKeyConstraint("project_id", "workflow", "session_time"),
    **BY_KEY,
)

queue = Table(
    "queue",
    metadata,
    _int("attempt_id"),
    _int("project_id"),
    _text("workflow"),
    _text("key"),
    _int("most"),
    _int("after_session", null=True),
    _int("due_at"),
    _text("why"),
    PrimaryKeyConstraint("attempt_id"),
    **BY_KEY,
)

pools = Table(
    "pools",
    metadata,
    _text("name"),
    _int("size"),
    PrimaryKeyConstraint("name"),
    **BY_KEY,
)

holds = Table(
    "holds",
    metadata,
    _text("pool"),
    _int("attempt_id"),
    _int("idx"),
    _int("amount"),
    _int("since"),
    PrimaryKeyConstraint("pool", "attempt_id", "idx"),
    **BY_KEY,
)
Index("ix_holds_attempt", holds.c.attempt_id, holds.c.idx)

starts = Table(
    "starts",
    metadata,
    _id(),
    _text("rate"),
    _int("at"),
    **BY_ID,
)
Index("ix_starts_rate", starts.c.rate, starts.c.at)

pauses = Table(
    "pauses",
    metadata,
    _int("attempt_id"),
    _int("at"),
    _text("reason"),
    PrimaryKeyConstraint("attempt_id"),
    **BY_KEY,
)

notices = Table(
    "notices",
    metadata,
    _id(),
    _int("project_id", ForeignKey("projects.id")),
    _text("workflow"),
    _int("session_time"),
    _int("attempt_id", null=True),
    _text("kind"),
    _text("target"),
    _text("body"),
    _text("once_key", null=True),
    _int("created_at"),
    _int("due_at"),
    _int("tries"),
    _text("state"),
    _text("error", null=True),
    UniqueConstraint("once_key"),
    CheckConstraint(_one_of("state", ["waiting", "sent", "failed"]), name="state"),
    CheckConstraint("tries >= 0", name="tries"),
    **BY_ID,
)
Index(
    "ix_notices_due",
    notices.c.project_id,
    notices.c.due_at,
    sqlite_where=column("state") == "waiting",
    postgresql_where=column("state") == "waiting",
)
