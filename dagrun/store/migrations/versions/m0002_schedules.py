"""Schedules, skipped sessions, the queue of attempts, pauses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BY_KEY = {"sqlite_with_rowid": False, "sqlite_strict": True}
BY_ID = {"sqlite_autoincrement": True, "sqlite_strict": True}


def upgrade() -> None:
    op.drop_index("ix_attempts_live", table_name="attempts")
    op.create_index(
        "ix_attempts_live",
        "attempts",
        ["project_id", "workflow", "id"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "schedules",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("position", INT, nullable=False),
        sa.Column("revision_id", INT, nullable=False),
        sa.Column("definition", TEXT, nullable=False),
        sa.Column("next_session", INT, nullable=False),
        sa.Column("next_run", INT, nullable=False),
        sa.Column("planned_run", INT, nullable=False),
        sa.Column("last_session", INT, nullable=True),
        sa.Column("disabled_at", INT, nullable=True),
        sa.Column("disabled_until", INT, nullable=True),
        sa.Column("skip_before", INT, nullable=True),
        sa.Column("note", TEXT, nullable=True),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_schedules_project_id")),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name=op.f("fk_schedules_revision_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint(
            "project_id", "workflow", "position", name=op.f("uq_schedules_project_id_workflow_position")
        ),
        **BY_ID,
    )
    op.create_index(
        "ix_schedules_due",
        "schedules",
        ["project_id", "next_run"],
        unique=False,
        sqlite_where=sa.text("disabled_at IS NULL"),
        postgresql_where=sa.text("disabled_at IS NULL"),
    )
    op.create_table(
        "skips",
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("session_time", INT, nullable=False),
        sa.Column("run_time", INT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "workflow", "session_time", name=op.f("pk_skips")),
        **BY_KEY,
    )
    op.create_table(
        "queue",
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("most", INT, nullable=False),
        sa.Column("after_session", INT, nullable=True),
        sa.Column("due_at", INT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_queue")),
        **BY_KEY,
    )
    op.create_table(
        "pools",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("size", INT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
        **BY_KEY,
    )
    op.create_table(
        "holds",
        sa.Column("pool", TEXT, nullable=False),
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("idx", INT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("since", INT, nullable=False),
        sa.PrimaryKeyConstraint("pool", "attempt_id", "idx", name=op.f("pk_holds")),
        **BY_KEY,
    )
    op.create_index("ix_holds_attempt", "holds", ["attempt_id", "idx"], unique=False)
    op.create_table(
        "starts",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("rate", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_starts")),
        **BY_ID,
    )
    op.create_index("ix_starts_rate", "starts", ["rate", "at"], unique=False)
    op.create_table(
        "pauses",
        sa.Column("attempt_id", INT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_pauses")),
        **BY_KEY,
    )
