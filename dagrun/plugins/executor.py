"""Where commands run: a process, a container, a cluster job.

Executor.start(launch) -> handle        handle is JSON: it outlives the process that made it
Executor.fileno(handle) -> what to select on
Executor.poll(handle)  -> Exit | None   never blocks
Executor.stop(handle, grace)            TERM to all of it, a grace period, KILL
Executor.tick(now)     -> seconds       carries on with what was stopped
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dagrun.protocols import Protocol


class Launch(NamedTuple):
    """All that an executor needs to start one try."""

    name: str  # DAGRUN_TRY of the try: "<store>/<attempt>.<index>.<try>", unique for ever
    argv: Sequence[str]
    environment: Mapping[str, str]  # the whole environment
    directory: str  # the working directory
    log: str  # path of the try's log file: both output streams are appended to it
    mask: Sequence[str] = ()  # values that must never reach the log
    image: Mapping[str, Any] | None = None
    durable: bool = True  # the handle must find the process again from another dagrun


class Exit(NamedTuple):
    """How a try ended. Memory in bytes, CPU in seconds (user + system); None where it is not known."""

    exit_code: int  # 128 + N for signal N
    peak_memory: int | None = None
    cpu_seconds: float | None = None


class Executor(Protocol):
    def start(self, launch: Launch) -> Mapping[str, Any]:
        """It runs; the handle names it for ever. Raises TaskFailed, platform=True if the task isn't to blame."""

    def fileno(self, handle: Mapping[str, Any]) -> int | None:
        """Readable when it has ended; None where only polling helps. Closed when `poll` tells the end."""

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """How it ended, once, or None while it runs. Raises TaskFailed (`lost`, platform) if nobody knows."""

    def stop(self, handle: Mapping[str, Any], grace: float, number: int = ...) -> None:
        """Begin to end it: the signal now, KILL after `grace` seconds to what is left. Returns at once."""

    def tick(self, now: float) -> float | None:
        """Carry on with what was stopped; seconds until the next tick, None if nothing is due. Then poll."""
