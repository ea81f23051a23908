"""An attempt's tasks: a tree that only grows, with the counters that make settling cheap.

A task's identity is its index. Nothing is overwritten: a retried group marks its old members superseded and gets fresh
copies. The counters (upstreams still to come, children still to come) are derived from the rows when a tree is loaded
and kept by `machine.py` afterwards; they are never stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from dagrun.core.files import Output
from dagrun.core.state import BLOCKED, DONE, FAILED, PLANNED, READY, RUNNING, STOPPING, SUCCESS, WAITING
from dagrun.core.state import FAILING as FAILING_STATE
from dagrun.core.workflow import NOTHING, TaskSpec
from dagrun.light import NamedTuple, Protocol

AT_WORK = frozenset({READY, RUNNING, STOPPING, PLANNED, FAILING_STATE})  # takes a slot of its group's window

LEFT_OUT = "skipped"  # the reason of a task that a run was asked to leave out
HANDLERS = frozenset({"^error", "^failure-alert"})


class Task:
    """One node of an attempt's tree. A task is never deleted, only superseded."""

    __slots__ = (
        "children", "dead", "dead_children", "downstreams", "due_at", "effects", "error", "exported", "failed_children",
        "finished_at", "full_name", "handle", "in_window", "index", "lease", "memo", "open_children", "outputs", "parent",
        "platform_retries", "queue", "reason", "reset", "retries", "reused_from", "source", "spec", "started_at", "state",
        "stored", "superseded", "tries", "upstreams", "waiting_for",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        parent: int | None,
        full_name: str,
        spec: TaskSpec,
        upstreams: tuple[int, ...],
        source: int,
    ) -> None:
        self.index = index  # place in the tree, given by the core; with the attempt it is the key
        self.parent = parent
        self.full_name = full_name
        self.spec = spec
        self.upstreams = upstreams
        self.source = source  # the task whose definition this one shares: itself, unless it is a copy
        self.state = BLOCKED
        self.superseded = False
        self.tries = 0
        self.retries = 0  # failures of its own that were tried again; for a group, rounds started anew
        self.platform_retries = 0
        self.memo: Mapping[str, Any] = NOTHING  # what the operator asked to be remembered until its next call
        self.lease: str | None = None  # new at every claim; an answer with another lease is ignored
        self.handle: str | None = None
        self.due_at: int | None = None
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.stored: Mapping[str, Any] = NOTHING
        self.reset: Sequence[str] = ()
        self.exported: Mapping[str, Any] = NOTHING
        self.error: Mapping[str, Any] | None = None
        self.reason: str | None = None
        self.reused_from: int | None = None
        self.outputs: Sequence[Output] = ()  # files that it hands on
        # derived
        self.children: list[int] = []
        self.downstreams: list[int] = []
        self.waiting_for = 0  # upstreams that have not succeeded yet
        self.open_children = 0  # children that are neither done nor dead
        self.failed_children = 0
        self.dead_children = 0
        self.dead = False  # can never start: something before it, or its group, did not succeed
        self.in_window = 0  # children at work, of a group with slots
        self.queue: list[int] = []  # children that wait for a slot, a heap
        self.effects: Any = None  # see params.py

    @property
    def is_group(self) -> bool:
        return not self.spec.operator

    @property
    def is_member(self) -> bool:
        """Written in the definition of its parent, not generated: what a group's retry repeats."""
        return self.spec.name[0] == "+"

    @property
    def goes_on(self) -> bool:
        """Its next claim starts nothing: it goes on with a try that asked to be called again."""
        return self.error is None and bool(self.memo)

    @property
    def is_handler(self) -> bool:
        """`^error` and `^failure-alert`: they never change the outcome of their parent (spec/language X10)."""
        return self.spec.name in HANDLERS


