"""A project directory in which the real `dagrun` runs as a child process, and what its tasks have done.

The tasks tell what they do in a ledger outside of every workspace, one write a line, and ring a bell (a pipe) with each. A
task holds a lock as long as anything of it lives: the kernel, not a list of processes, says what is dead.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests import zygote

LIMIT_SECONDS = 40
LOOK_AGAIN_SECONDS = 0.01  # for conditions that ring no bell
DAGRUN = os.path.join(sysconfig.get_path("scripts"), "dagrun")
SESSION = ("--session", "2026-01-15")

# What tasks begin with: `. "$PLACE/lib.sh"`. Nothing here runs for ever: where the tests themselves are killed, nobody is
# left to end it. The bell is opened for reading, too, so that no task ever waits for a reader.
LIBRARY = r"""
note() { printf '%s %s %s\n' "$1" "$task" "$DAGRUN_TRY" >>"$PLACE/ledger"; printf . 1<>"$PLACE/bell"; }
begin() {
    task=$1; exec 9>>"$PLACE/$1.lock"; flock -n 9 || note overlap; note start
    if [ -e "$PLACE/$1.hangs" ]; then hang; fi
}
finish() { note end; }
hang() { note hangs; sleep 60; }
stubborn() { trap '' TERM INT HUP; hang; }

# A grandchild in a session of its own, whose parents are gone and which holds no descriptor of the task's. Its own lock
# tells whether it lives.
escape() {
    ( PLACE=$PLACE setsid sh -c 'sh "$PLACE/escaped.sh" >/dev/null 2>&1 </dev/null 9>&- &' & )
    until grep -q '^escaped ' "$PLACE/ledger"; do sleep 0.01; done
}
# Whether it lives on, seen by whoever comes after it.
look() { if flock -n "$PLACE/escaped.lock" true; then note gone; else note alive; fi; }
"""
ESCAPED = """
trap '' HUP INT TERM
. "$PLACE/lib.sh"
task=escaped
exec 8>>"$PLACE/escaped.lock"
flock 8
echo $$ >"$PLACE/escaped.pid"
note escaped
sleep 60
"""


class Note(NamedTuple):
    what: str
    task: str
    mark: str


class Project:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = place / "project"
        self.directory.mkdir()
        (place / "home").mkdir()
        (place / "lib.sh").write_text(LIBRARY)
        (place / "escaped.sh").write_text(ESCAPED)
        (place / "ledger").touch()
        os.mkfifo(place / "bell")
        self.bell = os.open(place / "bell", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.database: str | None = None
        self.started: list[subprocess.Popen[str]] = []

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def tasks(self, workflow: str, name: str = "wf") -> None:
        """A workflow; `do: words` stands for a task with the library at hand."""
        lines = []
        for line in workflow.splitlines():
            before, found, after = line.partition("do: ")
            lines.append(f"""{before}sh>: '. "$PLACE/lib.sh"; {after}'""" if found else line)
        self.write({f"{name}.dig": "\n".join(["timezone: UTC", *lines, ""])})

    # -- dagrun

    @property
    def environment(self) -> dict[str, str]:
        more = {"DAGRUN_DATABASE": self.database} if self.database else {}
        return {"PATH": os.environ["PATH"], "HOME": f"{self.place}/home", "PLACE": str(self.place), **more}

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        options: dict[str, Any] = {
            "cwd": self.directory,
            "env": self.environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            **more,
        }
        process = zygote.start(words, **options)
        self.started.append(process)
        return process

    def run(self, *words: str) -> subprocess.Popen[str]:
        """`dagrun run` of the workflow, at work."""
        return self.start("run", "wf.dig", *SESSION, *words)

    def call(self, *words: str, code: int = 0) -> str:
        """What the command printed; it has ended with that code."""
        ended = zygote.call(words, cwd=self.directory, env=self.environment, seconds=LIMIT_SECONDS, merged=True)
        assert ended.code == code, ended.out
        assert "Traceback" not in ended.out, ended.out
        return ended.out

    def end(self, process: subprocess.Popen[str], code: int) -> str:
        printed, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == code, printed
        assert "Traceback" not in printed, printed
        return printed

    def kill9(self, process: subprocess.Popen[str]) -> None:
        """Dead at once, and only itself: what it has started lives on."""
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    # -- what the store says

    def attempts(self) -> list[dict[str, Any]]:
        """Newest first; none if there is no store yet."""
        ended = zygote.call(["attempts", "--json"], cwd=self.directory, env=self.environment, seconds=LIMIT_SECONDS)
        assert ended.code in (0, 3)
        return json.loads(ended.out) if ended.code == 0 else []

    def states(self, attempt: str = "last") -> dict[str, str]:
        return {name: task["state"] for name, task in self.rows(attempt).items()}

    def rows(self, attempt: str = "last") -> dict[str, dict[str, Any]]:
        return {task["name"]: task for task in json.loads(self.call("tasks", attempt, "--json"))}

    # -- what the tasks did

    def ledger(self) -> list[Note]:
        text = (self.place / "ledger").read_text()
        return [Note(*line.split(" ")) for line in text.splitlines()]

    def notes(self, what: str, task: str | None = None) -> list[Note]:
        return [note for note in self.ledger() if note.what == what and task in (None, note.task)]

    def told(self, what: str, task: str | None = None, times: int = 1) -> None:
        """The ledger has so many lines of it."""
        self.until(lambda: len(self.notes(what, task)) >= times, f"{what} {task} isn't in {self.ledger()}")

    def until(self, condition: Callable[[], Any], problem: str = "it doesn't come true") -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, problem
            if select.select([self.bell], [], [], LOOK_AGAIN_SECONDS)[0]:
                os.read(self.bell, 1 << 16)

    def is_free(self, task: str) -> bool:
        """Nothing of the task lives: its lock can be taken."""
        with open(self.place / f"{task}.lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    # -- processes

    def processes(self) -> dict[int, str]:
        """All living processes that came from here, however they went their ways: pid → mark."""
        wanted = f"\0PLACE={self.place}\0".encode()
        found = {}
        for name in os.listdir("/proc"):
            try:
                environment = b"\0" + Path(f"/proc/{name}/environ").read_bytes() if name.isdecimal() else b""
            except OSError:  # it is gone, or another user's
                continue
            if wanted in environment:
                mark = environment.partition(b"\0DAGRUN_TRY=")[2].partition(b"\0")[0]
                found[int(name)] = mark.decode()
        return found

    def close(self) -> None:
        """Nothing of it outlives the test."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        os.close(self.bell)
