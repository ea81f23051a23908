"""`_needs`: a task waits for any task of its file, forward and across groups (features F12), as it does for the tasks whose
files it asks for (F79).

Names are looked up among the siblings, then among the siblings of each ancestor, outwards. Cycles are sought with a
start and an end node for each group, since who needs a group needs the end of all in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from dagrun.core.config import suggest
from dagrun.core.workflow import GENERATED, Node, Place
from dagrun.errors import WorkflowError
from dagrun.light import NamedTuple


class Need(NamedTuple):
    key: str  # where the name stands: `_needs`, `_inputs`, `file()`; `_do`: somewhere below, and nobody knows yet what it means there
    name: str
    place: Place


Needs = Mapping[int, list[Need]]


def connect_needs(nodes: list[Node], needs: Needs, *, whole: bool = True) -> None:
    """Add the edges that `needs` ask for to `nodes`. Raises WorkflowError: unknown name, cycle, into a retried group.

    Nodes that were generated are not the `whole` of an attempt: they may ask for files of tasks outside, which are done.
    """
    if not needs:
        return
    children: dict[int | None, dict[str, int]] = {}
    for node in nodes:
        children.setdefault(node.parent, {})[node.spec.name] = node.index
    for index, wanted in needs.items():
        node = nodes[index]
        for need in wanted:
            target = look_up(nodes, children, node, need.name)
            if target is None and (need.key in GENERATED or (not whole and need.key != "_needs")):
                continue
            if target is None:
                unknown(nodes, node, need)
            refuse_retried_group(nodes, node, nodes[target], need)
            if target not in node.upstreams:
                node.upstreams = (*node.upstreams, target)
    cycle = find_cycle(nodes)
    if cycle:
        place = next((needs[index][0].place for index in cycle if index in needs), (None, None, None))
        names = " → ".join(nodes[index].full_name for index in cycle)
        fail(
            "cycle",
            f"tasks wait for each other: {names}",
            nodes[cycle[0]],
            place,
            "take one of these _needs, or uses of files, away",
        )


def look_up(nodes: list[Node], children: Mapping[int | None, Mapping[str, int]], node: Node, name: str) -> int | None:
    parts = [f"+{part}" for part in name.replace("/", "+").split("+")[1:] if part]
    level = node.parent
    while parts and name.startswith("+"):
        found = children.get(level, {}).get(parts[0])
        for part in parts[1:]:
            found = None if found is None else children.get(found, {}).get(part)
        if found is not None:
            return found
        if level is None:
            break
        level = nodes[level].parent
    return None


def unknown(nodes: list[Node], node: Node, need: Need) -> NoReturn:
    near = suggest(need.name, [other.spec.name for other in nodes if other.index != node.index])
    fail("unknown_dependency", f"{need.key} names {need.name}, and no task of that name is seen from here", node, need.place,
         f"did you mean {near}?" if near else "name a task of this file, such as +load or +group+load")  # fmt: skip


def refuse_retried_group(nodes: list[Node], node: Node, target: Node, need: Need) -> None:
    """A group that may start anew can't be waited for from outside by one of its members."""
    inside = set(ancestors(nodes, node))
    for index in ancestors(nodes, target):
        group = nodes[index]
        if index not in inside and group.spec.own("_retry") is not None:
            fail("needs_inside_retry", f"{need.key} names {need.name}, which is inside {group.full_name}, a group with _retry",
                 node, need.place, f"need {group.spec.name}")  # fmt: skip


def ancestors(nodes: list[Node], node: Node) -> list[int]:
    found = []
    parent = node.parent
    while parent is not None:
        found.append(parent)
        parent = nodes[parent].parent
    return found


def find_cycle(nodes: list[Node]) -> list[int] | None:
    """The indexes of tasks that wait for each other, or None. Node 2i is the start of task i, 2i + 1 its end."""
    after: list[list[int]] = [[] for _ in range(2 * len(nodes))]
    for node in nodes:
        after[2 * node.index].append(2 * node.index + 1)
        if node.parent is not None:
            after[2 * node.parent].append(2 * node.index)
            after[2 * node.index + 1].append(2 * node.parent + 1)
        for upstream in node.upstreams:
            after[2 * upstream + 1].append(2 * node.index)
    color = [0] * len(after)
    for start in range(len(after)):
        if color[start] == 0:
            path = walk(after, color, start)
            if path:
                return list(dict.fromkeys(point // 2 for point in path))
    return None


def walk(after: list[list[int]], color: list[int], start: int) -> list[int] | None:
    """Depth first, without recursion; the points of a cycle, or None. Colors: 1 on the path, 2 done."""
    path, todo = [start], [iter(after[start])]
    color[start] = 1
    while todo:
        for point in todo[-1]:
            if color[point] == 1:
                return path[path.index(point) :]
            if color[point] == 0:
                color[point] = 1
                path.append(point)
                todo.append(iter(after[point]))
                break
        else:
            color[path.pop()] = 2
            todo.pop()
    return None


def fail(kind: str, message: str, node: Node, place: Place, hint: str) -> NoReturn:
    file, line, column = place
    raise WorkflowError(message, kind=kind, file=file, line=line, column=column, task=node.full_name, hint=hint)
