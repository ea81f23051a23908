"""Files of a try on their way to the store or out of it (features F79): in a thread, so that the loop never waits for bytes.

    deliver   before a command: what `_inputs` and `${+task.file(…)}` ask for is put where it is wanted
    collect   after its success: what `_outputs` declares is put into the store; only then does the task count as a success

The try keeps its slot, its time limit holds, and it can be killed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dagrun.core.events import Success
from dagrun.core.files import INPUTS, OUTPUTS
from dagrun.engine import task as calls
from dagrun.engine.tries import Try
from dagrun.errors import TaskFailed, UserError
from dagrun.plugins.operator import Command

if TYPE_CHECKING:
    from dagrun.engine.worker import Worker
    from dagrun.files.store import Stopped


_PATIENCE_SECONDS = (
    2.0  # with a transfer that was told to end: between two parts of a file it looks many times a second
)


class Transfers:
    """Those of one worker's tries."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def deliver(self, held: Try, command: Command) -> None:
        """The files that the try asks for are there, and then its command starts."""
        assert held.call is not None and held.prepared is not None
        held.delivered = True
        work = self.worker.launcher.delivering(held.prepared, held.call)
        self.begin(held, work, lambda _: self.worker.carry_on(held, command))

    def concern(self, held: Try) -> bool:
        """Whether it isn't a success yet, now that its operator is done."""
        assert held.call is not None
        return bool(held.call.outputs) or (held.prepared is None and bool(held.call.context.local.get(INPUTS)))

    def collect(self, held: Try, outcome: Success) -> None:
        """What the task declares is in the store, and then it is a success."""
        assert held.call is not None
        if held.prepared is None:
            key = OUTPUTS if held.call.outputs else INPUTS
            text = f"its operator runs no command, and neither reads nor writes files: it can't have {key}"
            self.worker.ended(held, calls.failure(held.task, TaskFailed(text, "bad_option", "config"), None))
            return
        work = self.worker.launcher.collecting(held.prepared, held.call)
        self.begin(held, work, lambda found: self.worker.ended(held, outcome._replace(outputs=found)))

    def begin(self, held: Try, work: Callable[[Stopped], Any], then: Callable[[Any], None]) -> None:
        held.transfer = Transfer(work, then)
        if held.exit is not None:
            held.exit = held.exit._replace(at=None)  # the try goes on, and ends with its files
        self.worker.poller.add(held.transfer.fd, held)
        self.worker.begin(held)

    def look_at(self, held: Try) -> None:
        """Its transfer is over."""
        assert held.call is not None and held.transfer is not None
        transfer, held.transfer = held.transfer, None
        self.worker.poller.remove(transfer.fd)
        transfer.finish()
        if held.out_of_time:
            self.worker.ended(held, calls.out_of_time(held.call))
        elif held.stopped:
            self.worker.ended(held, Success())  # canceled: the result is dropped
        elif transfer.problem is not None:
            self.worker.ended(held, calls.failure(held.task, failure_of(transfer.problem), held.call.retry))
        else:
            transfer.then(transfer.result)


class Transfer:
    """`fd` is readable when it is over; then `result` or `problem` says how."""

    def __init__(self, work: Callable[[Stopped], Any], then: Callable[[Any], None]) -> None:
        self.then = then
        self.result: Any = None
        self.problem: BaseException | None = None
        self.fd, self._signal = os.pipe()
        self._stopped = threading.Event()
        self._ending = threading.Lock()
        self._over = False
        threading.Thread(target=self._run, args=(work,), name="dagrun-files", daemon=True).start()

    def stop(self) -> None:
        """It ends soon, and without a result: a store that doesn't answer is not waited for."""
        if not self._stopped.is_set():
            self._stopped.set()
            giving_up = threading.Timer(_PATIENCE_SECONDS, self._end)
            giving_up.daemon = True
            giving_up.start()

    def finish(self) -> None:
        """It is over."""
        os.close(self.fd)

    def _run(self, work: Callable[[Stopped], Any]) -> None:
        try:
            self.result = work(self._stopped.is_set)
        except BaseException as problem:
            self.problem = problem
        finally:
            self._end()

    def _end(self) -> None:
        with self._ending:
            if not self._over:
                self._over = True
                os.close(self._signal)


def failure_of(problem: BaseException) -> TaskFailed:
    """Names of files may hold bytes that are no text; the store of attempts takes text alone."""
    if isinstance(problem, TaskFailed):
        problem.message = problem.message.encode(errors="backslashreplace").decode()
        return problem
    if isinstance(problem, UserError):
        return TaskFailed(str(problem), "bad_option", "config")
    text = f"the task's files can't be handed on: {type(problem).__name__}: {problem}"
    return TaskFailed(text, "files_failed", "runtime", platform=isinstance(problem, OSError))
