"""How `dagrun sync` and a daemon talk about a git project: by two files beside its mirror.

    <state>/git/<name>/sync          touched by who wants it to be fetched at once; its time is the number of the wish
    <state>/git/<name>/status.json   what the daemon fetched last, which wish that answers, and what became of the commit

Knows neither git nor the daemon; `sources.py` writes for the daemon, `dagrun sync` reads.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dagrun.light import NamedTuple

SYNC = "sync"
STATUS = "status.json"


class Status(NamedTuple):
    """What a daemon last did with a project. `problem` is why it can't be fetched, or why the commit was refused."""

    process: int  # of the daemon
    fetched_at: int  # the end of the last fetch, good or bad, in microseconds
    answered: int  # the last wish that was made before that fetch began
    url: str
    branch: str | None
    path: str
    commit: Mapping[str, Any] | None  # the newest that is there
    fetched: bool  # whether the last fetch was good
    taken_over: bool  # whether that commit is the one that runs
    problem: str | None


def wish(directory: str) -> int:
    """The project is to be fetched at once. The number of the wish."""
    number = time.time_ns()
    path = os.path.join(directory, SYNC)
    with open(path, "a"):
        os.utime(path, ns=(number, number))
    return os.stat(path).st_mtime_ns  # a file system may keep less of it


def wished(directory: str) -> int:
    """The number of the last wish, 0 before the first one."""
    try:
        return os.stat(os.path.join(directory, SYNC)).st_mtime_ns
    except OSError:
        return 0


def write_status(directory: str, status: Status) -> None:
    path = os.path.join(directory, STATUS)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(status._asdict(), file)
    os.replace(f"{path}.part", path)


def forget_status(directory: str) -> None:
    """The daemon runs it no more."""
    with suppress(OSError):
        os.unlink(os.path.join(directory, STATUS))


def read_status(directory: str) -> Status | None:
    """None when no daemon has been here yet, or another version of it."""
    with suppress(OSError, ValueError, TypeError), open(os.path.join(directory, STATUS), encoding="utf-8") as file:
        return Status(**json.load(file))
    return None
