"""Commands as processes of this machine.

    start   a session of its own, output straight into the log by descriptor
    hold    the same before its time, if it can be made to wait at a gate; start then lets it go on, drop ends it
    fileno  what to select on; readable when the process has ended
    poll    how it ended, never blocking
    stop    begins the end: TERM to the group now
    tick    carries it on: KILL after the grace period, then a hunt for what escaped

The executor has no clock and no thread: `tick` brings the time, and says when it wants to be called again. A
task that was stopped counts as ended only when everything of it is dead: its group, its session and whatever
carries its mark. After a normal end, background processes are left alone. Time limits are the engine's
business.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.children import Child, ForeignChild, OwnChild, watch
from dagrun.executors.gate import Gate
from dagrun.executors.marks import sweep
from dagrun.executors.pump import Filter, Pump
from dagrun.executors.spawn import spawn
from dagrun.plugins.executor import Exit, Launch

__all__ = ["ProcessExecutor", "sweep"]

_LOOK_AGAIN_SECONDS = 0.05  # while something outlives the main process: nothing would wake us
_HUNT_SECONDS = 0.02  # from one KILL to the next
_KILL_ROUNDS = 250  # about five seconds: what the kernel can't end by then must not hold its task for ever
_OUR_FAULT = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@dataclass(slots=True, eq=False, repr=False)
class _Ending:
    grace: float
    signal: int
    kill_at: float | None = None  # set by the first tick, which knows the time
    rounds: int = 0  # of KILL
    found: int = 0  # in the newest round
    refused: int = 0  # of those, may not be signalled by us

    @property
    def is_hopeless(self) -> bool:
        return self.rounds >= _KILL_ROUNDS or 0 < self.found == self.refused


@dataclass(slots=True, eq=False, repr=False)
class _Running:
    name: str
    child: Child
    pump: Pump | None = None
    ending: _Ending | None = None

    def handle(self, *, durable: bool) -> dict[str, Any]:
        pid = self.child.group
        assert pid is not None
        handle = {"pid": pid, "try": self.name}
        return handle | {"start": marks.start_ticks(pid), "boot": marks.boot_id()} if durable else handle


class ProcessExecutor:
    """`masker` makes the filter for the output of a try that has secrets."""

    def __init__(self, masker: Callable[[Sequence[str]], Filter]) -> None:
        self._masker = masker
        self._running: dict[str, _Running] = {}
        self._ending: dict[str, _Running] = {}
        self._held: dict[str, tuple[OwnChild, Gate]] = {}
        self._silence: tuple[int, int] | None = None  # a pipe that nobody writes into

    def start(self, launch: Launch) -> dict[str, Any]:
        """The program runs; the handle names it on this machine, also for another dagrun.

        Raises TaskFailed: `command_failed` if the program or its directory isn't there, `spawn_failed`
        (platform) if the machine has no room.
        """
        child: Child | None = self._let_go(launch)
        pump = None
        if child is None:
            log = _open_log(launch)
            pid, pump = self._start_masked(launch, log) if launch.mask else (_start_plain(launch, log), None)
            child = _watch(launch, pid)
        self._running[launch.name] = running = _Running(launch.name, child, pump)
        return running.handle(durable=launch.durable)

    def hold(self, launch: Launch, gate: Callable[[], Gate]) -> None:
        """It waits at the gate before its script until it is started, or dropped. Raises OSError or TaskFailed, and leaves no trace."""
        closed = gate()
        try:
            self._held[launch.name] = _watch(launch, _start_plain(launch, _open_log(launch))), closed
        except BaseException:
            closed.remove()
            _remove_log(launch)
            raise

    def drop(self, launch: Launch) -> None:
        """If it was held, nothing is left of it."""
        if launch.name in self._held:
            child, gate = self._held.pop(launch.name)
            child.kill()
            gate.remove()
            _remove_log(launch)

    def _let_go(self, launch: Launch) -> OwnChild | None:
        if launch.name not in self._held:
            return None
        child, gate = self._held.pop(launch.name)
        if gate.lift():
            return child
        child.kill()
        gate.remove()
        return None

    def fileno(self, handle: Mapping[str, Any]) -> int | None:
        """Readable when the process has ended; None where only polling helps.

        The number stays the try's own until `poll` returns or raises, which closes it: unregister it then.
        Once it was readable and `poll` answered None (a stopped try of which something still lives) it stays
        silent.
        """
        return self._task(handle).child.fd

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """How it ended, once, or None while it runs. Raises TaskFailed (`lost`, platform) if nobody knows."""
        task = self._task(handle)
        if task.ending and not self._is_over(task, task.ending):
            return None
        try:
            end = task.child.reap()
        except TaskFailed:
            self._forget(task)
            raise
        if end is not None:
            self._forget(task)
        return end

    def stop(self, handle: Mapping[str, Any], grace: float, number: int = signal.SIGTERM) -> None:
        """Its group has got the signal, at once; the next `tick` begins the grace period. May be repeated."""
        task = self._task(handle)
        task.ending = _Ending(grace, number)
        self._ending[task.name] = task
        _signal_group(task, number)

    def tick(self, now: float) -> float | None:
        """Carry on with what was stopped; returns the seconds until the next tick, None if nothing is due.

        `now` is monotonic time. Poll the stopped tries after each tick.
        """
        if not self._ending:
            return None
        due = [task for task in self._ending.values() if task.ending and _is_due(task.ending, now)]
        for task in due:
            _begin_round(task, now)
        if due:
            _signal_each(due)
        return min(_pause(task, now) for task in self._ending.values())

    def forget(self, handle: Mapping[str, Any]) -> None:
        """Nothing of an end is kept."""

    def _task(self, handle: Mapping[str, Any]) -> _Running:
        name = handle["try"]
        if name not in self._running:
            self._running[name] = _Running(name, ForeignChild(handle))
        return self._running[name]

    def _is_over(self, task: _Running, ending: _Ending) -> bool:
        if not task.child.has_ended():
            return False
        if ending.is_hopeless or next(_members([task]), None) is None:
            return True
        self._hush(task)
        return False

    def _hush(self, task: _Running) -> None:
        """A descriptor that stays readable would make the engine's loop spin; its number must stay taken."""
        if task.child.fd is not None:
            self._silence = self._silence or os.pipe()
            os.dup2(self._silence[0], task.child.fd, inheritable=False)

    def _forget(self, task: _Running) -> None:
        del self._running[task.name]
        self._ending.pop(task.name, None)
        if task.child.fd is not None:
            os.close(task.child.fd)
        if task.pump:
            task.pump.finish()

    def _start_masked(self, launch: Launch, log: int) -> tuple[int, Pump]:
        """With a pump before its log, which is the pump's from now on."""
        try:
            pump = Pump(log, self._masker(launch.mask))
        except (OSError, RuntimeError) as error:
            os.close(log)
            raise _no_room(launch, error) from error
        try:
            pid = _spawn(launch, pump.sink)
        except BaseException:
            pump.release()
            pump.finish()
            raise
        pump.release()
        return pid, pump


