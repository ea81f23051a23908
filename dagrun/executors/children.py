"""The end of one process, learnt without a signal handler and without blocking.

Linux gives a descriptor that becomes readable when a process ends (pidfd), and lets the dead child lie until
it is reaped, so that its pid, which names its group too, stays ours while the rest of the group is being
ended. Elsewhere a thread waits for the child and closes a pipe. A process that another dagrun started can be
watched, but only its parent learns its exit code.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.light import Protocol
from dagrun.plugins.executor import Exit

_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
_MEMORY_SLACK = 1 << 20  # the kernel counts pages in batches


class Child(Protocol):
    @property
    def fd(self) -> int | None:
        """Readable from the moment it has ended."""

    @property
    def group(self) -> int | None:
        """The name of its process group and session, as long as nobody else can bear it."""

    def has_ended(self) -> bool:
        """Whether it has ended; it is not reaped by that."""

    def reap(self) -> Exit | None:
        """How it ended, or None while it runs. Raises TaskFailed (`lost`) when that can't be known."""


def watch(pid: int) -> OwnChild:
    """Right after the start, while the child can't have been reaped."""
    return PidfdChild(pid) if hasattr(os, "pidfd_open") else WaitedChild(pid)


class PidfdChild:
    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)
        self.group = pid
        self._memory_floor = memory_floor()

    def has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self) -> Exit | None:
        pid, status, usage = os.wait4(self.group, os.WNOHANG)
        return exit_of(status, usage, self._memory_floor) if pid else None

    def kill(self) -> None:
        """It is gone. For one that has started nothing."""
        os.kill(self.group, signal.SIGKILL)
        os.waitpid(self.group, 0)
        os.close(self.fd)


class WaitedChild:
    def __init__(self, pid: int) -> None:
        self.group = pid
        self.fd, self._signal = os.pipe()
        self._memory_floor = memory_floor()
        self._exit: Exit | None = None
        threading.Thread(target=self._wait, name=f"dagrun-wait-{pid}", daemon=True).start()

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.group, 0)
        self._exit = exit_of(status, usage, self._memory_floor)
        os.close(self._signal)

    def has_ended(self) -> bool:
        return self._exit is not None

    def reap(self) -> Exit | None:
        return self._exit

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # dead, and waited for already
            os.kill(self.group, signal.SIGKILL)
        os.read(self.fd, 1)  # until the thread closes the other end
        os.close(self.fd)


OwnChild = PidfdChild | WaitedChild


class ForeignChild:
    """A process that this dagrun did not start, found again by its handle."""

    def __init__(self, handle: Mapping[str, Any]) -> None:
        self._handle = handle
        self.fd = self._open() if not self.has_ended() else None

    def _open(self) -> int | None:
        try:
            return os.pidfd_open(self._handle["pid"])
        except (AttributeError, OSError):
            return None

    @property
    def group(self) -> int | None:
        return None if self.has_ended() else self._handle["pid"]

    def has_ended(self) -> bool:
        pid = self._handle["pid"]
        same = self._handle["boot"] == marks.boot_id() and self._handle["start"] == marks.start_ticks(pid)
        return not (same and marks.is_alive(pid))

    def reap(self) -> Exit | None:
        if self.has_ended():
            raise TaskFailed("The process is gone, and how it ended is not known", "lost", platform=True)
        return None


def memory_floor() -> int:
    """The least peak memory that the system can report for a child that was just started, in bytes.

    A new process runs in its parent's memory until it becomes its program, and Linux counts that as its own.
    A smaller peak can't be told from ours.
    """
    if sys.platform == "darwin":
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEMORY_UNIT + _MEMORY_SLACK


def exit_of(status: int, usage: resource.struct_rusage, floor: int) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * _MEMORY_UNIT
    return Exit(
        exit_code=code if code >= 0 else 128 - code,
        peak_memory=peak if peak > floor else None,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
    )
