"""Taking up tries that an earlier process of the daemon started: their commands went on, or ended, without it.

What was claimed and never began is begun now; what began and isn't known any more is lost, which is a failure of the
platform (features F25). Nothing is started twice. Operators are called here: not to be used in a transaction.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress

from dagrun.core.state import RUNNING, STOPPING
from dagrun.core.tree import Task
from dagrun.engine import task as calls
from dagrun.engine.asked import Services
from dagrun.engine.attempt import Attempt
from dagrun.engine.tries import Try
from dagrun.engine.worker import Worker
from dagrun.engine.workspace import remove_tree, working
from dagrun.errors import TaskFailed
from dagrun.plugins.operator import Command
from dagrun.store.base import Tx

SHARED = ".shared"


def starts(tx: Tx, attempt: Attempt) -> dict[int, int]:
    """When the newest try of each task began."""
    return {move.idx: move.at for move in tx.load_moves(attempt.id) if move.after == RUNNING}


def take_up(
    worker: Worker, attempt: Attempt, started: Mapping[int, int], known: Container[str], directories: Sequence[str]
) -> None:
    """All tries of the attempt that are claimed. `known` are the commands that the executor knows."""
    claimed = [task for task in attempt.tree.tasks if task.state in (RUNNING, STOPPING) and not task.superseded]
    take_directories(worker, attempt, claimed, directories)
    for task in claimed:
        resume(worker, attempt, task, started.get(task.index, worker.now()), known)


def directories_by_attempt(state_dir: str) -> Mapping[int, Sequence[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for name in working(state_dir):
        number = name.partition(".")[0]
        if number.isdecimal():
            found[int(number)].append(name)
    return found


def take_directories(worker: Worker, attempt: Attempt, claimed: Sequence[Task], names: Sequence[str]) -> None:
    """What tries share goes with the attempt's end; what no try needs goes now."""
    workspaces = worker.launcher.workspaces
    needed = {key_of(attempt, task) for task in claimed}
    for name in names:
        path = os.path.join(workspaces.work, name)
        if name.endswith(SHARED):
            workspaces.shared[attempt.id, int(name.split(".")[1])] = path
        elif name not in needed:
            remove_tree(path)


def key_of(attempt: Attempt, task: Task) -> str:
    return f"{attempt.id}.{task.index}.{task.tries}"


def resume(worker: Worker, attempt: Attempt, task: Task, started_at: int, known: Container[str]) -> None:
    held = worker.hold(attempt, task, started_at)
    call = calls.prepare(attempt, task, Services(worker, held, worker.now()))
    held.wrote = os.path.exists(held.log)
    if isinstance(call, calls.Call):
        held.call = call
        held.prepared = worker.launcher.reopen(attempt, task, held.number, call)
    prepared = held.prepared
    while prepared and prepared.next_name in known:
        prepared.commands += 1
    if held.wrote:
        end_unknown(worker, prepared.next_name if prepared else f"{worker.store.id}/{key_of(attempt, task)}")
    if held.call is None or prepared is None or prepared.commands == 0:
        begin_anew(worker, held)
        return
    held.delivered = True
    command = Command(())
    if held.call.hosted:  # its program and the commands that it asks for take turns
        held.call.command = command if prepared.commands % 2 == 0 else None
        calls.granted(held.call)  # the secrets that their output may hold
    else:
        found = calls.run(held.call)  # for the secrets that its output may hold
        command = found if isinstance(found, Command) else command
    try:
        handle = worker.launcher.adopt(prepared, command, held.log, held.masked)
    except TaskFailed as problem:
        worker.ended(held, calls.failure(held.task, problem, held.call.retry))
        return
    worker.at_work(held, handle)
    worker.look_at(held)  # it may have ended long ago


def end_unknown(worker: Worker, name: str) -> None:
    """No command of this name runs: its keeper may have died, and left it alone."""
    with suppress(TaskFailed):
        worker.launcher.executor.poll({"try": name})


def begin_anew(worker: Worker, held: Try) -> None:
    """The executor knows of no command. Where there is a log, there was one, or the operator wrote itself."""
    if held.wrote:
        gone = TaskFailed("The process is gone, and how it ended is not known", "lost", platform=True)
        worker.ended(held, calls.failure(held.task, gone, held.call.retry if held.call else None))
        return
    if held.prepared:
        held.prepared.workspace.remove()
    del worker.tries[held.attempt.id, held.index]
    worker.start(held.attempt, held.task)
