"""Times commands, in turn with what they are compared with, so that a busy minute slows both.

A figure is a ratio of medians; seconds alone say more about the machine than about dagrun.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DAGRUN = os.path.join(sysconfig.get_path("scripts"), "dagrun")


class Figure(NamedTuple):
    """One line of the table. `bare` and `ours` are in `unit`; the promise is about `value`."""

    work: str
    compared: str
    bare: float | None
    ours: float
    value: float
    limit: float
    unit: str = "s"

    @property
    def kept(self) -> bool:
        return self.value <= self.limit


# In a small process: a new one runs in its parent's memory at first, and Linux counts that as its own.
PEAK = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


class Place:
    """A new directory for each round, with a HOME of its own.

    None is removed before the end: ext4 passes over the inodes of files that were deleted in the last minute, one by one, and
    so makes new files slower than any task.
    """

    def __init__(self, top: str) -> None:
        self.top = Path(top)
        self.rounds = 0
        self.fill({})
        home = Path(top) / "home"
        home.mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DAGRUN_", "DIGDAG_"))}
        self.environment = {**kept, "HOME": str(home)}

    def fill(self, files: Mapping[str, str]) -> None:
        self.rounds += 1
        self.directory = self.top / f"project-{self.rounds}"
        self.directory.mkdir()
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def run(self, argv: Sequence[str], *, code: int = 0) -> float:
        """Seconds from start to end. Raises when it ends with another code."""
        began = time.perf_counter()
        process = subprocess.run(
            argv, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        seconds = time.perf_counter() - began
        if process.returncode != code:
            raise RuntimeError(f"{argv} ended with {process.returncode}:\n{process.stderr.decode()[-2000:]}")
        return seconds

    def peak_memory(self, argv: Sequence[str]) -> float:
        """The largest resident set of a command, in MB."""
        measured = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PEAK, *argv],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        code, peak = measured.stdout.split()[-2:]
        if code != "0":
            raise RuntimeError(f"{argv} ended with {code}")
        return int(peak) / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def in_turn(rounds: int, *works: Callable[[], float]) -> list[float]:
    """The median of each, after a first round that only warms the caches."""
    taken = [[work() for work in works] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*taken, strict=True)]
