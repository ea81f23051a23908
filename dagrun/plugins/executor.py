"""Where commands run: a process, a container, a cluster job.

Executor.start(launch) -> handle        handle is JSON: it outlives the process that made it
Executor.fileno(handle) -> what to select on
Executor.poll(handle)  -> Exit | None   never blocks
Executor.stop(handle, grace)            TERM to all of it, a grace period, KILL
Executor.tick(now)     -> seconds       carries on with what was stopped
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagrun.light import NamedTuple, Protocol


class Launch(NamedTuple):
    """All that an executor needs to start one try."""

    name: str  # DAGRUN_TRY of the try: "<store>/<attempt>.<index>.<try>", unique for ever
    argv: Sequence[str]
    environment: Mapping[str, str]  # the whole environment
    directory: str  # the working directory
    log: str  # path of the try's log file: both output streams are appended to it
    mask: Sequence[str] = ()  # values that must never reach the log
    durable: bool = True  # the handle must find the process again from another dagrun
    image: Mapping[str, Any] | None = (
        None  # the container it is to run in; `environment` is only the command's own then
    )
    workspace: str = ""  # directories that a container has to see: the project's files,
    io: str = ""  # the try's own files,
    links: Sequence[str] = ()  # and where links in the workspace lead to
    task: str = ""  # its full name
    project_id: int = 0


class Exit(NamedTuple):
    """How a try ended. Memory in bytes, CPU in seconds (user + system); None where it is not known."""

    exit_code: int  # 128 + N for signal N
    peak_memory: int | None = None
    cpu_seconds: float | None = None
    oom: bool = False  # it was ended because it wanted more memory than it was allowed
    at: int | None = None  # when, microseconds since 1970 UTC; None: just now, when `poll` tells it


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
