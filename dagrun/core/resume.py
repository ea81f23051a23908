"""What a new attempt takes over from an old one, and why (features F38, F39; spec/language S6 to S9, ways out 5, 6, 14, 15).

A task is reused when it succeeded, everything that it depends on is reused, and its fingerprint is the same: its own
keys, unevaluated; the unevaluated value of each export and session parameter that they name in `${…}`, transitively;
the contents of the project files that its operator declares. Both sides are compared here, side by side; no fingerprint
is stored. A group is reused when all its members are. A reused generator brings along what it had generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from dagrun.core.config import merge
from dagrun.core.reuse import Choice, Plan, depends_on, reusable
from dagrun.core.session import GIVEN_TIMES
from dagrun.core.state import CANCELED, SUCCESS
from dagrun.core.template import references
from dagrun.core.tree import HANDLERS, Carried, Task, TaskTree, left_out
from dagrun.core.workflow import GENERATED, Node, TaskSpec, Workflow
from dagrun.errors import NotFound, UserError
from dagrun.light import NamedTuple

REUSE, RUN, NEW, GONE, SKIP = "reuse", "run", "new", "gone", "skip"


class Side(NamedTuple):
    """One side of the comparison: a revision with the parameters of an attempt.

    `files` gives the digests of the project files that a task's operator declares, by path.
    """

    workflow: Workflow
    params: Mapping[str, Any]
    files: Callable[[TaskSpec], Mapping[str, str]]


class Wish(NamedTuple):
    """What the person asked for.

    `keep_changed` reuses by name whatever succeeded. `start` runs that task and all that depends on it; `only` nothing
    else. `before` is Digdag's `--resume-from`: everything ordered before that task is reused, the rest runs.
    """

    keep_changed: bool = False
    start: str | None = None
    only: bool = False
    before: str | None = None


def plan(old_tree: TaskTree, old_attempt: int, old: Side, new: Side, wish: Wish) -> Plan:
    """Decide for each task of the new workflow. Raises UserError where the wish can't be met."""
    return Planner(old_tree, old_attempt, old, new, wish).plan()


