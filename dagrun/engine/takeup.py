"""Taking up tries that an earlier process of the daemon started: their commands went on, or ended, without it.

What was claimed and never began is begun now; what began and isn't known any more is lost, which is a failure of the
platform (features F25). Nothing is started twice.
"""

from __future__ import annotations

import os
from collections.abc import Container

from dagrun.core.state import RUNNING, STOPPING
from dagrun.core.tree import Task
from dagrun.engine import task as calls
from dagrun.engine.attempt import Attempt
from dagrun.engine.tries import Try
from dagrun.engine.worker import Worker
from dagrun.errors import TaskFailed
from dagrun.plugins.operator import Command
from dagrun.store.base import Tx


def take_up(worker: Worker, tx: Tx, attempt: Attempt, known: Container[str]) -> None:
    """All tries of the attempt that are claimed. `known` are the commands that the executor knows."""
    claimed = [task for task in attempt.tree.tasks if task.state in (RUNNING, STOPPING) and not task.superseded]
    if not claimed:
        return
    started = {move.idx: move.at for move in tx.load_moves(attempt.id) if move.after == RUNNING}
    for task in claimed:
        resume(worker, attempt, task, started.get(task.index, worker.now()), known)


def resume(worker: Worker, attempt: Attempt, task: Task, started_at: int, known: Container[str]) -> None:
    held = worker.hold(attempt, task, started_at)
    call = calls.prepare(attempt, task, worker.around(held, worker.now()))
    held.wrote = os.path.exists(held.log)
    if isinstance(call, calls.Call):
        held.call = call
        held.prepared = worker.launcher.reopen(attempt, task, held.number, call)
    prepared = held.prepared
    while prepared and prepared.next_name in known:
        prepared.commands += 1
    if held.call is None or prepared is None or prepared.commands == 0:
        begin_anew(worker, held)
        return
    if held.call.hosted:
        held.call.command = Command(()) if prepared.commands == 2 else None
    else:
        calls.run(held.call)  # for the secrets that its output may hold
    worker.watch(held, {"try": prepared.command_name})


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
