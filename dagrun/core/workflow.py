"""What a workflow file says, compiled: a flat list of tasks with parents and upstreams.

Values only. `compiler.py` makes them; `tree.py` builds an attempt's tasks from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.config import mark_templates, merge
from dagrun.light import NamedTuple

NOTHING: Mapping[str, Any] = {}
GENERATED = ("_do", "_else_do")  # what is below them becomes tasks while the attempt runs, and is evaluated by these

Place = tuple[str | None, int | None, int | None]  # file, line, column


@dataclass(slots=True, repr=False)
class TaskSpec:
    """The definition of one task. Treat it as frozen: tasks of many rows share one.

    `config` are the task's own keys without those of the other fields. Texts with a `$` in `config`, `export`, `error`
    and `check` are Templates; `data` are plain variables that generators give to the tasks that they make.
    """

    name: str  # with its sign, "+load" or "^sub"
    operator: bool  # False: a group
    config: Mapping[str, Any]
    export: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    check: Mapping[str, Any] | None = None
    slots: int | None = None  # a group's moving window: so many children at work at once
    fail_fast: bool = False
    place: Place = (None, None, None)
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)  # of its keys, in a file

    def own(self, key: str) -> Any:
        """A policy of this task as `_export` and its own keys, merged over it, give it; not inherited (spec/language X13)."""
        taken = {"_error": self.error, "_check": self.check}.get(key)
        own = self.config.get(key) if taken is None else taken
        exported = self.export.get(key)
        if isinstance(exported, dict) and isinstance(own, dict):
            return merge(exported, own)
        return own if own is not None or key in self.config else exported

    def to_json(self) -> dict[str, Any]:
        """What the store keeps of a generated task."""
        kept: dict[str, Any] = {"name": self.name, "operator": self.operator, "config": self.config}
        for key in ("export", "data", "error", "check", "slots", "fail_fast"):
            value = getattr(self, key)
            if value:
                kept[key] = value
        if self.place[0]:
            kept["place"] = list(self.place)
        return kept

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> TaskSpec:
        return cls(
            name=kept["name"],
            operator=kept["operator"],
            config=mark_templates(kept["config"]),
            export=mark_templates(kept.get("export", NOTHING)),
            data=kept.get("data", NOTHING),
            error=mark_templates(kept["error"]) if "error" in kept else None,
            check=mark_templates(kept["check"]) if "check" in kept else None,
            slots=kept.get("slots"),
            fail_fast=kept.get("fail_fast", False),
            place=tuple(kept["place"]) if "place" in kept else (None, None, None),
        )


class Concurrency(NamedTuple):
    """How many attempts of a workflow may be at work (features F54); those with the same `key` are counted together."""

    limit: int
    key: Any = ""  # may be a Template
    when_full: str = "queue"  # skip, fail, replace, latest
    strict: bool = False  # after a failure nothing starts until it is retried


class NotifyRule(NamedTuple):
    """Who is told of what (features F93)."""

    on: tuple[str, ...]  # of `core.notify.EVENTS`
    to: tuple[str, ...] = ()  # targets; none: those of the settings
    template: str | None = None  # a file of the project
    once_per: str = "run"  # or session
    place: Place = (None, None, None)


@dataclass(slots=True, repr=False)
class Node:
    """One task of a compiled file: its definition and its place among the others. Indexes count in pre-order."""

    index: int
    parent: int | None
    full_name: str
    spec: TaskSpec
    upstreams: tuple[int, ...] = ()


class Workflow(NamedTuple):
    """One workflow file, compiled. `nodes[0]` is the root group."""

    name: str
    file: str
    timezone: str
    nodes: tuple[Node, ...]
    schedule: Any = None
    sla: Any = None
    concurrency: Concurrency | None = None
    priority: int = 0  # 0 to 9
    notify: tuple[NotifyRule, ...] = ()
    evaluates_data: bool = False  # `compat: {evaluate_data: true}`

    def find(self, suffix: str) -> list[Node]:
        """The tasks that a pattern names: an exact match below the root first, then any full name that ends in it.

        Source: spec/language S10, way out 33.
        """
        exact = f"+{self.name}{suffix}"
        for node in self.nodes:
            if node.full_name in (exact, suffix):
                return [node]
        return [node for node in self.nodes if node.full_name.endswith(suffix)]
