"""Which ready tasks may start: pools, locks and rates (features F57, F58), in the transaction that claims the task.

Several pools are taken together or not at all. Who looks at pools and rates does so alone in the whole store, from before it
counts until what it took can be seen: of several processes that see the same part, one takes it. It is one lock for all names,
the last that a transaction takes, so that nobody waits for anybody in a circle. A part is held as long as its task or group
lives: whatever ends that, also the end of a dead process, gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagrun.core.events import Move
from dagrun.core.state import DONE, WAITING
from dagrun.core.tree import Task, TaskTree
from dagrun.core.uses import LOCK, WHOLE, Rate, Use, rates_of, takers, use_of
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple
from dagrun.store.base import HoldRow, Tx

NO_ROOM = "there was no room in its pools within the timeout of its _use"


class Choice(NamedTuple):
    """`look_again`: when a rate lets the next one start, microseconds; `waits`: something waits for a pool."""

    tasks: list[int]
    look_again: int | None
    waits: bool
    barred: dict[
        int, TaskFailed
    ]  # tasks that can't start: what they want isn't there, or their time of waiting is over


class Gates:
    """`pools` and `rates` are those of the settings; a size in the store (`dagrun pools`) wins."""

    def __init__(self, pools: Mapping[str, float], rates: Mapping[str, str]) -> None:
        self.pools = pools
        self.rates = rates

    def choose(
        self, tx: Tx, attempt_id: int, workflow: str, tree: TaskTree, most: int, waiting: dict[int, int]
    ) -> Choice:
        """At most so many of the ready tasks, in order. `waiting`: since when which task waits for a pool."""
        found: list[int] = []
        barred: dict[int, TaskFailed] = {}
        again: list[int] = []
        full: set[str] = set()
        closed: dict[str, int] = {}
        waits = False
        at = 0  # when the gates were locked; 0: they aren't, nothing was there to be counted
        for index in tree.claimable(len(tree.ready)):
            if len(found) + len(barred) >= most:
                break
            task = tree[index]
            try:
                uses = [(one, use) for one in takers(tree, task) if (use := use_of(one.spec.config)) is not None]
                rates = self.rates_of(tree, task, workflow)
                if (uses or rates) and not at:
                    at = tx.lock_gates()
                blocked = self.blocked_by(tx, attempt_id, uses, full)
                due = None if blocked else self.due(tx, rates, at, closed)
            except TaskFailed as problem:
                barred[index] = problem
                continue
            if blocked:
                full.add(blocked)
                waits = True
                since = waiting.setdefault(index, tx.now)
                limit = min((use.timeout for _, use in uses if use.timeout is not None), default=None)
                if limit is not None and tx.now - since >= limit * 1_000_000:
                    barred[index] = TaskFailed(NO_ROOM, "timed_out", "runtime")
                elif limit is not None:
                    again.append(since + int(limit * 1_000_000))
            elif due is not None:
                again.append(due)
            else:
                waiting.pop(index, None)
                self.take(tx, attempt_id, uses)
                self.count(tx, rates, at)
                found.append(index)
        return Choice(found, min(again, default=None), waits, barred)

    def blocked_by(self, tx: Tx, attempt_id: int, uses: Sequence[tuple[Task, Use]], full: set[str]) -> str | None:
        """The first pool that hasn't room for all that isn't held yet. Raises TaskFailed for one that isn't there."""
        wanted: dict[str, int] = {}
        holders = {one.index for one, _ in uses}
        for _, use in uses:
            for name, amount in use.pools.items():
                wanted[name] = wanted.get(name, 0) + amount
        for name in sorted(wanted):
            if name in full:
                return name
        for name in sorted(wanted):
            size = self.size(tx, name)
            if wanted[name] > size:
                raise TaskFailed(
                    f"_use wants {wanted[name] / WHOLE:g} of the pool {name}, whose size is {size / WHOLE:g}",
                    "bad_option",
                    "config",
                )
            used = sum(
                row.amount for row in tx.list_holds(name) if not (row.attempt_id == attempt_id and row.idx in holders)
            )
            if used + wanted[name] > size:
                return name
        return None

    def size(self, tx: Tx, name: str) -> int:
        row = tx.find_pool(name)
        if row is not None:
            return row.size
        if name.startswith(LOCK):
            return WHOLE
        if name in self.pools:
            return round(self.pools[name] * WHOLE)
        raise TaskFailed(
            f"there is no pool {name}; set its size with: dagrun pools --set {name}=3, or pools.{name} in the settings",
            "bad_option", "config",
        )  # fmt: skip

    def take(self, tx: Tx, attempt_id: int, uses: Sequence[tuple[Task, Use]]) -> None:
        for one, use in uses:
            for name, amount in use.pools.items():
                tx.insert_hold(HoldRow(name, attempt_id, one.index, amount, tx.now))

    def rates_of(self, tree: TaskTree, task: Task, workflow: str) -> Sequence[Rate]:
        """Those that its claim counts for. Raises TaskFailed for one that isn't there."""
        return () if task.goes_on else rates_of(tree, task, workflow, self.rates)

    def due(self, tx: Tx, rates: Sequence[Rate], at: int, closed: dict[str, int]) -> int | None:
        """When a task of these rates may start, None for now. `closed`: when each that was found full opens again."""
        for rate in rates:
            if rate.name not in closed:
                count, first = tx.count_starts(rate.name, at - rate.window)
                if count >= rate.most and first is not None:
                    closed[rate.name] = first + rate.window
        return max((closed[rate.name] for rate in rates if rate.name in closed), default=None)

    def count(self, tx: Tx, rates: Sequence[Rate], at: int) -> None:
        """By the time at which the gates were locked: that of the transaction may be before starts of others."""
        for rate in rates:
            tx.delete_starts(rate.name, at - rate.window)
            tx.insert_start(rate.name, at)


def give_back(tx: Tx, attempt_id: int, tree: TaskTree, moves: Sequence[Move]) -> bool:
    """Of tasks and groups that ended, or that failed and are tried again later. Whether anything was given back."""
    released = False
    for move in moves:
        task = tree[move.task]
        ended = move.after in DONE or (move.after == WAITING and (task.error is not None or task.is_group))
        if ended and "_use" in task.spec.config:
            tx.delete_holds(attempt_id, move.task)
            released = True
    return released