class Ending(Protocol):
    """A task, or its row."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def started_at(self) -> int | None: ...


def left_out(task: Ending) -> bool:
    """Not asked for: it counts as a success so that others can run, but has never run."""
    return task.state == SUCCESS and task.reason == LEFT_OUT and task.started_at is None


class Carried(NamedTuple):
    """A generated task that the attempt taken over had done: reused when the same task is generated again."""

    spec: TaskSpec | None  # what its definition must be; None: whatever it is now
    task: Task
    below: Sequence[Task]
    attempt: int


INDEX = (1 << 40) - 1


def rank(task: Task) -> int:
    """The order in which ready tasks are claimed: by `_priority` (features F59), then as in the file. Its low bits are the
    task's index.
    """
    config = task.spec.config
    if "_priority" not in config:
        return task.index
    priority = config["_priority"]
    return task.index - (priority << 40) if isinstance(priority, int) else task.index


@dataclass(slots=True, eq=False, repr=False)
class TaskTree:
    """All tasks of an attempt."""

    tasks: list[Task] = field(default_factory=list)
    version: int = 0
    cancel_requested: bool = False
    cancel_reason: str = "killed"
    task_limit: int = 100_000
    static: int = 0  # so many tasks, the first ones, come from the workflow's file
    carried: Mapping[str, Carried] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)  # heap of ranks; may hold some that are ready no more
    due: list[tuple[int, int]] = field(default_factory=list)  # heap of (time, index); likewise
    names: dict[str, Task] = field(default_factory=dict)  # of the first `named` tasks: see `by_name`
    named: int = 0

    @property
    def root(self) -> Task:
        return self.tasks[0]

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    def attach(self, task: Task) -> None:
        """Append a task, as it is. Its upstreams and parent must be there, or come before the counters are used."""
        self.tasks.append(task)
        if task.parent is not None:
            self.tasks[task.parent].children.append(task.index)

    def members(self, group: Task) -> Iterator[Task]:
        """The children that count, in order."""
        for index in group.children:
            task = self.tasks[index]
            if not task.superseded:
                yield task

    def descendants(self, task: Task) -> Iterator[Task]:
        """All that counts below a task, in pre-order."""
        todo = [index for index in reversed(task.children) if not self.tasks[index].superseded]
        while todo:
            found = self.tasks[todo.pop()]
            yield found
            todo.extend(index for index in reversed(found.children) if not self.tasks[index].superseded)

    def ancestors(self, task: Task) -> Iterator[Task]:
        """From the parent to the root."""
        while task.parent is not None:
            task = self.tasks[task.parent]
            yield task

    def by_name(self) -> Mapping[str, Task]:
        """The newest task of each full name. Costs what was attached since the last call."""
        for task in self.tasks[self.named :]:
            self.names[task.full_name] = task
        self.named = len(self.tasks)
        return self.names

    def claimable(self, most: int) -> list[int]:
        """The next ready tasks, in order of their indexes, at most so many. They stay ready until they are claimed."""
        found: dict[int, None] = {}  # in order: a crowd may wait for a rate
        while self.ready and len(found) < most:
            index = heappop(self.ready) & INDEX
            if self[index].state == READY and not self[index].superseded:
                found[index] = None
        for index in found:
            heappush(self.ready, rank(self[index]))
        return list(found)

    def next_due(self) -> int | None:
        """When the first waiting task is due, or None."""
        while self.due:
            due_at, index = self.due[0]
            task = self[index]
            if task.state == WAITING and task.due_at == due_at and not task.superseded:
                return due_at
            heappop(self.due)
        return None

    def count(self) -> None:
        """Derive all counters and heaps from the states, after loading or building a tree."""
        self.ready.clear()
        self.due.clear()
        for task in self.tasks:
            task.downstreams.clear()
            task.waiting_for = task.open_children = task.failed_children = task.dead_children = task.in_window = 0
            task.dead = False
            task.queue.clear()
        for task in self.tasks:
            if not task.superseded:
                self.count_one(task)
        for task in self.tasks:
            if not task.superseded and task.state in DONE and task.state != SUCCESS:
                self.mark_dead_after(task)
        for task in self.tasks:
            self.queue_one(task)

    def count_one(self, task: Task) -> None:
        for upstream in task.upstreams:
            before = self.tasks[upstream]
            before.downstreams.append(task.index)
            if before.state != SUCCESS:
                task.waiting_for += 1
        if task.parent is not None:
            parent = self.tasks[task.parent]
            if task.state not in DONE:
                parent.open_children += 1
            elif task.state in FAILED and not task.is_handler:
                parent.failed_children += 1
            if task.state in AT_WORK:
                parent.in_window += 1
        if task.state == READY:
            heappush(self.ready, rank(task))
        elif task.state == WAITING and task.due_at is not None:
            heappush(self.due, (task.due_at, task.index))

    def queue_one(self, task: Task) -> None:
        """Nothing but a slot keeps it: back into the queue. One that waits for a time comes back when that is due."""
        if task.state != BLOCKED or task.superseded or task.waiting_for or task.dead or task.parent is None:
            return
        group = self.tasks[task.parent]
        if group.state == PLANNED and group.spec.slots is not None:
            heappush(group.queue, task.index)

    def mark_dead_after(self, task: Task) -> list[Task]:
        """A task is done without success: what waits for it, and what below it never started, never will."""
        settled: list[Task] = []
        for index in (*task.downstreams, *task.children):
            settled += self.mark_dead(self.tasks[index])
        return settled

    def cause_of_death(self, group: Task) -> str | None:
        """A group can fail because of a task outside that one of its members needs; the reason names it (F12)."""
        if group.failed_children:
            return None
        for task in self.members(group):
            for index in task.upstreams if task.dead else ():
                upstream = self[index]
                if upstream.dead or (upstream.state in DONE and upstream.state != SUCCESS):
                    return f"{task.full_name} needs {upstream.full_name}, which did not succeed"
        return None

    def mark_dead(self, task: Task) -> list[Task]:
        """The task can never start: neither can what waits for it, nor what is below it. Returns the settled groups.

        Death is derived, not stored. Each task dies once, so all deaths of an attempt together cost its size.
        """
        settled = []
        todo = [task]
        while todo:
            task = todo.pop()
            if task.dead or task.superseded or task.state != BLOCKED:
                continue
            task.dead = True
            if task.parent is not None and not self.tasks[task.parent].dead:
                parent = self.tasks[task.parent]
                parent.open_children -= 1
                parent.dead_children += 1
                if parent.open_children == 0:
                    settled.append(parent)
            todo.extend(self.tasks[index] for index in task.downstreams)
            todo.extend(self.tasks[index] for index in task.children)
        return settled
