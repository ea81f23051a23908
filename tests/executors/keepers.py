"""Keepers and their clients, as the tests see them: processes of their own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.kept import KeptExecutor
from tests.executors.conftest import CENSOR, IDLE_SECONDS, LIMIT_SECONDS

ROOT = Path(__file__).parents[2]

CLIENT = """
import json, sys
from dagrun.executors.kept import KeptExecutor
from dagrun.plugins.executor import Launch
state, masker, idle, launches = json.loads(sys.argv[1])
executor = KeptExecutor(state, masker, idle_seconds=idle)
print("here", flush=True)
sys.stdin.readline()
print(json.dumps([executor.start(Launch(**launch)) for launch in launches]), flush=True)
sys.stdin.readline()
"""


class Client:
    """Another process that starts tries in the same state directory, when it is told to."""

    def __init__(self, state: str, *launches) -> None:
        words = json.dumps([state, CENSOR, IDLE_SECONDS, [launch._asdict() for launch in launches]])
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "here\n"

    def go(self) -> Client:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self

    def handles(self):
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def another(state: str) -> KeptExecutor:
    return KeptExecutor(state, CENSOR, idle_seconds=IDLE_SECONDS)


def keepers(state: str) -> list[int]:
    found = []
    for process in marks.processes():
        words = marks._read(f"/proc/{process.pid}/cmdline").decode(errors="replace").split("\0")
        if state in words and any(word.endswith("/keeper.py") for word in words):
            found.append(process.pid)
    return found


def the_keeper(state: str) -> int:
    [pid] = keepers(state)
    return pid


def kill_keeper(state: str) -> None:
    """It is dead, and its sockets are closed."""
    keeper = the_keeper(state)
    ended = os.pidfd_open(keeper)
    os.kill(keeper, signal.SIGKILL)
    assert select.select([ended], [], [], LIMIT_SECONDS)[0]
    os.close(ended)


def await_readable(executor: KeptExecutor, handle) -> None:
    assert select.select([executor.fileno(handle)], [], [], LIMIT_SECONDS)[0]


def is_lost(executor: KeptExecutor, handle) -> bool:
    with pytest.raises(TaskFailed) as caught:
        executor.poll(handle)
    return (caught.value.kind, caught.value.platform) == ("lost", True)
