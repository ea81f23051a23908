"""Attempts run by this process: `dagrun run` and `dagrun retry`.

One loop in one thread. A required workflow (`require>`) runs in the same loop as an attempt of its own. The loop ends when
every attempt that it was given, or started itself, is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dagrun.core.config import merge
from dagrun.core.events import Canceled
from dagrun.core.session import parse_full_time, whole_seconds
from dagrun.core.sla import Alarm, alarm_of
from dagrun.core.state import SUCCESS
from dagrun.core.workflow import Workflow
from dagrun.engine.attempt import Attempt, open_attempt
from dagrun.engine.launch import Launcher
from dagrun.engine.owners import Ownership
from dagrun.engine.submit import Submission, new_uuid, submit
from dagrun.engine.worker import Observer, Report, Worker, machine_clock
from dagrun.errors import NotFound, TaskFailed, UserError
from dagrun.plugins.operator import Child
from dagrun.store.base import AttemptRow, RevisionRow, Store, Tx

PROJECT_PARAMS = "project_params"  # in an attempt's options: what `-p` gave, which required workflows see too


class Revision(NamedTuple):
    """The project as this run sees it: the revision's row, its files, and how a workflow of it is loaded."""

    row: RevisionRow
    files: Any
    manifest: Mapping[str, Any]
    workflow: Callable[[str], Workflow]  # by name; raises NotFound


class Local:
    def __init__(
        self,
        store: Store,
        state_dir: str,
        launcher: Launcher,
        observer: Observer,
        revision: Revision,
        *,
        slots: int,
        secret_value: Callable[[str], str | None],
        schedule_params: Callable[[Workflow, int], Mapping[str, Any]],
        clock: Callable[[], int] = machine_clock,
    ) -> None:
        self.store = store
        self.state_dir = state_dir
        self.revision = revision
        self.schedule_params = schedule_params
        self.observer = observer
        self.owned: dict[int, Ownership] = {}
        self.alarms: list[tuple[int, Attempt, Alarm]] = []
        self.worker = Worker(
            store, launcher, observer, slots=slots, secret_value=secret_value, start_required=self.require, clock=clock
        )

    # -- starting

    def submit(self, wanted: Submission, guard: Callable[[Tx], None] = lambda _: None) -> Attempt:
        """Make the attempt and take it on, in one transaction; `guard` may look at the store first, and refuse."""
        with self.store.transaction() as tx:
            guard(tx)
            return self.submit_in(tx, wanted)

    def submit_in(self, tx: Tx, wanted: Submission) -> Attempt:
        alarm = alarm_of(wanted.workflow, tx.now)
        params = {**wanted.params, **self.schedule_params(wanted.workflow, wanted.session_time)}
        row, live = submit(tx, wanted._replace(params=params), self.state_dir)
        # Before the row can be seen: who sees it running finds the lock taken.
        self.owned[row.id] = Ownership(self.state_dir, row.id)
        attempt = open_attempt(tx, live, row, self.revision.files, self.revision.manifest)
        if alarm:
            self.alarms.append((alarm.at, attempt, alarm))
        self.worker.add(attempt)
        return attempt

    # -- the loop

    def run(self) -> None:
        """Until all attempts are done."""
        while self.worker.attempts:
            self.ring()
            seconds = self.worker.poll()
            self.let_go()
            pause = self.observer.tick()
            if self.worker.attempts:
                self.worker.wait(min(self.until_alarm(seconds), pause))

    def cancel(self, reason: str) -> None:
        """Ask every attempt to end; the loop goes on until they have."""
        for attempt in self.worker.attempts.values():
            self.worker.reports.append(Report(attempt, Canceled(reason)))

    def hurry(self) -> None:
        """No more grace: kill what is still there."""
        self.worker.hurry()

    def let_go(self) -> None:
        for attempt_id in list(self.owned):
            if attempt_id not in self.worker.attempts:
                self.owned.pop(attempt_id).release()

    def ring(self) -> None:
        """Agreements on time (`sla`) that are overdue (spec/language 8)."""
        now = self.worker.now()
        for entry in [entry for entry in self.alarms if entry[0] <= now]:
            self.alarms.remove(entry)
            if entry[1].id in self.worker.attempts:
                self.worker.reports.append(Report(entry[1], entry[2].event()))

    def until_alarm(self, seconds: float) -> float:
        now = self.worker.now()
        return max(0.0, min([seconds, *((at - now) / 1_000_000 for at, _, _ in self.alarms)]))

    # -- require>

    def require(
        self,
        parent: Attempt,
        workflow: str,
        *,
        session_time: str | None,
        params: Mapping[str, Any],
        retry_name: str | None,
        project: str | int | None = None,
    ) -> Child:
        """The attempt of that workflow's session, started now if it isn't there (spec/operators 2.2)."""
        if project is not None and str(project) not in (str(parent.session.project_id), "default"):
            raise TaskFailed(f"Dependent project not found: {project}", "dependent_missing")
        try:
            found = self.revision.workflow(workflow)
        except NotFound:
            raise TaskFailed(f"Dependent workflow not found: {workflow}", "dependent_missing") from None
        except UserError as problem:
            raise TaskFailed(str(problem), "dependent_missing", "config") from None
        at = parse_full_time(session_time) if session_time else parent.session.session_time
        assert at is not None
        project_params = parent.options.get(PROJECT_PARAMS, {})
        wanted = Submission(
            workflow=found,
            project_id=parent.session.project_id,
            revision=self.revision.row,
            session_time=whole_seconds(at),
            params=merge(project_params, params),
            retry_name=retry_name or "",
            options={
                key: value
                for key, value in parent.options.items()
                if key in ("workspace", "task_limit", PROJECT_PARAMS)
            },
        )
        with self.store.transaction() as tx:
            session = tx.ensure_session(wanted.project_id, found.name, wanted.session_time, new_uuid())
            row = tx.find_attempt(session.id, retry_name) if retry_name else tx.newest_attempt_of_session(session.id)
            if row is not None:
                return child_of(row, started=False)
            return child_of(self.submit_in(tx, wanted).row, started=True)


def child_of(row: AttemptRow, *, started: bool) -> Child:
    return Child(
        attempt_id=row.id,
        session_id=row.session_id,
        started=started,
        done=row.finished_at is not None,
        success=row.state == SUCCESS,
    )
