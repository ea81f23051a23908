"""What a kind of schedule is made of: one class, found by the entry point group `dagrun.schedules`.

    class EveryFullMoon(ScheduleKind):
        def parse(self, command, options):       # `command` as YAML gives it
            return Parsed(FullMoons(options.place))

`FullMoons.next_after(at)` gives the first session time strictly after `at`, in bounded time, and always the same one.
Instants are microseconds since 1970 UTC. `tests/schedules/contract.py` is the test that every kind passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, ClassVar

from dagrun.core.schedule import Instants, resolve
from dagrun.light import NamedTuple

__all__ = ["ClockChange", "Instants", "Options", "Parsed", "ScheduleKind", "resolve"]


class ClockChange(NamedTuple):
    """What becomes of a session whose local time is missing (`gap`) or comes twice (`overlap`)."""

    gap: str = "run_after"  # or skip
    overlap: str = "second"  # or first, both


class Options(NamedTuple):
    """What a kind may need besides its command."""

    place: tzinfo
    given: Mapping[str, Any]  # the schedule's own keys that are the kind's (`ScheduleKind.options`)
    change: ClockChange = ClockChange()


class Parsed(NamedTuple):
    """Session times, and the elapsed seconds from a session time to its run."""

    instants: Instants
    delay_seconds: int = 0


class ScheduleKind:
    """Base of all kinds. `bounded`: whether `start` and `end` hold for it."""

    options: ClassVar[tuple[str, ...]] = ()
    bounded: ClassVar[bool] = True

    def parse(self, command: Any, options: Options) -> Parsed:
        """Raises ValueError with what is wrong with the command, and how to write it."""
        raise NotImplementedError
