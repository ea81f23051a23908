"""The live tree of a run in a terminal: what is at work, for how long, and the last line that it printed.

rich draws it on standard error; lines that belong above it are written through `above`. Only what is at work and the last
few tasks that ended are shown, so that ten thousand tasks need no larger terminal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dagrun.cli.output import headline, reason
from dagrun.core.state import CANCELED, DONE, FAILED, RUNNING, STOPPING, SUCCESS, WAITING
from dagrun.core.tree import Task
from dagrun.engine.attempt import Attempt

REFRESH_SECONDS = 0.1
MOST_AT_WORK = 12
LAST_ENDED = 5
STYLES = {SUCCESS: ("✔", "green"), "error": ("✘", "red"), "group_error": ("✘", "red"), CANCELED: ("■", "yellow")}


class LiveTree:
    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.at_work: dict[tuple[int, int], tuple[Task, float]] = {}
        self.lines: dict[str, str] = {}
        self.ended: deque[Task] = deque(maxlen=LAST_ENDED)
        self.attempts: dict[int, Attempt] = {}
        self.done = 0
        self.failed = 0
        self.drawn_at = 0.0
        self.live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self.live.start()

    def moved(self, attempt: Attempt, task: Task) -> None:
        self.attempts[attempt.id] = attempt
        if not task.spec.operator:
            return
        key = (attempt.id, task.index)
        if task.state in DONE:
            self.at_work.pop(key, None)
            self.lines.pop(task.full_name, None)
            self.ended.append(task)
            self.done += 1
            self.failed += task.state in FAILED
        elif task.state in (RUNNING, STOPPING, WAITING):
            self.at_work.setdefault(key, (task, time.monotonic()))

    def printed(self, task: Task, data: bytes) -> None:
        lines = data.decode(errors="replace").splitlines()
        if lines:
            self.lines[task.full_name] = lines[-1]

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self.drawn_at >= REFRESH_SECONDS:
            self.drawn_at = now
            self.live.update(self.picture(now), refresh=True)

    def above(self, write: Callable[[], None]) -> None:
        """Take the tree away, let `write` write, draw the tree again."""
        self.live.update(Text(""), refresh=True)
        self.live.stop()
        write()
        self.live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self.live.start()
        self.drawn_at = 0.0

    def close(self) -> None:
        self.live.update(Text(""), refresh=True)
        self.live.stop()

    def picture(self, now: float) -> Group:
        lines: list[Any] = [self.line_of(task) for task in self.ended]
        shown = list(self.at_work.values())[:MOST_AT_WORK]
        for task, since in shown:
            line = Text.assemble(("● ", "cyan"), task.full_name, (f"  {task.state} {now - since:.0f}s", "dim"))
            last = self.lines.get(task.full_name)
            if last:
                line.append(f"  {last}", style="dim")
            lines.append(line)
        if len(self.at_work) > len(shown):
            lines.append(Text(f"  … and {len(self.at_work) - len(shown)} more at work", style="dim"))
        total = sum(self.total(attempt) for attempt in self.attempts.values())
        failed = f", {self.failed} failed" if self.failed else ""
        lines.append(Text(f"{self.done} of {total} tasks done{failed}", style="bold"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def total(self, attempt: Attempt) -> int:
        return len(attempt.live.tree.tasks) if attempt.live.tree else 0

    def line_of(self, task: Task) -> Text:
        sign, style = STYLES[task.state]
        text = Text.assemble((f"{sign} ", style), task.full_name)
        if task.error and task.state in FAILED:
            text.append(f"  {headline(reason(task.error))}", style="red")
        return text
