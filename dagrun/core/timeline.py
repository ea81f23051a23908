"""When each task of an attempt queued, waited and ran, and which of them determined the end (features F86).

    timeline(tree, moves, tries, start, end) → Timeline      bars of each task, and the critical path
    usual(durations) → median                                what to compare an attempt with

Everything is read from the history: the moves, in their order, and the records of the tries. Nothing here knows whether
the attempt is done; what is at work at `end` is open. `dagrun timeline` draws it.

One task ended before another began if its move came first: moves of one turn share their time, but not their place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from dagrun.core.state import FAILING, PLANNED, READY, RUNNING, STOPPING, WAITING
from dagrun.core.tree import Task, TaskTree
from dagrun.light import NamedTuple, Protocol

# Kinds of bars.
QUEUED = "queued"  # ready: no worker has come yet
WAITS = "waiting"  # for a time: the next poll, the next try, the next round of a group
RUNS = "running"  # one bar a try, or a call of it
BELOW = "children"  # a group, or an operator whose generated tasks are at work

KINDS = {READY: QUEUED, WAITING: WAITS, RUNNING: RUNS, STOPPING: RUNS, PLANNED: BELOW, FAILING: BELOW}
ITS_OWN = frozenset({QUEUED, WAITS, RUNS})

TELLING = 1_000_000  # longer than an engine takes to tell an end in a turn: none was there then

USUAL_MOST = 20  # so many attempts make the usual duration
USUAL_LEAST = 5  # and from fewer nothing can be said


class Moved(Protocol):
    """One move of the history, as the store keeps it."""

    @property
    def idx(self) -> int: ...
    @property
    def after(self) -> str: ...
    @property
    def at(self) -> int: ...
    @property
    def reason(self) -> str | None: ...


class Tried(Protocol):
    """The record of one try. Polls of waiting operators have none."""

    @property
    def idx(self) -> int: ...
    @property
    def try_number(self) -> int: ...
    @property
    def started_at(self) -> int: ...
    @property
    def finished_at(self) -> int: ...
    @property
    def outcome(self) -> str: ...


class Bar(NamedTuple):
    """What a task did from one time to another, in microseconds since 1970 UTC."""

    kind: str
    task: int  # its index: each round of a retried group has tasks of its own
    start: int
    end: int
    open: bool = False  # still so at the end of the timeline
    number: int | None = None  # of the try that ran
    outcome: str | None = None  # of that try, if it ended with this bar and left a record


class Line(NamedTuple):
    """All tasks of one full name: one, unless a group was retried or an operator generated again."""

    task: Task  # the newest
    depth: int
    bars: tuple[Bar, ...]  # in order

    def length(self, kind: str) -> int:
        return sum(bar.end - bar.start for bar in self.bars if bar.kind == kind)


class Span(NamedTuple):
    """What one task did without a break: it queued, waited and ran."""

    task: int
    start: int
    end: int
    began: int  # place of the first move among all moves
    ended: int  # and of the move that ended it; of spans that are open, the first to begin is the last to end


@dataclass(frozen=True, slots=True)
class Timeline:
    start: int
    end: int
    lines: Sequence[Line]  # in tree order
    path: Sequence[Span]  # the critical path: each ended before the next began, and let it begin


def timeline(tree: TaskTree, moves: Sequence[Moved], tries: Iterable[Tried], start: int, end: int) -> Timeline:
    """The bars of all tasks from `start` to `end`, from moves in their order and tries by index and number."""
    records: dict[int, list[Tried]] = {}
    for row in tries:
        records.setdefault(row.idx, []).append(row)
    bars = {
        index: list(with_records(bars_of(tree[index], own, end), records.get(index, ())))
        for index, own in by_task(moves).items()
    }
    return Timeline(start, end, list(lines_of(tree, bars)), CriticalPath(tree, moves, end).spans())


def usual(durations: Sequence[int]) -> int | None:
    """The median of the durations, newest first; None while they are too few."""
    if len(durations) < USUAL_LEAST:
        return None
    ordered = sorted(durations[:USUAL_MOST])
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def by_task(moves: Iterable[Moved]) -> dict[int, list[Moved]]:
    found: dict[int, list[Moved]] = {}
    for move in moves:
        found.setdefault(move.idx, []).append(move)
    return found


# -- bars


class _Run(NamedTuple):
    """A bar in the making, and whether a try ended with it."""

    bar: Bar
    ends_try: bool


def bars_of(task: Task, moves: Sequence[Moved], end: int) -> Iterator[_Run]:
    """A bar for each stretch of one kind, from the task's own moves; those without length show nothing, unless it ran."""
    stretches = [(kind, next(group)) for kind, group in groupby(moves, lambda move: KINDS.get(move.after))]
    number = 1
    for (kind, first), (_, then) in zip(stretches, [*stretches[1:], (None, None)], strict=True):
        until = then.at if then else end
        if kind == RUNS:
            # A retry gives a reason for its wait; an operator that only wants to be called again gives none.
            ends_try = then is not None and not (then.after == WAITING and then.reason is None)
            shown = number if then else max(number, task.tries)
            yield _Run(Bar(kind, task.index, first.at, until, then is None, shown), ends_try)
            number += ends_try
        elif kind and until > first.at:
            yield _Run(Bar(kind, task.index, first.at, until, then is None), False)


