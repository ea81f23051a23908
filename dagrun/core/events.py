"""What can happen to an attempt from outside, and how a task's operator ended. Values only; `machine.step` applies them.

Tasks are named by their index; times are microseconds since 1970 UTC. Named tuples, since making a frozen dataclass costs ten times as much at start-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.files import Output
from dagrun.core.retry import Retry
from dagrun.core.workflow import NOTHING, Node
from dagrun.light import NamedTuple

# -- how an operator ended


class Success(NamedTuple):
    """The operator succeeded. `generated` are the compiled tasks of its `^sub`, indexes counting from 0."""

    stored: Mapping[str, Any] = NOTHING
    exported: Mapping[str, Any] = NOTHING
    reset: Sequence[str] = ()
    generated: Sequence[Node] = ()
    reason: str | None = None
    outputs: Sequence[Output] = ()  # files that the task hands on, which are in the store


class Failure(NamedTuple):
    """The operator failed. `error` has `kind` and `message` (and `stacktrace`, spec/language P11).

    `retry` is the task's own `_retry` where it covers this failure. `platform` failures (worker lost, spawn failed) are
    counted apart from it (features F25). `stored` is what the failed task gives to its error handler (F03).
    """

    error: Mapping[str, Any]
    retry: Retry | None = None
    platform: bool = False
    platform_limit: int = 10
    stored: Mapping[str, Any] = NOTHING


class CallAgain(NamedTuple):
    """The operator wants to be called again at `due_at`, with this memo."""

    due_at: int
    memo: Mapping[str, Any]


Outcome = Success | Failure | CallAgain

# -- events


class Started(NamedTuple):
    """The attempt begins."""


class Claimed(NamedTuple):
    """A worker took the task. `lease` is new at every claim; an answer with another lease is ignored."""

    task: int
    lease: str


class Finished(NamedTuple):
    """A worker reports how the operator of the claim `lease` ended, and how long `ago`: nobody may have been there to tell.

    It isn't a time, since the worker's clock and the store's may differ.
    """

    task: int
    lease: str
    outcome: Outcome
    ago: int = 0  # microseconds


class OutOfTime(NamedTuple):
    """The try of the claim `lease` has reached its time limit: it is told to end."""

    task: int
    lease: str


class LeaseLost(NamedTuple):
    """Whoever held the claim `lease` is gone; nothing of the try is alive."""

    task: int
    lease: str


class Canceled(NamedTuple):
    """The attempt shall end. `reason` says who wanted it."""

    reason: str = "killed"


class Abandoned(NamedTuple):
    """The process that ran the attempt is gone, and all that it had started: the attempt ends here."""

    reason: str = "the process that ran it is gone"


class Woken(NamedTuple):
    """What a waiting task waits for has happened: its time has come."""

    task: int


class Overdue(NamedTuple):
    """The attempt isn't done at the time that its `sla` names; `tasks` are those that run then."""

    alert: bool
    fail: bool
    tasks: Mapping[str, Any]


Event = Started | Claimed | Finished | OutOfTime | LeaseLost | Canceled | Abandoned | Woken | Overdue


@dataclass(slots=True, eq=False, repr=False)
class Step:
    """What applying events did: each single transition in order, and the indexes of the rows to save."""

    moves: list[Move] = field(default_factory=list)
    inserted: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)  # for the log: a malformed `_retry`, a handler that was skipped


class Move(NamedTuple):
    task: int
    before: str
    after: str
    reason: str | None = None
