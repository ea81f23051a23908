"""What becomes of a session that is due: it starts, it waits, or it is skipped with a reason.

Pure; the caller knows the clock and the store. Sources: spec/scheduling 6.2; features F55 and F63.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from dagrun.core.schedule import END, Schedule, Slot
from dagrun.core.session import SECOND
from dagrun.light import NamedTuple

MISSED = 60 * SECOND  # so late a session was missed: nobody was there to start it
FULL_WAIT = 600 * SECOND  # for the limit of attempts (6.2 row 4)
BROKEN_WAIT = 3600 * SECOND  # for a definition that can't be used (6.2 rows 1 and 6)
OVERLAPS = ("allow", "skip", "queue", "latest", "replace")
MODES = ("all", "latest", "none")


class Policy(NamedTuple):
    """The options of a schedule about late and overlapping sessions; times in microseconds."""

    overlap: str = "allow"
    mode: str = "all"  # of the sessions that were missed
    window: int | None = None  # later than this after its run time none starts
    limit: int = 10  # missed sessions at work at once
    spread: int = 30 * SECOND
    jitter: int = 0


class Planned(NamedTuple):
    """A schedule as a project's files have it; `text` changes when anything of it does."""

    schedule: Schedule
    policy: Policy
    text: str


class Active(NamedTuple):
    """An attempt of the same workflow that is not done."""

    id: int
    canceling: bool = False
    missed: bool = False
    queued: bool = False


class Start(NamedTuple):
    """`queued`: behind the attempts that are at work. `ends`: attempts that it takes the place of, and why."""

    missed: bool = False
    queued: bool = False
    ends: tuple[int, ...] = ()


class Skip(NamedTuple):
    reason: str


class Wait(NamedTuple):
    until: int
    reason: str


Decision: TypeAlias = Start | Skip | Wait


def decide(
    policy: Policy,
    slot: Slot,
    following: Slot,
    active: Sequence[Active],
    now: int,
    *,
    live: int = 0,
    most: int | None = None,
) -> Decision:
    """`following` is the session after this one; `live` attempts of all workflows are not done, `most` may be."""
    late = now - slot.run_time
    missed = late > MISSED
    if policy.window is not None and late > policy.window:
        return Skip(f"{seconds(late)} late, and no more than {seconds(policy.window)} are allowed")
    if missed and policy.mode == "none":
        return Skip(f"missed by {seconds(late)}, and missed sessions are not caught up")
    if missed and policy.mode == "latest" and following.run_time <= now and following.session_time != END:
        return Skip(f"missed by {seconds(late)}, and only the latest of the missed sessions is caught up")
    working = [one for one in active if not one.canceling]
    if policy.overlap == "skip" and working:
        return Skip(f"#{working[0].id} still {'queued' if working[0].queued else 'running'}")
    if most is not None and live >= most:
        return Wait(now - now % SECOND + FULL_WAIT, f"{live} attempts are not done; the limit is {most}")
    if missed and len([one for one in active if one.missed]) >= policy.limit:
        return Wait(now + SECOND, f"{policy.limit} missed sessions are being caught up at a time")
    if policy.overlap in ("queue", "latest", "replace") and active:
        return Start(missed, queued=True, ends=replaced(policy.overlap, active))
    return Start(missed)


def replaced(overlap: str, active: Sequence[Active]) -> tuple[int, ...]:
    """The attempts whose place a new one takes: those that still wait, or all of them."""
    if overlap == "queue":
        return ()
    return tuple(one.id for one in active if not one.canceling and (overlap == "replace" or one.queued))


def seconds(length: int) -> str:
    """A length of time for people."""
    whole = round(length / SECOND)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    return " ".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
