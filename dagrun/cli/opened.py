"""The project and the store that a command works on: where they are, opened once.

A composition root: here the concrete store meets the project's directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from dagrun.cli.settings import Settings, load_settings
from dagrun.core.kinds import is_unicode
from dagrun.errors import NotFound, UserError
from dagrun.light import pattern
from dagrun.store.base import AttemptRow, Store, Tx

STATE_DIR = ".dagrun"
ID = pattern(r"[0-9]{1,18}\Z")  # of an attempt: more digits no store has
MOST = 10**9  # of anything that is counted on the command line: a store knows 64 bits
DATABASE = "DAGRUN_DATABASE"  # the variable that stands for --database

Command = TypeVar("Command", bound=Callable[..., Any])


def limit_option(command: Command) -> Command:
    return click.option(
        "--limit", type=click.IntRange(1, MOST), default=20, show_default=True, metavar="N", help="At most so many."
    )(command)


def project_options(command: Command) -> Command:
    """`--project` and `--database`, which every command takes that works on a project."""
    for option in (
        click.option("--database", metavar="URL", envvar=DATABASE, help="Another store than the project's own."),
        click.option("--project", metavar="DIR", help="The project directory, if it isn't where the workflow lies."),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@dataclass(eq=False, repr=False)
class Opened:
    """A project directory with its state below it. Nothing is made or opened before it is needed."""

    project_dir: str
    database: str | None = None
    config: str | None = None

    @cached_property
    def state_dir(self) -> str:
        return os.path.join(self.project_dir, STATE_DIR)

    @cached_property
    def settings(self) -> Settings:
        return load_settings(os.environ, self.config)

    @cached_property
    def store(self) -> Store:
        from dagrun.store.sql import open_store

        return open_store(self.database or f"sqlite:///{os.path.join(self.state_dir, 'state.db')}")

    @cached_property
    def durable_store(self) -> Store:
        """The same, whose commits survive a loss of power too: for a daemon."""
        from dagrun.store.sql import open_store

        return open_store(self.database or f"sqlite:///{os.path.join(self.state_dir, 'state.db')}", durable="full")

    @property
    def existing_store(self) -> Store:
        """The store, for commands that only read: an error if nothing has run here yet."""
        if self.database is None and not os.path.exists(os.path.join(self.state_dir, "state.db")):
            raise NotFound(
                "state", self.state_dir, hint="nothing has run here yet; run a workflow first, or name --project"
            )
        return self.store

    @property
    def project_name(self) -> str:
        """One store of its own holds one project, `default`; in a shared one, projects are told by their directory."""
        return "default" if self.database is None else os.path.basename(os.path.realpath(self.project_dir))


def open_here(project: str | None, database: str | None, config: str | None = None) -> Opened:
    """The project of a command that names no workflow: `--project`, else the nearest directory upwards with state."""
    if project is not None:
        if not os.path.isdir(project):
            raise NotFound("directory", project)
        return Opened(os.path.abspath(project), database, config)
    here = os.path.abspath(os.getcwd())
    directory = here
    while True:
        if os.path.isdir(os.path.join(directory, STATE_DIR)):
            return Opened(directory, database, config)
        parent = os.path.dirname(directory)
        if parent == directory:
            return Opened(here, database, config)
        directory = parent


def find_attempt(tx: Tx, text: str) -> AttemptRow:
    """An attempt by id, `last`, or `workflow@TIME` (the newest attempt of that session). Raises NotFound."""
    if text == "last":
        row = tx.newest_attempt()
        if row is None:
            raise NotFound("attempt", text, hint="nothing has run here yet")
        return row
    if ID.match(text):
        return tx.get_attempt(int(text))
    name, at, time = text.partition("@")
    if not at:
        raise UserError(f"{text!r} names no attempt; use its number, last, or workflow@SESSION-TIME")
    return by_session(tx, name, time, text)


def by_session(tx: Tx, workflow: str, time: str, text: str) -> AttemptRow:
    from dagrun.core.session import parse_session_time, whole_seconds
    from dagrun.core.zone import zone

    for newest in tx.list_attempts(workflow=workflow, limit=1):
        at = parse_session_time(time, zone(newest.attempt.timezone))
        session = tx.find_session(newest.session.project_id, workflow, whole_seconds(at)) if at is not None else None
        found = tx.newest_attempt_of_session(session.id) if session else None
        if found is not None:
            return found
    raise NotFound("attempt", text, hint="dagrun attempts lists those that there are")


def retry_command(opened: Opened, attempt_id: int) -> str:
    """The command line that goes on with the attempt, from where its reader is."""
    import shlex

    words = ["dagrun", "retry", str(attempt_id)]
    if os.path.realpath(opened.project_dir) != os.path.realpath(os.getcwd()):
        words += ["--project", os.path.relpath(opened.project_dir)]
    if opened.database and opened.database != os.environ.get(DATABASE):
        from dagrun.store.dialects import without_password

        words += ["--database", without_password(opened.database)]
    return shlex.join(words)


def print_json(value: Any) -> None:
    import json

    indent = 2 if os.isatty(1) else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(text if is_unicode(text) else json.dumps(value, indent=indent))
