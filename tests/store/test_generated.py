"""What is generated is what would be generated; migrations, schemas and `tables.py` say the same."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import JSON, Float, bindparam, cast, create_engine, func, literal, literal_column, select

from dagrun.store import generate, migrations
from dagrun.store.dialects import choose
from dagrun.store.sql import open_store
from dagrun.store.tables import metadata, projects
from tests import postgres
from tests.store.rows import outputs

FILES = {os.path.basename(path): path for path in generate.files()}
WAYS = ("schema", "migrations", "tables")


@pytest.mark.parametrize("name", FILES)
def test_the_file_on_disk_is_what_make_generate_would_write(name):
    text = generate.files()[FILES[name]]
    assert FILES[name].read_text(encoding="utf-8") == text, "run make generate"


class TestRefusals:
    @pytest.mark.parametrize("dialect", generate.DIALECTS)
    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            (select(projects).where(projects.c.id.in_([1, 2])), "value outside a named parameter|list after IN"),
            (select(projects).where(projects.c.id.in_(bindparam("ids", expanding=True))), "list after IN"),
            (select(projects).where(projects.c.id == 7), "value outside a named parameter: 7"),
            (select(projects).where(projects.c.name == "x"), "value outside a named parameter: 'x'"),
            (select(projects).where(projects.c.id == bindparam("id", 7)), "value outside a named parameter: 7"),
            (select(projects).where(projects.c.id == literal_column("7")), "value outside a named parameter"),
            (select(projects).where(projects.c.name == literal_column("'x'")), "value outside a named parameter"),
            (select(projects).limit(5), "value outside a named parameter"),
            (select(literal(1)), "value outside a named parameter: 1"),
            (select(func.json_extract(projects.c.name, bindparam("path", type_=projects.c.name.type))), "JSON operator"),
            (select(projects).where(projects.c.id > bindparam("x", type_=Float())), "neither an integer nor text"),
            (select(cast(projects.c.name, JSON)), "JSON operator"),
        ],
    )  # fmt: skip
    def test_what_does_not_mean_the_same_in_both_databases_is_refused(self, dialect, statement, reason):
        with pytest.raises(ValueError, match=f"^its name: .*({reason})"):
            generate.plain("its name", statement, generate.DIALECTS[dialect][0])

    @pytest.mark.parametrize(("dialect", "mark"), [("SQLITE", "?"), ("POSTGRESQL", "%s")])
    def test_a_plain_statement_is_taken_with_its_parameters_in_order(self, dialect, mark):
        statement = select(projects.c.id).where(projects.c.name == bindparam("b"), projects.c.id > bindparam("a"))
        text, parameters = generate.plain("its name", statement, generate.DIALECTS[dialect][0])
        assert text.endswith(f"WHERE projects.name = {mark} AND projects.id > {mark}")
        assert parameters == ["b", "a"]


class TestSchema:
    """Three ways to a store: the file that a fresh one is made from, the migrations, and the tables in Python."""

    @pytest.mark.parametrize("way", WAYS[:2])
    def test_sqlite(self, tmp_path, way):
        assert self.sqlite(tmp_path, way) == self.sqlite(tmp_path, "tables")

    @pytest.mark.parametrize("way", WAYS[:2])
    def test_postgresql(self, way):
        assert self.postgresql(way) == self.postgresql("tables")

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_alembic_finds_nothing_to_migrate(self, tmp_path, kind):
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        url = str(tmp_path / "x.db") if kind == "sqlite" else postgres.database_url(made=False)
        build(url, "migrations")
        with closing(choose(url, "normal")) as database:
            how = database.migrating()
            engine = create_engine(how.url, creator=how.connect)
            with engine.connect() as connection:
                context = MigrationContext.configure(connection, opts={"compare_type": True})
                assert compare_metadata(context, metadata) == []
                assert context.get_current_revision() == migrations.head()
            engine.dispose()

    def sqlite(self, tmp_path, way: str) -> dict[str, list[str]]:
        """Each table and index, with its lines in no particular order."""
        path = str(tmp_path / f"{way}.db")
        build(path, way)
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL "
                "AND name != 'alembic_version' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
        return {name: sorted(line.strip().rstrip(",") for line in lines(sql) if line.strip()) for name, sql in rows}

    def postgresql(self, way: str) -> list[list[tuple[Any, ...]]]:
        """Columns in their order, constraints and indexes."""
        url = postgres.database_url(made=False)
        build(url, way)
        with closing(choose(url, "normal")) as database:
            connection, _ = database.begin(False)
            found = [connection.execute(query).fetchall() for query in CATALOGUE]
            database.rollback(connection)
            database.give(connection, False)
        return found


def lines(sql: str) -> list[str]:
    """A column that was added later stands on the line of the one before it."""
    return re.sub(r", (\w+ (?:TEXT|INTEGER))", r",\n\1", sql).splitlines()


CATALOGUE = (
    """
    SELECT table_name, ordinal_position, column_name, data_type, is_nullable, collation_name, is_identity,
        identity_generation, column_default
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name != 'alembic_version' ORDER BY 1, 2
    """,
    """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text != 'alembic_version' ORDER BY 1, 2
    """,
    """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename != 'alembic_version' ORDER BY 1
    """,
)


def build(url: str, way: str) -> None:
    if way == "schema":
        open_store(url).close()
        return
    with closing(choose(url, "normal")) as database:
        how = database.migrating()
        if way == "migrations":
            migrations.upgrade(how)
        else:
            engine = create_engine(how.url, creator=how.connect)
            metadata.create_all(engine)
            engine.dispose()


HOT_PATH = """
import sys
from dagrun.store.sql import open_store
from tests.store.rows import make_attempt, task_row
store = open_store(sys.argv[1])
with store.transaction() as tx:
    attempt = make_attempt(tx)
    tx.insert_tasks([task_row(attempt.id, 0)])
    tx.save_tasks([task_row(attempt.id, 0, state="ready")])
    tx.save_attempt(tx.lock_attempt(attempt.id)._replace(version=1))
    tx.list_attempts(states=["running"])
store.changes()
store.close()
print({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "alembic", "psycopg", "sqlite3"})
"""


@pytest.mark.parametrize("made", [False, True], ids=["fresh", "made"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_store_is_opened_and_used_with_its_driver_alone(tmp_path, kind, made):
    """Importing SQLAlchemy costs more than most workflows; so it does for a fresh store, too."""
    url = str(tmp_path / "x.db") if kind == "sqlite" else postgres.database_url(made=made)
    if made and kind == "sqlite":
        open_store(url).close()
    driver = {"sqlite": "sqlite3", "postgresql": "psycopg"}[kind]
    assert outputs(HOT_PATH, [[url]]) == [f"{{'{driver}'}}\n"]
