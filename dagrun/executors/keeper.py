"""The keeper: starts the processes of one state directory, waits for them, and outlives whoever asked for them.

A daemon may end, even by `kill -9`, and come back: its tasks go on, and how they ended lies on disk (ends.py) before
anybody is told. The keeper does what ProcessExecutor does, asked over a socket (wire.py); it knows no tasks, no store
and no time limits. A client starts it (kept.py), with the lock that makes it the only one and the socket on which it
listens. It is run by its path, without `site`, so that it starts fast and stays small:

    python -I -S keeper.py STATE_DIR MASKER IDLE_SECONDS LOCK_FD SOCKET_FD

It ends when nothing runs, nobody is connected and the idle time has passed, or its directory is gone. No signal but KILL
ends it: systemd and a closed terminal signal everyone, and then is when it is needed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from selectors import EVENT_READ, DefaultSelector
from typing import Any, ClassVar, cast

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from dagrun.errors import TaskFailed
from dagrun.executors import ends
from dagrun.executors.process import ProcessExecutor
from dagrun.executors.pump import Filter
from dagrun.executors.wire import SOCKET, Message, Wire, failure, is_ours
from dagrun.plugins.executor import Launch

_TRY_AGAIN_SECONDS = 1.0  # for ends that could not be written: the disk is full
_OUT_OF_DESCRIPTORS_SECONDS = 0.1  # before the processes of this machine are looked at again
_HERE = "."  # the state directory: it may be moved, and its path may be longer than a socket's may be


@dataclass(slots=True, eq=False, repr=False)
class Kept:
    """A try that runs."""

    name: str
    handle: dict[str, Any]
    fd: int
    watchers: list[Wire] = field(default_factory=list)


class Keeper:
    """Works in the state directory; `listener` is bound there."""

    def __init__(self, state_dir: str, masker: str, idle_seconds: float, listener: socket.socket) -> None:
        self.state_dir = state_dir
        self.idle_seconds = idle_seconds
        self.listener = listener
        self.listener.setblocking(False)
        self.executor = ProcessExecutor(lambda secrets: load(masker)(secrets))
        self.running: dict[str, Kept] = {}
        self.stopped: dict[str, Kept] = {}
        self.unwritten: dict[str, Message] = {}  # ends that the disk didn't take
        self.clients: set[Wire] = set()
        self.spare: int | None = None  # a descriptor kept free, to be able to refuse whom there is none for
        self.selector = DefaultSelector()
        self.selector.register(listener, EVENT_READ, None)

    # -- the loop

    def run(self) -> None:
        """Returns when nobody needs it any more."""
        busy = True
        while True:
            now = time.monotonic()
            if busy or self.running:
                idle_at = now + self.idle_seconds
            elif now >= idle_at:
                if self.is_needless():
                    return self.retire()
                idle_at = now + self.idle_seconds
            delays = [delay for delay in (self.carry_on(now), self.write_again()) if delay is not None]
            if not self.running:
                delays.append(max(0.0, idle_at - now))
            busy = self.serve(min(delays, default=None))

    def serve(self, seconds: float | None) -> bool:
        """One pass: whatever comes within so many seconds is done. Returns whether anything came."""
        events = self.selector.select(seconds)
        for key, _ in events:
            if key.data is None:
                self.accept()
            elif isinstance(key.data, Wire):
                self.listen_to(key.data)
            else:
                self.look_at(key.data)
        return bool(events)

    def carry_on(self, now: float) -> float | None:
        """What was told to end comes closer to it; returns the seconds until the next time."""
        try:
            delay = self.executor.tick(now)
        except OSError:  # the table of processes can't be read
            return _OUT_OF_DESCRIPTORS_SECONDS
        for kept in list(self.stopped.values()):
            self.look_at(kept)
        return delay if self.stopped else None

    def is_needless(self) -> bool:
        try:
            here, there = os.stat(_HERE), os.stat(self.state_dir)
        except FileNotFoundError:
            return True
        return not os.path.samestat(here, there) or not (self.clients or self.unwritten)

    def retire(self) -> None:
        """Nobody is left unanswered: who connects from now on finds no keeper, who has just connected is told."""
        with suppress(OSError):
            os.unlink(SOCKET)
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            while True:
                Wire(self.listener.accept()[0]).send({"retired": True})

    # -- clients

    def accept(self) -> None:
        with suppress(OSError):
            self.spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) if self.spare is None else self.spare
        try:
            connection = self.listener.accept()[0]
        except (BlockingIOError, ConnectionError):
            return
        except OSError as problem:
            self.refuse(problem)
            return
        wire = Wire(connection)
        if not is_ours(connection):
            wire.close()
            return
        connection.setblocking(False)
        self.selector.register(connection, EVENT_READ, wire)
        self.clients.add(wire)

    def refuse(self, problem: OSError) -> None:
        """No descriptor is left: say so, instead of letting the client wait and the listener stay readable."""
        if self.spare is None:
            time.sleep(_OUT_OF_DESCRIPTORS_SECONDS)
            return
        os.close(self.spare)
        self.spare = None
        with suppress(OSError):
            wire = Wire(self.listener.accept()[0])
            wire.send(failure(no_room(problem)))
            wire.close()

    def listen_to(self, wire: Wire) -> None:
        """What a client asked is done. Whatever goes wrong with it ends its connection, and nothing else."""
        try:
            while wire in self.clients and (message := wire.next()) is not None:
                self.requests[message["do"]](self, wire, message)
        except OSError as problem:  # of the connection, or of the disk: who waits for an answer has to get one
            self.tell(wire, failure(no_room(problem)))
        except Exception:
            traceback.print_exc(limit=-3)
            self.hang_up(wire)

    def hang_up(self, wire: Wire) -> None:
        if wire in self.clients:
            self.clients.remove(wire)
            self.selector.unregister(wire.socket)
            wire.close()

    # -- requests

    def start(self, wire: Wire, message: Message) -> None:
        """It runs. A name is started once: who asks again watches."""
        name = message["name"]
        if name in self.running or self.end_of(name) is not None:
            self.watch(wire, message)
            return
        if wire.is_deserted():
            return  # who waited in vain has told the engine that it doesn't run
        try:
            kept = self.launch(message)
        except TaskFailed as problem:
            wire.send(failure(problem))
            return
        kept.watchers.append(wire)
        wire.send({"pid": kept.handle["pid"]})

    def watch(self, wire: Wire, message: Message) -> None:
        """The client is told the end, now or when it comes."""
        name = message["name"]
        if name in self.running:
            kept = self.running[name]
            kept.watchers.append(wire)
            wire.send({"pid": kept.handle["pid"]})
        elif (end := self.end_of(name)) is not None:
            self.tell(wire, end)
        else:
            wire.send(failure(TaskFailed("The keeper doesn't know it", "lost", platform=True)))

    def stop(self, _: Wire, message: Message) -> None:
        grace, number = float(message["grace"]), signal.Signals(message["signal"])
        kept = self.running.get(message["name"])
        if kept:
            self.executor.stop(kept.handle, grace, number)
            self.stopped[kept.name] = kept

    def names(self, wire: Wire, _: Message) -> None:
        wire.send({"names": [*self.running, *self.unwritten]})

    requests: ClassVar[Mapping[str, Callable[[Keeper, Wire, Message], None]]] = {
        "start": start,
        "watch": watch,
        "stop": stop,
        "names": names,
    }

    # -- tries

    def launch(self, message: Message) -> Kept:
        launch = Launch(
            name=message["name"],
            argv=message["argv"],
            environment=message["environment"],
            directory=message["directory"],
            log=message["log"],
            mask=message["mask"],
            durable=False,
        )
        handle = self.executor.start(launch)
        fd = cast(int, self.executor.fileno(handle))  # our own child always has one
        kept = Kept(launch.name, handle, fd)
        self.running[kept.name] = kept
        self.selector.register(fd, EVENT_READ, kept)
        return kept

    def look_at(self, kept: Kept) -> None:
        """If it has ended, that is on disk, and then told."""
        if self.running.get(kept.name) is not kept:
            return
        try:
            found = self.executor.poll(kept.handle)
        except OSError:  # what it may have left can't be looked for; tick() will come back to it
            return
        if found is None:
            return
        self.selector.unregister(kept.fd)
        at = time.time_ns() // 1000  # who reads it may do so much later
        end = {"try": kept.name, "pid": kept.handle["pid"], "exit": found._replace(at=at)}
        self.write(kept.name, end)
        del self.running[kept.name]
        self.stopped.pop(kept.name, None)
        for wire in kept.watchers:
            self.tell(wire, end)

    def tell(self, wire: Wire, last: Message) -> None:
        """The client has got its last message, if it is still there."""
        if wire in self.clients:
            with suppress(OSError):
                wire.send(last)
            self.hang_up(wire)

    def end_of(self, name: str) -> Message | None:
        return self.unwritten.get(name) or ends.read(_HERE, name)

    def write(self, name: str, end: Message) -> None:
        try:
            ends.write(_HERE, name, end)
        except OSError:
            self.unwritten[name] = end
        else:
            self.unwritten.pop(name, None)

    def write_again(self) -> float | None:
        for name, end in list(self.unwritten.items()):
            self.write(name, end)
        return _TRY_AGAIN_SECONDS if self.unwritten else None


def load(masker: str) -> Callable[[Sequence[str]], Filter]:
    """The maker of filters that is called "module:name": what masks is loaded when there is something to mask."""
    module, _, name = masker.partition(":")
    try:
        return cast(Callable[[Sequence[str]], Filter], getattr(import_module(module), name))
    except (ImportError, AttributeError) as problem:
        raise RuntimeError(f"nothing can be masked: {problem}") from problem


def no_room(problem: OSError) -> TaskFailed:
    return TaskFailed(f"The keeper has no room for it: {problem}", "spawn_failed", platform=True)


def main() -> None:
    state_dir, masker, idle_seconds, lock, listener = sys.argv[1:]
    if os.fork():
        os._exit(0)  # the client has one child less to wait for
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # and not SIG_IGN, which every program would inherit
    os.set_inheritable(int(lock), False)  # held as long as we live
    os.set_inheritable(int(listener), False)
    os.chdir(state_dir)
    Keeper(state_dir, masker, float(idle_seconds), socket.socket(fileno=int(listener))).run()


if __name__ == "__main__":
    main()
