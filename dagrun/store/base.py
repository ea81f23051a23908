"""The store's interface: rows, and the transaction through which everything is read and written.

Rows are named tuples in the order of the table's columns, so they need no conversion: times are integers,
microseconds since 1970 UTC; structured values are JSON text; truth values are 0 and 1. Who wants objects
builds them from rows (`engine/`). Nothing here knows SQL.

One clock is trusted: `Tx.now`, the database's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

from dagrun.light import NamedTuple, Protocol
from dagrun.store.noticed import Noticed


class ProjectRow(NamedTuple):
    id: int
    name: str
    created_at: int


class RevisionRow(NamedTuple):
    id: int
    project_id: int
    name: str  # the content digest
    manifest: str  # JSON: path → [sha256, mode], or path → ["link", target]
    created_at: int


class SessionRow(NamedTuple):
    id: int
    uuid: str
    project_id: int
    workflow: str
    session_time: int  # whole seconds, in microseconds
    created_at: int


class AttemptRow(NamedTuple):
    id: int
    session_id: int
    number: int  # in its session, from 1
    retry_name: str  # "" is the name of an attempt that was given none
    revision_id: int
    timezone: str
    state: str  # the root's state once it is done; "running" before
    version: int  # grows by one with every turn
    cancel_requested: int
    params: str  # JSON: the session parameters
    options: str  # JSON: how it was asked to run (workspace, limits, what to skip)
    resumed_from: int | None  # the attempt whose results it took over
    owner: str  # JSON: host, pid and start of the process that runs it
    error: str | None  # JSON {"kind", "message"}: why the attempt as a whole ended, where no task says it
    created_at: int
    finished_at: int | None


class TaskRow(NamedTuple):
    attempt_id: int
    idx: int
    parent: int | None
    name: str  # full name
    source: int  # index of the row, or of the task of the file, whose definition this one shares
    upstreams: str | None  # JSON list of indexes; None: those of the file's task `source`
    definition: str | None  # JSON, only where it isn't in the workflow's file
    state: str
    version: int
    superseded: int
    tries: int  # starts so far
    retries: int  # how many of them were retries after a failure of the task's own
    platform_retries: int
    memo: str | None
    lease: str | None
    handle: str | None  # JSON: how the executor finds the running command
    due_at: int | None
    started_at: int | None
    finished_at: int | None
    stored: str | None
    reset: str | None
    exported: str | None
    error: str | None  # JSON {"kind", "message", …}
    reason: str | None
    reused_from: int | None  # attempt in which the task really ran
    outputs: str | None = None  # JSON list of the files that it hands on: [path, sha256, size, mode]


class TryRow(NamedTuple):
    attempt_id: int
    idx: int
    try_number: int
    started_at: int
    finished_at: int
    outcome: str  # success, failed, timed_out, lost, killed, again
    exit_code: int | None
    error: str | None
    peak_memory: int | None  # bytes
    cpu: int | None  # microseconds, user + system
    log: str | None  # path below the store's log directory


class MoveRow(NamedTuple):
    """One transition of one task: the history, and the progress that people see."""

    attempt_id: int
    seq: int  # from 1 in each attempt
    idx: int
    before: str
    after: str
    at: int
    reason: str | None


class AttemptSummary(NamedTuple):
    """One line of `dagrun attempts`."""

    attempt: AttemptRow
    session: SessionRow
    project: str
    revision: str
    started_at: (
        int | None
    )  # its first task; None while it waits for its turn. What it took over may have begun before it

    @property
    def length(self) -> int | None:
        """From its start to its end, microseconds: waiting for its turn doesn't count."""
        if self.started_at is None or self.attempt.finished_at is None:
            return None
        return self.attempt.finished_at - self.started_at


class ScheduleRow(NamedTuple):
    """One schedule of a workflow; `position` tells those of a list apart."""

    id: int
    project_id: int
    workflow: str
    position: int
    revision_id: int
    definition: str  # JSON: the schedule as the file has it, and its zone
    next_session: int
    next_run: int  # when this row is looked at next: the run time, or later if it was put off
    planned_run: int  # the run time of `next_session`
    last_session: int | None  # the last one that was started
    disabled_at: int | None
    disabled_until: int | None
    skip_before: int | None  # sessions that should have run before are skipped: its end came first, and was moved
    note: str | None  # why it was put off
    created_at: int
    updated_at: int


class SkipRow(NamedTuple):
    """A session that was not started, and why."""

    project_id: int
    workflow: str
    session_time: int
    run_time: int
    at: int
    reason: str


class QueueRow(NamedTuple):
    """An attempt that has no tasks yet: it waits for its turn."""

    attempt_id: int
    project_id: int
    workflow: str
    key: str  # attempts of the same workflow and key count together
    most: int  # so many of them may be at work; 0: any number
    after_session: int | None  # starts when this session has no attempt that is not done
    due_at: int
    why: str


class PoolRow(NamedTuple):
    name: str
    size: int  # in thousandths


