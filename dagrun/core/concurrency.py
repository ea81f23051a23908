"""How many attempts of a workflow are at work at once (features F54), and what becomes of one more.

concurrency: 1
concurrency: {limit: 1, key: "${customer}", when_full: queue | skip | fail | replace | latest, order: strict}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from dagrun.core.config import Map, Params, suggest
from dagrun.core.decide import Active
from dagrun.core.workflow import Concurrency
from dagrun.errors import TaskFailed, WorkflowError

OPTIONS = ("limit", "key", "when_full", "order")
WHEN_FULL = ("queue", "skip", "fail", "replace", "latest")
START, QUEUE, SKIP, FAIL = "start", "queue", "skip", "fail"
HIGHEST_PRIORITY = 9


def concurrency_of(config: Map) -> Concurrency | None:
    """Raises WorkflowError when it can't be read."""
    given = config.get("concurrency")
    if given is None:
        return None
    options = Params(given if isinstance(given, Mapping) else {"limit": given})
    for name in options:
        if name not in OPTIONS:
            refuse(config, f"unknown option {name}", f"did you mean {suggest(name, OPTIONS) or ', '.join(OPTIONS)}?")
    try:
        found = Concurrency(
            options.integer("limit", 1), options.get("key", ""), options.text("when_full", WHEN_FULL[0]),
            options.get("order") == "strict",
        )  # fmt: skip
    except TaskFailed as problem:
        refuse(config, problem.message, None)
    if found.limit < 1:
        refuse(config, "limit must be 1 or more", "without concurrency any number of attempts may be at work")
    if found.when_full not in WHEN_FULL:
        refuse(config, f"when_full can't be {found.when_full!r}", f"use {', '.join(WHEN_FULL)}")
    if options.get("order") not in (None, "strict"):
        refuse(config, f"order can't be {options['order']!r}", "strict is the only order")
    return found


def priority_of(config: Map) -> int:
    given = config.get("priority", 0)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= HIGHEST_PRIORITY:
        refuse(config, f"priority must be a number from 0 to {HIGHEST_PRIORITY}, not {given!r}", None, "priority")
    return given


def refuse(config: Map, message: str, hint: str | None, key: str = "concurrency") -> NoReturn:
    file, line, column = config.place(key)
    text = message if key == "priority" else f"{key}: {message}"
    raise WorkflowError(text, kind="bad_option", file=file, line=line, column=column, hint=hint)


def admit(wanted: Concurrency, active: Sequence[Active]) -> tuple[str, tuple[int, ...]]:
    """What becomes of one more attempt beside those of its key that aren't done, and which of them it takes the place of.

    What waits already is before it: first in, first out.
    """
    working = [one for one in active if not one.queued]
    waiting = [one for one in active if one.queued]
    if len(working) < wanted.limit and not waiting:
        return START, ()
    if wanted.when_full in (SKIP, FAIL):
        return wanted.when_full, ()
    ends = waiting if wanted.when_full == "latest" else []
    if wanted.when_full == "replace":
        ends = [*waiting, *working]
    return QUEUE, tuple(one.id for one in ends if not one.canceling)
