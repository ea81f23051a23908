"""`dagrun retry`: a new attempt of the same session, which goes on from the task that failed (features F38, F39)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from dagrun.cli.opened import find_attempt, json_option, open_here, print_json, project_options
from dagrun.cli.params import param_options, read_params, slots_option
from dagrun.cli.resuming import make_plan
from dagrun.cli.running import (
    current_revision,
    end_dead_attempts,
    make_runner,
    manifest_text,
    revision_of,
    run_to_end,
    store_revision,
)
from dagrun.cli.words import attempt_state
from dagrun.core.config import merge
from dagrun.core.resume import Wish
from dagrun.core.reuse import Plan
from dagrun.core.workflow import Workflow
from dagrun.engine.attempt import Attempt
from dagrun.engine.local import PROJECT_PARAMS
from dagrun.engine.owners import describe
from dagrun.engine.rows import decode
from dagrun.engine.submit import Submission, new_uuid
from dagrun.errors import Conflict, NotFound
from dagrun.project.archive import Directory, snapshot
from dagrun.project.loader import compile_file, workflow_file
from dagrun.store.base import AttemptRow, RevisionRow, SessionRow, Tx


@click.command("retry", short_help="Run an attempt again from the task that failed.")
@click.argument("attempt")
@project_options
@param_options
@click.option(
    "--plan", "plan_only", is_flag=True, help="Show what would be reused and what would run, and why; run nothing."
)
@click.option("--from", "start", metavar="+TASK", help="Run this task and all that depends on it.")
@click.option("--only", is_flag=True, help="With --from: nothing but that task.")
@click.option("--keep-changed", "--resume", is_flag=True, help="Reuse whatever succeeded, also what has changed since.")
@click.option(
    "--resume-from", metavar="+TASK", help="As Digdag: reuse everything ordered before this task, run the rest."
)
@click.option("--revision", metavar="R", help="Run this revision; by default the project as it is now.")
@click.option("--keep-revision", is_flag=True, help="Run the revision of the attempt.")
@slots_option
@json_option
def command(**given: Any) -> int:
    """Run ATTEMPT again: its number, last, or workflow@SESSION-TIME.

    What succeeded and has not changed since is reused; the rest runs.
    """
    return Retry(**given).main()


@dataclass(eq=False, repr=False)
class Retry:
    attempt: str
    project: str | None
    database: str | None
    params: tuple[str, ...]
    params_file: str | None
    config: str | None
    plan_only: bool
    start: str | None
    only: bool
    keep_changed: bool
    resume_from: str | None
    revision: str | None
    keep_revision: bool
    max_task_threads: int | None
    as_json: bool
    directory: str | None = None  # of the project, where it isn't that of the state

    def main(self) -> int:
        self.check_options()
        self.opened = open_here(self.project, self.database, self.config)
        store = self.opened.existing_store
        if not self.plan_only:
            end_dead_attempts(self.opened, lambda text: click.echo(text, err=True))
        with store.reading() as tx:
            old = find_attempt(tx, self.attempt)
            session = tx.get_session(old.session_id)
        if old.finished_at is None and not self.plan_only:
            raise Conflict(
                f"attempt {old.id} is {attempt_state(old)} ({describe(old)}); kill it first: dagrun kill {old.id}"
            )
        row, workflow = self.chosen_revision(old, session)
        given = read_params({}, self.params_file, self.params)
        params = merge(decode(old.params), given)
        wish = Wish(self.keep_changed, self.start, self.only, self.resume_from)
        plan = make_plan(self.opened, workflow, row, old, params, wish)
        if self.plan_only:
            return self.show(plan)
        return self.really(old, session, row, workflow, params, given, plan)

    def check_options(self) -> None:
        if self.only and self.start is None:
            raise click.UsageError("--only goes with --from")
        if self.revision and self.keep_revision:
            raise click.UsageError("--revision and --keep-revision can't be used together")
        if self.resume_from and (self.start or self.keep_changed):
            raise click.UsageError("--resume-from can't be used with --from or --keep-changed")

    def chosen_revision(self, old: AttemptRow, session: SessionRow) -> tuple[RevisionRow, Workflow]:
        """The project as it is now, unless told otherwise."""
        store = self.opened.existing_store
        if self.keep_revision or self.revision:
            with store.reading() as tx:
                row = tx.get_revision(old.revision_id)
                if self.revision:
                    found = tx.find_revision(session.project_id, self.revision)
                    if found is None:
                        raise NotFound("revision", self.revision)
                    row = found
            return row, revision_of(self.opened, row).workflow(session.workflow)
        with store.reading() as tx:
            name = tx.get_project(session.project_id).name
        if name != self.opened.project_name:
            return self.revision_of_daemon(old, session, name)
        files = Directory(self.opened.project_dir)
        workflow = compile_file(files, workflow_file(files, session.workflow))
        digest, manifest = current_revision(self.opened)
        with store.transaction() as tx:
            return store_revision(tx, self.opened, digest, manifest), workflow

    def revision_of_daemon(self, old: AttemptRow, session: SessionRow, name: str) -> tuple[RevisionRow, Workflow]:
        """Of one of the projects that a daemon runs: its folder as it is now, or the commit that was taken over last."""
        store = self.opened.existing_store
        folder = os.path.join(self.opened.project_dir, name)
        if "commit" in decode(old.options) or not os.path.isdir(folder):
            with store.reading() as tx:
                row = tx.latest_revision(session.project_id) or tx.get_revision(old.revision_id)
            return row, revision_of(self.opened, row, old).workflow(session.workflow)
        files = Directory(folder)
        workflow = compile_file(files, workflow_file(files, session.workflow))
        digest, manifest = snapshot(folder, self.opened.state_dir, f"index-{name}")
        self.directory = folder
        with store.transaction() as tx:
            return tx.ensure_revision(session.project_id, digest, manifest_text(manifest)), workflow

    def commit_of(self, row: RevisionRow, old: AttemptRow) -> Any:
        """The commit that a revision was made of, if an attempt remembers it."""
        with self.opened.existing_store.reading() as tx:
            session = tx.get_session(old.session_id)
            for one in tx.list_attempts(project_id=session.project_id, limit=1000):
                commit = decode(one.attempt.options).get("commit")
                if one.attempt.revision_id == row.id and commit:
                    return commit
        return None

    def show(self, plan: Plan) -> int:
        if self.as_json:
            print_json([{"task": one.name, "action": one.action, "reason": one.reason} for one in plan.choices])
            return 0
        width = max((len(one.name) for one in plan.choices), default=0)
        for one in plan.choices:
            click.echo(f"{one.name:{width}}  {one.action:5}  {one.reason}".rstrip())
        return 0

    def really(
        self,
        old: AttemptRow,
        session: SessionRow,
        row: RevisionRow,
        workflow: Workflow,
        params: dict[str, Any],
        given: dict[str, Any],
        plan: Plan,
    ) -> int:
        options = decode(old.options)
        if options.pop("commit", None) and (commit := self.commit_of(row, old)):
            options["commit"] = commit
            self.directory = commit.get("tree") or self.directory
        options[PROJECT_PARAMS] = merge(options.get(PROJECT_PARAMS, {}), given)
        wanted = Submission(
            workflow=workflow,
            project_id=session.project_id,
            revision=row,
            session_time=session.session_time,
            params=params,
            retry_name=new_uuid(),
            options=options,
            plan=plan,
            resumed_from=old.id,
        )

        def guard(tx: Tx) -> None:
            newest = tx.newest_attempt_of_session(session.id)
            if newest is not None and newest.finished_at is None:
                raise Conflict(f"attempt {newest.id} of this session is {attempt_state(newest)} ({describe(newest)})")

        def first_line(attempt: Attempt) -> str:
            reused = sum(1 for one in plan.choices if one.action == "reuse")
            return f"{session.workflow}: attempt {attempt.id} retries attempt {old.id}, {reused} tasks reused"

        revision = revision_of(self.opened, row)
        if self.directory:
            revision = revision._replace(directory=self.directory)
        runner = make_runner(self.opened, revision, row.project_id, slots=self.max_task_threads)
        return run_to_end(runner, wanted, guard, first_line, as_json=self.as_json)
