"""Commands in containers, as the engine of dagrun drives them: one thread, one selector (plugins/executor.py).

start   returns at once; image, container and output are the affair of a thread for each container
adopt   goes on with a container that an earlier process started
forget  removes the container, once its end is recorded
reap    removes what dead processes left
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors.docker.claims import Claim, claimed
from dagrun.executors.docker.container import CLAIM, STATE_DIR, Container, Masker, Surroundings, lost
from dagrun.executors.docker.engine import Engine
from dagrun.executors.docker.images import Images
from dagrun.executors.docker.options import read
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
        self._around = Surroundings(
            state_dir, engine, Images(engine, self._told.append), masker, self._told.append, mounts
        )
        self._running: dict[str, Container] = {}
        self._ended: dict[str, Container] = {}
        self._removed: list[Container] = []

    def start(self, launch: Launch) -> Mapping[str, Any]:
        """Raises TaskFailed when the options make no sense, or the disk is full."""
        container = self._container(launch)
        try:
            container.claim.make()
        except OSError as problem:
            raise TaskFailed(f"the container can't be started: {problem}", "spawn_failed", platform=True) from None
        container.begin()
        return self._watch(container)

    def adopt(self, launch: Launch) -> Mapping[str, Any]:
        """The command of that name, which an earlier process started. Whether it is there is told by `poll`."""
        container = self._container(launch)
        container.adopt()
        return self._watch(container)

    def _container(self, launch: Launch) -> Container:
        return Container(launch, read(launch.image or {}), Claim(self._state_dir, launch.name), self._around)

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
            remove(self._around.engine, self._state_dir, Claim(self._state_dir, handle["try"]))
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
            self._removed = [one for one in self._removed if one.removal and one.removal.is_alive()] + [container]
        else:
            remove(self._around.engine, self._state_dir, Claim(self._state_dir, handle["try"]))

    def close(self) -> None:
        """What was to be removed is gone, if the engine does its work; what runs goes on."""
        deadline = time.monotonic() + _REMOVAL_SECONDS
        for container in self._removed:
            if container.removal:
                container.removal.join(max(0.0, deadline - time.monotonic()))
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
            found += remove(engine, state_dir, Claim(state_dir, f"{store}/{name}"))
    return found


def remove(engine: Engine, state_dir: str, claim: Claim) -> list[str]:
    """By its labels: a container's name may have been changed by somebody."""
    claim.wait_for_client()
    found = engine.names({STATE_DIR: state_dir, CLAIM: claim.name})
    for container in found:
        engine.remove(container)
    claim.withdraw()
    return found
