"""A try of a task, as the worker that holds its claim knows it, and what the history keeps of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagrun.core.events import CallAgain, Event, Failure, Finished, Outcome
from dagrun.core.tree import Task
from dagrun.engine.attempt import Attempt
from dagrun.engine.launch import Prepared
from dagrun.engine.rows import encode
from dagrun.engine.task import SECOND, Call
from dagrun.logs.files import log_path
from dagrun.plugins.executor import Exit
from dagrun.store.base import TryRow

if TYPE_CHECKING:
    from dagrun.engine.transfers import Transfer


def machine_clock() -> int:
    return time.time_ns() // 1000


@dataclass(slots=True, eq=False, repr=False)
class Try:
    """One try of one task that this worker holds the claim of."""

    attempt: Attempt
    index: int
    lease: str
    number: int
    started_at: int
    log: str
    call: Call | None = None
    prepared: Prepared | None = None
    handle: Mapping[str, Any] | None = None  # of its command, while that runs
    fd: int | None = None
    transfer: Transfer | None = None  # of its files, before its command or after it
    delivered: bool = False  # the files that it asks for are there
    deadline: float | None = None
    stopped: bool = False
    killed: bool = False  # stopped without grace
    out_of_time: bool = False
    wrote: bool = False
    exit: Exit | None = None
    masked: list[str] = field(default_factory=list)

    @property
    def task(self) -> Task:
        return self.attempt.tree[self.index]

    @property
    def at_work(self) -> bool:
        """It has a command, or files on their way."""
        return self.handle is not None or self.transfer is not None

    def ended_at(self, now: int) -> int:
        """When its command ended, if somebody saw that before `now`; the clock may have been set since."""
        at = self.exit.at if self.exit else None
        return now if at is None else min(now, max(at, self.started_at))


@dataclass(slots=True, eq=False, repr=False)
class Report:
    """How a try ended, still to be told in a turn."""

    attempt: Attempt
    event: Event
    row: TryRow | None = None
    prepared: Prepared | None = None  # of the try whose outcome it is


def try_log(state_dir: str, attempt_id: int, task: Task, number: int) -> str:
    """The log of one of the task's tries. The index tells the rounds of a retried group apart, whose tasks share names."""
    return log_path(state_dir, attempt_id, f"{task.full_name}@{task.index}", number)


def without_secrets(held: Try, outcome: Outcome) -> Outcome:
    """A failure tells what the command said, which may hold a secret of the try; its row and messages must not."""
    if not held.masked or not isinstance(outcome, Failure):
        return outcome
    from dagrun.secrets.mask import Masker

    return outcome._replace(error=masked(Masker(held.masked).text, outcome.error))


def masked(mask: Callable[[str], str], value: Any) -> Any:
    """The value with each text in it masked; keys of maps too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): masked(mask, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(mask, item) for item in value]
    return value


def report(held: Try, outcome: Outcome, now: int, log: str | None) -> Report:
    """A try has ended, perhaps while nobody was there to tell it."""
    at = held.ended_at(now)
    event = Finished(held.index, held.lease, outcome, now - at)
    return Report(held.attempt, event, record(held, outcome, at, log), held.prepared)


def record(held: Try, outcome: Outcome, at: int, log: str | None) -> TryRow | None:
    """The history of a try that ended at that time. Polls of waiting operators leave none."""
    if isinstance(outcome, CallAgain):
        return None
    error = None
    word = "success"
    if held.stopped and not held.out_of_time:
        word = "killed"
    elif isinstance(outcome, Failure):
        kind = outcome.error["kind"]
        word = kind if kind in ("timed_out", "lost") else "failed"
        error = encode(outcome.error)
    ended = held.exit
    return TryRow(
        held.attempt.id,
        held.index,
        held.number,
        held.started_at,
        at,
        word,
        ended.exit_code if ended else None,
        error,
        ended.peak_memory if ended else None,
        int(ended.cpu_seconds * SECOND) if ended and ended.cpu_seconds is not None else None,
        log,
    )
