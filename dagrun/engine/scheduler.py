"""Starts the sessions that are due. One pass a call; what becomes of a session is decided in `core/decide.py`.

Each pass takes the due rows some dozen at a time, and each dozen is one transaction: the attempt, its tasks and the next
due time are there together, or not at all. Whatever is killed in between, no session is lost and none is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Any

from dagrun.core.concurrency import FAIL, SKIP, START
from dagrun.core.decide import BROKEN_WAIT, MISSED, Decision, Planned, Skip, Start, Wait, decide, seconds
from dagrun.core.schedule import Slot
from dagrun.core.session import SECOND, format_time
from dagrun.core.sla import start_within
from dagrun.core.workflow import Concurrency, Workflow
from dagrun.core.zone import zone
from dagrun.engine.admission import CAUGHT_UP, active_of, end, look
from dagrun.engine.backfill import LAST_EXECUTED, backfill_is_over
from dagrun.engine.local import RUN_TIME, Local, Revision
from dagrun.engine.rows import decode
from dagrun.engine.submit import Submission, start, submit
from dagrun.engine.timetable import enable, moved_to, share
from dagrun.engine.turn import Live
from dagrun.engine.waiting_room import KEY, STRICT, busy_word, end_queued, fail_queued, is_queued, queue, ready
from dagrun.errors import NotFound, UserError
from dagrun.light import NamedTuple, Protocol
from dagrun.store.base import AttemptRow, ScheduleRow, SkipRow, Store, Tx

AT_ONCE = 50  # rows in one transaction
IN_A_PASS = 100  # rows, of a crowd: then what was started is worked on, so that it is neither late nor all in memory
IDLE_SECONDS = 60.0


class Projects(Protocol):
    """The projects as they are now."""

    def ids(self) -> list[int]: ...

    def planned(self, row: ScheduleRow) -> Planned:
        """Raises NotFound when the project has no such schedule any more."""

    def workflow(self, project_id: int, name: str) -> Workflow:
        """As it is now. Raises NotFound, WorkflowError."""

    def revision(self, project_id: int) -> Revision:
        """The newest. Raises NotFound."""

    def revision_of(self, tx: Tx, row: AttemptRow) -> Revision:
        """The one that an attempt was made of."""

    def options(self, project_id: int) -> Mapping[str, Any]:
        """What each attempt of the project gets as options."""


class Made(NamedTuple):
    row: AttemptRow
    live: Live
    revision: Revision


class Scheduler:
    """`most` attempts may be not done; `opened_at` is when this process began: what was missed before is spread out."""

    def __init__(
        self,
        store: Store,
        local: Local,
        projects: Projects,
        say: Callable[[str], None],
        *,
        most: int | None = None,
        opened_at: int | None = None,
    ) -> None:
        self.store = store
        self.local = local
        self.projects = projects
        self.say = say
        self.most = most
        self.opened_at = opened_at
        self.made: list[Made] = []
        self.queue_looked_at = 0
        self.late: set[tuple[int, str, int]] = set()  # sessions of which it was said that they start late
        self.canceled: list[tuple[AttemptRow, str]] = []
        self.said: list[str] = []

    def poll(self, now: int) -> float:
        """One pass; the seconds until the next row is due."""
        more = self.start_due(now, IN_A_PASS)
        self.start_queued()
        if more:
            return 0.0
        if now >= self.queue_looked_at + IDLE_SECONDS * SECOND:
            self.queue_looked_at = now
            self.look_at_queued(now)
        with self.store.reading() as tx:
            dues = [due for project in self.projects.ids() if (due := tx.next_due_schedule(project)) is not None]
        return min([IDLE_SECONDS, *(max(0.0, (due - now) / SECOND) for due in dues)])

    def start_due(self, now: int, most: float = inf) -> bool:
        """Handle what is due, of each project in turn. Whether some is left because `most` rows were handled."""
        with self.store.reading() as tx:
            paused = any(row.attempt_id == 0 for row in tx.list_pauses())
            over = [row for row in tx.ended_pauses(now) if row.project_id in self.projects.ids()]
        if paused:
            return False
        if over:
            self.enable(over)
        todo = self.projects.ids()
        while todo:
            handled = {project_id: self.some(project_id, now, AT_ONCE) for project_id in todo}
            todo = [project_id for project_id, count in handled.items() if count]
            most -= sum(handled.values())
            if most <= 0:
                return bool(todo)
        return False

    def enable(self, rows: list[ScheduleRow]) -> None:
        """Their time of being disabled is over."""
        with self.store.transaction() as tx:
            for project_id in sorted({row.project_id for row in rows}):
                tx.lock_project(project_id)
            for row in rows:
                enable(tx, tx.lock_schedule(row.id), tx.now)

    def some(self, project_id: int, now: int, limit: int) -> int:
        """Some of a project's due rows; how many. When one of them can't be handled, each is handled by itself."""
        broken: tuple[ScheduleRow, UserError] | None = None
        self.forget()
        try:
            with self.store.transaction() as tx:
                tx.lock_project(project_id)
                rows = tx.due_schedules(project_id, now, limit)
                for row in rows:
                    try:
                        self.handle(tx, row, now)
                    except UserError as problem:
                        broken = row, problem
                        raise
        except UserError:
            if broken is None:
                raise
            self.forget()
            if limit > 1:
                return self.some(project_id, now, 1)
            self.put_off(*broken, now)
            return 1
        self.follow_up()
        return len(rows)

    def forget(self) -> None:
        self.made, self.canceled, self.said = [], [], []

    def follow_up(self) -> None:
        """What was decided is durable: work on it."""
        with self.store.reading() as tx:
            for made in self.made:
                self.local.take_on(tx, *made)
        for row, reason in self.canceled:
            try:
                end(self.local, row, reason)
            except UserError as problem:
                self.said.append(f"attempt {row.id} can't be ended: {problem}")
        for text in self.said:
            self.say(text)
        self.forget()

    def put_off(self, row: ScheduleRow, problem: UserError, now: int) -> None:
        """It can't be used as it is: the same session again in an hour (spec/scheduling 6.2 row 6)."""
        with self.store.transaction() as tx:
            fresh = tx.lock_schedule(row.id)
            until = now - now % SECOND + BROKEN_WAIT
            tx.save_schedule(fresh._replace(next_run=until, note=str(problem), updated_at=now))
        self.say(f"{row.workflow}: not started, tried again in an hour: {problem}")

    # -- one session

    def handle(self, tx: Tx, row: ScheduleRow, now: int) -> None:
        one = self.projects.planned(row)
        slot = Slot(row.next_session, row.planned_run)
        following = one.schedule.next_after(row.next_session)
        spread_until = self.spread_until(row, one)
        if spread_until is not None and now < spread_until:
            self.wait(tx, row, Wait(spread_until, "missed while nothing ran; such starts are spread out"), now)
            return
        active = [active_of(live) for live in tx.live_attempts_of(row.project_id, row.workflow)]
        live = tx.count_live() if self.most is not None else 0
        if row.skip_before is not None and slot.run_time < row.skip_before:
            decision: Decision = Skip("the end of the schedule was moved only after this session")
        else:
            decision = decide(one.policy, slot, following, active, now, live=live, most=self.most)
        name = f"{row.workflow}@{format_time(slot.session_time, one.schedule.place)}"
        self.look_at_start(tx, row.project_id, row.workflow, *slot, now)
        if isinstance(decision, Wait):
            self.wait(tx, row, decision, now)
            return
        row = moved_to(row, following, one)._replace(updated_at=now)
        if isinstance(decision, Skip):
            tx.insert_skip(SkipRow(row.project_id, row.workflow, *slot, now, decision.reason))
            self.said.append(f"{name} skipped: {decision.reason}")
        else:
            self.begin(tx, row, one, slot, decision)
            row = row._replace(last_session=slot.session_time)
        tx.save_schedule(row)

    def look_at_start(self, tx: Tx, project_id: int, name: str, session_time: int, run_time: int, now: int) -> None:
        """`sla: start_within`: of a session that waits, or that nobody made in time because no daemon ran."""
        workflow = self.projects.workflow(project_id, name)
        limit = start_within(workflow)
        key = project_id, name, session_time
        if limit is None or now <= run_time + limit or key in self.late:
            return
        self.late.add(key)
        why = f"did not start within {seconds(limit)} of its time (sla), but {seconds(now - run_time)} late"
        self.said.append(f"{name}@{format_time(session_time, zone(workflow.timezone))} {why}")
        if self.local.noticing is not None:
            files = self.projects.revision(project_id).files
            self.local.noticing.not_started(tx, workflow, files, project_id, session_time, f"it {why}")

    def look_at_queued(self, now: int) -> None:
        """Sessions that wait in the queue."""
        self.forget()
        with self.store.transaction() as tx:
            for entry in tx.list_queued():
                if entry.project_id in self.projects.ids():
                    row = tx.get_attempt(entry.attempt_id)
                    run_time = decode(row.options).get(RUN_TIME)
                    if run_time is not None:
                        at = tx.get_session(row.session_id).session_time
                        with suppress(NotFound):  # its file is gone, and what that wanted to be told
                            self.look_at_start(tx, entry.project_id, entry.workflow, at, run_time, now)
        self.follow_up()

    def spread_until(self, row: ScheduleRow, one: Planned) -> int | None:
        if self.opened_at is None or row.planned_run > self.opened_at - MISSED or row.note:
            return None
        return self.opened_at + share((row.workflow, row.position), one.policy.spread)

    def wait(self, tx: Tx, row: ScheduleRow, decision: Wait, now: int) -> None:
        tx.save_schedule(row._replace(next_run=decision.until, note=decision.reason, updated_at=now))

    def begin(self, tx: Tx, row: ScheduleRow, one: Planned, slot: Slot, decision: Start) -> None:
        """A session that has an attempt without a name already counts as started."""
        session = tx.find_session(row.project_id, row.workflow, slot.session_time)
        if session is not None and tx.find_attempt(session.id, "") is not None:
            return
        for attempt_id in decision.ends:
            self.end(tx, attempt_id, f"session {format_time(slot.session_time, one.schedule.place)} takes its place")
        revision = self.projects.revision(row.project_id)
        wanted = self.submission(row, one, slot, decision, revision)
        if decision.queued:
            queue(tx, wanted, self.local.process(), most=1, why="the session before it is not done")
        elif wanted.workflow.concurrency is None:
            self.made.append(Made(*submit(tx, wanted, self.local.process()), revision))
        else:
            self.admit(tx, wanted, wanted.workflow.concurrency, slot, revision)

    def admit(self, tx: Tx, wanted: Submission, rule: Concurrency, slot: Slot, revision: Revision) -> None:
        """One more attempt of a workflow that says how many may be at work."""
        key = wanted.options[KEY]
        verdict, same, ends, _ = look(tx, wanted)
        full = f"#{same[0].id} is {busy_word(same[0])}, and concurrency is {rule.limit}" if same else ""
        if verdict == SKIP:
            now = self.local.worker.now()
            tx.insert_skip(SkipRow(wanted.project_id, wanted.workflow.name, *slot, now, full))
            self.said.append(f"{wanted.workflow.name}: a session is skipped: {full}")
            return
        for one in ends:
            self.end(tx, one.id, "a newer session takes its place")
        if verdict == START:
            self.made.append(Made(*submit(tx, wanted, self.local.process()), revision))
            return
        if rule.strict:
            wanted = wanted._replace(options={**wanted.options, STRICT: True})
        row = queue(tx, wanted, self.local.process(), most=rule.limit, key=key, why=full or "the one before it failed")
        if verdict == FAIL:
            self.notice_end(tx, fail_queued(tx, row, full))
            self.said.append(f"{wanted.workflow.name}: attempt {row.id} fails: {full}")

    def submission(self, row: ScheduleRow, one: Planned, slot: Slot, decision: Start, revision: Revision) -> Submission:
        options = {**self.projects.options(row.project_id), RUN_TIME: slot.run_time}
        if decision.missed:
            options[CAUGHT_UP] = True
        params: dict[str, Any] = {}
        if row.last_session is not None:
            params[LAST_EXECUTED] = format_time(row.last_session, one.schedule.place)
        workflow = self.projects.workflow(row.project_id, row.workflow)
        wanted = Submission(workflow, row.project_id, revision.row, slot.session_time, params, options=options)
        return self.local.filled(wanted)

    def end(self, tx: Tx, attempt_id: int, reason: str) -> None:
        row = tx.get_attempt(attempt_id)
        if is_queued(row):
            row = tx.lock_attempt(attempt_id)  # before its place in the queue, as everywhere
            if is_queued(row):  # and not killed in this moment
                self.notice_end(tx, end_queued(tx, row, reason))
        else:
            self.canceled.append((row, reason))

    def notice_end(self, tx: Tx, row: AttemptRow) -> None:
        """It ended before it began: people may want to know."""
        if self.local.noticing is not None:
            session = tx.get_session(row.session_id)
            with suppress(NotFound):
                workflow = self.projects.workflow(session.project_id, session.workflow)
                files = self.projects.revision(session.project_id).files
                self.local.noticing.ended_unstarted(tx, row, workflow, files)

    # -- attempts that waited for their turn

    def start_queued(self) -> None:
        """Those whose turn it is; one that ends without having begun makes room for the next."""
        while self.start_some_queued():
            pass

    def start_some_queued(self) -> bool:
        """Whether one ended."""
        self.forget()
        ended = False
        with self.store.reading() as tx:
            projects = sorted({entry.project_id for entry in ready(tx, self.projects.ids())})
        if not projects:
            return False
        with self.store.transaction() as tx:
            for project_id in projects:
                tx.lock_project(project_id)
            for entry in ready(tx, projects):
                row = tx.lock_attempt(entry.attempt_id)
                if not is_queued(row):  # killed in this moment
                    continue
                tx.delete_queued(row.id)
                stopped = backfill_is_over(tx, row, entry.workflow)
                if stopped:
                    end_queued(tx, row, stopped)
                    self.said.append(f"attempt {row.id} is not started: {stopped}")
                    ended = True
                    continue
                try:
                    revision = self.projects.revision_of(tx, row)
                    wanted = waited_for(tx, row, revision)
                except UserError as problem:  # Digdag leaves it running for ever (9.2)
                    self.notice_end(tx, fail_queued(tx, row, f"it can't be started: {problem}"))
                    self.said.append(f"attempt {row.id} can't be started: {problem}")
                    ended = True
                    continue
                self.made.append(Made(*start(tx, row, wanted), revision))
        self.follow_up()
        return ended


def waited_for(tx: Tx, row: AttemptRow, revision: Revision) -> Submission:
    session = tx.get_session(row.session_id)
    return Submission(
        workflow=revision.workflow(session.workflow),
        project_id=session.project_id,
        revision=revision.row,
        session_time=session.session_time,
        params=decode(row.params),
        retry_name=row.retry_name,
        options=decode(row.options),
    )
