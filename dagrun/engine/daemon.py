"""The daemon of `dagrun schedule`: one loop in one thread, around the scheduler, the worker and the projects' files.

    reload      the projects, when their files have changed: whole or not at all
    schedule    the sessions that are due
    work        on the attempts of this daemon

It may be killed at any moment. Its commands are started by a keeper and outlive it; the next one takes them up.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dagrun.engine.catalog import Candidate, Catalog, Refused
from dagrun.engine.local import Local
from dagrun.engine.owners import daemon_lock, place_of
from dagrun.engine.rows import decode, load_tree
from dagrun.engine.scheduler import Scheduler
from dagrun.engine.submit import task_limit
from dagrun.engine.takeup import take_up
from dagrun.engine.turn import Live
from dagrun.engine.waiting_room import is_queued
from dagrun.errors import Conflict, UserError
from dagrun.project.archive import stamp
from dagrun.project.sources import Place
from dagrun.store.base import AttemptRow, Store, Tx

RELOAD_SECONDS = 1.5
LOOK_SECONDS = 0.25  # so late at most is noticed what another process has changed


class Source(Protocol):
    """Where projects come from: a directory, a repository. `problems`: by project, what keeps it from being newer."""

    problems: dict[str, str]

    def look(self) -> Sequence[Place]:
        """The projects as they are now. Raises UserError; then those of before go on."""


class Lock:
    """One daemon a state directory."""

    def __init__(self, state_dir: str) -> None:
        os.makedirs(state_dir, exist_ok=True)
        path = daemon_lock(state_dir)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(self.fd, 100).decode().strip()
            os.close(self.fd)
            raise Conflict(
                f"process {pid or '?'} runs the schedules of this directory already ({path})\n  kill {pid} ends it"
            ) from None
        os.ftruncate(self.fd, 0)
        os.write(self.fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self.fd)


class Daemon:
    """`read` makes a candidate of a place, or raises Refused. `known_commands` are those that the executor knows."""

    def __init__(
        self,
        store: Store,
        local: Local,
        catalog: Catalog,
        scheduler: Scheduler,
        source: Source,
        *,
        read: Callable[[Place], Candidate],
        say: Callable[[str], None],
        known_commands: Callable[[], Sequence[str]],
        grace: float,
        beats: Sequence[Callable[[float], float]] = (),
    ) -> None:
        self.store = store
        self.local = local
        self.catalog = catalog
        self.scheduler = scheduler
        self.source = source
        self.read = read
        self.say = say
        self.known_commands = known_commands
        self.grace = grace
        self.beats = beats  # further parts of the loop: each gets monotonic time and says when it is due again
        self.stamps: dict[str, Any] = {}
        self.places: dict[str, int] = {}  # name → id of the project
        self.refused: dict[str, str] = {}
        self.look_at = 0.0
        self.schedule_at = 0.0
        self.changes = store.changes()
        self.stopping_since: float | None = None
        self.hurried = False

    # -- the beginning

    def open(self) -> None:
        """Read the projects and take up what an earlier daemon left. Raises Refused when a project isn't valid."""
        for place in self.source.look():
            self.stamps[place.name] = stamp_of(place)
            self.take_over(self.read(place))
        self.forget_projects()
        self.say_what_was_missed()
        self.take_up()

    def take_over(self, candidate: Candidate) -> None:
        name = candidate.place.name
        self.places[name] = self.catalog.take_over(candidate, self.local.worker.now())
        if self.refused.pop(name, None):
            self.say(f"{name}: valid again")

    def forget_projects(self) -> None:
        for name in [name for name in self.places if name not in self.stamps and self.stamps]:
            del self.catalog.projects[self.places.pop(name)]
            self.say(f"{name}: the project is gone; its schedules rest")

    def say_what_was_missed(self) -> None:
        now = self.local.worker.now()
        with self.store.reading() as tx:
            for project_id in self.catalog.ids():
                for row in tx.list_schedules(project_id):
                    if row.disabled_at is None and row.next_run <= now and row.last_session is not None:
                        self.say(missed(self.catalog, row, now))

    def take_up(self) -> None:
        """The attempts of an earlier daemon of this state directory."""
        known = frozenset(self.known_commands())
        with self.store.reading() as tx:
            for row in tx.live_attempts():
                if self.is_ours(row) and not is_queued(row) and row.id not in self.local.worker.attempts:
                    self.take_up_one(tx, row, known)
        self.forget_commands(known)

    def is_ours(self, row: AttemptRow) -> bool:
        owner = decode(row.owner)
        return bool(owner.get("daemon")) and place_of(row, self.local.state_dir) == self.local.state_dir

    def take_up_one(self, tx: Tx, row: AttemptRow, known: frozenset[str]) -> None:
        session = tx.get_session(row.session_id)
        try:
            revision = self.catalog.revision_of(tx, row)
            workflow = revision.workflow(session.workflow)
        except UserError as problem:
            self.say(f"attempt {row.id} of {session.workflow} can't be taken up: {problem}")
            return
        live = Live(row.id, workflow, task_limit(decode(row.options)))
        live.tree = load_tree(workflow, tx.load_tasks(row.id), row.version)
        live.row = row
        attempt = self.local.take_on(tx, row, live, revision)
        take_up(self.local.worker, tx, attempt, known)
        self.say(f"attempt {row.id} of {session.workflow} is taken up")

    def forget_commands(self, known: frozenset[str]) -> None:
        """Of tries whose outcome is recorded, but which the keeper was not told to forget."""
        held = {one.prepared.name for one in self.local.worker.tries.values() if one.prepared}
        reported = {one.prepared.name for one in self.local.worker.reports if one.prepared}
        for name in known:
            if name.partition("+")[0] not in held | reported:
                self.local.worker.launcher.executor.forget({"try": name})

    # -- the loop

    def run(self) -> None:
        """Until it is told to stop, and its tasks have ended or its grace is over."""
        while not self.is_over():
            self.local.worker.wait(self.poll())

    def poll(self) -> float:
        """One pass; the seconds until the next one."""
        now = time.monotonic()
        delays = [self.local.poll()]
        if self.stopping_since is None:
            changes = self.store.changes()
            if changes != self.changes or now >= self.schedule_at:
                self.changes = changes
                self.schedule_at = now + self.scheduler.poll(self.local.worker.now())
                delays = [self.local.poll()]
            if now >= self.look_at:
                self.reload()
                self.look_at = time.monotonic() + RELOAD_SECONDS
            delays += [self.schedule_at - time.monotonic(), self.look_at - time.monotonic(), LOOK_SECONDS]
        delays += [beat(now) for beat in self.beats]
        return max(0.0, min(delays))

    def reload(self) -> None:
        """Take over what has changed and is valid; say what isn't, once."""
        try:
            places = self.source.look()
        except UserError as refusal:
            self.refuse("", str(refusal))
            return
        self.refused.pop("", None)
        for name, problem in self.source.problems.items():
            self.refuse(name, problem)
        for place in places:
            stamp = stamp_of(place)
            if self.stamps.get(place.name) == stamp:
                continue
            self.stamps[place.name] = stamp
            try:
                candidate = self.read(place)
            except Refused as refusal:
                self.refuse(place.name, f"not taken over, the revision of before goes on:\n{refusal}")
                continue
            except UserError as refusal:
                self.stamps.pop(place.name)
                self.refuse(place.name, str(refusal))
                continue
            known = self.places.get(place.name)
            before = self.catalog.known(known).candidate if known is not None else None
            if before is None or before.digest != candidate.digest:
                self.take_over(candidate)
                self.schedule_at = 0.0
                if before is None or before.workflow_digests() != candidate.workflow_digests():
                    self.say(f"{place.name}: revision {candidate.digest[:12]}, {schedules(candidate)}")
        for name in [name for name in self.stamps if name not in {place.name for place in places}]:
            del self.stamps[name]
        self.forget_projects()

    def refuse(self, name: str, problem: str) -> None:
        if self.refused.get(name) != problem:
            self.refused[name] = problem
            self.say(f"{name}: {problem}" if name else problem)

    # -- the end

    def stop(self) -> None:
        """Start nothing more; tasks that are at work may end in the grace period. A second call leaves at once."""
        if self.stopping_since is None:
            self.stopping_since = time.monotonic()
            self.local.worker.slots = 0
            at_work = len(self.local.worker.tries)
            self.say(f"stopping: {at_work} tasks at work, at most {self.grace:g} s more" if at_work else "stopping")
        else:
            self.hurried = True

    def is_over(self) -> bool:
        if self.stopping_since is None:
            return False
        worker = self.local.worker
        if not worker.tries and not worker.reports and not worker.later:
            return True
        if self.hurried or time.monotonic() - self.stopping_since >= self.grace:
            self.say(f"{len(worker.tries)} tasks go on; the next start takes them up")
            return True
        return False


def missed(catalog: Catalog, row: Any, now: int) -> str:
    """What a schedule missed while nothing ran, and what becomes of it."""
    one = catalog.planned(row)
    count, slot = 0, one.schedule.next_after(row.next_session - 1)
    while slot.run_time <= now and count < 1000:
        count += 1
        slot = one.schedule.next_after(slot.session_time)
    word = {"all": f"all are caught up, {one.policy.limit} at a time", "latest": "the latest is caught up"}
    what = word.get(one.policy.mode, "none is caught up")
    return f"{row.workflow}: {count if count < 1000 else 'over 1000'} sessions are overdue; {what}"


def schedules(candidate: Candidate) -> str:
    return f"{len(candidate.workflows)} workflows, {len(candidate.planned)} schedules"


def stamp_of(place: Place) -> Any:
    """Changes when any file of the project may have: names, sizes and times."""
    return json.dumps(place.commit, sort_keys=True), stamp(place.directory)
