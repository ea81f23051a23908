"""What can happen to an attempt from outside, and how a task's operator ended. Values only; `machine.step` applies them.

Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.retry import Retry
from dagrun.core.workflow import Node

# -- how an operator ended


@dataclass(frozen=True, slots=True)
class Success:
    """The operator succeeded. `generated` are the compiled tasks of its `^sub`, indexes counting from 0."""

    stored: Mapping[str, Any] = field(default_factory=dict)
    exported: Mapping[str, Any] = field(default_factory=dict)
    reset: Sequence[str] = ()
    generated: Sequence[Node] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The operator failed. `error` has `kind` and `message` (and `stacktrace`, spec/language P11).

    `retry` is the task's own `_retry` where it covers this failure. `platform` failures (worker lost, spawn failed) are
    counted apart from it (features F25). `stored` is what the failed task gives to its error handler (F03).
    """

    error: Mapping[str, Any]
    retry: Retry | None = None
    platform: bool = False
    platform_limit: int = 10
    stored: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallAgain:
    """The operator wants to be called again at `due_at`, with this memo."""

    due_at: int
    memo: Mapping[str, Any]


Outcome = Success | Failure | CallAgain

# -- events


@dataclass(frozen=True, slots=True)
class Started:
    """The attempt begins."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker took the task. `lease` is new at every claim; an answer with another lease is ignored."""

    index: int
    lease: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker reports how the operator of the claim `lease` ended."""

    index: int
    lease: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The try of the claim `lease` has reached its time limit: it is told to end."""

    index: int
    lease: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Whoever held the claim `lease` is gone; nothing of the try is alive."""

    index: int
    lease: str


@dataclass(frozen=True, slots=True)
class Canceled:
    """The attempt shall end. `reason` says who wanted it."""

    reason: str = "killed"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The process that ran the attempt is gone, and all that it had started: the attempt ends here."""

    reason: str = "the process that ran it is gone"


@dataclass(frozen=True, slots=True)
class Woken:
    """What a waiting task waits for has happened: its time has come."""

    index: int


@dataclass(frozen=True, slots=True)
class Overdue:
    """The attempt isn't done at the time that its `sla` names; `tasks` are those that run then."""

    alert: bool
    fail: bool
    tasks: Mapping[str, Any]


Event = Started | Claimed | Finished | OutOfTime | LeaseLost | Canceled | Abandoned | Woken | Overdue


@dataclass(slots=True)
class Step:
    """What applying events did: each single transition in order, and the indexes of the rows to save."""

    moves: list[Move] = field(default_factory=list)
    inserted: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)  # for the log: a malformed `_retry`, a handler that was skipped


@dataclass(frozen=True, slots=True)
class Move:
    index: int
    before: str
    after: str
    reason: str | None = None
