"""What a run shows: the tasks' output on standard output, everything else on standard error.

Standard output carries only what tasks print: whole lines, raw and in order of appearance; in a terminal above the live
tree and prefixed with the task. A reader who closes it stops the copying, not the attempt. Progress goes to standard
error: the live tree in a terminal, else one plain line an event.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dagrun.core.events import Move
from dagrun.core.kinds import json_text
from dagrun.core.state import CANCELED, DONE, ERROR, FAILED, RUNNING, SUCCESS, WAITING
from dagrun.core.tree import Task, TaskTree
from dagrun.engine.attempt import Attempt
from dagrun.logs.files import Follower, tail

if TYPE_CHECKING:
    from dagrun.cli.live import LiveTree

FOLLOW_SECONDS = 0.1  # between two looks at the logs of running commands
SHOWN_LINES = 10  # of a failed task's log

WORDS = {
    RUNNING: "running",
    WAITING: "waiting",
    SUCCESS: "success",
    ERROR: "failed",
    "group_error": "failed",
    CANCELED: "killed",
}


class Output:
    """Observes a run. Made and called in the thread of the loop."""

    def __init__(self, *, out_is_terminal: bool, err_is_terminal: bool) -> None:
        self.prefixed = out_is_terminal
        self.followed: dict[str, tuple[Task, Follower]] = {}
        self.closed = False
        self.looked_at = 0.0
        self.live: LiveTree | None = None
        self.lines: list[str] = []  # events that are not written yet: one write a pass, not one a line
        self.second = (0, "")
        if err_is_terminal:
            from dagrun.cli.live import LiveTree

            self.live = LiveTree()

    # -- from the worker

    def moved(self, attempt: Attempt, task: Task, move: Move) -> None:
        if self.live is not None:
            self.live.moved(attempt, task)
            return
        word = WORDS.get(move.after)
        if word is None or (task.is_group and move.after not in DONE) or task.parent is None:
            return
        text = f"{self.clock()} {task.full_name} {word}"
        if move.after == WAITING and move.reason:
            text += f" ({move.reason})"
        elif move.after in FAILED and task.error:
            text += f": {headline(reason(task.error))}"
        self.lines.append(text)

    def clock(self) -> str:
        """The time of day, made once a second."""
        now = int(time.time())
        if now != self.second[0]:
            self.second = (now, time.strftime("%H:%M:%S", time.localtime(now)))
        return self.second[1]

    def warned(self, text: str) -> None:
        self.said(f"warning: {text}")

    def logging(self, task: Task, path: str) -> None:
        if path not in self.followed:
            self.followed[path] = (task, Follower(path))

    def logged(self, task: Task, path: str) -> None:
        """The try is over: the rest of its output, as it is."""
        found = self.followed.pop(path, None)
        if found is not None:
            self.copy(task, found[1].read())

    def tick(self) -> float:
        self.flush()
        if self.live is not None:
            self.live.refresh()
        if not self.followed:
            return FOLLOW_SECONDS if self.live else 60.0
        now = time.monotonic()
        if now - self.looked_at >= FOLLOW_SECONDS:
            self.looked_at = now
            for task, follower in list(self.followed.values()):
                data = follower.lines()
                if data:
                    self.copy(task, data)
                    if self.live is not None:
                        self.live.printed(task, data)
        return FOLLOW_SECONDS

    # -- writing

    def copy(self, task: Task, data: bytes) -> None:
        if not data or self.closed:
            return
        if self.prefixed:
            name = task.full_name.encode()
            data = b"".join(name + b" | " + line + b"\n" for line in data.splitlines())
        write: Callable[[], None] = lambda: self.write(data)  # noqa: E731
        if self.live is not None and self.prefixed:
            self.live.above(write)
        else:
            write()

    def write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
        except OSError:
            self.closed = True  # its reader is gone; the attempt goes on

    def said(self, text: str) -> None:
        """A line on standard error, above the live tree."""
        self.lines.append(text)
        self.flush()

    def flush(self) -> None:
        if not self.lines:
            return
        text = "\n".join(self.lines)
        self.lines.clear()

        def write() -> None:
            try:
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()
            except OSError:
                pass

        if self.live is not None:
            self.live.above(write)
        else:
            write()

    def close(self) -> None:
        self.flush()
        if self.live is not None:
            self.live.close()
            self.live = None  # what is said from now on are plain lines

    # -- the end

    def summary(self, attempt: Attempt, tree: TaskTree, log_of: Callable[[Task], str | None], retry: str) -> None:
        """The failed tasks with exit code and last log lines, and the command that retries them."""
        root = tree.root
        seconds = ((attempt.row.finished_at or attempt.row.created_at) - attempt.row.created_at) / 1_000_000
        name = f"{attempt.session.workflow}: attempt {attempt.id}"
        if root.state == SUCCESS:
            self.said(f"{name} succeeded in {seconds:.1f} s")
            return
        word = "was killed" if root.state == CANCELED else "failed"
        self.said(f"{name} {word} after {seconds:.1f} s")
        for task in tree.tasks:
            if task.state == ERROR and not task.superseded and task.error:
                log = log_of(task)
                printed = tail(log, SHOWN_LINES).splitlines() if log else []
                # What a command printed last tells more than the rest of its message, which repeats it.
                message = headline(reason(task.error)) if printed else reason(task.error)
                file, line, _ = task.spec.place
                where = f" ({file}:{line})" if file else ""
                self.said(f"  {task.full_name}{where}: {message}")
                for text in printed:
                    self.said(f"    | {text}")
            elif task.state == "group_error" and task.reason:
                self.said(f"  {task.full_name}: {task.reason}")
        self.said(f"to go on from there: {retry}")


def reason(error: Mapping[str, Any]) -> str:
    """Why a task failed; of `fail>` without a text, which has no reason, what there is of an error."""
    return str(error["message"]) or json_text({"message": ""})


def headline(message: str) -> str:
    """The first line of a message, which may hold a whole trace."""
    first, *rest = message.splitlines() or [""]
    return f"{first} …" if rest else first
