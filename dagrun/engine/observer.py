"""What a worker tells the world."""

from __future__ import annotations

from dagrun.core.events import Move
from dagrun.core.tree import Task
from dagrun.engine.attempt import Attempt
from dagrun.light import Protocol


class Observer(Protocol):
    """Who is told what happens: the terminal, or nobody. Called in the worker's thread; must not block."""

    def moved(self, attempt: Attempt, task: Task, move: Move) -> None: ...
    def warned(self, text: str) -> None: ...
    def said(self, text: str) -> None: ...
    def logging(self, task: Task, path: str) -> None: ...
    def logged(self, task: Task, path: str) -> None: ...
    def tick(self) -> float:
        """Called in each pass; returns the seconds until it wants to be called again."""
