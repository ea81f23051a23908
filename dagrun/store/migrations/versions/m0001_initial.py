"""The first version: projects to moves.

A migration is frozen: it says what the tables were, and never reads `tables.py`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BY_KEY = {"sqlite_with_rowid": False, "sqlite_strict": True}
BY_ID = {"sqlite_autoincrement": True, "sqlite_strict": True}


def _one_of(name: str, values: str) -> str:
    return f"{name} IN ({', '.join(repr(value) for value in values.split())})"


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
        **BY_KEY,
    )
    op.create_table(
        "moves",
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("before", TEXT, nullable=False),
        sa.Column("after", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("attempt_id", "seq", name=op.f("pk_moves")),
        **BY_KEY,
    )
    op.create_table(
        "projects",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
        **BY_ID,
    )
    op.create_table(
        "tasks",
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("parent", INT, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("source", INT, nullable=False),
        sa.Column("upstreams", TEXT, nullable=True),
        sa.Column("definition", TEXT, nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("version", INT, nullable=False),
        sa.Column("superseded", INT, nullable=False),
        sa.Column("tries", INT, nullable=False),
        sa.Column("retries", INT, nullable=False),
        sa.Column("platform_retries", INT, nullable=False),
        sa.Column("memo", TEXT, nullable=True),
        sa.Column("lease", TEXT, nullable=True),
        sa.Column("handle", TEXT, nullable=True),
        sa.Column("due_at", INT, nullable=True),
        sa.Column("started_at", INT, nullable=True),
        sa.Column("finished_at", INT, nullable=True),
        sa.Column("stored", TEXT, nullable=True),
        sa.Column("reset", TEXT, nullable=True),
        sa.Column("exported", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("reused_from", INT, nullable=True),
        sa.CheckConstraint(
            "lease IS NULL OR NOT " + _one_of("state", "canceled error group_error success"),
            name=op.f("ck_tasks_lease"),
        ),
        sa.CheckConstraint(
            _one_of(
                "state", "blocked ready running stopping waiting planned failing success error group_error canceled"
            ),
            name=op.f("ck_tasks_state"),
        ),
        sa.CheckConstraint("superseded IN (0, 1)", name=op.f("ck_tasks_superseded")),
        sa.PrimaryKeyConstraint("attempt_id", "idx", name=op.f("pk_tasks")),
        **BY_KEY,
    )
    op.create_index(
        "ix_tasks_due",
        "tasks",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_tasks_ready",
        "tasks",
        ["attempt_id", "idx"],
        unique=False,
        sqlite_where=sa.text("state = 'ready'"),
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_table(
        "tries",
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("try_number", INT, nullable=False),
        sa.Column("started_at", INT, nullable=False),
        sa.Column("finished_at", INT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("exit_code", INT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("peak_memory", INT, nullable=True),
        sa.Column("cpu", INT, nullable=True),
        sa.Column("log", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("attempt_id", "idx", "try_number", name=op.f("pk_tries")),
        **BY_KEY,
    )
    op.create_table(
        "revisions",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("manifest", TEXT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_revisions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_revisions_project_id_name")),
        **BY_ID,
    )
    op.create_table(
        "sessions",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("uuid", TEXT, nullable=False),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("session_time", INT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_sessions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint(
            "project_id", "workflow", "session_time", name=op.f("uq_sessions_project_id_workflow_session_time")
        ),
        **BY_ID,
    )
    op.create_table(
        "attempts",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("session_id", INT, nullable=False),
        sa.Column("number", INT, nullable=False),
        sa.Column("retry_name", TEXT, nullable=False),
        sa.Column("revision_id", INT, nullable=False),
        sa.Column("timezone", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("version", INT, nullable=False),
        sa.Column("cancel_requested", INT, nullable=False),
        sa.Column("params", TEXT, nullable=False),
        sa.Column("options", TEXT, nullable=False),
        sa.Column("resumed_from", INT, nullable=True),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("finished_at", INT, nullable=True),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f("ck_attempts_finished")),
        sa.CheckConstraint(
            _one_of("state", "running canceled error group_error success"), name=op.f("ck_attempts_state")
        ),
        sa.CheckConstraint("cancel_requested IN (0, 1)", name=op.f("ck_attempts_cancel")),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name=op.f("fk_attempts_revision_id")),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_attempts_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("session_id", "number", name=op.f("uq_attempts_session_id_number")),
        sa.UniqueConstraint("session_id", "retry_name", name=op.f("uq_attempts_session_id_retry_name")),
        **BY_ID,
    )
    op.create_index(
        "ix_attempts_live",
        "attempts",
        ["id"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("ix_attempts_workflow", "attempts", ["project_id", "workflow", "id"], unique=False)