def with_records(runs: Iterable[_Run], records: Sequence[Tried]) -> Iterator[Bar]:
    """Each record belongs to the bar that it overlaps most, of those that ended a try and have none; both are in order.

    The records' clock is the worker's, the moves' that of the store: nothing is compared exactly.
    """
    runs = list(runs)
    ended = [place for place, run in enumerate(runs) if run.ends_try]
    named: dict[int, Tried] = {}
    for record in records:
        while len(ended) > 1 and overlap(runs[ended[1]].bar, record) > overlap(runs[ended[0]].bar, record):
            del ended[0]
        if ended:
            named[ended.pop(0)] = record
    for place, run in enumerate(runs):
        found = named.get(place)
        yield told(run.bar, found) if found else run.bar


def told(bar: Bar, record: Tried) -> Bar:
    """The bar of that try, which may have ended long before the move."""
    end = bar.start + max(0, record.finished_at - record.started_at)
    shown = end if bar.end - end > TELLING else bar.end
    return bar._replace(end=shown, number=record.try_number, outcome=record.outcome)


def overlap(bar: Bar, record: Tried) -> int:
    """How long both last together; below zero, how far they are apart."""
    return min(bar.end, record.finished_at) - max(bar.start, record.started_at)


# -- lines


def lines_of(tree: TaskTree, bars: Mapping[int, Sequence[Bar]]) -> Iterator[Line]:
    """A line for each full name, below that of its parent, in the order of their first tasks."""
    same: dict[str, list[Task]] = {}
    below: dict[str, list[str]] = {}
    for task in tree.tasks:
        if task.full_name not in same and task.parent is not None:
            below.setdefault(tree[task.parent].full_name, []).append(task.full_name)
        same.setdefault(task.full_name, []).append(task)
    todo = [(task.full_name, 0) for task in tree.tasks[:1]]  # none, if it waits for its turn
    while todo:
        name, depth = todo.pop()
        tasks = same[name]
        yield Line(tasks[-1], depth, tuple(bar for task in tasks for bar in bars.get(task.index, ())))
        todo += [(child, depth + 1) for child in reversed(below.get(name, ()))]


# -- the critical path


class CriticalPath:
    """Walks from the span that ended last to the one that let it begin, and so on."""

    def __init__(self, tree: TaskTree, moves: Sequence[Moved], end: int) -> None:
        self.tree = tree
        self.opened: dict[int, int] = {}  # task → place of its first move
        self.own: dict[int, list[Span]] = {}  # task → its spans, in order
        self.last: dict[int, Span] = {}  # task → the span that ended last, of it and all below it
        self.inside: dict[int, list[Span]] = {}  # task → its own spans and the last of each child, as they ended
        self.take_spans(moves, end)
        for task in reversed(tree.tasks):  # children stand behind their parents
            found = self.own.get(task.index, [])[-1:] + [
                self.last[index] for index in task.children if index in self.last
            ]
            if found:
                self.last[task.index] = max(found, key=ended)

    def take_spans(self, moves: Sequence[Moved], end: int) -> None:
        begun: dict[int, tuple[int, int]] = {}
        for place, move in enumerate(moves):
            self.opened.setdefault(move.idx, place)
            own = KINDS.get(move.after) in ITS_OWN
            if own and move.idx not in begun:
                begun[move.idx] = (place, move.at)
            elif not own and move.idx in begun:
                began, start = begun.pop(move.idx)
                self.own.setdefault(move.idx, []).append(Span(move.idx, start, move.at, began, place))
        for index, (began, start) in begun.items():
            self.own.setdefault(index, []).append(Span(index, start, end, began, 2 * len(moves) - began))

    def spans(self) -> list[Span]:
        found = []
        span = self.last.get(0)
        while span is not None:
            found.append(span)
            span = self.before(span)
        return found[::-1]

    def before(self, span: Span) -> Span | None:
        """What ended last before the span began, of all that it could have waited for.

        The nearest level that knows anything decides: what is inside of a group ended after what let the group begin.
        A task that has no upstream begins with its parent, or when a sibling gives its slot back. An alarm (`sla`) is
        rung by the clock, and waits for nothing.
        """
        task, place = self.tree[span.task], span.began
        found = self.latest(self.inside_of(task), place)
        while found is None and task.parent is not None and not task.spec.name.startswith("^sla"):
            parent = self.tree[task.parent]
            upstreams = sorted((self.last[index] for index in task.upstreams if index in self.last), key=ended)
            known = [one for one in (self.latest(upstreams, place), self.latest(self.inside_of(parent), place)) if one]
            found = max(known, key=ended, default=None)
            task, place = parent, self.opened[parent.index]
        return found

    def inside_of(self, task: Task) -> list[Span]:
        if task.index not in self.inside:
            below = [self.last[index] for index in task.children if index in self.last]
            self.inside[task.index] = sorted(self.own.get(task.index, []) + below, key=ended)
        return self.inside[task.index]

    def latest(self, spans: Sequence[Span], place: int) -> Span | None:
        """The last of them that had ended before that move."""
        count = bisect_left(spans, place, key=ended)
        return spans[count - 1] if count else None


def ended(span: Span) -> int:
    return span.ended
