"""The works that measure `dagrun schedule`: many schedules due at once, how late one starts, what idling costs.

A real daemon runs them, on the real clock. What happened, and when, is read from its store when it has ended; while it runs,
its own lines tell how far it is, so that nobody polls.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import DAGRUN, Figure, Place
from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.session import SECOND, microseconds
from dagrun.schedules.definition import schedules_of

CROWD = 10_000  # schedules that are due in the same minute
IDLE = 1000  # schedules that are not due
READ_SECONDS = 60  # at least so long before the minute in which they are due, the daemon starts
TASK = "+a:\n  echo>: x\n"
NEVER = '{cron>: "0 0 29 2 *"}'
KINDS = {
    "cron>": ["0 7 * * *", "0 0 29 2 mon", "15 4 L * *"],
    "hourly>": ["15:00"],
    "daily>": ["07:00:00"],
    "weekly>": ["Mon,07:00:00"],
    "monthly>": ["31,07:00:00"],
    "minutes_interval>": [7],
    "seconds_interval>": [7],
    "at>": ["2126-12-01 09:00:00"],
}


def crowd_due(place: Place) -> list[Figure]:
    """10,000 schedules due in the same minute, one `echo>` each"""
    due = (datetime.now(UTC) + timedelta(seconds=READ_SECONDS + 59)).replace(second=0, microsecond=0)
    place.fill(scheduled(CROWD, f'{{cron>: "{due.minute} {due.hour} * * *"}}'))
    with running(place) as daemon:
        if datetime.now(UTC) >= due:
            raise RuntimeError(f"reading {CROWD} files took longer than {READ_SECONDS} s")
        daemon.wait_for_attempts(CROWD)
        peak = daemon.peak_memory()
    store = sqlite3.connect(state(place))
    attempts, sessions, ended = store.execute(
        "SELECT count(*), count(DISTINCT session_id), max(finished_at) FROM attempts WHERE state = 'success'"
    ).fetchone()
    if (attempts, sessions) != (CROWD, CROWD):
        raise RuntimeError(f"{attempts} attempts of {sessions} sessions, not {CROWD}")
    ours = ended / SECOND - due.timestamp()
    bare = durable_transactions(place.top / "bare.db", 3 * CROWD)
    name = summary(crowd_due.__doc__)
    return [
        Figure(name, "3 bare durable SQLite transactions each", bare, ours, ours / bare, 3.0),
        Figure(f"memory of the daemon with {name}", "", None, peak, peak, 300, "MB"),
    ]


def lateness(place: Place) -> Figure:
    """lateness of the first start (p99), 1,000 schedules idle, 20 due every 2 s"""
    files = {**scheduled(IDLE, NEVER), **scheduled(20, "{seconds_interval>: 2}", "often")}
    place.fill(files)
    with running(place) as daemon:
        daemon.wait_for_attempts(200)
    late = [
        (started - due) / SECOND * 1000
        for due, started in sqlite3.connect(state(place)).execute(
            "SELECT session_time, min(tries.started_at) FROM sessions"
            " JOIN attempts ON session_id = sessions.id JOIN tries ON attempt_id = attempts.id GROUP BY attempts.id"
        )
    ]
    ours = statistics.quantiles(late, n=100)[98]
    return Figure(summary(lateness.__doc__), "", None, ours, ours, 250, "ms")


def idle(place: Place) -> list[Figure]:
    """idle daemon with 1,000 schedules"""
    place.fill(scheduled(IDLE, NEVER))
    with running(place) as daemon:
        before, began = daemon.cpu_seconds(), time.perf_counter()
        daemon.rest(20)
        share = (daemon.cpu_seconds() - before) / (time.perf_counter() - began) * 100
        memory = daemon.memory()
    name = summary(idle.__doc__)
    return [
        Figure(f"{name}: share of a core over 20 s", "", None, share, share, 1, "%"),
        Figure(f"{name}: memory", "", None, memory, memory, 110, "MB"),
    ]


def next_run(_: Place) -> Figure:
    """next run time, the slowest kind, from a start in 2126"""
    slowest = 0.0
    for kind, commands in KINDS.items():
        for command in commands:
            config = Map("w.dig", 1, 1)
            config.update({"timezone": "Europe/Berlin", "schedule": {kind: command}})
            (one,) = schedules_of(compile_workflow("w", config))
            taken = []
            for day in range(1, 29):
                at = microseconds(datetime(2126, 3, day, 12, tzinfo=UTC))
                began = time.perf_counter()
                one.schedule.first_at(at)
                taken.append(time.perf_counter() - began)
            slowest = max(slowest, statistics.median(taken) * 1000)
    return Figure(summary(next_run.__doc__), "", None, slowest, slowest, 20, "ms")


WORKS = {work.__name__: work for work in (crowd_due, lateness, idle, next_run)}


def scheduled(count: int, schedule: str, name: str = "w") -> dict[str, str]:
    return {f"{name}{number:05}.dig": f"schedule: {schedule}\n{TASK}" for number in range(count)}


def state(place: Place) -> str:
    return str(place.directory / ".dagrun" / "state.db")


def durable_transactions(path: Path, count: int) -> float:
    """The seconds that so many transactions take, each of one row, each on the disk before the next one begins."""
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
    began = time.perf_counter()
    for _ in range(count):
        store.execute("BEGIN IMMEDIATE")
        store.execute("INSERT INTO rows (text) VALUES ('x')")
        store.execute("COMMIT")
    return time.perf_counter() - began


class Running(NamedTuple):
    """A daemon at work; its lines are read as they come."""

    process: subprocess.Popen[str]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until so many lines hold the text. Raises when it ends before."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            count -= text in line
            if count == 0:
                return
            lines = [*lines[-20:], line]
        raise RuntimeError(f"the daemon ended:\n{''.join(lines)}")

    def wait_for_attempts(self, count: int) -> None:
        self.wait_for(" succeeded\n", count)

    def rest(self, seconds: float) -> None:
        """Leave it alone for so long. Raises when it ends meanwhile."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise RuntimeError("the daemon ended")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        return self.of_status("VmRSS")

    def peak_memory(self) -> float:
        return self.of_status("VmHWM")

    def of_status(self, name: str) -> float:
        """In MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


@contextmanager
def running(place: Place) -> Iterator[Running]:
    """A daemon that has read its projects; it ends with the block."""
    process = subprocess.Popen(
        [DAGRUN, "schedule"], cwd=place.directory, env=environment(place.environment), stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    try:
        daemon = Running(process)
        daemon.wait_for(f", process {process.pid}\n")
        yield daemon
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def environment(given: Mapping[str, str]) -> dict[str, str]:
    return {**given, "TZ": "UTC"}


def summary(text: str | None) -> str:
    return (text or "").strip()