def _start_plain(launch: Launch, log: int) -> int:
    """It writes into its log, which is closed here."""
    try:
        return _spawn(launch, log)
    finally:
        os.close(log)


def _spawn(launch: Launch, output: int) -> int:
    try:
        return spawn(launch.argv, {**launch.environment, marks.MARK: launch.name}, launch.directory, output)
    except OSError as error:
        raise _cannot_run(launch, error) from error
    except ValueError as error:  # a NUL in an argument, or "=" in the name of a variable
        raise TaskFailed(f'Cannot run program "{launch.argv[0]}": {error}', "command_failed", "runtime") from error


def _watch(launch: Launch, pid: int) -> OwnChild:
    try:
        return watch(pid)
    except (OSError, RuntimeError) as error:  # no descriptor, no thread: nobody would learn its end
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise _no_room(launch, error) from error


def _open_log(launch: Launch) -> int:
    try:
        return os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise _no_room(launch, error) from error


def _remove_log(launch: Launch) -> None:
    with suppress(OSError):
        os.unlink(launch.log)


def _no_room(launch: Launch, error: Exception) -> TaskFailed:
    return TaskFailed(f'Cannot start program "{launch.argv[0]}": {error}', "spawn_failed", platform=True)


def _cannot_run(launch: Launch, error: OSError) -> TaskFailed:
    text = (
        f'Cannot run program "{launch.argv[0]}" (in directory "{launch.directory}"): '
        f"error={error.errno}, {os.strerror(error.errno or 0)}"
    )
    if error.errno in _OUR_FAULT:
        return TaskFailed(text, "spawn_failed", platform=True)
    return TaskFailed(text, "command_failed", "runtime")


def _is_due(ending: _Ending, now: float) -> bool:
    return ending.kill_at is None or now >= ending.kill_at


def _begin_round(task: _Running, now: float) -> None:
    """The first one tells what the signal to the group didn't reach; those after the grace period kill."""
    ending = task.ending
    assert ending is not None
    if ending.kill_at is None:
        ending.kill_at = now + ending.grace
    if now >= ending.kill_at:
        ending.rounds += 1
        ending.found = ending.refused = 0
        _signal_group(task, signal.SIGKILL)


def _signal_each(tasks: Sequence[_Running]) -> None:
    """One look at the processes of the machine, however many tries are being ended. What is to be killed stands still as
    soon as it is seen: one that forks, leaves its session and ends within milliseconds would be gone at the end of the look.
    """
    signals = []
    for task, process in _members(tasks):
        ending = task.ending
        assert ending is not None
        if ending.rounds:
            ending.found += 1
            ending.refused += not marks.freeze(process.pid)
            signals.append((process.pid, int(signal.SIGKILL)))
        elif marks.group_of(process.pid) != task.child.group:
            signals.append((process.pid, ending.signal))
    for pid, number in sorted(signals):  # parents first, as a rule
        marks.send([pid], number)


def _members(tasks: Sequence[_Running]) -> Iterator[tuple[_Running, marks.Process]]:
    """The living processes of these tries: those that carry a try's mark and those of its session."""
    by_name = {task.name: task for task in tasks}
    by_session = {task.child.group: task for task in tasks if task.child.group is not None}
    for process in marks.processes():
        task = by_name.get(process.mark or "")
        if task is None and process.session in by_session and marks.is_alive(process.pid):
            task = by_session[process.session]
        if task is not None:
            yield task, process


def _pause(task: _Running, now: float) -> float:
    """Until its next round."""
    ending = task.ending
    assert ending is not None and ending.kill_at is not None
    if now >= ending.kill_at:
        return _HUNT_SECONDS
    left = ending.kill_at - now
    return min(left, _LOOK_AGAIN_SECONDS) if task.child.has_ended() else left


def _signal_group(task: _Running, number: int) -> None:
    if task.child.group is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(task.child.group, number)
