"""What follows a task is prepared while that task is at work, when there is nothing else to do.

Of a chain of tasks the next ones are evaluated, their operators called, their directories laid out and their shells started, which
wait for their scripts (executors/gate.py), so that between two commands there is little but the transaction. Nothing of a task is
done before it is claimed. All of this holds only if the task turns out to see what was foreseen: that those before it stored nothing.
Else it is dropped, and all is done at its time.

Only for operators that merely describe a command (`Operator.describes`), and only where neither the time nor anything that
a task before it can change has a say: no expression that JavaScript evaluates, no secret, no files of other tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from dagrun.core.events import Outcome, Success
from dagrun.core.params import Scope, seen
from dagrun.core.state import BLOCKED, RUNNING
from dagrun.core.tree import Task, TaskTree
from dagrun.engine import task as calls
from dagrun.engine.asked import Services
from dagrun.engine.launch import Prepared
from dagrun.engine.tries import Try, try_log
from dagrun.light import NamedTuple
from dagrun.plugins.operator import Command

if TYPE_CHECKING:
    from dagrun.engine.attempt import Attempt
    from dagrun.engine.worker import Worker


AHEAD = 2  # tasks: a shell takes longer to come to its gate than the shortest command to run
MOST_FORESEEN = 32  # each may hold directories with the files of its project


class Foreseen(NamedTuple):
    """A try that has not been claimed yet. `prepared` is None where it has no directories yet."""

    task: Task
    number: int
    scope: Scope  # what it is right for
    call: calls.Call
    command: Command
    prepared: Prepared | None


class Foresight:
    """The tries that a worker has prepared, by attempt and index of the task."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.todo: list[Try] = []  # at work, and not looked beyond yet
        self.foreseen: dict[tuple[int, int], Foreseen] = {}

    def look(self) -> None:
        """Beyond each of the tries that were started since the last time."""
        todo, self.todo = self.todo, []
        for held in todo:
            if held.handle is not None and held.task.state == RUNNING:
                self.look_beyond(held.attempt, held.task)

    def look_beyond(self, attempt: Attempt, at_work: Task) -> None:
        """Where one task has stored something, the next one will do so, too: that would be in vain."""
        if not at_work.downstreams or any(attempt.tree[index].stored for index in at_work.upstreams):
            return
        scope = attempt.variables().enter(at_work)
        for task in islice(successors(at_work, attempt.tree), AHEAD):
            key = attempt.id, task.index
            known = self.foreseen.get(key)
            if known is not None and known.task is task and known.number == task.tries + 1 and known.scope is scope:
                continue  # one try may start several commands
            self.forget_one(*key)  # first: both would lie in the same directory
            found = self.foresee(attempt, task, scope) if len(self.foreseen) < MOST_FORESEEN else None
            if found is None:
                return
            self.foreseen[key] = found

    def foresee(self, attempt: Attempt, task: Task, scope: Scope) -> Foreseen | None:
        launcher = self.worker.launcher
        number = task.tries + 1
        unclaimed = Try(attempt, task.index, "", number, 0, try_log(launcher.state_dir, attempt.id, task, number))
        prepared = None
        try:
            call = calls.prepare(attempt, task, NoServices(self.worker, unclaimed, 0), seen(scope, task))
            if not isinstance(call, calls.Call) or not call.operator.describes or call.deliveries:
                return None
            command = calls.run(call)
            if not isinstance(command, Command) or command.image is not None:
                return None
            prepared = launcher.prepare_ahead(attempt, task, number, call)
            if prepared is not None:
                launcher.start_ahead(prepared, command, unclaimed.log)
        except Exception:  # if something is wrong with it, that is told at its time
            if prepared is not None:
                launcher.drop(prepared)
            return None
        return Foreseen(task, number, scope, call, command, prepared)

    def take(self, held: Try, services: Services) -> Command | None:
        """The command that was foreseen for a try which is claimed now, if that still holds; the try has then its call, and perhaps
        its directories.
        """
        found = self.foreseen.get((held.attempt.id, held.index))
        if found is None:
            return None
        task = held.task
        if found.task is task and found.number == held.number and held.attempt.variables().enter(task) is found.scope:
            context = found.call.context
            context.services, context.now = services, services.now / calls.SECOND
            if isinstance(calls.check_time(found.call, services.now), calls.Call):
                held.call, held.prepared = found.call, found.prepared
                del self.foreseen[held.attempt.id, held.index]
                return found.command
        self.forget_one(held.attempt.id, held.index)
        return None

    def ended(self, held: Try, outcome: Outcome) -> None:
        """A try is over: what waits for its success doesn't come now, and perhaps never. What was foreseen of itself is over, too."""
        self.forget_one(held.attempt.id, held.index)
        if held.stopped or not isinstance(outcome, Success):
            for task in successors(held.task, held.attempt.tree):
                self.forget_one(held.attempt.id, task.index)

    def forget(self, attempt_id: int) -> None:
        """The attempt has ended: what was foreseen of it won't come to pass."""
        for attempt, index in [key for key in self.foreseen if key[0] == attempt_id]:
            self.forget_one(attempt, index)

    def close(self) -> None:
        for key in list(self.foreseen):
            self.forget_one(*key)

    def forget_one(self, attempt_id: int, index: int) -> None:
        found = self.foreseen.pop((attempt_id, index), None)
        if found is not None and found.prepared is not None:
            self.worker.launcher.drop(found.prepared)


def successors(task: Task, tree: TaskTree) -> Iterator[Task]:
    """The tasks that run next if this one succeeds, and each of them: always the first of those behind it, if it waits for that alone."""
    while not task.superseded and task.downstreams:
        after = tree[task.downstreams[0]]
        fresh = after.state == BLOCKED and not (after.superseded or after.dead or after.tries)
        beside = after.upstreams == (task.index,) and after.parent == task.parent
        if not (fresh and beside and after.is_member and not after.is_group):
            return
        yield after
        task = after


class NotYet(Exception):
    """It has an effect, or its answer may be another one when it is asked at its time."""


class NoServices(Services):
    """For a call that is made before its time, and perhaps in vain."""

    __slots__ = ()

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotYet

    secret = write = notify = warn = require = refuse

    @property
    def javascript(self) -> Any:
        return NoJavaScript


class NoJavaScript:
    """In the place of `JavaScript` and of what it is at a time: plain look-ups don't need it."""

    @classmethod
    def at(cls, *_: object) -> type[NoJavaScript]:
        return cls

    @staticmethod
    def run(*_: object) -> NoReturn:
        raise NotYet

    parses = file = run
