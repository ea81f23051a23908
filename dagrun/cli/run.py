"""`dagrun run`: run a workflow of this directory, or go on with its last attempt that failed (features, section 0)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from dagrun.cli.objects import print_attempt
from dagrun.cli.opened import Opened, json_option, print_json, project_options
from dagrun.cli.params import param_options, read_params, slots_option
from dagrun.cli.running import (
    configured_executor,
    current_revision,
    end_dead_attempts,
    make_runner,
    revision_of,
    run_to_end,
    store_revision,
)
from dagrun.cli.times import session_time
from dagrun.cli.words import attempt_state
from dagrun.core.resume import one_task
from dagrun.core.session import format_time
from dagrun.core.state import SUCCESS
from dagrun.core.tree import left_out
from dagrun.core.workflow import Workflow
from dagrun.core.zone import zone
from dagrun.engine.attempt import Attempt
from dagrun.engine.local import PROJECT_PARAMS
from dagrun.engine.owners import describe
from dagrun.engine.submit import TASK_LIMIT, Submission, new_uuid
from dagrun.errors import Conflict
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, find_project
from dagrun.store.base import AttemptRow, Tx


@click.command("run", short_help="Run a workflow.")
@click.argument("workflow")
@click.argument("task", required=False)
@project_options
@param_options
@click.option(
    "--session", "-t", default=None, metavar="TIME", help="Session time: daily, hourly, schedule, last, or a date."
)
@click.option("-a", "--rerun", "--all", is_flag=True, help="Start afresh, whatever the last attempt did.")
@click.option("-s", "--start", metavar="+TASK", help="Run this task and everything after it.")
@click.option(
    "-g", "--goal", metavar="+TASK", help="Run this task, and what it needs if that isn't done; nothing else."
)
@click.option("-e", "--end", metavar="+TASK", help="Don't run this task and what follows.")
@click.option("--priority", type=click.IntRange(0, 9), help="Before others that wait for slots; 9 is the highest.")
@click.option("--in-place", is_flag=True, help="Run tasks in the project directory itself.")
@click.option("-d", "--dry-run", is_flag=True, help="Show what would run; run and record nothing.")
@click.option("-E", "--show-params", is_flag=True, help="Show the parameters of each task, with --dry-run.")
@slots_option
@json_option
def command(**given: Any) -> int:
    """Run a workflow: a file of this directory, or the path of one.

    If its newest attempt failed or was killed, the run goes on from there; --rerun starts afresh.
    """
    return Run(**given).main()


@dataclass(eq=False, repr=False)
class Run:
    workflow: str
    task: str | None
    project: str | None
    database: str | None
    params: tuple[str, ...]
    params_file: str | None
    config: str | None
    session: str | None
    rerun: bool
    start: str | None
    goal: str | None
    end: str | None
    priority: int | None
    in_place: bool
    dry_run: bool
    show_params: bool
    max_task_threads: int | None
    as_json: bool

    def main(self) -> int:
        self.check_options()
        directory, file = find_project(self.workflow, self.project, os.getcwd())
        self.opened = Opened(directory, self.database, self.config)
        configured_executor(self.opened)  # refused before anything is recorded
        files = Directory(directory)
        found = compile_file(files, file)
        self.given = read_params(self.opened.settings.params, self.params_file, self.params)
        if self.project is not None and os.path.realpath(directory) != os.path.realpath(os.getcwd()):
            self.given["_project_path"] = directory
        self.check_tasks(found)
        from dagrun.cli.checking import warn_before_run

        warn_before_run(files, found)
        if self.dry_run:
            from dagrun.cli.planning import print_plan, rows_of

            if self.as_json:
                print_json(rows_of(found, self.given, session_time(found, self.session)))
                return 0
            return print_plan(found, self.given, session_time(found, self.session), show_params=self.show_params)
        return self.really(found)

    def check_options(self) -> None:
        for one, other in (("start", "goal"), ("goal", "end"), ("rerun", "start"), ("rerun", "goal")):
            if getattr(self, one) and getattr(self, other):
                raise click.UsageError(f"--{one} and --{other} can't be used together")

    def check_tasks(self, workflow: Workflow) -> None:
        for pattern in (self.task, self.start, self.goal, self.end):
            if pattern is not None:
                one_task(workflow, pattern)

    def really(self, workflow: Workflow) -> int:
        def say(text: str) -> None:
            click.echo(text, err=True)

        end_dead_attempts(self.opened, say)
        digest, manifest = current_revision(self.opened)
        with self.opened.store.transaction() as tx:
            row = store_revision(tx, self.opened, digest, manifest)
            before = self.newest(tx, row.project_id, workflow)
            at = self.time_of_session(tx, workflow, before)
        if before is not None:
            if before.finished_at is None:
                raise Conflict(f"attempt {before.id} of this session is {attempt_state(before)} ({describe(before)})")
            if before.state == SUCCESS and not self.selects and not self.rerun and self.is_whole(before):
                say(
                    f"{self.name(workflow, at)}: attempt {before.id} succeeded already, nothing to do; --rerun runs it again"
                )
                if self.as_json:
                    print_attempt(self.opened.store, before.id)
                return 0
        runner = make_runner(self.opened, revision_of(self.opened, row), row.project_id, slots=self.max_task_threads)
        goes_on = before is not None and not self.rerun
        wanted = self.submission(workflow, row, at, before if goes_on else None)

        def guard(tx: Tx) -> None:
            session = tx.find_session(row.project_id, workflow.name, at)
            newest = tx.newest_attempt_of_session(session.id) if session else None
            if newest is not None and newest.finished_at is None:
                raise Conflict(f"attempt {newest.id} of this session is {attempt_state(newest)} ({describe(newest)})")

        def first_line(attempt: Attempt) -> str:
            text = f"{self.name(workflow, at)}: attempt {attempt.id}"
            return f"{text} goes on with attempt {before.id}" if goes_on and before else text

        return run_to_end(runner, wanted, guard, first_line, as_json=self.as_json)

    def is_whole(self, before: AttemptRow) -> bool:
        """Nothing was left out of it."""
        with self.opened.store.reading() as tx:
            return not any(map(left_out, tx.load_tasks(before.id)))

    @property
    def selects(self) -> bool:
        return any((self.task, self.start, self.goal, self.end))

    def name(self, workflow: Workflow, at: int) -> str:
        return f"{workflow.name}@{format_time(at, zone(workflow.timezone))}"

    # -- which session

    def newest(self, tx: Tx, project_id: int, workflow: Workflow) -> AttemptRow | None:
        """The attempt that decides what happens: of the session asked for, else the workflow's newest if it can go on."""
        if self.session is not None and self.session != "last":
            session = tx.find_session(project_id, workflow.name, session_time(workflow, self.session))
            return tx.newest_attempt_of_session(session.id) if session else None
        newest = tx.newest_attempt_of_workflow(project_id, workflow.name)
        if newest is None or (newest.state == SUCCESS and not self.selects and not self.rerun):
            session = tx.find_session(project_id, workflow.name, session_time(workflow, self.session))
            if session is None or newest is None:
                return None
            # Everything runs, as a new attempt of today's session.
            self.rerun = True
            return tx.newest_attempt_of_session(session.id)
        return newest

    def time_of_session(self, tx: Tx, workflow: Workflow, before: AttemptRow | None) -> int:
        if before is not None:
            return tx.get_session(before.session_id).session_time
        return session_time(workflow, self.session)

    # -- what to start

    def submission(self, workflow: Workflow, row: Any, at: int, before: AttemptRow | None) -> Submission:
        from dagrun.cli.resuming import plan_for_run

        options: dict[str, Any] = {PROJECT_PARAMS: self.given, "task_limit": TASK_LIMIT}
        if self.in_place:
            options["workspace"] = "project"
        if self.priority is not None:
            options["priority"] = self.priority
        plan = None
        if before is not None or self.selects:
            plan = plan_for_run(self.opened, workflow, row, before, self.given, self)
        with self.opened.store.reading() as tx:
            session = tx.find_session(row.project_id, workflow.name, at)
            named = session is not None and tx.newest_attempt_of_session(session.id) is not None
        return Submission(
            workflow=workflow,
            project_id=row.project_id,
            revision=row,
            session_time=at,
            params=self.given,
            retry_name=new_uuid() if named else "",
            options=options,
            plan=plan,
            resumed_from=before.id if before is not None else None,
        )
