"""The task-tree state machine.

This file owns every rule about how a task moves from one state to another. It knows no clock, no database and no
worker: time comes in as an argument, effects go out as a Step. Whoever wants a task to change comes through `step`.

    Each move is a row of state.TRANSITIONS.
    A move touches its task, what waits for it, and its ancestors, until nothing moves: never the whole tree.

`step` changes the tree it is given. A caller whose transaction fails must throw that tree away.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from dagrun.core import generate
from dagrun.core.events import (
    Abandoned,
    CallAgain,
    Canceled,
    Claimed,
    Event,
    Failure,
    Finished,
    LeaseLost,
    Move,
    OutOfTime,
    Overdue,
    Started,
    Step,
    Success,
    Woken,
)  # fmt: skip
from dagrun.core.retry import group_retry, platform_wait
from dagrun.core.state import (
    BLOCKED,
    CANCELED,
    DONE,
    ERROR,
    FAILED,
    FAILING,
    GROUP_ERROR,
    PLANNED,
    READY,
    RUNNING,
    STOPPING,
    SUCCESS,
    TRANSITIONS,
    WAITING,
)  # fmt: skip
from dagrun.core.tree import AT_WORK, Task, TaskTree, rank
from dagrun.core.workflow import NOTHING
from dagrun.errors import WorkflowError

# Why a running task was told to end; kept in its `reason` until its executor confirms.
OUT_OF_TIME = "timed_out"
SIBLING_FAILED = "a sibling failed"

LOST = {"kind": "lost", "message": "the process that ran the task is gone"}


def step(tree: TaskTree, events: Sequence[Event], now: int) -> Step:
    """Apply events to a tree and settle it; `now` in microseconds since 1970 UTC.

    The same tree, events and time give the same step. Events about a claim that is no longer the task's change nothing.
    """
    return Machine(tree, now).run(events)


class Machine:
    """One step in the making: the tree, the time, what moved, and the groups that may be ready to settle."""

    def __init__(self, tree: TaskTree, now: int) -> None:
        self.tree = tree
        self.tasks = tree.tasks
        self.now = now
        self.step = Step()
        self.unsettled: list[Task] = []

    def run(self, events: Sequence[Event]) -> Step:
        """The step with these events in it, too; it is the same at each call, and grows."""
        for event in events:
            self.apply(event)
        self.wake_due()
        return self.step

    # -- events

    def apply(self, event: Event) -> None:
        match event:
            case Finished(index, lease, outcome, ago):
                if task := self.claimed(index, lease):
                    self.finished(task, outcome)
                    if task.finished_at is not None:  # the try's end is the task's; all else happens now
                        task.finished_at = max(task.started_at or 0, self.now - ago)
            case Claimed(index, lease):
                self.claim(self.tasks[index], lease)
            case OutOfTime(index, lease):
                task = self.claimed(index, lease)
                if task and task.state == RUNNING:
                    self.move(task, STOPPING, OUT_OF_TIME)
            case LeaseLost(index, lease):
                if task := self.claimed(index, lease):
                    self.finished(task, Failure(LOST, platform=True))
            case Woken(index):
                task = self.tasks[index]
                if task.state == WAITING:
                    task.due_at = self.now  # stays so while it waits for a slot
                    self.step.changed.add(index)
                    self.wake(task)
            case Overdue():
                self.overdue(event)
            case Started():
                if self.tree.root.state == BLOCKED:
                    self.unblock(self.tree.root)
            case Canceled(reason):
                self.cancel(reason)
            case Abandoned(reason):
                self.abandon(reason)
        self.settle()

    def claimed(self, index: int, lease: str) -> Task | None:
        """The task, if that claim still holds it."""
        task = self.tasks[index]
        return task if task.lease == lease and task.state in (RUNNING, STOPPING) else None

    def claim(self, task: Task, lease: str) -> None:
        if task.state != READY:
            return
        task.lease = lease
        if not task.goes_on:
            task.tries += 1
        if task.started_at is None:
            task.started_at = self.now
        self.move(task, RUNNING)

    def cancel(self, reason: str) -> None:
        """Every task that lives is told to end; what has not started never will (spec/language X24)."""
        if self.tree.cancel_requested or self.tree.root.state in DONE:
            return
        self.tree.cancel_requested = True
        self.tree.cancel_reason = reason
        for task in self.tasks:
            if not task.superseded:
                self.cancel_one(task, reason)

    def cancel_one(self, task: Task, reason: str) -> None:
        if task.state in (READY, WAITING):
            self.done(task, CANCELED, reason)
        elif task.state == RUNNING:
            self.move(task, STOPPING, reason)
        elif task.state == STOPPING:
            task.reason = reason
            self.step.changed.add(task.index)
        elif task.state in (PLANNED, FAILING):
            self.unsettled.append(task)
        elif task.state == BLOCKED and self.may_start(task):
            self.done(task, CANCELED, reason)

    def abandon(self, reason: str) -> None:
        """As a cancel, but nobody is left to confirm the end of what was running: it is lost."""
        self.cancel(reason)
        for task in self.tasks:
            if task.state == STOPPING and not task.superseded:
                task.error = LOST
                self.done(task, ERROR, reason)

    def overdue(self, event: Overdue) -> None:
        """Its tasks run at once, as members of the root; they hold the root open, and can fail it."""
        root = self.tree.root
        if root.state in (PLANNED, WAITING) and not self.tree.cancel_requested:
            self.add(generate.sla_tasks(self.tree, event, self.step.notes))
            if root.state == PLANNED:
                self.open(root)

    # -- how an operator ended

    def finished(self, task: Task, outcome: Success | Failure | CallAgain) -> None:
        task.handle = None
        if task.state == STOPPING and task.reason != OUT_OF_TIME:
            self.done(task, CANCELED, task.reason)  # the result is dropped, whatever it is
        elif isinstance(outcome, Failure):
            self.failed(task, outcome)
        elif task.state == STOPPING:
            # It reported before it noticed that its time was over. The limit is the limit.
            self.failed(task, Failure({"kind": "timed_out", "message": "the task ran out of time"}))
        elif isinstance(outcome, CallAgain):
            task.memo, task.error = outcome.memo, None
            self.wait(task, outcome.due_at)
        else:
            self.succeeded(task, outcome)

    def succeeded(self, task: Task, outcome: Success) -> None:
        try:
            tasks = generate.children_of_success(self.tree, task, outcome)
        except WorkflowError as problem:
            what = "task limit exceeded" if problem.kind == "task_limit" else "config"
            error = {"kind": problem.kind, "message": f"{problem} ({what})", "stacktrace": problem.kind}
            self.fail_for_good(task, error)
            return
        task.stored, task.reset, task.exported = outcome.stored, outcome.reset, outcome.exported
        task.outputs = outcome.outputs
        task.error = None  # of a try before: what fails from now on is below it
        if tasks:
            task.reason = outcome.reason
            self.add(tasks)
            self.move(task, PLANNED)
            self.open(task)
        else:
            self.done(task, SUCCESS, outcome.reason)

    def failed(self, task: Task, failure: Failure) -> None:
        retry = failure.retry
        if failure.platform:
            limit = retry.platform_limit if retry else failure.platform_limit
            if task.platform_retries < limit:
                task.platform_retries += 1
                self.try_again(task, failure.error, platform_wait(task.platform_retries))
                return
        elif retry and task.retries < retry.limit:
            task.retries += 1
            self.try_again(task, failure.error, retry.wait(task.retries))
            return
        self.fail_for_good(task, failure.error, failure.stored)

    def try_again(self, task: Task, error: Any, pause: int) -> None:
        task.error = error
        if "commandStatus" in task.memo:  # a remote command is started anew (spec/operators 1.9)
            task.memo = {key: value for key, value in task.memo.items() if key != "commandStatus"}
        self.wait(task, self.now + pause, f"try {task.tries} failed: {error['message']}")

    def fail_for_good(self, task: Task, error: Any, stored: Any = NOTHING) -> None:
        """An operator failed and has no try left."""
        task.error = error
        handlers = generate.handlers(self.tree, task, {**stored, "error": generate.facts(error)}, self.step.notes)
        if handlers:
            self.add(handlers)
            self.move(task, FAILING)
            self.open(task)
        else:
            self.done(task, ERROR)

    # -- groups, and operators with generated tasks

    def settle(self) -> None:
        """Settle every group whose children are all done or dead, until nothing moves."""
        while self.unsettled:
            group = self.unsettled.pop()
            if group.open_children == 0 and not group.superseded:
                if group.state == FAILING:
                    self.settle_failing(group)
                elif group.state == PLANNED:
                    self.settle_planned(group)

    def settle_failing(self, group: Task) -> None:
        if self.canceling(group):
            self.done(group, CANCELED, self.tree.cancel_reason)
        else:
            self.done(group, ERROR if group.error else GROUP_ERROR)

    def settle_planned(self, group: Task) -> None:
        """Source: spec/language 6.3: the first that applies."""
        if self.canceling(group):
            self.done(group, CANCELED, group.reason or self.tree.cancel_reason)
        elif group.failed_children or group.dead_children:
            self.children_failed(group)
        else:
            self.done(group, SUCCESS, group.reason)

    def children_failed(self, group: Task) -> None:
        retry, note = group_retry(group.spec.own("_retry"))
        if note:
            self.step.notes.append(f"{group.full_name}: {note}")
        if group.retries < retry.limit:
            group.retries += 1
            self.wait(group, self.now + retry.wait(group.retries), f"round {group.retries} failed")
            return
        data, resets = generate.facts_of_children(self.tree, group)
        handlers = generate.handlers(self.tree, group, data, self.step.notes, resets)
        if handlers:
            self.add(handlers)
            self.move(group, FAILING)
            self.open(group)
        else:
            self.done(group, GROUP_ERROR, self.tree.cause_of_death(group))

    def canceling(self, group: Task) -> bool:
        return self.tree.cancel_requested or group.reason == SIBLING_FAILED

    def stop_siblings(self, group: Task) -> None:
        """`fail_fast`: a member failed, so the others end, with all below them."""
        for task in self.tree.descendants(group):
            if task.state not in DONE:
                self.cancel_one(task, SIBLING_FAILED)
                if task.state in (PLANNED, FAILING):
                    task.reason = SIBLING_FAILED
                    self.step.changed.add(task.index)

    # -- waiting

    def wait(self, task: Task, due_at: int, reason: str | None = None) -> None:
        task.due_at = due_at
        self.move(task, WAITING, reason)
        heappush(self.tree.due, (due_at, task.index))

    def wake_due(self) -> None:
        due = self.tree.due
        while due and due[0][0] <= self.now:
            due_at, index = heappop(due)
            task = self.tasks[index]
            if task.state == WAITING and task.due_at == due_at:
                self.wake(task)
        self.settle()

    def wake(self, task: Task) -> None:
        if not self.take_slot(task):
            return
        task.due_at = None
        if task.is_group:
            self.supersede_children(task)
            self.add(generate.copies(self.tree, task))
            self.move(task, PLANNED)
            self.open(task)
        else:
            self.supersede_children(task)  # an operator that runs again generates again
            self.move(task, READY)

    def supersede_children(self, task: Task) -> None:
        """All that was below it is history; but what an alarm added while it waited has still to run."""
        members = list(self.tree.members(task))
        added = [one for one in members if one.state == BLOCKED and not one.is_member and not one.dead]
        for top in members:
            for below in () if top in added else (top, *self.tree.descendants(top)):
                below.superseded = True
                self.step.changed.add(below.index)
        task.open_children = len(added)
        task.failed_children = task.dead_children = task.in_window = 0
        task.queue.clear()
        task.effects = None

    # -- starting

    def add(self, tasks: Sequence[Task]) -> None:
        """Take new tasks into the tree. They are blocked, or carried over as successes."""
        first = len(self.tasks)
        for task in tasks:
            self.tree.attach(task)
            self.step.inserted.append(task.index)
        for task in self.tasks[first:]:
            self.tree.count_one(task)
        for task in self.tasks[first:]:
            for index in task.upstreams:
                upstream = self.tasks[index]
                if upstream.dead or (upstream.state in DONE and upstream.state != SUCCESS):
                    self.unsettled += self.tree.mark_dead(task)

    def open(self, group: Task) -> None:
        """A group is at work: its children may start."""
        for task in list(self.tree.members(group)):
            if task.state == BLOCKED and task.waiting_for == 0 and not task.dead:
                self.unblock(task)
        if group.open_children == 0:
            self.unsettled.append(group)

    def may_start(self, task: Task) -> bool:
        if task.state != BLOCKED or task.waiting_for or task.dead or task.superseded:
            return False
        return task.parent is None or self.tasks[task.parent].state in (PLANNED, FAILING)

    def unblock(self, task: Task) -> None:
        if not self.may_start(task):
            return
        if self.tree.cancel_requested:
            self.done(task, CANCELED, self.tree.cancel_reason)
        elif self.take_slot(task):
            if task.is_group:
                task.started_at = self.now
                self.move(task, PLANNED)
                self.open(task)
            else:
                self.move(task, READY)

    def take_slot(self, task: Task) -> bool:
        """Whether the window of the group has room; if not, the task queues for it."""
        if task.parent is None:
            return True
        group = self.tasks[task.parent]
        slots = group.spec.slots
        if slots is None or group.in_window < slots or not task.is_member:
            return True
        heappush(group.queue, task.index)
        return False

    def refill(self, group: Task) -> None:
        """A slot came free: the first in the queue takes it."""
        while group.queue and group.spec.slots is not None and group.in_window < group.spec.slots:
            task = self.tasks[heappop(group.queue)]
            if task.state != WAITING:
                self.unblock(task)
            elif not task.superseded and (task.due_at or 0) <= self.now:  # else it stood in the queue twice
                self.wake(task)

    # -- moving

    def done(self, task: Task, state: str, reason: str | None = None) -> None:
        """The task is done: tell what waits for it, and its group."""
        task.finished_at = self.now
        task.due_at = None
        if state == SUCCESS:
            task.error = None
        self.move(task, state, reason)
        if task.parent is not None:
            group = self.tasks[task.parent]
            if not task.dead:
                group.open_children -= 1
            if state in FAILED and not task.is_handler:
                group.failed_children += 1
                if group.spec.fail_fast and group.state == PLANNED:
                    self.stop_siblings(group)
            if group.open_children == 0:
                self.unsettled.append(group)
        if state == SUCCESS:
            for index in task.downstreams:
                after = self.tasks[index]
                after.waiting_for -= 1
                if after.waiting_for == 0:
                    self.unblock(after)
        else:
            self.unsettled += self.tree.mark_dead_after(task)

    def move(self, task: Task, state: str, reason: str | None = None) -> None:
        before = task.state
        assert (before, state) in TRANSITIONS, f"{task.full_name}: {before} → {state} is no legal move"
        task.state = state
        task.reason = reason
        if state not in (RUNNING, STOPPING):
            task.lease = None
        if state == READY:
            heappush(self.tree.ready, rank(task))
        self.step.moves.append(Move(task.index, before, state, reason))
        self.step.changed.add(task.index)
        if task.parent is not None:
            group = self.tasks[task.parent]
            was, is_ = before in AT_WORK, state in AT_WORK
            if was != is_:
                group.in_window += 1 if is_ else -1
                if not is_ and group.queue:
                    self.refill(group)
