"""Runs trees without an engine: a clock that jumps, workers that answer as told, in any order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.compiler import compile_generated, compile_workflow
from dagrun.core.events import CallAgain, Claimed, Event, Failure, Finished, Started, Step, Success
from dagrun.core.machine import step
from dagrun.core.retry import Retry
from dagrun.core.reuse import build_tree
from dagrun.core.state import DONE, FAILED, SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.core.yaml import load

ERROR = {"kind": "failed", "message": "it failed"}
Answer = Success | Failure | CallAgain


def tree_of(text: str, name: str = "w") -> TaskTree:
    return build_tree(compile_workflow(name, load(text, f"{name}.dig", None)))


@dataclass
class Simulation:
    """One attempt under a clock of its own. `moves` are all transitions so far, as (name, before, after)."""

    tree: TaskTree
    now: int = 0
    moves: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    leases: int = 0

    def send(self, *events: Event) -> Step:
        done = step(self.tree, events, self.now)
        self.moves += [(self.tree[move.task].full_name, move.before, move.after) for move in done.moves]
        self.notes += done.notes
        return done

    def start(self) -> Simulation:
        self.send(Started())
        return self

    def claim(self, most: int = 1_000_000) -> list[Task]:
        indexes = self.tree.claimable(most)
        self.send(*[Claimed(index, self.lease()) for index in indexes])
        return [self.tree[index] for index in indexes]

    def lease(self) -> str:
        self.leases += 1
        return f"lease-{self.leases}"

    def finish(self, task: Task, answer: Answer | None = None) -> Step:
        return self.send(Finished(task.index, task.lease or "", answer or Success()))

    def at_work(self) -> list[Task]:
        return [task for task in self.tree.tasks if task.state in ("running", "stopping")]

    def advance(self) -> bool:
        """Move the clock to the next due time. False when nothing waits."""
        due = self.tree.next_due()
        if due is None:
            return False
        self.now = max(self.now, due)
        self.send()
        return True

    def run(
        self, answer: Callable[[Task], Answer], choose: Callable[[Sequence[Task]], Task] | None = None
    ) -> Simulation:
        """Until the root is done: claim all that is ready, end the chosen one."""
        self.start()
        while self.tree.root.state not in DONE:
            self.claim()
            working = self.at_work()
            if working:
                task = choose(working) if choose else working[0]
                self.finish(task, answer(task))
            elif not self.advance():
                break
        return self

    def states(self) -> dict[str, str]:
        return {task.full_name: task.state for task in self.tree.tasks}

    def history(self, name: str) -> list[str]:
        return [after for moved, _, after in self.moves if moved == name]


def by_definition(task: Task) -> Answer:
    """Answers as the task's own `says` asks: ok, fail, again, make (a subtask), lost; `after` so many runs it is ok."""
    says = task.spec.config.get("says", "ok")
    polls = int(task.memo.get("polls", 0)) if says == "again" else task.tries - 1
    if says != "ok" and polls >= int(task.spec.config.get("times", 1_000)):
        return Success(stored={"by": task.full_name})
    if says == "fail":
        retry = task.spec.config.get("_retry")
        return Failure(ERROR, retry=Retry(int(retry)) if retry is not None else None)
    if says == "lost":
        return Failure({"kind": "lost", "message": "gone"}, platform=True, platform_limit=2)
    if says == "again":
        return CallAgain(1_000_000, {"polls": polls + 1})
    if says == "make":
        made = compile_generated("^sub", task.spec.config["_do"], task.full_name)
        return Success(stored={"by": task.full_name}, generated=made)
    return Success(stored={"by": task.full_name})


def outcome(tree: TaskTree) -> dict[str, Any]:
    """What must not depend on the order of finishes: by path of names, the last state and what was stored."""
    return {
        task.full_name: (task.state, dict(task.stored), task.tries, task.error and task.error["message"])
        for task in tree.tasks
        if not task.superseded
    }


def counters(tree: TaskTree) -> list[Any]:
    """Of each task that isn't done; those of a dead one are never looked at again."""
    return [
        (task.waiting_for, task.open_children, task.failed_children, task.dead_children, task.in_window)
        if not task.dead
        else "dead"
        for task in tree.tasks
        if not task.superseded and task.state not in DONE
    ]


def failing(tree: TaskTree) -> Iterator[Task]:
    return (task for task in tree.tasks if task.state in FAILED and not task.superseded)


def text_of(workflow: dict[str, Any]) -> str:
    return json.dumps(workflow)


__all__ = ["SUCCESS", "Simulation", "by_definition", "counters", "failing", "outcome", "text_of", "tree_of"]
