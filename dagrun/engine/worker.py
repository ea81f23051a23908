"""The worker: takes turns, runs the tasks that it claims, and watches their commands. One pass a call, one thread.

    poll()   collect what ended, take the turns that are due, start what was claimed; returns when to call again

All commands are watched together: a pidfd is readable when its process has ended. Tasks that end together are
reported in one turn, so that a chain of tasks costs one transaction a task and a crowd of them less.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from dagrun.core.events import CallAgain, Failure, Outcome, OutOfTime, Success, Woken
from dagrun.core.javascript import JavaScript
from dagrun.core.state import STOPPING
from dagrun.core.tree import Task
from dagrun.engine import task as calls
from dagrun.engine.asked import Services
from dagrun.engine.attempt import Attempt
from dagrun.engine.foresight import Foresight
from dagrun.engine.hunger import Hunger
from dagrun.engine.launch import Launcher, if_full_says_so
from dagrun.engine.observer import Observer
from dagrun.engine.pauses import Pauses
from dagrun.engine.poller import Poller
from dagrun.engine.transfers import Transfers
from dagrun.engine.tries import Report, Try, machine_clock, report, try_log, without_secrets
from dagrun.engine.turn import TURNS_AT_ONCE, Asked, Turn, take_turns
from dagrun.errors import LimitExceeded, TaskFailed
from dagrun.logs.files import log_path
from dagrun.plugins.executor import Exit
from dagrun.plugins.operator import Command, Ended
from dagrun.store.base import Store

if TYPE_CHECKING:
    from dagrun.engine.gates import Gates

LOOK_AROUND_SECONDS = 0.25  # so late at most is a kill from another process noticed


class Worker:
    """Works on the attempts that it was given, `slots` tasks at a time."""

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        observer: Observer,
        *,
        slots: int,
        secret_value: Callable[[str], str | None],
        start_required: Callable[..., Any],
        clock: Callable[[], int] = machine_clock,
        durable: bool = False,
        gates: Gates | None = None,
    ) -> None:
        self.store = store
        self.launcher = launcher
        self.observer = observer
        self.slots = slots
        self.gates = gates
        self.for_pools: set[int] = set()  # attempts of which a task waits for a pool
        self.durable = durable  # what it starts outlives this process
        self.now = clock  # microseconds since 1970 UTC
        self.secret_value = secret_value
        self.start_required = start_required
        self.attempts: dict[int, Attempt] = {}
        self.tries: dict[tuple[int, int], Try] = {}
        self.poller = Poller()
        self.transfers = Transfers(self)
        self.foresight = Foresight(self)
        self.reports: list[Report] = []
        self.later: deque[Callable[[], None]] = deque()
        self.deadlines: list[tuple[float, int, Try]] = []
        self.numbers = count()
        self.name = os.urandom(6).hex()
        self.javascript = JavaScript()
        self.changes = store.changes()
        self.looked_at = time.monotonic()
        self.wanted: set[int] = set()  # attempts whose next turn is due now
        self.over: list[int] = []  # attempts that are done, for whoever gave them to us
        self.waiting: dict[int, list[tuple[int, int]]] = {}  # attempt → (attempt, task) that wait for its end
        self.hungry = Hunger()
        self.pauses = Pauses(store)
        self.dues: list[tuple[int, int]] = []  # when, and which attempt has a task that is due then
        self.hurried = False

    # -- one pass

    def add(self, attempt: Attempt) -> None:
        os.makedirs(os.path.dirname(log_path(self.launcher.state_dir, attempt.id, "", 0)), exist_ok=True)
        self.attempts[attempt.id] = attempt
        self.wanted.add(attempt.id)

    def poll(self, ring: Callable[[], None] = lambda: None) -> float:
        """One pass. Returns the seconds after which the next one is due, if nothing ends before. `ring` looks at alarms.

        When it raises, this worker can't go on; nothing that it had started is alive, unless it is to outlive us.
        """
        try:
            self.collect()
            ring()
            self.look_at_clock()
            self.look_around()
            while self.feed() or self.reports or self.wanted:
                self.report()
                self.tidy()
            self.foresight.look()
        except BaseException:
            if not self.durable:
                self.end_all()
            raise
        return self.delay()

    def hurry(self) -> None:
        """No more grace for what is told to end, now or later. Acts in the next pass: a signal may come anywhere."""
        self.hurried = True

    def tidy(self) -> None:
        """What could wait until the next tasks are at work: telling people, and cleaning up after tries, in order."""
        while self.later:
            self.later.popleft()()

    def wait(self, seconds: float) -> None:
        """Sleep until something ends, at most so long."""
        self.poller.wait(seconds)

    def collect(self) -> None:
        """Take up the commands that have ended."""
        for held in self.poller.ended():
            (self.transfers.look_at if held.transfer else self.look_at)(held)
        for held in [held for held in self.tries.values() if held.stopped or (held.handle and held.fd is None)]:
            if self.hurried and held.stopped and not held.killed:
                self.stop(held)
            self.look_at(held)

    def look_at(self, held: Try) -> None:
        if held.handle is None:
            return
        try:
            found = self.launcher.executor.poll(held.handle)
        except TaskFailed as problem:
            self.unwatch(held)
            self.ended(held, calls.failure(held.task, problem, held.call.retry if held.call else None))
            return
        if found is not None:
            held.exit = found
            self.unwatch(held)
            self.command_ended(held, found)

    def look_at_clock(self) -> None:
        """End what ran out of time, and note which attempts have a task that is due."""
        now = time.monotonic()
        while self.deadlines and self.deadlines[0][0] <= now:
            held = heappop(self.deadlines)[2]
            if held.at_work and not held.stopped:
                held.out_of_time = True
                self.reports.append(Report(held.attempt, OutOfTime(held.index, held.lease)))
        if self.launcher.executor.tick(now) is not None:
            for held in [held for held in self.tries.values() if held.stopped]:
                self.look_at(held)
        while self.dues and self.dues[0][0] <= self.now():
            self.wanted.add(heappop(self.dues)[1])

    def look_around(self) -> None:
        """Another process may have changed an attempt: a kill."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_AROUND_SECONDS:
            return
        self.looked_at = now
        changes = self.store.changes()
        if changes != self.changes:
            self.changes = changes
            self.wanted.update(self.attempts)

    def delay(self) -> float:
        now = time.monotonic()
        delays = [LOOK_AROUND_SECONDS]
        if self.deadlines:
            delays.append(self.deadlines[0][0] - now)
        ticking = self.launcher.executor.tick(now)
        if ticking is not None:
            delays.append(ticking)
        if self.dues:
            delays.append((self.dues[0][0] - self.now()) / calls.SECOND)
        return max(0.0, min(delays))

    # -- turns

    def report(self) -> None:
        """Take a turn for each attempt of which something is to be told."""
        reports, self.reports = self.reports, []
        wanted, self.wanted = self.wanted, set()
        by_attempt: dict[int, list[Report]] = {attempt: [] for attempt in wanted}
        for one in reports:
            by_attempt.setdefault(one.attempt.id, []).append(one)
        due = [(self.attempts[key], by_attempt[key]) for key in sorted(by_attempt) if key in self.attempts]
        while due:
            due = due[self.some_turns(due) :]

    def feed(self) -> bool:
        """Free slots go to the attempt that is first in the queue for them: it alone claims, in the turn that it takes anyway if
        one of its tries has just ended.
        """
        fed = self.hungry.feed(self.attempts) if len(self.tries) < self.slots else self.hungry.fed
        if fed is not None:
            self.wanted.add(fed)
        return fed is not None

    def some_turns(self, due: Sequence[tuple[Attempt, list[Report]]]) -> int:
        """The first ones of these turns, and what follows from them; how many there were."""
        try:
            turns = self.take_turns(due)
        except LimitExceeded:  # the disk is full: perhaps of what the tries wrote that have just ended
            self.tidy()
            turns = self.take_turns(due)
        for (attempt, reports), turn in zip(due, turns, strict=False):
            self.hungry.took_turn(attempt.id)
            self.follow_up(attempt, reports, turn)
        return len(turns)

    def follow_up(self, attempt: Attempt, reports: Sequence[Report], turn: Turn) -> None:
        """Tasks to start, to stop, an attempt that ended."""
        attempt.row = turn.row
        for prepared in filter(None, (one.prepared for one in reports)):
            self.launcher.forget(prepared)
        self.later.append(lambda: self.tell(attempt, turn))
        for index in turn.claimed:
            if index in turn.barred:
                self.bar(attempt, turn.tree[index], turn.barred[index])
            else:
                self.start(attempt, turn.tree[index])
        self.stop_what_shall_end(attempt)
        if turn.released:
            self.wanted |= self.for_pools
        if turn.done:
            self.attempt_ended(attempt)
        else:
            self.note_needs(attempt, turn)

    def note_needs(self, attempt: Attempt, turn: Turn) -> None:
        """When the attempt has a task that is due, and whether it has one that found no slot."""
        due = turn.tree.next_due()
        if due is not None and due != attempt.due:
            heappush(self.dues, (due, attempt.id))
        attempt.due = due
        if turn.look_again is not None:
            heappush(self.dues, (turn.look_again, attempt.id))
        (self.for_pools.add if turn.waits else self.for_pools.discard)(attempt.id)
        if (turn.waits or turn.look_again is not None) and len(self.tries) < self.slots:
            return  # what is left waits for a pool or a rate, not for a slot
        if turn.tree.ready and turn.tree.claimable(1) and not self.pauses.hold(attempt, self.attempts):
            self.hungry.add(attempt.id, self.now(), attempt.priority)

    def take_turns(self, due: Sequence[tuple[Attempt, list[Report]]]) -> list[Turn]:
        self.pauses.refresh()
        asked = []
        for attempt, reports in due[:TURNS_AT_ONCE]:
            claims = self.hungry.may_claim(attempt.id) and not self.pauses.hold(attempt, self.attempts)
            events, rows = [one.event for one in reports], [one.row for one in reports if one.row]
            asked.append(Asked(attempt.live, events, rows, claims))
        return take_turns(self.store, asked, room=self.slots - len(self.tries), lease=self.lease, gates=self.gates)

    def lease(self) -> str:
        return f"{self.name}-{next(self.numbers)}"

    def tell(self, attempt: Attempt, turn: Turn) -> None:
        for move in turn.moves:
            self.observer.moved(attempt, turn.tree[move.task], move)
        for note in turn.notes:
            self.observer.warned(note)

    def stop_what_shall_end(self, attempt: Attempt) -> None:
        for held in list(self.tries.values()):
            if held.attempt is attempt and not held.stopped and held.at_work and held.task.state == STOPPING:
                self.stop(held)

    def stop(self, held: Try) -> None:
        """Its command is told to end: politely, or for certain."""
        limits = held.call.limits if held.call else calls.Limits()
        held.stopped, held.killed = True, self.hurried
        if held.transfer is not None:
            held.transfer.stop()
        if held.handle is not None:
            self.launcher.stop(held.handle, calls.Limits(grace=0.0, signal="KILL") if self.hurried else limits)

    def attempt_ended(self, attempt: Attempt) -> None:
        """Whoever waits for it is called now (`require>`)."""
        if any(held.attempt is attempt for held in self.tries.values()):
            return  # told to end, and not gone yet
        del self.attempts[attempt.id]
        self.over.append(attempt.id)
        self.later.append(lambda: self.close(attempt.id))
        for waiting, index in self.waiting.pop(attempt.id, ()):
            other = self.attempts.get(waiting)
            if other is not None and other.waits_for.get(index) == attempt.id:
                del other.waits_for[index]
                self.reports.append(Report(other, Woken(index)))

    def close(self, attempt_id: int) -> None:
        self.foresight.forget(attempt_id)
        warning = self.launcher.attempt_ended(attempt_id)
        if warning:
            self.observer.warned(warning)

    # -- tries

    def start(self, attempt: Attempt, task: Task) -> None:
        """Call the operator of a claimed task; start its command, if it has one."""
        now = self.now()
        held = self.hold(attempt, task, now)
        attempt.waits_for.pop(task.index, None)
        attempt.variables().forget(task.index)
        services = Services(self, held, now)
        result: Command | Outcome | None = self.foresight.take(held, services)
        if result is None:
            call = calls.prepare(attempt, task, services)
            if not isinstance(call, calls.Call):
                self.ended(held, call)
                return
            held.call = call
            result = calls.run(call)
        self.carry_on(held, result)

    def bar(self, attempt: Attempt, task: Task, problem: TaskFailed) -> None:
        """It fails without having begun."""
        self.ended(self.hold(attempt, task, self.now()), calls.failure(task, problem, None))

    def hold(self, attempt: Attempt, task: Task, started_at: int) -> Try:
        assert task.lease is not None
        path = try_log(self.launcher.state_dir, attempt.id, task, task.tries)
        held = Try(attempt, task.index, task.lease, task.tries, started_at, path)
        self.tries[attempt.id, task.index] = held
        return held

    def carry_on(self, held: Try, result: Command | Outcome) -> None:
        """The operator asked for a command, or it is done."""
        assert held.call is not None
        if isinstance(result, Success) and self.transfers.concern(held):
            self.transfers.collect(held, result)
            return
        if not isinstance(result, Command):
            self.ended(held, result)
            return
        try:
            self.launch(held, result)
        except TaskFailed as problem:
            self.ended(held, calls.failure(held.task, problem, held.call.retry))
        except OSError as problem:
            full = TaskFailed(f"the task can't be started: {problem}", "spawn_failed", "runtime", platform=True)
            self.ended(held, calls.failure(held.task, full, held.call.retry))

    def launch(self, held: Try, command: Command) -> None:
        assert held.call is not None
        held.exit = None  # that of a command before is not how this one ends
        if held.prepared is None:
            held.prepared = self.launcher.prepare(held.attempt, held.task, held.number, held.call)
        if held.call.deliveries and not held.delivered:
            self.transfers.deliver(held, command)
            return
        self.at_work(held, self.launcher.start(held.prepared, command, held.log, held.masked))

    def at_work(self, held: Try, handle: Mapping[str, Any]) -> None:
        """Its command is at work."""
        assert held.call is not None
        held.handle = handle
        try:
            held.fd = self.launcher.executor.fileno(handle)
        except TaskFailed:  # it is lost, which `look_at` tells
            held.fd = None
        if held.fd is not None:
            self.poller.add(held.fd, held)
        self.observer.logging(held.task, held.log)
        held.wrote = True
        self.foresight.todo.append(held)
        self.begin(held)

    def begin(self, held: Try) -> None:
        """Its time runs; it may have been told to end before it began."""
        assert held.call is not None
        limits = held.call.limits
        if limits.timeout is not None and held.deadline is None:
            held.deadline = time.monotonic() + limits.timeout - max(0, self.now() - held.started_at) / calls.SECOND
            heappush(self.deadlines, (held.deadline, next(self.numbers), held))
        if held.task.state == STOPPING:
            self.stop(held)

    def end_all(self) -> None:
        """Every command is told to end, and has ended; none waits for its turn."""
        self.foresight.close()
        for held in self.tries.values():
            self.stop(held)
        while at_work := [held for held in self.tries.values() if held.handle is not None]:
            delay = self.launcher.executor.tick(time.monotonic())
            self.poller.wait(LOOK_AROUND_SECONDS if delay is None else delay)
            for held in at_work:
                with suppress(TaskFailed):
                    if self.launcher.executor.poll(held.handle or {}) is None:
                        continue
                self.unwatch(held)

    def unwatch(self, held: Try) -> None:
        held.handle = None
        if held.fd is not None:
            self.poller.remove(held.fd)
            held.fd = None

    def command_ended(self, held: Try, found: Exit) -> None:
        assert held.call is not None and held.prepared is not None
        if held.out_of_time:
            self.ended(held, calls.out_of_time(held.call))
        elif held.stopped:
            self.ended(held, Success())  # canceled: the result is dropped
        elif found.oom:
            self.ended(held, calls.out_of_memory(held.call))
        else:
            end = Ended(found.exit_code, held.prepared.io)
            self.carry_on(held, if_full_says_so(calls.after_command(held.call, end, self.now()), held.prepared.io))

    def ended(self, held: Try, outcome: Outcome) -> None:
        """The try is over: clean up, and report it in the next turn."""
        outcome = without_secrets(held, outcome)
        self.foresight.ended(held, outcome)
        del self.tries[held.attempt.id, held.index]
        task = held.task
        if isinstance(outcome, CallAgain):  # the next call takes the same directory
            self.clean_up(held, task, failed=False)
        else:
            self.later.append(lambda: self.clean_up(held, task, failed=isinstance(outcome, Failure)))
        if held.call and held.call.waits_for is not None:
            held.attempt.waits_for[held.index] = held.call.waits_for
            self.waiting.setdefault(held.call.waits_for, []).append((held.attempt.id, held.index))
        log = self.launcher.relative(held.log) if held.wrote else None
        self.reports.append(report(held, outcome, self.now(), log))

    def clean_up(self, held: Try, task: Task, *, failed: bool) -> None:
        if held.wrote:
            self.observer.logged(task, held.log)
        if held.prepared:
            kept = self.launcher.clean_up(held.prepared, failed=failed)
            if kept:
                self.observer.said(kept)
