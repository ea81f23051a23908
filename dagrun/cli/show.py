"""`dagrun show`: one attempt whole: its session, state and times, who runs it, its commit, and what changed before it.

Its tasks are shown by `dagrun tasks`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from dagrun.cli.attempts import session_name
from dagrun.cli.objects import attempt_object, commit_object
from dagrun.cli.opened import Opened, find_attempt, json_option, open_here, print_json, project_options, retry_command
from dagrun.cli.times import duration, short
from dagrun.cli.words import attempt_word
from dagrun.engine.owners import describe, is_alive, is_of_daemon
from dagrun.engine.rows import decode
from dagrun.errors import NotFound, UserError
from dagrun.project.archive import changes_between
from dagrun.store.base import AttemptSummary, RevisionRow

COMMIT = "commit"  # in an attempt's options: what the daemon knew of the commit when it started


@click.command("show", short_help="Show one attempt whole.")
@click.argument("attempt")
@click.option("--definition", is_flag=True, help="Print the workflow's file as this attempt has it.")
@project_options
@json_option
def command(attempt: str, definition: bool, project: str | None, database: str | None, as_json: bool) -> None:
    """Show ATTEMPT: its number, last, or workflow@SESSION-TIME.

    With the files that changed since the workflow's previous attempt, and the commit if its project comes from git.
    """
    opened = open_here(project, database)
    found = read_attempt(opened, attempt)
    if as_json:
        more = {"definition": definition_of(opened, found)} if definition else {}
        print_json(found.as_object() | more)
    elif definition:
        click.echo(definition_of(opened, found), nl=False)
    else:
        for line in found.lines():
            click.echo(line)


@dataclass(frozen=True, slots=True)
class Shown:
    summary: AttemptSummary
    revision: RevisionRow
    previous: AttemptSummary | None  # of the same workflow
    changes: list[str] | None  # `M path`, …; None if there is nothing to compare with
    note: str | None  # why the commits were not compared
    alive: bool  # or done
    queued: str | None  # why it has not begun
    retry: str  # the command

    @property
    def commit(self) -> Mapping[str, Any] | None:
        return commit_of(self.summary)

    def as_object(self) -> dict[str, Any]:
        row = self.summary.attempt
        owner = decode(row.owner)
        return attempt_object(self.summary) | {
            "timezone": row.timezone,
            "queued": self.queued,
            "run_by": {
                "host": owner.get("host"),
                "pid": owner.get("pid"),
                "daemon": is_of_daemon(row),
                "alive": self.alive if row.finished_at is None else None,
            },
            "commit": commit_object(self.commit),
            "previous_attempt": self.previous.attempt.id if self.previous else None,
            "changes": self.changes,
            "changes_note": self.note,
        }

    def lines(self) -> list[str]:
        facts = [(name, text) for name, text in (*self.facts(), *self.commit_facts(), *self.change_facts()) if text]
        width = max(len(name) for name, _ in facts)
        return [f"{name:{width}}  {text}".rstrip() for name, text in facts] + [
            f"  {line}" for line in self.changes or ()
        ]

    def facts(self) -> list[tuple[str, str]]:
        row = self.summary.attempt
        after = f", after {duration(self.summary.length)}" if self.summary.length is not None else ""
        params = json.loads(row.params)
        error = json.loads(row.error)["message"] if row.error else ""
        number = f"{row.id}, #{row.number} of its session"
        return [
            ("attempt", f"{number}, named {row.retry_name}" if row.retry_name else number),
            ("session", session_name(self.summary)),
            ("project", self.summary.project),
            ("state", self.state()),
            ("error", error),
            ("started", short(self.summary.started_at)),
            ("ended", f"{short(row.finished_at)}{after}"),
            ("run by", f"{describe(row)}{', a daemon' if is_of_daemon(row) else ''}"),
            ("retries", f"attempt {row.resumed_from}" if row.resumed_from is not None else ""),
            ("params", json.dumps(params, ensure_ascii=False) if params else ""),
            ("revision", self.summary.revision),
        ]

    def state(self) -> str:
        row = self.summary.attempt
        if self.queued is not None:
            return f"queued: {self.queued}"
        if not self.alive:
            return f"lost: the process that ran it is dead; to go on: {self.retry}"
        word = attempt_word(row, alive=True)
        return f"{word}, to be killed" if row.finished_at is None and row.cancel_requested else word

    def commit_facts(self) -> list[tuple[str, str]]:
        commit = self.commit
        if commit is None:
            return []
        branch = f", branch {commit['branch']}" if commit.get("branch") else ""
        path = f", path {commit['path']}" if commit.get("path") else ""
        return [
            ("commit", f"{commit['id']}  {commit['subject']}"),
            ("author", f"{commit['author']}, {short(commit['date'])}"),
            ("from", f"{commit['url']}{branch}{path}"),
        ]

    def change_facts(self) -> list[tuple[str, str]]:
        if self.previous is None:
            return [("changes", "none to tell of: it is the first attempt of its workflow that is still known")]
        since = f"since attempt {self.previous.attempt.id}"
        before = commit_of(self.previous)
        if before is not None and self.commit is not None and before["id"] != self.commit["id"]:
            since += f", commit {before['id'][:12]}"
        count = len(self.changes or ())
        what = "nothing" if count == 0 else f"{count} file{'s' if count > 1 else ''}"
        return [("note", self.note or ""), ("changes", f"{what} {since}")]


def read_attempt(opened: Opened, text: str) -> Shown:
    """Raises NotFound, UserError."""
    with opened.existing_store.reading() as tx:
        row = find_attempt(tx, text)
        (summary,) = tx.list_attempts(before_id=row.id + 1, limit=1)
        session = summary.session
        before = tx.list_attempts(project_id=session.project_id, workflow=session.workflow, before_id=row.id, limit=1)
        previous = before[0] if before else None
        revision = tx.get_revision(row.revision_id)
        earlier = tx.get_revision(previous.attempt.revision_id) if previous else None
        waiting = [] if row.finished_at is not None else tx.list_queued()
    queued = next((one.why for one in waiting if one.attempt_id == row.id), None)
    alive = row.finished_at is not None or is_alive(opened.state_dir, row)
    changes, note = None, None
    if previous is not None and earlier is not None:
        changes, note = changes_of_commits(opened, commit_of(previous), commit_of(summary), summary.project)
        if changes is None:
            changes = changes_between(json.loads(earlier.manifest), json.loads(revision.manifest))
    return Shown(summary, revision, previous, changes, note, alive, queued, retry_command(opened, row.id))


def commit_of(one: AttemptSummary) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = decode(one.attempt.options).get(COMMIT)
    return found


def changes_of_commits(
    opened: Opened, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, project: str
) -> tuple[list[str] | None, str | None]:
    """What changed between two commits of one repository, else None and why that can't be told."""
    if old is None or new is None:
        return None, None
    if old["url"] != new["url"] or old.get("path") != new.get("path"):
        return None, "the project came from another place then; its files are compared"
    if old["id"] == new["id"]:
        return [], None
    from dagrun.project.git import Repository

    mirror = os.path.join(opened.state_dir, "git", project)
    try:
        repository = Repository(new["url"], mirror, branch=new.get("branch"), path=new.get("path") or "")
        return repository.changes(old["id"], new["id"]), None
    except NotFound as problem:
        return None, f"the mirror no longer knows commit {problem.name[:12]}; the files of both revisions are compared"
    except UserError as problem:
        reason = str(problem).splitlines()[0]
        return None, f"the commits can't be compared, so the files of both revisions are: {reason}"


def definition_of(opened: Opened, found: Shown) -> str:
    """The text of the workflow's file. Raises NotFound when the archive has lost it."""
    from dagrun.cli.running import revision_of
    from dagrun.project.loader import read_text, workflow_file

    files = revision_of(opened, found.revision, found.summary.attempt).files
    return read_text(files, workflow_file(files, found.summary.session.workflow))
