"""Commands in containers, as the engine of dagrun drives them: one thread, one selector (plugins/executor.py).

start   returns at once; image, container and output are the affair of a thread for each container
adopt   goes on with a container that an earlier process started
forget  removes the container, once its end is recorded
reap    removes what dead processes left
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.docker.claims import Claim, claimed
from dagrun.executors.docker.container import TRY, Container, Masker, Surroundings, lost
from dagrun.executors.docker.engine import Engine
from dagrun.executors.docker.images import Images
from dagrun.executors.docker.options import Options, read
from dagrun.plugins.executor import Exit, Launch

_REMOVAL_SECONDS = 60.0  # a busy engine takes one
_TELL_SECONDS = 0.5  # so late are people told what a container's thread has to say


class DockerExecutor:
    """`say` tells people about pulls and the like; it is called by `tick` only. `travel`: how files get there."""

    def __init__(self, state_dir: str, masker: Masker, say: Callable[[str], None], travel: str = "auto") -> None:
        self._state_dir = state_dir
        self._say = say
        self._told: deque[str] = deque()
        engine = Engine()
        mounts = engine.is_local if travel == "auto" else travel == "mount"
        say_later = self._told.append
        self._around = Surroundings(
            state_dir, engine, Images(engine, say_later), masker, say_later, mounts, threading.Event()
        )
        self._running: dict[str, Container] = {}
        self._ended: dict[str, Container] = {}
        self._removals: list[threading.Thread] = []

    def start(self, launch: Launch) -> Mapping[str, Any]:
        """Raises TaskFailed when the options make no sense, the disk is full, or no thread is to be had."""
        options, claim = read(launch.image or {}), Claim(self._state_dir, launch.name)
        try:
            claim.make()
            container = Container(launch, options, claim, self._around)
            try:
                container.begin()
            except RuntimeError:
                container.close()
                raise
        except (OSError, RuntimeError) as problem:
            claim.withdraw()
            raise TaskFailed(f"the container can't be started: {problem}", "spawn_failed", platform=True) from None
        return self._watch(container)

    def adopt(self, launch: Launch) -> Mapping[str, Any]:
        """The command of that name, which an earlier process started. Whether it is there is told by `poll`.

        Without an image, since it isn't known what an operator of another package had asked for, it is only found again.
        """
        options = read(launch.image) if launch.image else Options(image="")
        container = Container(launch, options, Claim(self._state_dir, launch.name), self._around)
        container.adopt()
        return self._watch(container)

    def _watch(self, container: Container) -> Mapping[str, Any]:
        self._running[container.launch.name] = container
        return {"try": container.launch.name, "container": container.name}

    def fileno(self, handle: Mapping[str, Any]) -> int | None:
        """Readable when it is over. It stays open until `poll` returns or raises."""
        return self._running[handle["try"]].fd

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        """How it ended, once, or None while it runs. Raises TaskFailed."""
        container = self._running.get(handle["try"])
        if container is None:
            remove(self._around.engine, Claim(self._state_dir, handle["try"]))
            raise lost("it was found without its try")
        if not container.over.is_set():
            return None
        del self._running[handle["try"]]
        self._ended[handle["try"]] = container
        os.close(container.fd)
        if container.problem is not None:
            raise container.problem
        return container.exit

    def stop(self, handle: Mapping[str, Any], grace: float, number: int = signal.SIGTERM) -> None:
        self._running[handle["try"]].stop(grace, number)

    def tick(self, now: float) -> float | None:  # noqa: ARG002
        """Tell people what the containers' threads had to say."""
        while self._told:
            self._say(self._told.popleft())
        return _TELL_SECONDS if self._running else None

    def forget(self, handle: Mapping[str, Any]) -> None:
        """Its end is recorded: the container is removed, in the background."""
        container = self._ended.pop(handle["try"], None)
        if container is not None:
            container.discard()
            removal = container.removal
        else:
            removal = threading.Thread(target=self._remove, args=(handle["try"],), name="dagrun remove", daemon=True)
            removal.start()
        self._removals = [one for one in (*self._removals, removal) if one and one.is_alive()]

    def _remove(self, name: str) -> None:
        """Of an earlier process."""
        try:
            remove(self._around.engine, Claim(self._state_dir, name))
        except TaskFailed as problem:
            self._told.append(f"a container of {name} is perhaps not removed yet: {problem}")

    def close(self) -> None:
        """What was to be removed is gone, if the engine does its work; what runs goes on."""
        self._around.closing.set()
        deadline = time.monotonic() + _REMOVAL_SECONDS
        for removal in self._removals:
            removal.join(max(0.0, deadline - time.monotonic()))
        self.tick(0.0)

    def knows(self, name: str) -> bool:
        return name in self._running or name in self._ended


def reap(state_dir: str, prefix: str, engine: Engine | None = None) -> list[str]:
    """No container is left of the tries whose names start with the prefix, `<store>/<attempt>.`; returns those found.

    Raises TaskFailed when the engine doesn't answer; the claims stay then.
    """
    store = prefix.partition("/")[0]
    found = []
    for name in claimed(state_dir):
        if f"{store}/{name}".startswith(prefix):
            engine = engine or Engine()
            found += remove(engine, Claim(state_dir, f"{store}/{name}"))
    return found


def remove(engine: Engine, claim: Claim) -> list[str]:
    """Nothing of it is left, neither a container nor a build that waited for its image.

    By its label, since somebody may have changed a container's name.
    """
    claim.wait_for_client()
    if not claim.was_lent():
        marks.sweep_try(claim.try_name)
    found = engine.with_label(TRY, claim.try_name)
    for container in found:
        engine.remove(container)
    claim.withdraw()
    return found
