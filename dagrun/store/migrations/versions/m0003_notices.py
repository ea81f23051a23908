"""Notices: what people are to be told of attempts, and how its delivery went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BY_ID = {"sqlite_autoincrement": True, "sqlite_strict": True}


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", INT, sa.Identity(always=False), nullable=False),
        sa.Column("project_id", INT, nullable=False),
        sa.Column("workflow", TEXT, nullable=False),
        sa.Column("session_time", INT, nullable=False),
        sa.Column("attempt_id", INT, nullable=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("once_key", TEXT, nullable=True),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("due_at", INT, nullable=False),
        sa.Column("tries", INT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("error", TEXT, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'sent', 'failed')", name=op.f("ck_notices_state")),
        sa.CheckConstraint("tries >= 0", name=op.f("ck_notices_tries")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_notices_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("once_key", name=op.f("uq_notices_once_key")),
        **BY_ID,
    )
    op.create_index(
        "ix_notices_due",
        "notices",
        ["project_id", "due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
