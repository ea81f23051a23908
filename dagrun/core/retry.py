"""`_retry`: how often, and after which wait. Source: spec/language X16, features F22, F23, F25."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dagrun.core.config import Params, Template
from dagrun.core.kinds import json_text, to_integer
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple

SECOND = 1_000_000
PLATFORM_LIMIT = 10  # features F25
PLATFORM_PAUSE_SECONDS = 1.0
LONGEST_PLATFORM_PAUSE_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 100 * 365 * 86_400.0  # whatever is written: the time to wait for must fit into 64 bits


class Retry(NamedTuple):
    """`limit` counts the extra runs. Waits in seconds; `factor` 2 is Digdag's `exponential`."""

    limit: int
    interval: float = 0.0
    factor: float = 1.0
    max_interval: float | None = None
    platform_limit: int = PLATFORM_LIMIT

    def wait(self, number: int) -> int:
        """Microseconds before the extra run `number` (from 1)."""
        seconds = self.interval * self.factor ** min(number - 1, 1000)
        if self.max_interval is not None:
            seconds = min(seconds, self.max_interval)
        return int(min(seconds, LONGEST_WAIT_SECONDS) * SECOND)


NO_RETRY = Retry(0)


def parse_retry(value: Any) -> Retry:
    """Read `_retry`: a number, or a map with `limit`. Raises TaskFailed: bad_retry, missing (limit), bad_type (…)."""
    if isinstance(value, Mapping):
        options = Params(value)
        kind = options.text("interval_type", "constant").lower()
        if kind not in ("constant", "exponential"):
            raise TaskFailed(
                f"_retry: unknown interval_type {kind!r}; use constant or exponential", "bad_retry", "config"
            )
        interval = options.duration("interval", 0.0)
        limit = options.integer("limit", 0) if "platform_limit" in value else options.integer("limit")
        return Retry(
            limit=limit,
            interval=interval,
            factor=2.0 if kind == "exponential" else 1.0,
            max_interval=options.duration("max_interval", None) if kind == "exponential" else None,
            platform_limit=options.integer("platform_limit", PLATFORM_LIMIT),
        )
    with suppress(ValueError):
        return Retry(to_integer(value))
    raise TaskFailed(f"_retry can't be {json_text(value)}; use a number, or a map with limit", "bad_retry", "config")


def group_retry(value: Any) -> tuple[Retry, str | None]:
    """`_retry` of a group, read from the unevaluated definition; what can't be read is ignored, with a note (X19)."""
    if value is None:
        return NO_RETRY, None
    if isinstance(value, Template):
        return NO_RETRY, "_retry is ignored: that of a group can't be a ${…}"
    try:
        return parse_retry(value), None
    except TaskFailed as problem:
        return NO_RETRY, f"_retry is ignored: {problem.message}"


def platform_wait(number: int) -> int:
    """Microseconds before the next try after the platform failure `number` (from 1)."""
    return int(min(PLATFORM_PAUSE_SECONDS * 2.0 ** (number - 1), LONGEST_PLATFORM_PAUSE_SECONDS) * SECOND)
