"""Which task sees which variable, in which order (spec/language 3).

    enter(task)   what a task sees before its own `_export`: its ancestors, and the siblings that it waits for
    inside(task)  what its children see: the same, its `_export`, what its operator exported and stored
    effects(task) what a done task and all below it stored, in order

Scopes are values that share what they have in common: a chain of n storing tasks costs n, not n². Values from files may
hold Templates, evaluated anew by every task; all others are plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dagrun.core.config import Template, merge
from dagrun.core.state import SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import NOTHING
from dagrun.light import NamedTuple

SMALL = 48  # up to so many names a copied dict is cheaper than a persistent map, and needs no import


class Entry(NamedTuple):
    order: int  # a replaced name keeps its place, a new one comes last
    value: Any


class Scope(Mapping[str, Any]):
    """An ordered, immutable mapping of names to unevaluated values. `templated` are the names that hold Templates."""

    __slots__ = ("_in_order", "entries", "next_order", "templated")

    def __init__(self, entries: Any, next_order: int, templated: Mapping[str, int]) -> None:
        self.entries = entries
        self.next_order = next_order
        self.templated = templated
        self._in_order: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.entries[name].value

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries, key=lambda name: self.entries[name].order))

    def in_order(self) -> Mapping[str, Any]:
        """All of it as a dict, which tasks share that see the same."""
        if self._in_order is None:
            self._in_order = {name: self.entries[name].value for name in self}
        return self._in_order

    def template_names(self) -> list[str]:
        """The names whose values hold Templates, in order."""
        return sorted(self.templated, key=self.templated.__getitem__)

    def merged(self, values: Mapping[str, Any], *, plain: bool = False) -> Scope:
        """With `values` merged on top; `plain` says that they hold no Templates."""
        if not values:
            return self
        changes: dict[str, Entry] = {}
        templated = self.templated
        order = self.next_order
        for name, value in values.items():
            old = self.entries.get(name)
            if old is None:
                entry = Entry(order, value)
                order += 1
            elif isinstance(old.value, Mapping) and isinstance(value, Mapping):
                entry = Entry(old.order, merge(old.value, value))
            else:
                entry = Entry(old.order, value)
            changes[name] = entry
            has = (not plain or (isinstance(entry.value, Mapping) and name in templated)) and holds_template(
                entry.value
            )
            if has or name in templated:
                templated = dict(templated)
                if has:
                    templated[name] = entry.order
                else:
                    del templated[name]
        return Scope(updated(self.entries, changes), order, templated)

    def without(self, dotted: str) -> Scope:
        """Without a name, or a name inside a map: `a.b`."""
        name, _, rest = dotted.partition(".")
        old = self.entries.get(name)
        if old is None:
            return self
        if rest:
            if not isinstance(old.value, Mapping):
                return self
            value = dict(old.value)
            apply_reset(value, rest)
            return Scope(updated(self.entries, {name: Entry(old.order, value)}), self.next_order, self.templated)
        entries = {key: entry for key, entry in self.entries.items() if key != name}
        templated = {key: place for key, place in self.templated.items() if key != name}
        return Scope(updated({}, entries), self.next_order, templated)


EMPTY = Scope({}, 0, {})


def seen(scope: Scope, task: Task) -> Scope:
    """What a task sees that enters with this scope."""
    return scope.merged(task.spec.export).merged(task.spec.data, plain=True)


def updated(entries: Any, changes: dict[str, Entry]) -> Any:
    """The mapping with changes: a copied dict while it is small, a persistent map (a HAMT) above."""
    if entries.__class__ is dict:
        if len(entries) + len(changes) <= SMALL:
            return entries | changes
        from immutables import Map

        return Map(entries).update(changes)
    return entries.update(changes)


def holds_template(value: Any) -> bool:
    if isinstance(value, str):
        return value.__class__ is Template
    if isinstance(value, Mapping):
        return any(holds_template(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_template(item) for item in value)
    return False


def apply_reset(values: dict[str, Any], dotted: str) -> None:
    """Remove a dotted name from nested maps, in place; the maps on the way are copied."""
    name, _, rest = dotted.partition(".")
    if not rest:
        values.pop(name, None)
    elif isinstance(values.get(name), Mapping):
        values[name] = dict(values[name])
        apply_reset(values[name], rest)


class Effect(NamedTuple):
    """What one task did to the variables of all behind it."""

    reset: Sequence[str]
    stored: Mapping[str, Any]
    writer: int  # the task's index


class Variables:
    """The scopes of one attempt's tree. `base` are the session parameters (P6, steps 1 to 3), all plain data.

    Its caches stay right because scopes are asked for only by tasks that may start: all that they depend on is done.
    `notes` are warnings for whoever runs the attempt, who takes them away.
    """

    def __init__(self, tree: TaskTree, base: Mapping[str, Any]) -> None:
        self.tree = tree
        self.base = EMPTY.merged(base, plain=True)
        self.insides: dict[int, Scope] = {}
        self.behind: dict[tuple[int, tuple[int, ...]], tuple[Scope, int]] = {}
        self.notes: list[str] = []
        self.clashed: set[str] = set()

    def visible(self, task: Task) -> Scope:
        """All that a task sees but the built-in variables and its own keys (P6, steps 1 to 5)."""
        return seen(self.enter(task), task)

    def enter(self, task: Task) -> Scope:
        if task.parent is None:
            return self.base
        return self.after(self.tree[task.parent], task.upstreams)[0]

    def inside(self, task: Task) -> Scope:
        """What the children of a task see of it. Remembered once the task can change it no more."""
        scope = self.insides.get(task.index)
        if scope is None:
            scope = self.visible(task).merged(task.exported, plain=True)
            scope = applied(scope, [Effect(task.reset, task.stored, task.index)] if task.stored or task.reset else ())
            self.insides[task.index] = scope
        return scope

    def forget(self, index: int) -> None:
        """The task's operator ran anew: what its children see may be different."""
        self.insides.pop(index, None)

    def after(self, parent: Task, upstreams: tuple[int, ...]) -> tuple[Scope, int]:
        """What is seen behind these siblings, and the highest index whose effects are in it."""
        if not upstreams:
            return self.inside(parent), -1
        key = (parent.index, upstreams)
        found = self.behind.get(key)
        if found is None:
            found = self.behind[key] = self.extend(parent, upstreams)
        return found

    def extend(self, parent: Task, upstreams: tuple[int, ...]) -> tuple[Scope, int]:
        chain = self.chain(parent, upstreams)
        if chain is None:
            return self.from_closure(parent, upstreams)
        scope, top = self.after(parent, chain[0])
        for upstreams in chain[1:]:
            siblings = sorted(set(upstreams))
            scope = self.with_effects(scope, siblings)
            self.note_clashes(siblings)
            top = max(top, *upstreams)
            self.behind[(parent.index, upstreams)] = (scope, top)
        return scope, top

    def chain(self, parent: Task, upstreams: tuple[int, ...]) -> list[tuple[int, ...]] | None:
        """The sets of upstreams from one whose scope is known to the given one, where each extends the one before.

        None where a set doesn't simply extend another (then the scope is made from the closure).
        """
        path = [upstreams]
        while True:
            current = path[-1]
            tasks = [self.tree[index] for index in current]
            before = tasks[0].upstreams
            if any(task.parent != parent.index or task.upstreams != before for task in tasks):
                return None
            if before and max(before) >= min(current):
                return None
            path.append(before)
            if not before or (parent.index, before) in self.behind:
                path.reverse()
                return path

    def from_closure(self, parent: Task, upstreams: tuple[int, ...]) -> tuple[Scope, int]:
        """What is seen behind all that these depend on, in order of definition."""
        closure = self.closure(parent, upstreams)
        indexes = sorted(closure)
        self.note_clashes(indexes)
        return self.with_effects(self.inside(parent), indexes), indexes[-1]

    def closure(self, parent: Task, upstreams: tuple[int, ...]) -> set[int]:
        """These tasks, and all that they depend on, directly or not, as far as the parent doesn't depend on it itself."""
        above = {parent.index, *(task.index for task in self.tree.ancestors(parent))}
        closure: set[int] = set()
        todo = list(upstreams)
        while todo:
            index = todo.pop()
            if index in closure:
                continue
            closure.add(index)
            task = self.tree[index]
            todo += task.upstreams
            if task.parent != parent.index:
                for group in self.tree.ancestors(task):
                    if group.index not in above:
                        todo += group.upstreams
        return closure

    def with_effects(self, scope: Scope, indexes: Iterable[int]) -> Scope:
        for index in indexes:
            scope = applied(scope, self.effects(self.tree[index]))
        return scope

    def note_clashes(self, indexes: Sequence[int]) -> None:
        """Note each name to which two of these tasks, at work at the same time, gave different values (features F03)."""
        if len(indexes) < 2:
            return
        writers: dict[str, tuple[int, Effect]] = {}
        for index in indexes:
            for effect in self.effects(self.tree[index]):
                for name, value in effect.stored.items():
                    before, other = writers.get(name, (index, effect))
                    writers[name] = index, effect
                    if before == index or name in self.clashed or not differs(other.stored[name], value):
                        continue
                    if not self.waited(effect.writer, other.writer):
                        self.clashed.add(name)
                        self.notes.append(clash(name, self.tree[other.writer], self.tree[effect.writer]))

    def waited(self, later: int, earlier: int) -> bool:
        """Whether one task began after the other had ended, by their upstreams and those of the groups around."""
        around = {group.index for group in self.tree.ancestors(self.tree[later])}
        ends = {earlier, *(group.index for group in self.tree.ancestors(self.tree[earlier]))} - around
        seen: set[int] = set()
        todo = [later]
        while todo:
            index = todo.pop()
            if index in ends:
                return True
            if index not in seen:
                seen.add(index)
                todo += self.tree[index].upstreams
                todo += [one for group in self.tree.ancestors(self.tree[index]) for one in group.upstreams]
        return False

    def effects(self, task: Task) -> Sequence[Effect]:
        """The task's own effect, then those of all below it, in pre-order; only rows that count (way out 8)."""
        if task.effects is not None:
            return task.effects  # type: ignore[no-any-return]
        effects: list[Effect] = []
        if task.stored or task.reset:
            effects.append(Effect(task.reset, task.stored, task.index))
        children = [child.index for child in self.tree.members(task) if child.state == SUCCESS]
        for index in children:
            effects += self.effects(self.tree[index])
        self.note_clashes(children)
        found: Sequence[Effect] = effects or NO_EFFECTS
        if task.state == SUCCESS:
            task.effects = found
        return found


def differs(one: Any, other: Any) -> bool:
    """Whether the order in which they are merged matters."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return any(name in one and differs(one[name], value) for name, value in other.items())
    return bool(one != other)


def clash(name: str, earlier: Task, later: Task) -> str:
    return (
        f"{earlier.full_name} and {later.full_name} ran side by side and both stored {name}: what follows sees the value of "
        "the one that stands last in the file; store under different names, or let one wait for the other (_after)"
    )


NO_EFFECTS: Sequence[Effect] = ()


def applied(scope: Scope, effects: Iterable[Effect]) -> Scope:
    for effect in effects:
        for name in effect.reset:
            scope = scope.without(name)
        scope = scope.merged(effect.stored, plain=True)
    return scope


__all__ = ["EMPTY", "NOTHING", "Scope", "Variables", "apply_reset", "holds_template"]
