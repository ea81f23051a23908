"""Why a task isn't done: one sentence for each state that isn't final, and the chain of what it waits for (features F103)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dagrun.core.decide import seconds
from dagrun.core.state import (
    BLOCKED,
    CANCELED,
    ERROR,
    FAILING,
    GROUP_ERROR,
    PLANNED,
    READY,
    RUNNING,
    STOPPING,
    SUCCESS,
    WAITING,
)
from dagrun.core.tree import Task, TaskTree

FINAL = {SUCCESS: "succeeded", ERROR: "failed", GROUP_ERROR: "failed", CANCELED: "was killed"}


def chain(
    tree: TaskTree, task: Task, now: int, paused: str | None, gate: Callable[[Task], str | None] = lambda _: None
) -> list[str]:
    """The sentence about the task, then one for each blocker, up to those that are at work or due. `gate` says which pool
    or rate keeps a ready task from starting.
    """
    found: list[str] = []
    seen: set[int] = set()
    while task.index not in seen:
        seen.add(task.index)
        if task.state == READY and not paused and (text := gate(task)) is not None:
            found.append(f"{task.full_name} {text}")
            break
        text, blocker = sentence(tree, task, now, paused)
        found.append(f"{task.full_name} {text}")
        if blocker is None:
            break
        task = blocker
    return found


def sentence(tree: TaskTree, task: Task, now: int, paused: str | None) -> tuple[str, Task | None]:
    """What keeps the task in its state, and the task that does, if one does."""
    if task.state in FINAL:
        why = f": {task.error['message'].splitlines()[0]}" if task.error else ""
        return f"{FINAL[task.state]}{why}", None
    if task.state == BLOCKED:
        return blocked(tree, task)
    if task.state == READY:
        return (
            paused or "is ready, and waits for a free slot (--max-task-threads) or for the process that runs it"
        ), None
    if task.state == RUNNING:
        return f"runs since {seconds(now - (task.started_at or now))}, try {task.tries}", None
    if task.state == STOPPING:
        return f"is being ended ({task.reason})", None
    if task.state == WAITING:
        return waiting(task, now), None
    return group(tree, task)


def blocked(tree: TaskTree, task: Task) -> tuple[str, Task | None]:
    for index in task.upstreams:
        upstream = tree[index]
        if upstream.state != SUCCESS:
            if upstream.state in FINAL or upstream.dead:
                return f"will never run: {upstream.full_name} did not succeed", upstream
            return f"waits for {upstream.full_name}", upstream
    if task.parent is not None:
        parent = tree[task.parent]
        if parent.state in (PLANNED, FAILING) and parent.spec.slots is not None:
            return f"waits for one of the {parent.spec.slots} slots of {parent.full_name}", None
        return f"waits for {parent.full_name} to begin", parent
    return "waits to begin", None


def waiting(task: Task, now: int) -> str:
    left = (task.due_at or now) - now
    when = f"in {seconds(left)}" if left > 0 else "now"
    if task.error:
        return f"is tried again {when}, after: {task.error['message'].splitlines()[0]}"
    if task.is_group:
        return f"starts its next round {when} ({task.reason})"
    return f"looks again {when} whether what it waits for is there"


def group(tree: TaskTree, task: Task) -> tuple[str, Task | None]:
    members = [one for one in members_of(tree, task) if one.state not in FINAL]
    alive = [one for one in members if not one.dead]
    working = [one for one in alive if one.state != BLOCKED] or alive
    word = "handles its failure" if task.state == FAILING else "is at work"
    if not working:
        return word, None
    return f"{word}: {len(alive)} of its tasks aren't done", working[0]


def members_of(tree: TaskTree, task: Task) -> Iterator[Task]:
    return iter(tree.members(task))
