"""Finding and ending processes by their mark, the `DAGRUN_TRY` in their environment.

A process leaves its group by setsid, and nobody who comes after a dead dagrun knows its groups; the mark is
inherited by every descendant and can be read without any memory of ours. This file reads the table of
processes (Linux: /proc; elsewhere `ps -E`, best effort) and signals what it finds. It knows no handles and no
tasks.

What it can't find: a process that left its session *and* cleared its environment.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from dagrun.light import NamedTuple

MARK = "DAGRUN_TRY"

_HAS_PROC = os.path.exists("/proc/self/environ")
_SWEEP_GRACE_SECONDS = 2.0  # enough for a trap that cleans up, short for a person who waits
_LOOK_AGAIN_SECONDS = 0.02  # after a KILL; also the pace where a process can't be waited for
_LISTINGS = 20  # of /proc for one table; a busy machine has new processes all the time
_KILL_ROUNDS = 100  # one that forks while it is hunted takes some; one that can't die must not hang us


class Process(NamedTuple):
    pid: int
    session: int | None
    mark: str | None


def sweep(prefix: str) -> list[int]:
    """No process whose mark starts with the prefix is alive (TERM, a short wait, KILL); returns those found.

    Give the prefix with its last separator: "store/12." is attempt 12, "store/12" is also attempt 120. The
    caller itself is spared.
    """
    return _end(lambda mark: mark.startswith(prefix))


def sweep_try(name: str) -> list[int]:
    """The same for one try: no process with exactly this mark is alive."""
    return _end(lambda mark: mark == name)


def _end(wanted: Callable[[str], bool]) -> list[int]:
    found = marked(wanted)
    everyone = set(found)
    send(sorted(found), signal.SIGTERM)  # parents first, as a rule
    wait_for_ends(found, _SWEEP_GRACE_SECONDS)
    for _ in range(_KILL_ROUNDS if found else 0):
        found = []
        for process in processes():
            if process.mark is not None and wanted(process.mark):
                freeze(process.pid)
                found.append(process.pid)
        if not found:
            break
        everyone.update(found)
        send(sorted(found), signal.SIGKILL)
        wait_for_ends(found, _LOOK_AGAIN_SECONDS)
    return sorted(everyone)


def marked(wanted: Callable[[str], bool]) -> list[int]:
    """The living processes whose mark is wanted."""
    return [process.pid for process in processes() if process.mark is not None and wanted(process.mark)]


def processes() -> Iterator[Process]:
    """All processes but this one, each read when it is asked for; the newest ones first, as far as their numbers tell: those
    that fork are seldom old.
    """
    me = os.getpid()
    table = _table_of_proc() if _HAS_PROC else _table_of_ps()
    return (process for process in table if process.pid != me)


def freeze(pid: int) -> bool:
    """For those that are to be killed together, as soon as each is seen: none of them forks or goes on meanwhile, because
    another one, which it waited for, has ended. Returns whether we may do it.
    """
    return not send([pid], signal.SIGSTOP)


def send(pids: Iterable[int], number: int) -> list[int]:
    """Each process has got the signal; returns those that may not be signalled by us."""
    refused = []
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError:
            refused.append(pid)
    return refused


def wait_for_ends(pids: Iterable[int], seconds: float) -> None:
    """All these processes have ended, or so many seconds have passed."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        while is_alive(pid) and (left := deadline - time.monotonic()) > 0:
            _wait_for_end(pid, left)


def _wait_for_end(pid: int, seconds: float) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or no descriptor to be had
        time.sleep(min(seconds, _LOOK_AGAIN_SECONDS))
        return
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll(seconds * 1000)
    finally:
        os.close(fd)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    if not _HAS_PROC:
        return _answers(pid)
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X")


def start_ticks(pid: int) -> int:
    """When it started, in clock ticks since boot; 0 where that isn't known. With the pid it is unique."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def stat_fields(pid: int) -> list[bytes]:
    """/proc/PID/stat from its third field (the state) on; empty when the process is gone.

    The second field, the program's name in brackets, may hold anything, brackets and spaces too.
    """
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


@cache
def boot_id() -> str:
    """The name of this boot of the machine; pids of another boot mean nothing."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _table_of_proc() -> Iterator[Process]:
    """Read until nobody new appears: a process that forks and ends while we read must not hide its child."""
    seen: set[str] = set()
    for _ in range(_LISTINGS):
        new = [name for name in os.listdir("/proc") if name.isdecimal() and name not in seen]
        if not new:
            return
        seen.update(new)
        for name in sorted(new, key=int, reverse=True):
            pid = int(name)
            yield Process(pid, _session_of(pid), _mark_in(_read(f"/proc/{name}/environ")))


def _mark_in(environ: bytes) -> str | None:
    """A zombie's environment reads as empty, and another user's not at all."""
    _, found, rest = (b"\0" + environ).partition(b"\0DAGRUN_TRY=")
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def _table_of_ps() -> Iterator[Process]:
    listing = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False).stdout
    for line in listing.splitlines():
        pid, _, command = line.strip().partition(b" ")
        _, found, rest = command.partition(b" DAGRUN_TRY=")
        yield Process(int(pid), _session_of(int(pid)), os.fsdecode(rest.split(b" ")[0]) if found else None)


def group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _read(path: str) -> bytes:
    """A small file of /proc; empty when it can't be read (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    except OSError:
        return b""
    finally:
        os.close(fd)