class HoldRow(NamedTuple):
    """A part of a pool that a task or group holds."""

    pool: str
    attempt_id: int
    idx: int
    amount: int  # in thousandths
    since: int


class PauseRow(NamedTuple):
    """Nothing new starts of an attempt, or of anything (attempt 0)."""

    attempt_id: int
    at: int
    reason: str


class Planned(Protocol):
    """The part of a transaction that schedules and queues are for."""

    def insert_schedule(self, row: ScheduleRow) -> None:
        """`id` of the row is ignored."""

    def save_schedule(self, row: ScheduleRow) -> None:
        """Update the columns that change: all from `revision_id` on."""

    def delete_schedule(self, schedule_id: int) -> None: ...
    def list_schedules(self, project_id: int | None = None) -> list[ScheduleRow]:
        """By project, workflow and position."""

    def due_schedules(self, project_id: int, now: int, limit: int) -> list[ScheduleRow]:
        """Those of a project that are due and enabled, the longest due first; locked, without those that another process has locked."""

    def next_due_schedule(self, project_id: int) -> int | None:
        """When the next enabled one of a project is due."""

    def ended_pauses(self, now: int) -> list[ScheduleRow]:
        """Schedules that were disabled until a time that has come."""

    def lock_schedule(self, schedule_id: int) -> ScheduleRow: ...
    def insert_skip(self, row: SkipRow) -> None:
        """A session that is skipped twice keeps its first reason."""

    def list_skips(self, project_id: int, workflow: str, limit: int = 100) -> list[SkipRow]:
        """Newest session first."""

    def insert_queued(self, row: QueueRow) -> None: ...
    def delete_queued(self, attempt_id: int) -> None: ...
    def list_queued(self) -> list[QueueRow]:
        """First come, first served."""

    def live_attempts_of(self, project_id: int, workflow: str) -> list[AttemptRow]:
        """Attempts of a workflow that are not done, oldest first."""

    def count_live(self) -> int: ...
    def previous_session(self, project_id: int, workflow: str, before: int) -> SessionRow | None:
        """The latest session of the workflow before that time."""

    def save_pool(self, row: PoolRow) -> None: ...
    def delete_pool(self, name: str) -> bool: ...
    def list_pools(self) -> list[PoolRow]: ...
    def find_pool(self, name: str) -> PoolRow | None: ...
    def lock_gates(self) -> int:
        """Until the transaction ends nobody else takes parts of pools or counts starts, after attempts are locked: who holds it
        waits for no other lock. The time at which that is so, after those of all who held it before.
        """

    def insert_hold(self, row: HoldRow) -> None: ...
    def delete_holds(self, attempt_id: int, idx: int) -> None: ...
    def list_holds(self, pool: str | None = None) -> list[HoldRow]:
        """The oldest first."""

    def count_starts(self, rate: str, after: int) -> tuple[int, int | None]:
        """How many starts there were after a time, and when the first of them was."""

    def insert_start(self, rate: str, at: int) -> None: ...
    def delete_starts(self, rate: str, before: int) -> None: ...
    def insert_pause(self, row: PauseRow) -> None: ...
    def delete_pause(self, attempt_id: int) -> bool: ...
    def list_pauses(self) -> list[PauseRow]: ...


class PastRow(NamedTuple):
    """An attempt, as far as its age and what it names matter."""

    id: int
    project_id: int
    workflow: str
    session_id: int
    revision_id: int
    state: str
    finished_at: int | None
    resumed_from: int | None
    owner: str


class RevisionAge(NamedTuple):
    id: int
    project_id: int
    created_at: int


class Pruned(Protocol):
    """The part of a transaction that forgets what is old."""

    def list_past(self) -> list[PastRow]:
        """All attempts, by id."""

    def list_outputs(self) -> list[tuple[int, str]]:
        """Each task's files, as JSON, with its attempt."""

    def list_reuses(self) -> list[tuple[int, int]]:
        """Each attempt with each other one that tasks of it really ran in."""

    def resumed_after(self, attempt_id: int) -> list[int]:
        """What the attempts after that one were resumed from."""

    def count_rows(self, attempt_id: int) -> tuple[int, int, int]:
        """Its tasks, tries and moves."""

    def delete_attempts(self, attempt_ids: Sequence[int]) -> int:
        """Those that are done, with all that belongs to them; how many."""

    def list_empty_sessions(self, before: int) -> list[int]:
        """Sessions without an attempt, made before that time."""

    def delete_empty_sessions(self, session_ids: Sequence[int]) -> int:
        """Those that have no attempt and that nobody else has locked; how many."""

    def count_old_skips(self, before: int) -> int: ...
    def delete_old_skips(self, before: int, limit: int) -> int:
        """At most so many of those that were recorded before that time; how many."""

    def count_old_notices(self, before: int) -> int:
        """Those that were made before that time and don't wait any more."""

    def delete_old_notices(self, before: int, limit: int) -> int:
        """At most so many of them; how many."""

    def list_revision_ages(self) -> list[RevisionAge]:
        """By id."""

    def delete_unnamed_revisions(self, revision_ids: Sequence[int]) -> int:
        """Those that no attempt and no schedule names and that nobody else has locked; how many."""


