"""Attempts run by this process, in one loop in one thread: of `dagrun run`, of `dagrun retry`, of the daemon.

A required workflow (`require>`) runs in the same loop as an attempt of its own. `run` ends when every attempt that it was
given, or started itself, is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from dagrun.core.config import merge
from dagrun.core.events import Canceled
from dagrun.core.kinds import to_text
from dagrun.core.session import parse_full_time, whole_seconds
from dagrun.core.sla import Alarm, Pace, alarm_of, asks_for_usual
from dagrun.core.state import SUCCESS
from dagrun.core.template import evaluate
from dagrun.core.workflow import Workflow
from dagrun.engine.attempt import Attempt, Hosting, open_attempt
from dagrun.engine.launch import Launcher
from dagrun.engine.observer import Observer
from dagrun.engine.owners import Ownership
from dagrun.engine.pauses import PARENT
from dagrun.engine.submit import Submission, new_uuid, process, submit
from dagrun.engine.tries import Report, machine_clock
from dagrun.engine.turn import Live
from dagrun.engine.waiting_room import BACKFILL, KEY
from dagrun.engine.worker import Worker
from dagrun.errors import NotFound, TaskFailed, UserError, WorkflowError
from dagrun.light import NamedTuple
from dagrun.plugins.operator import Child
from dagrun.store.base import AttemptRow, RevisionRow, Store, Tx

if TYPE_CHECKING:
    from dagrun.engine.gates import Gates
    from dagrun.engine.noticing import Noticing

RUN_TIME = "run_time"  # in an attempt's options: when it was to start, where that isn't when it was made
PROJECT_PARAMS = "project_params"  # in an attempt's options: what `-p` gave, which required workflows see too


class Revision(NamedTuple):
    """The project as this run sees it: the revision's row, its files, and how a workflow of it is loaded."""

    row: RevisionRow
    files: Any
    manifest: Mapping[str, Any]
    directory: str  # of the project
    workflow: Callable[[str], Workflow]  # by name; raises NotFound


