"""A directory whose schedules the real `dagrun schedule` runs, as a process of its own, and what one sees of it.

    site.schedule()            the daemon is at work; what it says stands in site.log
    site.hears("…")            it has said so, since the last call or since its start
    site.store                 the rows, read by this process

Nothing sleeps for a fixed time: each wait has a condition and a limit. Nothing outlives the test: neither daemon, nor keeper,
nor task.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dagrun.engine.rows import decode
from dagrun.store.base import AttemptRow, SessionRow, SkipRow, Store
from tests.faults.project import DAGRUN, LIMIT_SECONDS, Project

SECOND = 1_000_000
# A task that writes when it begins and ends, for so many seconds: `busy NAME SESSION SECONDS`. Two of one name at once are
# told, also where one is of an earlier daemon.
LIBRARY = """
busy() {
    task=$1@$2; exec 9>>"$PLACE/$1.lock"; flock -n 9 || note overlap; note start; sleep "$3"; note end
}
gate() { begin "$1"; until [ -e "$PLACE/$1.open" ]; do sleep 0.02; done; finish; }
"""


class Seen(NamedTuple):
    attempt: AttemptRow
    session: SessionRow


class Site(Project):
    def __init__(self, place: Path) -> None:
        super().__init__(place)
        with open(place / "lib.sh", "a") as file:
            file.write(LIBRARY)
        self.log = place / "daemon.log"
        self.log.touch()
        self.begun = self.read = 0  # where what the newest daemon says begins, and how much was looked at
        self.process: subprocess.Popen[str] | None = None
        self.more_environment: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.more_environment

    @property
    def state(self) -> Path:
        return self.directory / ".dagrun"

    def workflow(self, name: str, schedule: str, *tasks: str, more: str = "") -> None:
        """`name` may hold the folder. Each task is what stands behind its name, in lines that are indented by two."""
        lines = ["timezone: UTC", f"schedule: {schedule}" if schedule else "", more]
        for number, task in enumerate(tasks, 1):
            lines += [f"+t{number}:", *(f"  {script(line)}" for line in task.splitlines())]
        path = self.directory / f"{name}.dig"
        path.parent.mkdir(exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text("\n".join([*lines, ""]))
        new.replace(path)

    # -- the daemon

    def schedule(self, *words: str, ready: bool = True) -> subprocess.Popen[str]:
        """It is at work."""
        assert self.process is None or self.process.poll() is not None, "one at a time"
        self.begun = self.read = self.log.stat().st_size
        with self.log.open("a") as log:
            words = words or (str(self.directory),)
            self.process = self.start("schedule", *words, stdout=log, stderr=log)
        if ready:
            self.is_at_work()
        return self.process

    def is_at_work(self) -> None:
        """The daemon that was started last has read everything."""
        assert self.process is not None
        self.read = self.begun
        self.hears(rf"projects? in .*, process {self.process.pid}$")
        self.read = self.begun

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        process = super().start(*words, **more)
        self.started = [one for one in self.started if one.poll() is None or one.stdout]
        if process not in self.started:
            self.started.append(process)
        return process

    def said(self) -> str:
        """All that daemons of this site have said."""
        return self.log.read_text()

    def hears(self, pattern: str, seconds: float = LIMIT_SECONDS) -> re.Match[str]:
        """It says so now, or has done so since what it was heard to say last."""
        deadline = time.monotonic() + seconds
        while True:
            alive = self.process is not None and self.process.poll() is None
            new = self.log.read_bytes()[self.read :].decode()
            found = re.search(pattern, new, re.MULTILINE)
            if found:
                self.read += len(new[: found.end()].encode())
                return found
            assert alive and time.monotonic() < deadline, f"{pattern} isn't in:\n{new}"
            time.sleep(0.01)

    def has_said(self, pattern: str) -> bool:
        return re.search(pattern, self.said(), re.MULTILINE) is not None

    def die(self) -> None:
        """kill -9, of the daemon alone."""
        assert self.process is not None
        self.kill9(self.process)

    def term(self, code: int = 0, seconds: float = LIMIT_SECONDS) -> None:
        """TERM, and it has ended."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == code, self.said()

    def refused(self, *words: str, code: int) -> str:
        """What `dagrun schedule` says that doesn't start."""
        return self.call("schedule", *(words or (str(self.directory),)), code=code)

    # -- what the store says

    @cached_property
    def store(self) -> Store:
        from dagrun.store.sql import open_store

        return open_store(self.database or f"sqlite:///{self.state}/state.db")

    def seen(self, workflow: str | None = None) -> list[Seen]:
        """All attempts, oldest first."""
        with self.store.reading() as tx:
            found = tx.list_attempts(workflow=workflow, limit=10_000)
        return [Seen(one.attempt, one.session) for one in reversed(found)]

    def live(self) -> list[AttemptRow]:
        with self.store.reading() as tx:
            return tx.live_attempts()

    def skips(self, workflow: str) -> list[SkipRow]:
        with self.store.reading() as tx:
            return [row for project in range(1, 4) for row in tx.list_skips(project, workflow, 10_000)]

    def tries(self, attempt: int, task: str = "+t1") -> list[tuple[str, int | None]]:
        """How each try of a task ended: its outcome and its exit code."""
        with self.store.reading() as tx:
            index = next(row.idx for row in tx.load_tasks(attempt) if row.name.endswith(task))
            return [(row.outcome, row.exit_code) for row in tx.load_tries(attempt, index)]

    def ended(self, count: int = 1, workflow: str | None = None) -> list[Seen]:
        """So many attempts have ended; all that have."""

        def done() -> list[Seen]:
            return [one for one in self.seen(workflow) if one.attempt.finished_at is not None]

        self.until(lambda: len(done()) >= count, f"no {count} attempts of {workflow} end")
        return done()

    # -- what lives, and what lies about

    def of_store(self) -> dict[int, str]:
        """Living processes with a mark of this store's tries, wherever they come from."""
        wanted = f"\0DAGRUN_TRY={self.store.id}/".encode()
        return {pid: "" for pid in pids() if wanted in b"\0" + environment_of(pid)}

    def keepers(self) -> list[int]:
        word = str(self.state).encode()
        return [pid for pid in pids() if is_keeper(words := arguments_of(pid)) and word in words]

    def kill_keeper(self) -> None:
        for pid in self.keepers():
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: not self.keepers())

    def leftovers(self) -> list[str]:
        """Directories of tries, locks of attempts, ends that nobody has recorded."""
        found = []
        for folder in ("work", "run", "ends"):
            with suppress(FileNotFoundError):
                found += [f"{folder}/{name}" for name in os.listdir(self.state / folder)]
        return found

    def close(self) -> None:
        if "store" in self.__dict__:
            self.store.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
        for pid in self.keepers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().close()


def script(line: str) -> str:
    """`do: words` stands for a shell with the library at hand."""
    before, found, after = line.partition("do: ")
    return f"""{before}sh>: '. "$PLACE/lib.sh"; {after}'""" if found else line


def options_of(row: AttemptRow) -> dict[str, Any]:
    return dict(decode(row.options))


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def environment_of(pid: int) -> bytes:
    return read(f"/proc/{pid}/environ")


def arguments_of(pid: int) -> Sequence[bytes]:
    return read(f"/proc/{pid}/cmdline").split(b"\0")


def is_keeper(words: Sequence[bytes]) -> bool:
    return any(word.endswith(b"/executors/keeper.py") for word in words)


__all__ = ["DAGRUN", "SECOND", "Site", "options_of", "read"]
