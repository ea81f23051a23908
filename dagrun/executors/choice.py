"""Each command goes to the executor that its task asks for: a process, or with an image a container.

A task that asks for a container never runs as a process instead (spec/operators 11.3). What containers need is loaded with
the first one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.light import Protocol
from dagrun.plugins.executor import Exit, Launch

if TYPE_CHECKING:
    from dagrun.executors.docker.executor import DockerExecutor
    from dagrun.executors.gate import Gate
    from dagrun.executors.pump import Filter


TRAVEL = ("auto", "mount", "archive")  # how files reach a container: by the engine's address, in place, as a tar stream

KNOWN = ("docker", "simple")  # executors as Digdag's settings name them; both run a task with an image in a container
MISSING = ("ecs", "kubernetes")  # Digdag's others: what asks for one of these fails only when a command is to run


class Processes(Protocol):
    """ProcessExecutor or KeptExecutor."""

    def start(self, launch: Launch) -> Mapping[str, Any]: ...
    def hold(self, launch: Launch, gate: Callable[[], Gate]) -> None: ...
    def drop(self, launch: Launch) -> None: ...
    def fileno(self, handle: Mapping[str, Any]) -> int | None: ...
    def poll(self, handle: Mapping[str, Any]) -> Exit | None: ...
    def stop(self, handle: Mapping[str, Any], grace: float, number: int = ...) -> None: ...
    def tick(self, now: float) -> float | None: ...
    def forget(self, handle: Mapping[str, Any]) -> None: ...


class Executors:
    """`masker` makes the filter for output with secrets, `say` tells people, `travel`: see DockerExecutor.

    `configured` is what the settings ask for: without an executor of that name no command runs.
    """

    def __init__(
        self,
        processes: Processes,
        state_dir: str,
        *,
        masker: Callable[..., Filter],
        say: Callable[[str], None],
        travel: str = "auto",
        configured: str = "docker",
    ) -> None:
        self.processes = processes
        self.state_dir = os.path.abspath(state_dir)
        self.containers: DockerExecutor | None = None
        self.claimed = set(claimed(self.state_dir))  # containers of earlier processes, `<attempt>.<task>.<try>`
        self.settings = masker, say, travel
        self.configured = configured

    def start(self, launch: Launch) -> Mapping[str, Any]:
        """Raises TaskFailed, and never takes another executor than the one that is asked for."""
        if self.configured not in KNOWN:
            raise TaskFailed(
                f"the settings ask for the executor {self.configured} (agent.command_executor.type), which dagrun doesn't have; "
                f"use {' or '.join(KNOWN)}",
                "bad_option",
                "config",
            )
        return self.processes.start(launch) if launch.image is None else self.docker().start(launch)

    def hold(self, launch: Launch, gate: Callable[[], Gate]) -> None:
        """If it is a process that can be, it is started and waits at the gate. Raises OSError or TaskFailed."""
        if self.configured in KNOWN and launch.image is None:
            self.processes.hold(launch, gate)

    def drop(self, launch: Launch) -> None:
        """What was held won't be started."""
        self.processes.drop(launch)

    def adopt(self, launch: Launch) -> Mapping[str, Any]:
        """The handle of a command that an earlier process started."""
        if self.is_claimed(launch.name):
            return self.docker().adopt(launch)
        return {"try": launch.name}

    def fileno(self, handle: Mapping[str, Any]) -> int | None:
        return self.of(handle).fileno(handle)

    def poll(self, handle: Mapping[str, Any]) -> Exit | None:
        return self.of(handle).poll(handle)

    def stop(self, handle: Mapping[str, Any], grace: float, number: int = signal.SIGTERM) -> None:
        self.of(handle).stop(handle, grace, number)

    def tick(self, now: float) -> float | None:
        due = self.processes.tick(now)
        if self.containers is None:
            return due
        told = self.containers.tick(now)
        return told if due is None else due if told is None else min(due, told)

    def forget(self, handle: Mapping[str, Any]) -> None:
        self.of(handle).forget(handle)

    def close(self) -> None:
        """Nothing is left of containers whose end is recorded."""
        if self.containers is not None:
            self.containers.close()

    def claims(self, store_id: str) -> list[str]:
        """The names of the tries whose containers an earlier process may have left."""
        return [f"{store_id}/{name}" for name in self.claimed]

    def is_claimed(self, try_name: str) -> bool:
        return try_name.rpartition("/")[2] in self.claimed

    def of(self, handle: Mapping[str, Any]) -> Processes | DockerExecutor:
        if self.containers is None and not self.claimed:
            return self.processes
        name = handle["try"]
        if self.is_claimed(name) or (self.containers is not None and self.containers.knows(name)):
            return self.docker()
        return self.processes

    def docker(self) -> DockerExecutor:
        if self.containers is None:
            from dagrun.executors.docker.executor import DockerExecutor

            masker, say, travel = self.settings
            self.containers = DockerExecutor(self.state_dir, masker, say, travel)
        return self.containers


def claimed(state_dir: str) -> list[str]:
    """The containers that there may be, of living processes and of dead ones: `<attempt>.<task>.<try>[+n]`."""
    if not os.path.isdir(os.path.join(state_dir, "containers")):
        return []
    from dagrun.executors.docker import claims

    return claims.claimed(state_dir)


def reap(state_dir: str, prefix: str) -> list[str]:
    """No container is left of the tries whose names start with the prefix, `<store>/<attempt>.`; returns those found.

    Raises TaskFailed when there may be some and their engine doesn't answer.
    """
    start = prefix.rpartition("/")[2]
    if not any(name.startswith(start) for name in claimed(state_dir)):
        return []
    from dagrun.executors.docker import executor

    return executor.reap(os.path.abspath(state_dir), prefix)


def sweep(state_dir: str, prefix: str) -> Sequence[object]:
    """The same, and no process is left of them."""
    return [*reap(state_dir, prefix), *marks.sweep(prefix)]
