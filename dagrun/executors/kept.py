"""Commands as processes that outlive us: the same executor, by way of the keeper (keeper.py).

    start   asks the keeper, which is started if there is none; a name is started once, however often it is asked for
    fileno  the try's own connection to the keeper, readable when the try has ended or the keeper is gone
    poll    how it ended, from the keeper or from the disk, also for a handle that another process made
    stop    asks the keeper, which carries it through
    forget  removes what is known of an end; call it once the outcome is recorded

If the keeper dies, nobody will learn how its tries end: `poll` then ends what is left of them, and says that they are
lost. Not thread-safe.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagrun.errors import TaskFailed
from dagrun.executors import ends, marks
from dagrun.executors.wire import LOCK, LOG, SOCKET, Message, Wire, address, dial, end_in
from dagrun.plugins.executor import Exit, Launch

if TYPE_CHECKING:
    from dagrun.executors.gate import Gate

_ANSWER_SECONDS = 30.0  # a keeper on a busy machine takes milliseconds
_START_SECONDS = 10.0  # until a keeper that another process starts, or that is about to end, has done so
_LOOK_AGAIN_SECONDS = 0.005
_BACKLOG = 1024  # as many may knock while the keeper starts
_NOT_THERE = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)
_DIED = (ConnectionResetError, BrokenPipeError)
_KEEPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keeper.py")
_KEEPERS_OWN = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH")  # of our environment, which may hold secrets


class KeptExecutor:
    """`masker` names what makes the filter for the output of a try that has secrets, as "module:name"."""

    def __init__(self, state_dir: str, masker: str, *, idle_seconds: float = 30.0) -> None:
        self._state_dir = os.path.abspath(state_dir)
        self._masker = masker
        self._idle_seconds = idle_seconds
        self._watched: dict[str, Wire] = {}
        self._held: Wire | None = None  # so that the keeper doesn't end between two tasks

    def start(self, launch: Launch) -> dict[str, Any]:
        """The program runs, or has run if its name was started before; the handle names it for every dagrun.

        Raises TaskFailed as ProcessExecutor does, and `lost` (platform) if the keeper died over it.
        """
        request = {
            "do": "start",
            "name": launch.name,
            "argv": list(launch.argv),
            "environment": dict(launch.environment),
            "directory": _absolute(launch.directory),
            "log": _absolute(launch.log),
            "mask": list(launch.mask),
        }
        try:
            wire, answer = self._ask(request)
        except _DIED:
            raise self._lost({"try": launch.name}) from None
        except OSError as problem:
            raise _not_kept(launch, problem) from problem
        if "failed" in answer:
            wire.close()
            raise TaskFailed(**answer["failed"])
        if self._watched.setdefault(launch.name, wire) is not wire:
            wire.close()  # started by us before: that descriptor stays
        return {"try": launch.name, "keeper": True, "pid": answer["pid"], "boot": marks.boot_id()}

    def fileno(self, handle: Mapping[str, Any]) -> int | None:
        """Readable when `poll` has an answer; None while there is no descriptor to be had.

        The number stays the try's own until `poll` returns or raises, which closes it: unregister it then.
        """
        wire = self._wire(handle)
        return wire.socket.fileno() if wire else None

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """How it ended, or None while it runs; again the same until it is forgotten.

        Raises TaskFailed (`lost`, platform) if nobody knows; nothing of the try is alive then.
        """
        wire = self._wire(handle)
        if wire is None:
            return None
        try:
            end = wire.next()
        except OSError:
            end = self._end_without_keeper(handle)
        if end is None:
            return None
        self._forget_wire(handle["try"])
        return end_in(end)

    def stop(self, handle: Mapping[str, Any], grace: float, number: int = signal.SIGTERM) -> None:
        """The keeper ends it: the signal now, KILL to all that is left after the grace period. May be repeated."""
        wire = self._wire(handle)
        if wire:
            with suppress(OSError):  # the keeper is gone, which `poll` will tell
                wire.send({"do": "stop", "name": handle["try"], "grace": grace, "signal": int(number)})

    def hold(self, launch: Launch, gate: Callable[[], Gate]) -> None:
        """Nothing is held: what the keeper starts outlives us, and would wait for ever."""

    def drop(self, launch: Launch) -> None:
        """Nothing was held."""

    def tick(self, now: float) -> float | None:  # noqa: ARG002
        """Nothing is due here: the keeper has a clock of its own."""
        return None

    def forget(self, handle: Mapping[str, Any]) -> None:
        """Its end is not on disk any more; `poll` must have told it."""
        ends.remove(self._state_dir, handle["try"])

    def names(self) -> list[str]:
        """The tries that run or have ended and were not forgotten."""
        running: list[str] = []
        with suppress(*_NOT_THERE, *_DIED):
            wire, answer = self._ask({"do": "names"}, start=False)
            wire.close()
            if "failed" in answer:
                raise TaskFailed(**answer["failed"])
            running = answer["names"]
        return sorted({*running, *ends.names(self._state_dir)})  # in this order: what ends meanwhile is in one of them

    def close(self) -> None:
        """No connection is left; what runs goes on."""
        for name in list(self._watched):
            self._forget_wire(name)
        if self._held:
            self._held.close()
            self._held = None

    # -- connections

    def _wire(self, handle: Mapping[str, Any]) -> Wire | None:
        """The try's connection, a dead one if no keeper knows it; None if no descriptor is to be had now."""
        name = handle["try"]
        if name not in self._watched:
            try:
                wire = self._watch(name)
            except OSError:
                return None
            if wire is None:
                return None
            self._watched[name] = wire
        return self._watched[name]

    def _watch(self, name: str) -> Wire | None:
        try:
            wire, answer = self._ask({"do": "watch", "name": name}, start=False)
        except (*_NOT_THERE, *_DIED):
            return _dead_wire()
        if "failed" not in answer:
            return wire
        wire.close()
        return _dead_wire() if answer["failed"]["kind"] == "lost" else None

    def _forget_wire(self, name: str) -> None:
        wire = self._watched.pop(name, None)
        if wire:
            wire.close()

    def _ask(self, request: Message, *, start: bool = True) -> tuple[Wire, Message]:
        """The keeper's answer, and the connection, which doesn't wait any more. Raises OSError, _DIED among them."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            wire = self._reach(deadline) if start else dial(self._state_dir)
            try:
                wire.socket.settimeout(_ANSWER_SECONDS)
                with suppress(*_DIED):  # what it said before it hung up is still to be read
                    wire.send(request)
                answer = wire.next() or {}
                wire.socket.setblocking(False)
            except BaseException:
                wire.close()
                raise
            if "exit" in answer:
                wire.put_back(answer)
            if "retired" not in answer:
                return wire, answer
            wire.close()

    # -- the keeper

    def _reach(self, deadline: float) -> Wire:
        """A connection to the keeper; there is one."""
        while True:
            try:
                if self._held is None:
                    self._held = dial(self._state_dir)
                return dial(self._state_dir)
            except _NOT_THERE:
                if time.monotonic() > deadline:
                    raise
            if self._held:
                self._held.close()
                self._held = None
            if not self._start_keeper():
                time.sleep(_LOOK_AGAIN_SECONDS)

    def _start_keeper(self) -> bool:
        """A keeper listens, unless another one is just coming or going, which has the lock.

        It is given the lock and the socket, so that there is no moment at which there could be two, or at which
        nobody could be reached.
        """
        os.makedirs(self._state_dir, exist_ok=True)
        lock = os.open(f"{self._state_dir}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _take(lock):
                return False
            with self._listener() as listener:
                self._run_keeper(lock, listener)
            return True
        finally:
            os.close(lock)

    def _listener(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path = f"{self._state_dir}/{SOCKET}"
            with suppress(FileNotFoundError):
                os.unlink(path)
            with address(self._state_dir) as place:
                listener.bind(place)
            os.chmod(path, 0o600)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def _run_keeper(self, lock: int, listener: socket.socket) -> None:
        descriptors = lock, listener.fileno()
        words = self._state_dir, self._masker, self._idle_seconds, *descriptors
        log = os.open(f"{self._state_dir}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-S", "-X", f"utf8={_speaks_utf8():d}", _KEEPER, *map(str, words)],
                env={name: value for name, value in os.environ.items() if name in _KEEPERS_OWN},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
                check=False,
            )
        finally:
            os.close(log)
        if ended.returncode != 0:
            raise OSError(f"the keeper did not start; why stands in {self._state_dir}/{LOG}")

    # -- without a keeper

    def _end_without_keeper(self, handle: Mapping[str, Any]) -> Message:
        """What is known of a try that no keeper holds. Raises TaskFailed (`lost`): nothing."""
        end = ends.read(self._state_dir, handle["try"])
        if end is None:
            raise self._lost(handle)
        return end

    def _lost(self, handle: Mapping[str, Any]) -> TaskFailed:
        """Nothing of the try is alive."""
        self._forget_wire(handle["try"])
        if handle.get("boot", marks.boot_id()) == marks.boot_id():
            marks.sweep_try(handle["try"])
        return TaskFailed("The keeper of the process is gone; how it ended is not known", "lost", platform=True)


def _dead_wire() -> Wire:
    """A connection whose other side is gone."""
    ours, other = socket.socketpair()
    other.close()
    ours.setblocking(False)
    return Wire(ours)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _absolute(path: str) -> str:
    return path if path.startswith("/") else os.path.join(os.getcwd(), path)


def _speaks_utf8() -> bool:
    return sys.getfilesystemencoding() == "utf-8"


def _not_kept(launch: Launch, problem: OSError) -> TaskFailed:
    text = f'Cannot start program "{launch.argv[0]}" through the keeper: {problem}'
    return TaskFailed(text, "spawn_failed", platform=True)
