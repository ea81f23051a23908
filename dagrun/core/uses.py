"""Named pools, locks and rates: what a task takes when it starts (features F57, F58).

_use: {warehouse: 1, gpu: 0.5}       parts of pools, held until the task or group ends; all together or none
_use: {lock:deploy: 1, timeout: 15m} a lock is a pool of size 1 that needs no declaration
_rate: 5/s                           starts of this task; _rate: api_x, a rate of the settings

A start is the beginning of a try. A task with a `_do` only makes others: its `_rate` is one of the tasks in there, at any depth, and not
one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagrun.core.config import Params
from dagrun.core.session import SECOND
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import GENERATED
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple, pattern

WHOLE = 1000  # pools are counted in thousandths
LOCK = "lock:"
RATE = pattern(r"([0-9]+)\s*/\s*([0-9a-z ]+)\Z")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Use(NamedTuple):
    """What a task or group takes. `pools`: thousandths by name, in order of the names."""

    pools: Mapping[str, int]
    timeout: float | None = None  # seconds that it waits for them at most


class Rate(NamedTuple):
    """So many starts in any window of that length."""

    name: str
    most: int
    window: int  # microseconds


def use_of(config: Mapping[str, Any]) -> Use | None:
    """Raises TaskFailed when it can't be read."""
    given = config.get("_use")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise bad("_use must be a map of pools, such as {warehouse: 1}")
    pools: dict[str, int] = {}
    for name in sorted(given):
        if name == "timeout":
            continue
        pools[str(name)] = max(1, round(amount_of(name, given[name]) * WHOLE))
    return Use(pools, Params(given).duration("timeout", None))


def amount_of(name: str, given: Any) -> float:
    try:
        amount = 0.0 if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        amount = 0.0
    if not 0 < amount < 1_000_000:
        raise bad(f"_use: {name} must be a number above 0, not {given!r}")
    return amount


def rates_of(tree: TaskTree, task: Task, workflow: str, rates: Mapping[str, str]) -> list[Rate]:
    """Those that a start of the task counts for: all of them hold. Raises TaskFailed as `rate_of`, also for one that is there for
    the tasks of its `_do`.
    """
    found = {rate.name: rate for one in limited_by(tree, task) if (rate := rate_of(one, workflow, rates)) is not None}
    return [] if has_body(task) else list(found.values())


def limited_by(tree: TaskTree, task: Task) -> Iterator[Task]:
    """The task, and those around it whose `_do` it is a part of. Handlers and checks are part of none."""
    yield task
    while task.parent is not None and (task.is_member or task.spec.name == "^sub"):
        task = tree[task.parent]
        if task.spec.operator and not has_body(task):
            return
        yield task


def has_body(task: Task) -> bool:
    return any(key in task.spec.config for key in GENERATED)


def rate_of(task: Task, workflow: str, rates: Mapping[str, str]) -> Rate | None:
    """Raises TaskFailed when it can't be read, or names a rate that the settings don't have."""
    given = task.spec.config.get("_rate")
    if given is None:
        return None
    text = str(given)
    if RATE.match(text):
        file, line, column = task.spec.place  # copies of a loop's `_do` have names of their own, and one place
        return parse_rate(f"{workflow} {f'{file}:{line}:{column}' if line else task.spec.name}", text)
    if text not in rates:
        known = ", ".join(sorted(rates)) or "none"
        raise bad(f"_rate {text!r} is neither a rate, such as 5/s or 100/1m, nor one of the settings ({known})")
    return parse_rate(text, rates[text])


def parse_rate(name: str, text: str) -> Rate:
    match = RATE.match(text)
    if not match or int(match[1]) < 1:
        raise bad(f"rate {text!r} can't be read; write, for example, 5/s or 100/1m")
    length = match[2].strip()
    seconds = float(UNITS[length]) if length in UNITS else Params({"rate": length}).duration("rate")
    if seconds <= 0:
        raise bad(f"rate {text!r} has no length of time")
    return Rate(name, int(match[1]), int(seconds * SECOND))


def priority_of(config: Mapping[str, Any]) -> int:
    """`_priority`, 0 to 9: a higher one is started first. Raises TaskFailed."""
    given = config.get("_priority", 0)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 9:
        raise bad(f"_priority must be a number from 0 to 9, not {given!r}")
    return given


def takers(tree: TaskTree, task: Task) -> Iterator[Task]:
    """The task and the groups around it that take parts of pools."""
    for one in (task, *tree.ancestors(task)):
        if "_use" in one.spec.config:
            yield one


def bad(message: str) -> TaskFailed:
    return TaskFailed(message, "bad_option", "config")
