"""A turn: the only way in which an attempt's state changes. Lock, catch up, step, claim, save, wake.

Workers, cancel, the loss of a process and the local command line all come through here. There is no owner and no
leader: whoever took the last turn just has a warm cache. What is decided lives in `core/machine.py`; nothing is decided
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagrun.core.events import Event, Finished, Move, Step
from dagrun.core.machine import Machine
from dagrun.core.state import DONE
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import Workflow
from dagrun.engine.rows import catch_up, encode, load_tree, to_row
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple
from dagrun.store.base import AttemptRow, MoveRow, Store, TryRow, Tx

if TYPE_CHECKING:
    from dagrun.engine.gates import Gates
    from dagrun.engine.noticing import Witness

TURNS_AT_ONCE = 100  # in one transaction
MOVE_BITS = 24  # a move's number is its turn's version and its place in the turn: in order, without counting


@dataclass(slots=True, eq=False, repr=False)
class Live:
    """An attempt that this process works on: its workflow, and its tree as far as this process knows it."""

    id: int
    workflow: Workflow
    task_limit: int
    tree: TaskTree | None = None
    row: AttemptRow | None = None
    gated: bool | None = None  # whether any of its tasks takes pools or counts for a rate
    waiting: dict[int, int] = field(default_factory=dict)  # since when which task waits for a pool
    witness: Witness | None = None  # makes notices of what a turn did, in its transaction

    def is_gated(self) -> bool:
        if self.gated is None and self.tree is not None:
            self.look_for_gates(self.tree.tasks)
        return bool(self.gated)

    def look_for_gates(self, tasks: Iterable[Task]) -> None:
        self.gated = self.gated or any("_use" in task.spec.config or "_rate" in task.spec.config for task in tasks)


@dataclass(slots=True, eq=False, repr=False)
class Turn:
    """What a turn did. `tree` is as the turn left it."""

    tree: TaskTree
    row: AttemptRow
    moves: list[Move]
    claimed: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    look_again: int | None = None  # when a rate lets the next task start
    waits: bool = False  # a task waits for a pool
    barred: Mapping[int, TaskFailed] = field(default_factory=dict)  # of `claimed`: what can't start, and why
    released: bool = False  # something was given back to a pool

    @property
    def done(self) -> bool:
        return self.tree.root.state in DONE


def take_turn(
    store: Store,
    live: Live,
    events: Sequence[Event] = (),
    *,
    claim: int = 0,
    lease: Callable[[], str] = str,
    tries: Sequence[TryRow] = (),
    gates: Gates | None = None,
) -> Turn:
    """Apply events to one attempt, durably; concurrent turns of the same attempt queue up.

    `claim` ready tasks at most are claimed in the same transaction, each with a new `lease()`. `tries` are the records of
    the tries that the events report. Raises NotFound when the attempt is gone. Answers with a lease that is no longer the
    task's change nothing. A turn that fails leaves the cached tree thrown away.
    """
    (turn,) = take_turns(store, [Asked(live, events, tries)], room=claim, lease=lease, gates=gates)
    return turn


class Asked(NamedTuple):
    """What one of several turns is about."""

    live: Live
    events: Sequence[Event]
    tries: Sequence[TryRow]
    claims: bool = True


def take_turns(
    store: Store, asked: Sequence[Asked], *, room: int, lease: Callable[[], str], gates: Gates | None = None
) -> list[Turn]:
    """Turns of the first ones of several attempts, given in order of their ids, in one transaction: all, or none.

    It ends early, after one turn at least, when `room` tasks are claimed: what they start may be over before the next turn
    is taken, and leave room again. An attempt that takes pools has a transaction of its own: two processes that lock rows and
    pools of several attempts could wait for each other in a circle.
    """
    turns: list[Turn] = []
    try:
        with store.transaction() as tx:
            for one in asked[:TURNS_AT_ONCE]:
                if turns and one.live.is_gated():
                    break
                turn = turn_in(tx, one.live, one.events, room if one.claims else 0, lease, one.tries, gates)
                turns.append(turn)
                room -= len(turn.claimed)
                if one.live.is_gated() or (turn.claimed and room <= 0):
                    break
    except BaseException:
        for one in asked:
            one.live.tree = None
        raise
    return turns


def turn_in(
    tx: Tx,
    live: Live,
    events: Sequence[Event],
    claim: int,
    lease: Callable[[], str],
    tries: Sequence[TryRow],
    gates: Gates | None,
) -> Turn:
    row = tx.lock_attempt(live.id)
    tree = current_tree(tx, live, row)
    valid = answered(tree, events)
    machine = Machine(tree, tx.now)
    step = machine.run(events)
    choice = None
    if step.inserted:
        live.look_for_gates(tree[index] for index in step.inserted)
    if gates is not None and live.is_gated():
        choice = gates.choose(tx, live.id, live.workflow.name, tree, claim, live.waiting)
        claimed = [*choice.tasks, *choice.barred]  # these are claimed so that they can fail
    else:
        claimed = tree.claimable(claim) if claim > 0 else []
    for index in claimed:
        machine.claim(tree.tasks[index], lease())
    if step.changed or step.inserted or tree.cancel_requested != bool(row.cancel_requested):
        row = save(tx, live, tree, row, step)
    kept = [row for row in tries if (row.idx, row.try_number) in valid]
    if kept:
        tx.insert_tries(kept)
    live.row = row
    if live.witness is not None:
        live.witness.look(tx, row, tree, events)
    turn = Turn(tree, row, step.moves, claimed, step.notes)
    if live.is_gated():
        from dagrun.engine.gates import give_back

        turn.released = give_back(tx, live.id, tree, step.moves)
    if choice is not None:
        turn.look_again, turn.waits, turn.barred = choice.look_again, choice.waits, choice.barred
    return turn


def answered(tree: TaskTree, events: Sequence[Event]) -> set[tuple[int, int]]:
    """The tries whose reports count: index and number."""
    found = set()
    for event in events:
        if isinstance(event, Finished) and tree[event.task].lease == event.lease:
            found.add((event.task, tree[event.task].tries))
    return found


def current_tree(tx: Tx, live: Live, row: AttemptRow) -> TaskTree:
    """The cached tree, caught up with what others changed."""
    tree = live.tree
    if tree is None:
        tree = live.tree = load_tree(live.workflow, tx.load_tasks(live.id), row.version)
    elif tree.version != row.version:
        catch_up(tree, live.workflow, tx.load_tasks(live.id, tree.version), row.version)
    tree.task_limit = live.task_limit
    tree.cancel_requested = bool(row.cancel_requested)
    return tree


def save(tx: Tx, live: Live, tree: TaskTree, row: AttemptRow, step: Step) -> AttemptRow:
    version = row.version + 1
    new = set(step.inserted)
    if new:
        tx.insert_tasks([to_row(tree[index], live.id, version, tree.static) for index in step.inserted])
    changed = [to_row(tree.tasks[index], live.id, version, tree.static) for index in sorted(step.changed - new)]
    if changed:
        tx.save_tasks(changed)
    tx.insert_moves(
        [
            MoveRow(live.id, version << MOVE_BITS | number, move.task, move.before, move.after, tx.now, move.reason)
            for number, move in enumerate(step.moves)
        ]
    )
    root = tree.root
    done = root.state in DONE
    if not done and tree.cancel_requested == bool(row.cancel_requested):
        tx.save_version(live.id, version)
        tree.version = version
        return row._replace(version=version)
    row = row._replace(
        version=version,
        cancel_requested=1 if tree.cancel_requested else 0,
        state=root.state if done else "running",
        finished_at=tx.now if done else None,
        error=encode({"kind": "killed", "message": tree.cancel_reason})
        if done and tree.cancel_requested
        else row.error,
    )
    tx.save_attempt(row)
    tree.version = version
    return row
