"""`dagrun log`: what the tasks of an attempt printed, try by try, in order of their start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from dagrun.cli.opened import Opened, find_attempt, json_option, open_here, print_json, project_options
from dagrun.engine.owners import is_alive
from dagrun.errors import NotFound
from dagrun.logs.files import Follower, log_path, read
from dagrun.store.base import AttemptRow, TaskRow, TryRow

FOLLOW_SECONDS = 0.2


@click.command("log", short_help="Show what the tasks of an attempt printed.")
@click.argument("attempt")
@click.argument("task", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt has ended.")
@project_options
@json_option
def command(
    attempt: str, task: str | None, follow: bool, project: str | None, database: str | None, as_json: bool
) -> None:
    """Show what the tasks of ATTEMPT printed: all, or those of +TASK and below it."""
    opened = open_here(project, database)
    with opened.existing_store.reading() as tx:
        row = find_attempt(tx, attempt)
    reader = Reader(opened, row, task)
    if as_json:
        print_json(reader.objects())
    elif follow:
        reader.follow()
    else:
        for path, heading in reader.paths():
            reader.show(heading, read(path))


@dataclass(eq=False, repr=False)
class Reader:
    opened: Opened
    row: AttemptRow
    pattern: str | None
    followers: dict[str, Follower] = field(default_factory=dict)
    shown: str | None = None

    def rows(self) -> tuple[list[TaskRow], list[TryRow]]:
        with self.opened.existing_store.reading() as tx:
            self.row = tx.get_attempt(self.row.id)
            tasks, tries = tx.load_tasks(self.row.id), tx.load_tries(self.row.id)
        wanted = [task for task in tasks if self.matches(task.name)]
        if self.pattern is not None and not wanted:
            raise NotFound("task", self.pattern, [task.name for task in tasks])
        indexes = {task.idx for task in wanted}
        return wanted, [one for one in tries if one.idx in indexes]

    def matches(self, name: str) -> bool:
        """The full name begins with the pattern, or a task around it ends in it."""
        pattern = self.pattern
        if pattern is None or name.startswith(pattern):
            return True
        at = name.find(pattern)
        return at >= 0 and name[at + len(pattern) : at + len(pattern) + 1] in ("", "+", "^")

    def paths(self) -> Iterator[tuple[str, str]]:
        """The logs of ended and of running tries, with their headings."""
        tasks, tries = self.rows()
        names = {task.idx: task.name for task in tasks}
        for one in sorted(tries, key=lambda one: one.started_at):
            if one.log:
                yield os.path.join(self.opened.state_dir, one.log), f"{names[one.idx]}~{one.try_number}"
        ended = {(one.idx, one.try_number) for one in tries}
        for task in tasks:
            if task.state in ("running", "stopping") and (task.idx, task.tries) not in ended:
                path = log_path(self.opened.state_dir, self.row.id, f"{task.name}@{task.idx}", task.tries)
                if os.path.exists(path):
                    yield path, f"{task.name}~{task.tries}"

    def show(self, heading: str, data: bytes) -> None:
        if not data:
            return
        if os.isatty(1) and heading != self.shown:
            click.echo(click.style(f"-- {heading}", dim=True))
            self.shown = heading
        click.echo(data, nl=False)

    def follow(self) -> None:
        store = self.opened.existing_store
        while True:
            done = self.row.finished_at is not None or not is_alive(self.opened.state_dir, self.row)
            for path, heading in self.paths():
                follower = self.followers.setdefault(path, Follower(path))
                self.show(heading, follower.read())
            if done:
                return
            store.wait(FOLLOW_SECONDS)

    def objects(self) -> list[dict[str, Any]]:
        tasks, tries = self.rows()
        names = {task.idx: task.name for task in tasks}
        return [
            {
                "task": names[one.idx],
                "try": one.try_number,
                "path": one.log,
                "outcome": one.outcome,
                "exit_code": one.exit_code,
                "peak_memory": one.peak_memory,
                "cpu_seconds": one.cpu / 1_000_000 if one.cpu is not None else None,
                "text": self.text(one.log),
            }
            for one in sorted(tries, key=lambda one: one.started_at)
        ]

    def text(self, log: str | None) -> str:
        return read(os.path.join(self.opened.state_dir, log)).decode(errors="replace") if log else ""