class Planner:
    def __init__(self, old_tree: TaskTree, old_attempt: int, old: Side, new: Side, wish: Wish) -> None:
        self.old_tree = old_tree
        self.old_attempt = old_attempt
        self.old = old
        self.new = new
        self.wish = wish
        self.nodes = new.workflow.nodes
        self.before = {task.full_name: task for task in old_tree.tasks if not task.superseded}
        self.old_scopes = StaticScopes(old)
        self.new_scopes = StaticScopes(new)
        self.reasons: dict[int, str] = {}

    def plan(self) -> Plan:
        if self.wish.before is not None:
            reused = self.ordered_before(one_task(self.new.workflow, self.wish.before))
        else:
            forced = self.forced()
            reused = reusable(self.nodes, lambda node: self.why_run(node, forced), self.note, by_name=self.by_name)
        skipped = self.skipped(reused)
        choices = []
        for node in self.nodes:
            action, reason = RUN, self.reasons.get(node.index, "")
            if node.index in reused:
                action, reason = REUSE, "unchanged" if not self.by_name else "succeeded before"
            elif node.index in skipped:
                action, reason = SKIP, "not asked for"
            elif node.full_name not in self.before:
                action, reason = NEW, "not in the earlier attempt"
            choices.append(Choice(node.full_name, action, reason))
        names = {node.full_name for node in self.nodes}
        for task in self.old_tree.tasks[: self.old_tree.static]:
            if task.full_name not in names:
                choices.append(Choice(task.full_name, GONE, "not in this revision"))
        return Plan(
            choices=choices,
            reused={index: self.before[self.nodes[index].full_name] for index in reused},
            below={
                index: tuple(self.old_tree.descendants(self.before[self.nodes[index].full_name]))
                for index in reused
                if self.nodes[index].spec.operator
            },
            skipped=skipped,
            carried=self.carried(reused),
        )

    @property
    def by_name(self) -> bool:
        return self.wish.keep_changed or self.wish.only

    def note(self, node: Node, reason: str) -> None:
        self.reasons[node.index] = reason

    def why_run(self, node: Node, forced: Mapping[int, str | None]) -> str | None:
        """Why the task itself can't be reused; what it depends on is looked at elsewhere."""
        if node.index in forced:
            cause = forced[node.index]
            return "asked for" if cause is None else f"it comes after {cause}"
        old = self.before.get(node.full_name)
        if old is None:
            return "not in the earlier attempt"
        if old.state != SUCCESS or left_out(old):
            return why_not_done(old)
        if old.spec.operator != node.spec.operator:
            return "it is a group now" if old.spec.operator else "it has an operator now"
        if self.by_name or not node.spec.operator:
            return None
        return self.difference(old, node)

    def difference(self, old: Task, node: Node) -> str | None:
        """The first difference between the fingerprints, in words."""
        for key in {**old.spec.config, **node.spec.config, "_check": None}:
            before, after = (
                spec.own(key) if key == "_check" else spec.config.get(key) for spec in (old.spec, node.spec)
            )
            if before != after:
                return f"its {key} changed"
        changed = self.changed_names(old.spec, self.old_scopes.of(old.full_name), self.new_scopes.of(node.full_name))
        if changed:
            return changed
        return changed_files(self.old.files(old.spec), self.new.files(node.spec))

    def changed_names(self, spec: TaskSpec, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        todo = [*inherited_work(spec), *sorted(references([spec.config, spec.own("_check")]))]
        seen: set[str] = set()
        while todo:
            name = todo.pop(0)
            if name in seen or name in spec.data:
                continue
            seen.add(name)
            if before.get(name) != after.get(name):
                return f"${{{name}}} changed"
            todo += sorted(references(before.get(name)))
            todo += [given for given in GIVEN_TIMES if name.startswith(given.removesuffix("time"))]
        return None

    # -- wishes

    def forced(self) -> dict[int, str | None]:
        """The tasks that `--from` runs: index → None for what was named, else the task that it comes after."""
        if self.wish.start is None:
            return {}
        start = one_task(self.new.workflow, self.wish.start)
        forced: dict[int, str | None] = {node.index: None for node in below(self.nodes, start)}
        if self.wish.only:
            return forced
        touched = {start.index, *forced}
        parent = start.parent
        while parent is not None:
            touched.add(parent)
            parent = self.nodes[parent].parent
        for node in self.nodes:
            if node.index in touched:
                continue
            cause = next((index for index in node.upstreams if index in touched), None)
            if cause is None and node.parent is not None and node.parent in forced:
                cause = node.parent
            if cause is not None:
                forced[node.index] = self.nodes[cause].full_name
                touched.add(node.index)
        return forced

    def skipped(self, reused: Set[int]) -> set[int]:
        if not self.wish.only or self.wish.start is None:
            return set()
        start = one_task(self.new.workflow, self.wish.start)
        inside = {node.index for node in below(self.nodes, start)}
        return {node.index for node in self.nodes if node.spec.operator and node.index not in reused | inside}

    def ordered_before(self, start: Node) -> set[int]:
        """Everything ordered before one task, which must all have succeeded (spec/language S6)."""
        reused = ordered_before(self.nodes, start)
        for index in sorted(reused):
            old = self.before.get(self.nodes[index].full_name)
            if old is None or old.state != SUCCESS or left_out(old):
                why = "" if old is None else " (left out)" if left_out(old) else f" ({old.state})"
                name = self.nodes[index].full_name
                raise UserError(f"can't resume from {start.full_name}: {name} before it did not succeed{why}")
        return reused

    # -- generated tasks

    def carried(self, reused: Set[int]) -> dict[str, Carried]:
        """What generated tasks did whose generator runs again, in case that it generates them again (S8)."""
        kept: dict[str, Carried] = {}
        if self.wish.before is not None or self.wish.only:
            return kept
        forced = self.forced()
        for node in self.nodes:
            old = self.before.get(node.full_name)
            if old is None or node.index in reused or not node.spec.operator or node.index in forced:
                continue
            if not self.by_name and not all(index in reused for index in depends_on(self.nodes, node)):
                continue
            for task in self.old_tree.descendants(old):
                if task.state == SUCCESS and task.spec.operator and not runs_each_time(task):
                    if self.by_name:
                        kept[task.full_name] = carry(self.old_tree, task, self.old_attempt, None)
                    elif not self.generated_difference(task, node):
                        kept[task.full_name] = carry(self.old_tree, task, self.old_attempt, task.spec)
        return kept

    def generated_difference(self, task: Task, generator: Node) -> str | None:
        before, after = self.old_scopes.of(generator.full_name), self.new_scopes.of(generator.full_name)
        return self.changed_names(task.spec, before, after) or changed_files(
            self.old.files(task.spec), self.new.files(task.spec)
        )


def inherited_work(spec: TaskSpec) -> tuple[str, ...]:
    """The variables that say what a task does although it doesn't name them (spec/language P6)."""
    return (*GENERATED, "_command") if "_type" in spec.config else GENERATED


def runs_each_time(task: Task) -> bool:
    """A check, a handler, or a task below one: they run for what happens now, whatever they did before."""
    return any(name in task.full_name for name in ("^check", *HANDLERS))


def carry(tree: TaskTree, task: Task, attempt: int, spec: TaskSpec | None) -> Carried:
    return Carried(spec, task, tuple(tree.descendants(task)), attempt)


def below(nodes: Sequence[Node], top: Node) -> list[Node]:
    """A node and all its descendants. In pre-order they stand together."""
    found = [top]
    inside = {top.index}
    for node in nodes[top.index + 1 :]:
        if node.parent not in inside:
            break
        inside.add(node.index)
        found.append(node)
    return found


def ordered_before(nodes: Sequence[Node], start: Node) -> set[int]:
    """Upstream siblings of a task and of the groups around it, with all below them (the walk of spec/language P7)."""
    found: set[int] = set()
    todo = depends_on(nodes, start)
    while todo:
        index = todo.pop()
        if index not in found:
            for node in below(nodes, nodes[index]):
                found.add(node.index)
                todo += node.upstreams
    return found


def one_task(workflow: Workflow, pattern: str) -> Node:
    """The one task of the file that a pattern names. Raises NotFound, or UserError when several match (S10)."""
    if not pattern.startswith(("+", "^")) or len(pattern) < 2:
        raise UserError(f"{pattern!r} is no task name; write it with its sign, such as +load or +group+load")
    found = workflow.find(pattern)
    if not found:
        raise NotFound("task", pattern, [node.full_name for node in workflow.nodes if node.parent is not None])
    if len(found) > 1:
        names = ", ".join(node.full_name for node in found[:10])
        raise UserError(f"{pattern} names several tasks: {names}; write more of the name")
    return found[0]


def why_not_done(task: Task) -> str:
    if left_out(task):
        return "was left out"
    if task.error:
        return f"{task.error.get('kind', 'failed')} before"
    return {"blocked": "had not started", CANCELED: "was killed"}.get(task.state, f"was {task.state}")


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    for path in {**before, **after}:
        if before.get(path) != after.get(path):
            return f"{path} changed" if path in before and path in after else f"{path} came or went"
    return None


class StaticScopes:
    """What the texts of a task can name without having run anything: session parameters and exports, unevaluated."""

    def __init__(self, side: Side) -> None:
        self.params = dict(side.params)
        self.nodes = {node.full_name: node for node in side.workflow.nodes}
        self.all = side.workflow.nodes
        self.known: dict[int, dict[str, Any]] = {}

    def of(self, full_name: str) -> Mapping[str, Any]:
        node = self.nodes.get(full_name)
        return self.of_node(node) if node else self.params

    def of_node(self, node: Node) -> dict[str, Any]:
        found = self.known.get(node.index)
        if found is None:
            outer = self.params if node.parent is None else self.of_node(self.all[node.parent])
            found = merge(outer, node.spec.export) if node.spec.export else outer
            self.known[node.index] = found
        return found
