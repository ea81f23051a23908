"""The client program: it builds images and starts containers, since files hand it options of its own.

Each of its processes leads a session of its own and carries the mark of its try, so that it can be ended whole, also by whoever
comes after a dead dagrun.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.plugins.executor import Launch

_LOOK_SECONDS = 0.1  # so late at most does it end when its task is told to

Process = subprocess.Popen[bytes]


class Stopped(Exception):
    """The task was told to end while it waited."""


class Client:
    """`program` as the file names it. `stopped` tells whether the task is told to end."""

    def __init__(self, program: str, launch: Launch, stopped: Callable[[], bool]) -> None:
        self._program = program
        self._launch = launch
        self.stopped = stopped

    def start(
        self,
        arguments: Sequence[str],
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
        variables: Mapping[str, str] = {},
        lock: int | None = None,
    ) -> Process:
        """At work; it holds the lock as long as it is. Raises TaskFailed if there is no such program."""
        try:
            return subprocess.Popen(
                [self._program, *arguments],
                env={**os.environ, **variables, marks.MARK: self._launch.name},
                cwd=self._launch.directory,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as problem:
            raise TaskFailed(
                f"{self._program}, which starts containers, can't be run: {problem.strerror}\n"
                "  install the Docker client (docker.io, docker-ce-cli), or name another one:  docker: {docker: PATH}",
                "docker_missing",
                "config",
            ) from None

    def run(self, arguments: Sequence[str], log: IO[bytes] | None = None) -> tuple[int, str, str]:
        """Its exit code and what it printed, unless that went into a log. Raises Stopped when the task is told to end."""
        process = self.start(arguments, *((log, log) if log else ()))
        while True:
            try:
                out, err = process.communicate(timeout=_LOOK_SECONDS)
                return process.returncode, text(out), text(err)
            except subprocess.TimeoutExpired:
                if self.stopped():
                    send(process, signal.SIGKILL)
                    process.communicate()
                    raise Stopped from None

    def pull(self, image: str) -> None:
        """Raises TaskFailed, Stopped."""
        code, _, said = self.run(["pull", image])
        if code:
            raise TaskFailed(
                f"the image {image} can't be pulled: {said or f'{self._program} ended with code {code}'}",
                "image_pull_failed",
                "runtime",
                platform=True,
            )

    def lists(self, image: str) -> bool:
        """Whether `docker images` shows it, as Digdag asks (spec/operators 4.3)."""
        _, listed, _ = self.run(["images", "--format", "{{.Repository}}:{{.Tag}}"])
        return image in listed.split()


def send(process: Process, number: int) -> None:
    """It and all that it has started get the signal."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def text(printed: bytes | None) -> str:
    return (printed or b"").decode(errors="replace").strip()
