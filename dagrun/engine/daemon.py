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
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dagrun.core.decide import seconds
from dagrun.engine.catalog import Candidate, Catalog, Refused
from dagrun.engine.local import Local
from dagrun.engine.owners import daemon_lock, place_of, sweep_stale
from dagrun.engine.rows import decode, load_tree
from dagrun.engine.scheduler import Scheduler
from dagrun.engine.submit import task_limit
from dagrun.engine.takeup import directories_by_attempt, starts, take_up
from dagrun.engine.turn import Live
from dagrun.engine.waiting_room import is_queued
from dagrun.errors import Conflict, UserError
from dagrun.light import Protocol
from dagrun.project.sources import Place
from dagrun.project.watch import Watch
from dagrun.store.base import AttemptRow, Store

RELOAD_SECONDS = 1.0
SETTLE_SECONDS = 0.25  # files are read when they have been still for so long: a copy of many takes a while
LONGEST_SETTLE_SECONDS = 0.75  # … or have been moving for so long: a task may write into the project without an end
LOOK_SECONDS = 0.25  # so late at most is noticed what another process has changed


class Source(Protocol):
    """Where projects come from: directories, repositories. `problems`: by project, what keeps it from being newer."""

    problems: dict[str, str]

    @property
    def moving(self) -> bool:
        """It should be looked at again soon."""

    def look(self) -> Sequence[Place]:
        """The projects as they are now. Raises UserError; then those of before go on."""

    def taken(self, place: Place) -> None:
        """It was valid, and is what runs."""

    def last_good(self, name: str) -> Place | None:
        """What was taken last, where that can still be had."""

    def keep(self, commits: Collection[str]) -> None:
        """Only these are needed, of all that `look` gave before."""

    def tell(self, place: Place, refusal: str | None) -> None:
        """What became of a place that `look` gave: it runs, or why it doesn't."""


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
        self.watch = Watch()
        self.stamps: dict[str, Any] = {}  # of what was taken over or refused
        self.moving: dict[str, tuple[float, Any]] = {}  # projects whose files change now: since when, and their stamp
        self.places: dict[str, int] = {}  # name → id of the project
        self.refused: dict[str, str] = {}
        self.troubles: dict[str, str] = {}  # of the sources
        self.look_at = 0.0
        self.schedule_at = 0.0
        self.changes = store.changes()
        self.ended = 0  # attempts that were seen to have ended
        self.asked_to_stop = 0
        self.stopping_since: float | None = None

    # -- the beginning

    def open(self) -> None:
        """Read the projects and take up what an earlier daemon left. Raises Refused when a project isn't valid."""
        for place in self.source.look():
            self.stamps[place.name] = self.stamp_of(place)
            self.open_project(place)
            self.source.tell(place, self.refused.get(place.name))
        self.tell_troubles(self.source.problems)
        self.say_what_was_missed()
        self.take_up()
        self.tell_what_is_used()

    def open_project(self, place: Place) -> None:
        """A commit that isn't valid has one before it that was; a directory hasn't."""
        try:
            self.take_over(self.read(place))
        except Refused as refusal:
            good = self.source.last_good(place.name)
            if good is None:
                raise
            self.take_over(self.read(good))
            self.refuse(place.name, f"not taken over, the last good commit goes on:\n{refusal}")

    def take_over(self, candidate: Candidate) -> None:
        name = candidate.place.name
        self.places[name] = self.catalog.take_over(candidate, self.local.worker.now(), goes_on=True)
        self.source.taken(candidate.place)

    def forget_projects(self, names: Collection[str]) -> None:
        """All but these."""
        for known in (self.stamps, self.moving, self.refused):
            for name in [name for name in known if name not in names]:
                del known[name]
        for name in [name for name in self.places if name not in names]:
            del self.catalog.projects[self.places.pop(name)]
            self.say(f"{name}: the project is gone; its schedules rest")

    def say_what_was_missed(self) -> None:
        now = self.local.worker.now()
        with self.store.reading() as tx:
            for project_id in self.catalog.ids():
                for row in tx.list_schedules(project_id):
                    if row.disabled_at is None and row.planned_run <= now:
                        self.say(missed(self.catalog, row, now))

    def take_up(self) -> None:
        """The attempts of an earlier daemon of this state directory; what other ones left there goes."""
        known = frozenset(self.known_commands())
        directories = directories_by_attempt(self.local.state_dir)
        with self.store.reading() as tx:
            live = tx.live_attempts()
            newest = tx.newest_attempt()
        for row in live:
            if self.is_ours(row) and not is_queued(row) and row.id not in self.local.worker.attempts:
                self.take_up_one(row, known, directories.get(row.id, ()))
        self.forget_commands(known, {row.id for row in live})
        sweep_stale(self.local.state_dir, {row.id for row in live}, newest.id if newest else 0)

    def is_ours(self, row: AttemptRow) -> bool:
        owner = decode(row.owner)
        return bool(owner.get("daemon")) and place_of(row, self.local.state_dir) == self.local.state_dir

    def take_up_one(self, row: AttemptRow, known: frozenset[str], directories: Sequence[str]) -> None:
        with self.store.reading() as tx:
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
            started = starts(tx, attempt)
        take_up(self.local.worker, attempt, started, known, directories)  # it may start attempts: not in a transaction
        self.say(f"attempt {row.id} of {session.workflow} is taken up")

    def forget_commands(self, known: frozenset[str], live: Collection[int]) -> None:
        """Of tries whose outcome is recorded, but which the keeper was not told to forget."""
        held = {one.prepared.name for one in self.local.worker.tries.values() if one.prepared}
        reported = {one.prepared.name for one in self.local.worker.reports if one.prepared}
        attempts = self.local.worker.attempts
        for name in known:
            store, _, rest = name.rpartition("/")
            attempt = int(rest.partition(".")[0])
            waits = attempt in live and attempt not in attempts  # it can't be taken up now, but perhaps the next time
            if store == self.store.id and not waits and name.partition("+")[0] not in held | reported:
                self.local.worker.launcher.executor.forget({"try": name})

    def tell_what_is_used(self) -> None:
        """Of all commits those that are current, or that attempts run on."""
        current = [known.candidate.place.commit for known in self.catalog.projects.values()]
        if any(current):
            with self.store.reading() as tx:
                commits = [decode(row.options).get("commit") for row in tx.live_attempts()]
            self.source.keep({commit["id"] for commit in [*current, *commits] if commit})

    # -- the loop

    def run(self) -> None:
        """Until it is told to stop, and its tasks have ended or its grace is over."""
        while not self.is_over():
            self.local.worker.wait(self.poll())

    def poll(self) -> float:
        """One pass; the seconds until the next one."""
        now = time.monotonic()
        if self.asked_to_stop and self.stopping_since is None:
            self.begin_to_stop(now)
        delays = [self.local.poll()]
        if self.stopping_since is None:
            if self.others_changed_something() or now >= self.schedule_at:
                self.schedule_at = now + self.scheduler.poll(self.local.worker.now())
                delays = [self.local.poll()]
            if now >= self.look_at:
                self.look_at = now + self.reload(now)
            delays += [self.schedule_at - time.monotonic(), self.look_at - time.monotonic(), LOOK_SECONDS]
        delays += [beat(now) for beat in self.beats]
        return max(0.0, min(delays))

    def others_changed_something(self) -> bool:
        """Another process has, or an attempt has ended, for which another one may wait."""
        before = self.changes, self.ended
        self.changes, self.ended = self.store.changes(), self.local.ended
        return before != (self.changes, self.ended)

    def reload(self, now: float) -> float:
        """Take over what has changed and is valid; say what isn't, once. The seconds until the next look."""
        try:
            places = self.source.look()
        except UserError as problem:
            self.tell_troubles({"": str(problem)})
            return RELOAD_SECONDS
        self.tell_troubles(self.source.problems)
        names = {place.name for place in places}
        for place in places:
            try:
                if self.has_changed(place, now):
                    self.reload_one(place)
            except (FileNotFoundError, NotADirectoryError):  # it changes while we look
                self.moving.setdefault(place.name, (now, None))
                continue
            except UserError as problem:  # what is there can't be read, which mending it need not change
                self.stamps[place.name] = None
                self.refuse(place.name, str(problem))
            self.source.tell(place, self.refused.get(place.name))
        self.forget_projects(names)
        self.tell_what_is_used()
        return SETTLE_SECONDS if self.moving or self.source.moving else RELOAD_SECONDS

    def has_changed(self, place: Place, now: float) -> bool:
        """It has, and keeps still again. The files of a commit always do."""
        found = self.stamp_of(place)
        if self.stamps.get(place.name) == found:
            self.moving.pop(place.name, None)
            return False
        since, before = self.moving.get(place.name, (now, None))
        if place.commit is None and before != found and now - since < LONGEST_SETTLE_SECONDS:
            self.moving[place.name] = since, found
            return False
        self.moving.pop(place.name, None)
        self.stamps[place.name] = found
        return True

    def stamp_of(self, place: Place) -> Any:
        """Changes when any file of the project may have: names, sizes and times."""
        return json.dumps(place.commit, sort_keys=True), self.watch.stamp(place.directory)

    def reload_one(self, place: Place) -> None:
        try:
            candidate = self.read(place)
        except Refused as refusal:
            instead = "the revision of before goes on" if place.name in self.places else "its schedules rest"
            self.refuse(place.name, f"not taken over, {instead}:\n{refusal}")
            return
        known = self.places.get(place.name)
        before = self.catalog.known(known).candidate if known is not None else None
        if before is None or before.digest != candidate.digest or before.place != place:
            self.take_over(candidate)
            self.schedule_at = 0.0
        if place.commit or before is None or before.workflow_digests() != candidate.workflow_digests():
            self.say(f"{place.name}: {version(candidate)}, {schedules(candidate)}")
        elif place.name in self.refused:
            self.say(f"{place.name}: valid again")
        self.refused.pop(place.name, None)

    def refuse(self, name: str, problem: str) -> None:
        if self.refused.get(name) != problem:
            self.refused[name] = problem
            self.say(f"{name}: {problem}")

    def tell_troubles(self, found: Mapping[str, str]) -> None:
        """What keeps a source from being newer, once, and its end."""
        for name, problem in found.items():
            if self.troubles.get(name) != problem:
                self.say(f"{name}: {problem}" if name else problem)
        for name in self.troubles.keys() - found.keys():
            self.say(f"{name}: can be read again" if name else "the projects can be read again")
        self.troubles = dict(found)

    # -- the end

    def stop(self) -> None:
        """Start nothing more; tasks that are at work may end in the grace period. A second call leaves at once.

        A signal calls it, anywhere: it only takes a note.
        """
        self.asked_to_stop += 1

    def begin_to_stop(self, now: float) -> None:
        self.stopping_since = now
        self.local.worker.slots = 0
        count = len(self.local.worker.tries)
        tasks = f"{count} task{'s' if count != 1 else ''} at work"
        self.say(f"stopping: {tasks}, at most {self.grace:g} s more" if count else "stopping")

    def is_over(self) -> bool:
        if self.stopping_since is None:
            return False
        worker = self.local.worker
        if not worker.tries and not worker.reports and not worker.later:
            return True
        if self.asked_to_stop > 1 or time.monotonic() - self.stopping_since >= self.grace:
            count = len(worker.tries)
            self.say(f"{count} task{'s go' if count != 1 else ' goes'} on; the next start takes them up")
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
    if one.policy.window is not None and one.policy.mode != "none":
        what += f", if it is at most {seconds(one.policy.window)} late"
    overdue = "1 session is" if count == 1 else f"{count if count < 1000 else 'over 1000'} sessions are"
    return f"{row.workflow}: {overdue} overdue; {what}"


def version(candidate: Candidate) -> str:
    commit = candidate.place.commit
    if commit is None:
        return f"revision {candidate.digest[:12]}"
    return f"commit {commit['id'][:12]} of {commit['author']}: {commit['subject']}"


def schedules(candidate: Candidate) -> str:
    return f"{len(candidate.workflows)} workflows, {len(candidate.planned)} schedules"
