"""Which done tasks another attempt may take over, and how: the part that static and generated tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dagrun.core.state import SUCCESS
from dagrun.core.tree import LEFT_OUT, Carried, Task, TaskTree
from dagrun.core.workflow import Node, Workflow
from dagrun.light import NamedTuple


class Choice(NamedTuple):
    name: str
    action: str
    reason: str


@dataclass(slots=True, eq=False, repr=False)
class Plan:
    """For each task of the new workflow what happens to it; then the tasks that are gone."""

    choices: list[Choice]
    reused: dict[int, Task] = field(default_factory=dict)  # index in the new workflow → task of the old attempt
    below: dict[int, Sequence[Task]] = field(default_factory=dict)  # what a reused generator had generated
    skipped: set[int] = field(default_factory=set)
    carried: dict[str, Carried] = field(default_factory=dict)


Note = Callable[[Node, str], None]


def reusable(
    nodes: Sequence[Node],
    why_run: Callable[[Node], str | None],
    note: Note | None = None,
    *,
    by_name: bool,
) -> set[int]:
    """The indexes of the nodes that can be reused: those that can themselves, and whose dependencies are.

    Nodes come in pre-order, so what a task depends on mostly stands before it; `_needs` may point forward, so rounds are
    made until nothing changes.
    """
    tell = note or (lambda _node, _reason: None)
    children: dict[int, list[int]] = {}
    for node in nodes:
        if node.parent is not None:
            children.setdefault(node.parent, []).append(node.index)
    reused: set[int] = set()
    for node in nodes:
        reason = why_run(node)
        if reason is None:
            reused.add(node.index)
        else:
            tell(node, reason)
    changed = True
    while changed:
        changed = False
        for node in nodes:
            if node.index not in reused:
                continue
            cause = None if by_name else next((i for i in depends_on(nodes, node) if i not in reused), None)
            if cause is not None:
                tell(node, f"{nodes[cause].full_name}, which it depends on, runs")
            elif not node.spec.operator and not children.get(node.index):
                tell(node, "an empty group")
            else:
                continue
            reused.discard(node.index)
            changed = True
        for node in reversed(nodes):
            if node.index in reused and not node.spec.operator:
                cause = next((index for index in children[node.index] if index not in reused), None)
                if cause is not None:
                    tell(node, f"{nodes[cause].full_name} runs")
                    reused.discard(node.index)
                    changed = True
    return reused


def depends_on(nodes: Sequence[Node], node: Node) -> list[int]:
    """The upstreams of a node and of all groups around it."""
    found = list(node.upstreams)
    while node.parent is not None:
        node = nodes[node.parent]
        found += node.upstreams
    return found


def take_over(task: Task, old: Task, attempt: int | None) -> None:
    """The task counts as done, with what the old one stored, reset and exported."""
    task.state = SUCCESS
    task.stored, task.reset, task.exported, task.outputs = old.stored, old.reset, old.exported, old.outputs
    task.started_at, task.finished_at = old.started_at, old.finished_at
    task.reason = old.reason
    task.reused_from = old.reused_from or attempt


def transplanted(first: int, new: Task, old_below: Iterable[Task], attempt: int | None) -> list[Task]:
    """Copies of generated tasks, for the same generator in another attempt; the first gets the index `first`."""
    index_of: dict[int, int] = {}
    made: list[Task] = []
    for old in old_below:
        index_of[old.index] = first + len(made)
        parent = index_of.get(old.parent, new.index) if old.parent is not None else new.index
        upstreams = tuple(index_of[index] for index in old.upstreams if index in index_of)
        task = Task(first + len(made), parent, old.full_name, old.spec, upstreams, first + len(made))
        take_over(task, old, attempt)
        made.append(task)
    return made


def build_tree(workflow: Workflow, plan: Plan | None = None, attempt: int | None = None) -> TaskTree:
    """The tasks of a new attempt, with what `plan` takes over as successes. `attempt` is the one taken from."""
    tree = TaskTree(static=len(workflow.nodes))
    for node in workflow.nodes:
        task = Task(node.index, node.parent, node.full_name, node.spec, node.upstreams, node.index)
        tree.attach(task)
        if plan and node.index in plan.skipped:
            task.state, task.reason = SUCCESS, LEFT_OUT
    if plan:
        for index, old in plan.reused.items():
            take_over(tree[index], old, attempt)
        for index, generated in plan.below.items():
            for task in transplanted(len(tree.tasks), tree[index], generated, attempt):
                tree.attach(task)
        tree.carried = plan.carried
    tree.count()
    return tree