class Local:
    def __init__(
        self,
        store: Store,
        state_dir: str,
        launcher: Launcher,
        observer: Observer,
        *,
        slots: int,
        secret_value: Callable[[str], str | None],
        schedule_params: Callable[[Workflow, int], Mapping[str, Any]],
        clock: Callable[[], int] = machine_clock,
        daemon: bool = False,
        gates: Gates | None = None,
        noticing: Noticing | None = None,
        hosting: Hosting | None = None,
    ) -> None:
        self.store = store
        self.state_dir = state_dir
        self.daemon = daemon
        self.noticing = noticing
        self.hosting = hosting or Hosting()
        self.revisions: dict[int, Revision] = {}
        self.schedule_params = schedule_params
        self.observer = observer
        self.owned: dict[int, Ownership] = {}
        self.ended = 0  # attempts so far: others may wait for that
        self.alarms: list[tuple[int, int, Alarm]] = []
        self.worker = Worker(
            store,
            launcher,
            observer,
            slots=slots,
            secret_value=secret_value,
            start_required=self.require,
            clock=clock,
            durable=daemon,
            gates=gates,
        )

    # -- starting

    def submit(self, wanted: Submission, revision: Revision, guard: Callable[[Tx], None] = lambda _: None) -> Attempt:
        """Make the attempt and take it on, in one transaction; `guard` may look at the store first, and refuse."""
        with self.store.transaction() as tx:
            guard(tx)
            return self.submit_in(tx, wanted, revision)

    def submit_in(self, tx: Tx, wanted: Submission, revision: Revision) -> Attempt:
        alarm_of(wanted.workflow, tx.now)  # a bad one is refused before anything is written
        row, live = submit(tx, self.filled(wanted), self.process())
        return self.take_on(tx, row, live, revision)

    def filled(self, wanted: Submission) -> Submission:
        """With the parameters that its schedule gives to a session, and the options that its file gives to an attempt."""
        params = {**wanted.params, **self.schedule_params(wanted.workflow, wanted.session_time)}
        options = dict(wanted.options)
        if wanted.workflow.concurrency is not None and KEY not in options:
            options[KEY] = self.key_of(wanted.workflow, params)
        if wanted.workflow.priority:
            options.setdefault("priority", wanted.workflow.priority)
        return wanted._replace(params=params, options=options)

    def key_of(self, workflow: Workflow, params: Mapping[str, Any]) -> str:
        """The attempts of the same key are counted together. Raises UserError when it can't be evaluated."""
        assert workflow.concurrency is not None
        javascript = self.worker.javascript.at(workflow.timezone, self.worker.now() / 1_000_000)
        try:
            return to_text(evaluate(params, {KEY: workflow.concurrency.key}, javascript)[KEY] or "")
        except TaskFailed as problem:
            raise UserError(f"{workflow.file}: concurrency: key: {problem}") from None

    def process(self) -> Mapping[str, Any]:
        return process(self.state_dir, daemon=self.daemon)

    def take_on(self, tx: Tx, row: AttemptRow, live: Live, revision: Revision) -> Attempt:
        """Work on an attempt from now on."""
        if not self.daemon:  # before the row can be seen: who sees it running finds the lock taken
            self.owned[row.id] = Ownership(self.state_dir, row.id)
        attempt = open_attempt(tx, live, row, revision.files, revision.manifest, revision.directory)
        attempt.hosting = self.hosting
        self.revisions[row.id] = revision
        if self.noticing is not None:
            live.witness = self.noticing.witness(live.workflow, revision.files)
        alarm = self.alarm(tx, row, live, attempt)
        if alarm is not None:
            heappush(self.alarms, (alarm.at, row.id, alarm))
        self.worker.add(attempt)
        return attempt

    def alarm(self, tx: Tx, row: AttemptRow, live: Live, attempt: Attempt) -> Alarm | None:
        """What is to ring. A session of a backfill is late by its nature, and has none (spec/scheduling 9.3).

        One that is refused now was accepted by an earlier version, when the attempt was made: that must end nobody.
        """
        if BACKFILL in attempt.options or has_rung(attempt):
            return None
        run_time = int(attempt.options.get(RUN_TIME, row.created_at))
        try:
            return alarm_of(live.workflow, run_time, pace_of(tx, live.workflow, row))
        except WorkflowError as problem:
            self.observer.warned(f"attempt {row.id} has no alarm: {problem}")
            return None

    # -- the loop

    def run(self, beat: Callable[[], float] = lambda: 60.0) -> None:
        """Until all attempts are done. `beat` is a further part of the loop: it says when it is due again.

        When it raises, nothing that was started here is alive.
        """
        try:
            while self.worker.attempts:
                seconds = min(self.poll(), beat())
                if self.worker.attempts:
                    self.worker.wait(seconds)
        except BaseException:
            self.worker.end_all()
            raise

    def poll(self) -> float:
        """One pass; the seconds until the next one."""
        seconds = self.worker.poll(self.ring)
        self.let_go()
        return min(self.until_alarm(seconds), self.observer.tick())

    def cancel(self, reason: str) -> None:
        """Ask every attempt to end; the loop goes on until they have."""
        for attempt in self.worker.attempts.values():
            self.worker.reports.append(Report(attempt, Canceled(reason)))

    def cancel_one(self, attempt_id: int, reason: str) -> None:
        attempt = self.worker.attempts.get(attempt_id)
        if attempt is not None:
            self.worker.reports.append(Report(attempt, Canceled(reason)))

    def hurry(self) -> None:
        """No more grace: kill what is still there."""
        self.worker.hurry()

    def let_go(self) -> None:
        """Of attempts that are done."""
        while self.worker.over:
            attempt_id = self.worker.over.pop()
            del self.revisions[attempt_id]
            self.ended += 1
            owned = self.owned.pop(attempt_id, None)
            if owned:
                owned.release()

    def others_ended(self) -> None:
        """This process has ended attempts of others: whoever waits for something of theirs looks again."""
        self.ended += 1
        self.worker.wanted.update(self.worker.attempts)

    def ring(self) -> None:
        """Agreements on time (`sla`) that are overdue (spec/language 8). What has ended is recorded first: it is not late.

        They come before the ends of what has started since.
        """
        now = self.worker.now()
        if self.alarms and self.alarms[0][0] <= now:
            self.worker.report()
        rung: list[Report] = []
        while self.alarms and self.alarms[0][0] <= now:
            _, attempt_id, alarm = heappop(self.alarms)
            if attempt_id in self.worker.attempts:
                attempt = self.worker.attempts[attempt_id]
                rung.append(Report(attempt, alarm.event()))
                if alarm.kill:
                    rung.append(Report(attempt, Canceled("it was not done in time (sla: kill)")))
                self.observer.warned(f"attempt {attempt_id} of {attempt.session.workflow} is not done in time (sla)")
        self.worker.reports[:0] = rung

    def until_alarm(self, seconds: float) -> float:
        if not self.alarms:
            return seconds
        return max(0.0, min(seconds, (self.alarms[0][0] - self.worker.now()) / 1_000_000))

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
        """The attempt of that workflow's session, started now if it isn't there and there is room (spec/operators 2.2)."""
        if project is not None and str(project) not in (str(parent.session.project_id), "default"):
            raise TaskFailed(f"Dependent project not found: {project}", "dependent_missing")
        try:
            revision = self.revisions[parent.id]
            found = revision.workflow(workflow)
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
            revision=revision.row,
            session_time=whole_seconds(at),
            params=merge(project_params, params),
            retry_name=retry_name or "",
            options={
                key: value
                for key, value in parent.options.items()
                if key in ("workspace", "task_limit", "commit", PROJECT_PARAMS)
            }
            | {PARENT: parent.id},
        )
        return self.found_or_started(wanted if found.concurrency is None else self.filled(wanted), revision)

    def found_or_started(self, wanted: Submission, revision: Revision) -> Child:
        workflow, retry_name = wanted.workflow, wanted.retry_name
        with self.store.transaction() as tx:
            if workflow.concurrency is not None:
                tx.lock_project(wanted.project_id)
            session = tx.ensure_session(wanted.project_id, workflow.name, wanted.session_time, new_uuid())
            row = tx.find_attempt(session.id, retry_name) if retry_name else tx.newest_attempt_of_session(session.id)
            if row is not None:
                return child_of(row, started=False)
            if workflow.concurrency is None:
                return child_of(self.submit_in(tx, wanted, revision).row, started=True)
            from dagrun.core.concurrency import START
            from dagrun.engine.admission import held_up, look

            room = look(tx, wanted)
            if room.verdict == START:
                return child_of(self.submit_in(tx, wanted, revision).row, started=True)
        return held_up(self, wanted, room)


def pace_of(tx: Tx, workflow: Workflow, row: AttemptRow) -> Pace | None:
    """The attempt's, if the workflow asks for it and it is known."""
    if not asks_for_usual(workflow):
        return None
    from dagrun.engine.usual import usual_length

    (one,) = tx.list_attempts(before_id=row.id + 1, limit=1)
    length = usual_length(tx, one)
    return None if length is None else Pace(one.started_at or tx.now, length)


def has_rung(attempt: Attempt) -> bool:
    return any(task.spec.name.startswith("^sla") for task in attempt.tree.members(attempt.tree.root))


def child_of(row: AttemptRow, *, started: bool) -> Child:
    return Child(
        attempt_id=row.id,
        session_id=row.session_id,
        started=started,
        done=row.finished_at is not None,
        success=row.state == SUCCESS,
    )
