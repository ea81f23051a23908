"""Tasks made while an attempt runs: `^sub`, `^check`, `^error`, the failure alert, and the copies of a group's retry.

`machine.py` asks for them; nothing here moves a task. New tasks get the next indexes of the tree. Sources:
spec/language X8 to X13, X20 to X22, P9, 6.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagrun.core.compiler import compile_generated
from dagrun.core.config import merge
from dagrun.core.events import Overdue, Success
from dagrun.core.params import apply_reset
from dagrun.core.reuse import reusable, take_over, transplanted
from dagrun.core.state import SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import NOTHING, Node, TaskSpec
from dagrun.errors import WorkflowError

ALERT = {"_type": "notify", "_command": "Workflow session attempt failed"}


def children_of_success(tree: TaskTree, task: Task, outcome: Success) -> list[Task]:
    """`^sub` from what the operator generated, then `^check`. Raises WorkflowError: broken definition, too many tasks."""
    tasks: list[Task] = []
    if outcome.generated:
        tasks += graft(tree, task, outcome.generated, tasks)
    check = task.spec.own("_check")
    if check:
        checks = graft(tree, task, compile_generated("^check", check, task.full_name), tasks)
        if tasks:
            checks[0].upstreams = (tasks[0].index,)
        tasks += checks
    check_limit(tree, len(tasks))
    return tasks + carry_over(tree, tasks)


def graft(tree: TaskTree, parent: Task, nodes: Sequence[Node], before: Sequence[Task] = ()) -> list[Task]:
    """Compiled nodes as tasks of the tree, below `parent`, behind `before`."""
    first = len(tree.tasks) + len(before)
    return [
        Task(
            index=first + node.index,
            parent=parent.index if node.parent is None else first + node.parent,
            full_name=node.full_name,
            spec=node.spec,
            upstreams=tuple(first + upstream for upstream in node.upstreams),
            source=first + node.index,
        )
        for node in nodes
    ]


def handlers(
    tree: TaskTree, task: Task, data: Mapping[str, Any], notes: list[str], reset: Sequence[str] = ()
) -> list[Task]:
    """The failure alert of the root, and `^error`. A broken handler is left out, with a note.

    `data` are its facts: they are merged over its own `_export`, from which the names in `reset` and `error` are taken (P9).
    """
    made: list[Task] = []
    if task.parent is None:
        made += graft(
            tree,
            task,
            [Node(0, None, f"{task.full_name}^failure-alert", TaskSpec("^failure-alert", True, ALERT))],
        )
    handler = task.spec.own("_error")
    if not handler:
        return made
    try:
        nodes = compile_generated("^error", handler, task.full_name, data)
        check_limit(tree, len(nodes))
    except WorkflowError as problem:
        notes.append(f"{task.full_name}: its _error is skipped: {problem}")
        return made
    export = dict(nodes[0].spec.export)
    for name in (*reset, "error"):
        apply_reset(export, name)
    nodes[0].spec.export = export
    return made + graft(tree, task, nodes, made)


def sla_tasks(tree: TaskTree, event: Overdue, notes: list[str]) -> list[Task]:
    """An alert, a failing task and the tasks of `sla` itself, below the root (spec/language A4).

    Broken ones are left out, with a note: nobody looks at them before.
    """
    root = tree.root
    nodes: list[list[Node]] = []
    if event.alert:
        nodes.append([single(root, "^sla^alert", {"_type": "notify", "_command": "SLA violation"})])
    if event.fail:
        nodes.append([single(root, "^sla^fail", {"_type": "fail", "_command": "SLA violation"})])
    own = [Node(0, None, f"{root.full_name}^sla", TaskSpec("^sla", False, {}))]
    if event.tasks:  # else an empty group, which succeeds (spec/scheduling 11.4)
        try:
            own = compile_generated("^sla", event.tasks, root.full_name)
        except WorkflowError as problem:
            notes.append(f"{root.full_name}: the tasks of its sla are skipped: {problem}")
    nodes.append(own)
    tasks: list[Task] = []
    for group in nodes:
        tasks += graft(tree, root, group, tasks)
    return tasks


def single(parent: Task, name: str, config: Mapping[str, Any]) -> Node:
    return Node(0, None, f"{parent.full_name}{name}", TaskSpec(name, True, config))


def facts(error: Mapping[str, Any]) -> dict[str, Any]:
    """What a handler sees as `error` (spec/language P11)."""
    return {key: error[key] for key in ("message", "stacktrace") if key in error}


def facts_of_children(tree: TaskTree, group: Task) -> tuple[dict[str, Any], list[str]]:
    """For a failure settled from children: their stores and the deep merge of their errors, in order; and their resets (P9)."""
    data: dict[str, Any] = {}
    error: dict[str, Any] = {}
    resets: list[str] = []
    for task in sorted(tree.descendants(group), key=lambda task: task.index):
        for name in task.reset:
            apply_reset(data, name)
        resets += task.reset
        if task.stored:
            data = merge(data, task.stored)
        if task.error:
            error = merge(error, facts(task.error))
    data["error"] = error
    return data, resets


def copies(tree: TaskTree, group: Task) -> list[Task]:
    """Fresh copies of what a group's definition holds, for its next round; generated tasks come back by themselves.

    Superseded members are the ones to copy: the newest of each name.
    """
    newest: dict[str, Task] = {}
    for index in group.children:
        if tree[index].is_member:
            newest[tree[index].full_name] = tree[index]
    originals = list(newest.values())
    position: dict[int, int] = {}
    first = len(tree.tasks)
    todo = [(task, group.index) for task in reversed(originals)]
    made: list[Task] = []
    while todo:
        original, parent = todo.pop()
        copy = Task(first + len(made), parent, original.full_name, original.spec, original.upstreams, original.source)
        position[original.index] = copy.index
        made.append(copy)
        if original.is_group:
            below = {tree[index].full_name: tree[index] for index in original.children if tree[index].is_member}
            todo += [(task, copy.index) for task in reversed(below.values())]
    for copy in made:
        copy.upstreams = tuple(position.get(index, index) for index in copy.upstreams)
    return made


def check_limit(tree: TaskTree, more: int) -> None:
    if more and len(tree.tasks) + more > tree.task_limit:  # copies for a retry may be beyond it already (C17)
        raise WorkflowError(
            f"Too many tasks. Limit: {tree.task_limit}, Current: {len(tree.tasks)}, Adding: {more}", kind="task_limit"
        )


def carry_over(tree: TaskTree, tasks: list[Task]) -> list[Task]:
    """Generated tasks that the attempt taken over has done are not run again, where nothing changed (S8, F38).

    Marks them as successes, with the groups that are wholly done, and returns what they had generated themselves.
    """
    if not tree.carried:
        return []
    first = tasks[0].index if tasks else 0
    nodes = [
        Node(
            task.index - first,
            task.parent - first if task.parent is not None and task.parent >= first else None,
            task.full_name,
            task.spec,
            tuple(index - first for index in task.upstreams if index >= first),
        )
        for task in tasks
    ]
    strict = any(old.spec is not None for old in tree.carried.values())
    reused = reusable(nodes, lambda node: why_not_carried(tree, node), by_name=not strict)
    below: list[Task] = []
    for position in sorted(reused):
        task, old = tasks[position], tree.carried.get(tasks[position].full_name)
        if old is None:
            task.state = SUCCESS  # a group whose members are all carried
            continue
        take_over(task, old.task, old.attempt)
        below += transplanted(first + len(tasks) + len(below), task, old.below, old.attempt)
    return below


def why_not_carried(tree: TaskTree, node: Node) -> str | None:
    if not node.spec.operator:
        return None
    old = tree.carried.get(node.full_name)
    if old is None:
        return "not done"
    if old.spec is not None and (old.spec.config != node.spec.config or old.spec.data != node.spec.data):
        return "its definition changed"
    return None


__all__ = [
    "NOTHING", "carry_over", "children_of_success", "copies", "facts", "facts_of_children", "graft", "handlers",
]  # fmt: skip