class Tx(Planned, Pruned, Noticed, Protocol):
    """One transaction. Methods named `find_…` give None when there is nothing; `get_…` raise NotFound."""

    now: int

    # -- projects, revisions, sessions

    def ensure_project(self, name: str) -> ProjectRow: ...
    def get_project(self, project_id: int) -> ProjectRow: ...
    def lock_project(self, project_id: int) -> ProjectRow:
        """Locked until the transaction ends, before anything else is: who counts its attempts may add to them then. Take
        several in the order of their ids. Raises NotFound.
        """

    def find_project(self, name: str) -> ProjectRow | None: ...
    def ensure_revision(self, project_id: int, name: str, manifest: str) -> RevisionRow: ...
    def get_revision(self, revision_id: int) -> RevisionRow: ...
    def find_revision(self, project_id: int, prefix: str) -> RevisionRow | None:
        """By its digest or an unambiguous beginning of it. Raises UserError when several match."""

    def latest_revision(self, project_id: int) -> RevisionRow | None: ...
    def ensure_session(self, project_id: int, workflow: str, session_time: int, uuid: str) -> SessionRow:
        """The session, made now with that uuid if it isn't there; locked until the transaction ends."""

    def find_session(self, project_id: int, workflow: str, session_time: int) -> SessionRow | None: ...
    def get_session(self, session_id: int) -> SessionRow: ...

    # -- attempts

    def insert_attempt(self, row: AttemptRow) -> AttemptRow:
        """Insert; `id` and `number` of the given row are ignored and returned as the store chose them.

        Raises Conflict when the session has an attempt of that retry name.
        """

    def lock_attempt(self, attempt_id: int) -> AttemptRow:
        """The attempt's row, locked until the transaction ends. Raises NotFound."""

    def get_attempt(self, attempt_id: int) -> AttemptRow: ...
    def find_attempt(self, session_id: int, retry_name: str) -> AttemptRow | None: ...
    def newest_attempt(self) -> AttemptRow | None:
        """The attempt made last in this store."""

    def newest_attempt_of_session(self, session_id: int) -> AttemptRow | None: ...
    def newest_attempt_of_workflow(self, project_id: int, workflow: str) -> AttemptRow | None:
        """The newest attempt of any session of the workflow."""

    def save_version(self, attempt_id: int, version: int) -> None:
        """Nothing else of its row has changed. Raises NotFound."""

    def save_attempt(self, row: AttemptRow) -> None:
        """Update the columns that change: state, version, cancel_requested, owner, error, finished_at.

        A running attempt has no `finished_at` and a done one has one: the database refuses anything else.
        """

    def list_attempts(
        self, *, project_id: int | None = None, workflow: str | None = None, session_id: int | None = None,
        states: Sequence[str] = (), queued: bool | None = None, before_id: int | None = None, limit: int = 100,
    ) -> list[AttemptSummary]:  # fmt: skip
        """Newest first. `queued`: those alone that have no tasks yet, or those alone that have."""

    def live_attempts(self) -> list[AttemptRow]:
        """All attempts that are not done, oldest first."""

    # -- tasks

    def insert_tasks(self, rows: Sequence[TaskRow]) -> None:
        """One bulk insert."""

    def save_tasks(self, rows: Sequence[TaskRow]) -> None:
        """Update the columns that change: all from `state` on."""

    def load_tasks(self, attempt_id: int, after_version: int = -1) -> list[TaskRow]:
        """Rows with a version above that one, by index."""

    def insert_tries(self, rows: Sequence[TryRow]) -> None: ...
    def load_tries(self, attempt_id: int, idx: int | None = None) -> list[TryRow]:
        """By index and number."""

    def insert_moves(self, rows: Sequence[MoveRow]) -> None: ...
    def load_moves(self, attempt_id: int, after_seq: int = 0) -> list[MoveRow]: ...


class Store(Protocol):
    """A database. Safe to use from several threads and several processes."""

    url: str
    id: str  # made with the store, stable; part of DAGRUN_TRY

    def transaction(self) -> AbstractContextManager[Tx]:
        """A writing transaction: commits at the end of the block, rolls back on an error.

        A thread has one at a time. Where the store itself fails (disk full, connection lost, locked for a
        minute), a UserError says what and where.
        """

    def reading(self) -> AbstractContextManager[Tx]:
        """A reading transaction: one consistent view, blocks nobody."""

    def changes(self) -> int:
        """A number that grows when somebody else has changed something; costs microseconds.

        Somebody else is another process, another store object or another thread; the calling thread's own
        commits don't count. Only numbers of one thread can be compared.
        """

    def wait(self, seconds: float, since: int | None = None) -> None:
        """Sleep until somebody else changes something, at most so long. A hint, never the truth.

        `since` is what `changes()` gave before the caller last looked: what happened while it looked then
        ends the wait at once.
        """

    def close(self) -> None: ...


Rows = Iterable[tuple[object, ...]]
