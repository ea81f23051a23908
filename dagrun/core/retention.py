"""Which attempts, logs and revisions are old enough to go (features F96).

    choose(attempts, needs, retention, now) → Choice        attempts that go, and those that lose only their logs
    unnamed(revisions, named, before) → ids                 revisions that nothing needs any more

Plain values come in and ids go out; nothing is removed here. `engine/prune.py` does that, and finds the values.

Whatever an attempt that stays was resumed from, or took results of, stays too, however old it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagrun.core.state import SUCCESS
from dagrun.light import NamedTuple, Protocol

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things stay after an attempt's end, in microseconds. The newest `keep_last` of a workflow stay whole."""

    runs: int = 90 * DAY
    failed: int = 365 * DAY
    logs: int = 30 * DAY
    keep_last: int = 10


class Past(Protocol):
    """An attempt, as far as its age matters. One that runs or waits for its turn has no `finished_at`."""

    @property
    def id(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def workflow(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def finished_at(self) -> int | None: ...


class Stored(Protocol):
    """A revision."""

    @property
    def id(self) -> int: ...
    @property
    def project_id(self) -> int: ...
    @property
    def created_at(self) -> int: ...


class Choice(NamedTuple):
    """Both newest first: who stops in between leaves no attempt behind that lacks what it was resumed from."""

    removed: list[int]
    without_logs: list[int]  # they stay, their logs go


def choose(attempts: Iterable[Past], needs: Mapping[int, Collection[int]], retention: Retention, now: int) -> Choice:
    """`needs`: for each attempt those that it was resumed from or reuses tasks of."""
    in_order = sorted(attempts, key=lambda one: one.id, reverse=True)
    newest = newest_of_each(in_order, retention.keep_last)
    old = {one.id for one in in_order if one.id not in newest and is_over(one, lifetime(one, retention), now)}
    staying = with_needs((one.id for one in in_order if one.id not in old), needs)
    removed = [one.id for one in in_order if one.id not in staying]
    without_logs = [
        one.id for one in in_order if one.id in staying and one.id not in newest and is_over(one, retention.logs, now)
    ]
    return Choice(removed, without_logs)


def newest_of_each(newest_first: Iterable[Past], count: int) -> set[int]:
    """The newest attempts of each workflow."""
    seen: dict[tuple[int, str], int] = {}
    found = set()
    for one in newest_first:
        key = one.project_id, one.workflow
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= count:
            found.add(one.id)
    return found


def lifetime(one: Past, retention: Retention) -> int:
    return retention.runs if one.state == SUCCESS else retention.failed


def is_over(one: Past, lifetime: int, now: int) -> bool:
    return one.finished_at is not None and one.finished_at < now - lifetime


def with_needs(attempts: Iterable[int], needs: Mapping[int, Collection[int]]) -> set[int]:
    """The attempts, and all that they need, directly or through others."""
    found: set[int] = set()
    todo = list(attempts)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += needs.get(one, ())
    return found


def unnamed(revisions: Sequence[Stored], named: Collection[int], before: int) -> list[int]:
    """Those that no attempt and no schedule names, without the newest of each project and those made since `before`."""
    newest: dict[int, int] = {}
    for one in revisions:
        newest[one.project_id] = max(one.id, newest.get(one.project_id, 0))
    staying = {*named, *newest.values()}
    return [one.id for one in revisions if one.id not in staying and one.created_at < before]
