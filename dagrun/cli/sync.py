"""`dagrun sync`: the daemon's git repositories are fetched at once, and what became of their commits is told.

Without a daemon they are fetched all the same, so that it can be seen what is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import click

from dagrun.cli.objects import commit_object
from dagrun.cli.opened import Opened, json_option, open_here, print_json, project_options
from dagrun.engine.owners import daemon_process
from dagrun.errors import Conflict, NotFound, UserError
from dagrun.light import NamedTuple
from dagrun.project.sources import LIST, Git, Several, Tokens, facts_of, git_source, read_list
from dagrun.project.synced import Status, read_status, wish
from dagrun.secrets.scopes import LocalSecrets

# What became of a project.
TAKEN_OVER = "taken_over"
UNCHANGED = "unchanged"
REFUSED = "refused"
FAILED = "failed"  # it could not be fetched
LATE = "late"
FETCHED = "fetched"  # there is no daemon that could take it over

WRONG, TIME_OVER = 2, 5  # exit codes
CODES = {REFUSED: WRONG, FAILED: WRONG, LATE: TIME_OVER}
LOOK_SECONDS = 0.05


@click.command("sync", short_help="Fetch the daemon's git repositories at once.")
@click.argument("name", required=False)
@click.option("--timeout", default="60s", metavar="TIME", show_default=True, help="How long to wait for the daemon.")
@project_options
@click.option("-c", "--config", metavar="FILE", help="Settings, instead of ~/.config/dagrun/config.toml.")
@json_option
def command(
    name: str | None, timeout: str, project: str | None, database: str | None, config: str | None, as_json: bool
) -> int:
    """Fetch the repository of the project NAME, or all of them, and wait until the daemon has taken the newest commit over
    or refused it.

    If no daemon runs, the repositories are fetched, and nothing is taken over.
    """
    opened = open_here(project, database, config)
    seconds = to_seconds(timeout)
    process = daemon_process(opened.state_dir)
    found = fetch_without_daemon(opened, name) if process is None else ask_daemon(opened, name, process, seconds)
    if as_json:
        print_json([one.as_object() for one in found])
    else:
        for one in found:
            click.echo(one.text(seconds))
        if process is None:
            click.echo("no daemon runs here, so that nothing is taken over: start dagrun schedule", err=True)
    return max(CODES.get(one.outcome, 0) for one in found)


class Synced(NamedTuple):
    project: str
    outcome: str
    commit: Mapping[str, Any] | None
    problem: str | None
    daemon: int | None

    def as_object(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "outcome": self.outcome,
            "commit": commit_object(self.commit),
            "problem": self.problem,
            "daemon": self.daemon,
        }

    def text(self, seconds: float) -> str:
        commit = self.commit
        what = f"commit {commit['id'][:12]} of {commit['author']}: {commit['subject']}" if commit else "no commit"
        if self.outcome == LATE:
            return (
                f"{self.project}: the daemon, process {self.daemon}, has not fetched it within {seconds:g} s\n"
                "  see what it says, or allow more with --timeout"
            )
        if self.outcome == FAILED:
            return f"{self.project}: {self.problem}\n  there is {what}"
        line = f"{self.project}: {self.outcome.replace('_', ' ')}, {what}"
        return f"{line}\n{self.problem}" if self.problem else line


def to_seconds(text: str) -> float:
    from dagrun.core import kinds

    try:
        return kinds.to_seconds(text)
    except (ValueError, TypeError):
        raise click.UsageError(f"--timeout {text!r} is no length of time; write, for example, 30s or 10m") from None


# -- with a daemon


def ask_daemon(opened: Opened, name: str | None, process: int, seconds: float) -> list[Synced]:
    """What the daemon made of the newest commit of each project. Raises NotFound, and Conflict when it ends meanwhile."""
    top = os.path.join(opened.state_dir, "git")
    before = {one: read_status(os.path.join(top, one)) for one in projects_of(opened, name, process)}
    wishes = {one: wish(os.path.join(top, one)) for one in before}
    answers: dict[str, Synced] = {}
    end = time.monotonic() + seconds
    while True:
        for one in wishes.keys() - answers.keys():
            status = read_status(os.path.join(top, one))
            if status is not None and status.process == process and status.answered >= wishes[one]:
                answers[one] = outcome_of(one, status, before[one])
        if len(answers) == len(wishes) or time.monotonic() >= end:
            return [answers.get(one) or Synced(one, LATE, None, None, process) for one in wishes]
        time.sleep(LOOK_SECONDS)
        alive = daemon_process(opened.state_dir)
        if alive is None:
            raise Conflict(
                f"the daemon, process {process}, ended before it answered\n  start it again: dagrun schedule"
            )
        process = alive  # another one has taken its place, and fetches at its start


def projects_of(opened: Opened, name: str | None, process: int) -> list[str]:
    """The one that is named, or those that the daemon runs. Raises NotFound."""
    top = os.path.join(opened.state_dir, "git")
    known = directories(top)
    if name is not None:
        if name not in known:
            raise NotFound("git project", name, known, "the running daemon fetches no repository of that name")
        return [name]
    if not known:
        raise NotFound(
            "git project", opened.state_dir, hint="the running daemon fetches none: dagrun schedule --git URL"
        )
    running = [one for one in known if (status := read_status(os.path.join(top, one))) and status.process == process]
    return running or known  # it has only just begun


def outcome_of(project: str, status: Status, before: Status | None) -> Synced:
    same = before is not None and before.commit is not None and before.taken_over and before.commit == status.commit
    if not status.fetched:
        outcome = FAILED
    elif not status.taken_over:
        outcome = REFUSED
    else:
        outcome = UNCHANGED if same else TAKEN_OVER
    return Synced(project, outcome, status.commit, status.problem, status.process)


def directories(top: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
    except FileNotFoundError:
        return []


# -- without one


def fetch_without_daemon(opened: Opened, name: str | None) -> list[Synced]:
    """The mirrors hold what is newest. Raises NotFound."""
    sources = known_sources(opened)
    if name is not None and name not in sources:
        raise NotFound("git project", name, list(sources), f"no daemon runs here, and {LIST} doesn't list it")
    if not sources:
        hint = f"no daemon runs here, and there is no {LIST} that lists a repository: dagrun schedule --git URL"
        raise NotFound("git project", opened.project_dir, hint=hint)
    return [fetched(source) for one, source in sources.items() if name in (None, one)]


def known_sources(opened: Opened) -> dict[str, Git]:
    """The repositories that `projects.yaml` lists, else those that the last daemon fetched."""
    tokens = Tokens(LocalSecrets(opened.settings.values, os.environ).get, opened.settings.values)
    listed = os.path.join(opened.project_dir, LIST)
    if os.path.exists(listed):
        several: Several = read_list(listed, opened.state_dir, tokens)
        return {source.name: source for source in several.sources if isinstance(source, Git)}
    found = {}
    top = os.path.join(opened.state_dir, "git")
    for name in directories(top):
        status = read_status(os.path.join(top, name))
        if status is not None:
            found[name] = git_source(
                name, status.url, opened.state_dir, branch=status.branch, path=status.path, every=60.0, token=tokens.get(name)
            )  # fmt: skip
    return found


def fetched(source: Git) -> Synced:
    try:
        commit = source.repository.fetch()
    except UserError as problem:
        return Synced(source.name, FAILED, None, f"can't be fetched: {problem}", None)
    return Synced(source.name, FETCHED, facts_of(commit, source.repository), None, None)
