"""From the map of a workflow file to tasks: `compile_workflow`, and `compile_generated` for tasks made while running.

This file owns every rule about what a file may hold and which sibling waits for which (spec/language 1.4 and 2); keys.py has
those about the keys of a single task. It
knows no expressions: nothing is evaluated here. Errors are WorkflowErrors with the place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.config import Map, Params, Template
from dagrun.core.keys import (
    LONGEST_NAME,
    boolean_option,
    check_keys,
    check_task_name,
    did_you_mean,
    exported,
    fail,
    is_disabled,
    map_option,
    name_list,
    needs_of,
    place_of,
    special_map,
    task_map,
    unknown_key_hint,
)
from dagrun.core.needs import Need, connect_needs
from dagrun.core.workflow import GENERATED, NOTHING, Node, Place, TaskSpec, Workflow
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.light import NamedTuple

# In the order in which the definition is re-assembled (spec/language L20, L23); `_workspace` and `compat` are dagrun's.
TOP_LEVEL_KEYS = (
    "timezone", "_export", "schedule", "sla", "_error", "_check", "_retry", "_parallel", "_workspace", "compat", "concurrency", "priority", "notify", "_use", "_docker",
)  # fmt: skip
NOT_NULL_AT_TOP = ("schedule", "sla", "notify", "_error", "_check", "_retry", "_parallel")

# What the compiler takes out of a task's own keys, because the engine and not the operator reads it.
TAKEN = frozenset({"_export", "_error", "_check", "_background", "_after", "_needs", "_disable"})

FORBIDDEN_FIRST = set('+^@/\\:*?"<>|')


def compile_workflow(name: str, config: Map) -> Workflow:
    """Compile one file. Raises WorkflowError: unknown keys, bad names, bad options, unknown or circular needs."""
    check_workflow_name(name, config)
    body = top_level(config)
    root = f"+{name}"
    check_task_name(root, config, (config.file, None, None), root)
    compiler = Compiler(config)
    compiler.add(root, body, None, (), "", top=True)
    connect_needs(compiler.nodes, compiler.needs)
    return Workflow(
        name=name,
        file=config.file or "",
        timezone=timezone_of(config),
        nodes=tuple(compiler.nodes),
        schedule=config.get("schedule"),
        sla=config.get("sla"),
        evaluates_data=evaluates_data(config),
        **rare_options(config),
    )


def rare_options(config: Map) -> dict[str, Any]:
    """What few files have, so that its code is loaded for these alone."""
    found: dict[str, Any] = {}
    if "concurrency" in config or "priority" in config:
        from dagrun.core.concurrency import concurrency_of, priority_of

        found |= {"concurrency": concurrency_of(config), "priority": priority_of(config)}
    if "notify" in config:
        from dagrun.core.notify import notify_of

        found["notify"] = notify_of(config)
    return found


def compile_generated(
    name: str, config: Mapping[str, Any], parent_full_name: str, data: Mapping[str, Any] = NOTHING
) -> list[Node]:
    """Compile a generated map to the tasks below `parent_full_name`; indexes count from 0, the first one is `name`."""
    compiler = Compiler(config)
    compiler.add(name, config, None, (), parent_full_name, data=data)
    connect_needs(compiler.nodes, compiler.needs, whole=False)
    return compiler.nodes


def compiled_below(node: Node) -> Iterator[list[Node]]:
    """What the maps of a task become while it runs, as far as the file tells: a list for each of them. Of what can't be compiled
    the run tells.
    """
    spec = node.spec
    generated = [("^sub", spec.config[key]) for key in GENERATED if key in spec.config]
    special = [("^check", spec.own("_check") if spec.operator else None), ("^error", spec.own("_error"))]
    for name, body in (*generated, *special):
        if body and isinstance(body, Mapping):
            with suppress(WorkflowError):
                yield compile_generated(name, body, node.full_name)


def called_body(config: Map, directory: str) -> Map:
    """The body of a called file as the map of a group: checked like a workflow, without its time zone.

    Its tasks work in the directory, relative to the project; a `_workdir` of its own is below that (spec/language G5).
    """
    timezone_of(config)
    map_option(config, "_export", "", (config.file, config.line, config.column))
    body = top_level(config)
    if directory:
        export = body.get("_export") or {}
        own = export.get("_workdir")
        below = f"{directory}/{own}" if isinstance(own, str) else directory
        body["_export"] = {**export, "_workdir": Template(below) if isinstance(own, Template) else below}
    return body


# -- the top of a file


def check_workflow_name(name: str, config: Map) -> None:
    if not name or len(name) > LONGEST_NAME or name[0].isdigit() or name.endswith(".dig") or name[0] in FORBIDDEN_FIRST:
        raise WorkflowError(
            f"bad workflow name {name!r}: the file's name without its suffix must not start with a digit or a sign",
            kind="bad_workflow_name",
            file=config.file,
            hint="rename the file, for example to " + (re.sub(r"[^A-Za-z0-9_/\-]", "_", f"w{name}") + ".dig"),
        )


def top_level(config: Map) -> Map:
    """The file's map in the order in which it is compiled (spec/language L20 to L23)."""
    unknown = [key for key in config if key not in TOP_LEVEL_KEYS and not key.startswith("+")]
    if unknown:
        file, line, column = place_of(config, unknown[0])
        raise WorkflowError(
            f"unknown keys at the top of the file: {', '.join(unknown)}",
            kind=f"unknown_top_level_keys: {', '.join(unknown)}",
            file=file, line=line, column=column,
            hint=unknown_key_hint(unknown, TOP_LEVEL_KEYS),
        )  # fmt: skip
    for key, value in config.items():
        if value is None and (key in NOT_NULL_AT_TOP or key.startswith("+")):
            file, line, column = place_of(config, key)
            raise WorkflowError(
                f"{key} has no value", kind="null_value", file=file, line=line, column=column,
                hint="give it a value, or delete the line",
            )  # fmt: skip
        if key.startswith("+") and "^" in key:
            fail("bad_task_name", f"bad task name {key[:60]!r}: a ^ marks tasks that are made while running",
                 key[:120], place_of(config, key), hint="use another sign, such as - or .")  # fmt: skip
    ordered = Map(config.file, config.line, config.column)
    ordered.places = config.places
    for key in (
        "_export",
        "schedule",
        "sla",
        "_error",
        "_check",
        "_retry",
        "_parallel",
        "_workspace",
        "_use",
        "_docker",
    ):
        if key in config:
            ordered[key] = config[key]
    ordered.update((key, value) for key, value in config.items() if key.startswith("+"))
    return ordered


def timezone_of(config: Map) -> str:
    value = config.get("timezone")
    if value is None or value == "":
        return "UTC"
    try:
        if not isinstance(value, str):
            raise ValueError(value)
        zone(value)
    except ValueError:
        file, line, column = place_of(config, "timezone")
        raise WorkflowError(
            f"unknown time zone {value!r}", kind="bad_timezone", file=file, line=line, column=column,
            hint="use a region such as Asia/Tokyo, UTC, or an offset such as +09:00",
        ) from None  # fmt: skip
    return value


def evaluates_data(config: Map) -> bool:
    """`compat: {evaluate_data: true}`: what data holds is evaluated as a template once more, as Digdag does."""
    compat = map_option(config, "compat", "", (config.file, config.line, config.column))
    unknown = [key for key in compat if key != "evaluate_data"]
    if unknown:
        fail(f"unknown_key: {unknown[0]}", f"compat has no option {unknown[0]!r}", "", place_of(compat, unknown[0]),
             hint="the only one is  evaluate_data: true")  # fmt: skip
    return boolean_option(compat, "evaluate_data", "", place_of(config, "compat")) if compat else False


# -- tasks


@dataclass(slots=True, eq=False, repr=False)
class Compiler:
    source: Mapping[str, Any]  # the map that holds it all, for places
    nodes: list[Node] = field(default_factory=list)
    needs: dict[int, list[Need]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: Any,
        parent: int | None,
        upstreams: tuple[int, ...],
        prefix: str,
        *,
        top: bool = False,
        place: Place = (None, None, None),
        data: Mapping[str, Any] = NOTHING,
    ) -> Node:
        """Append the task and all below it; its index is that of the returned node."""
        full_name = prefix + name
        config = task_map(value, full_name, place)
        if config.__class__ is Map and not top:
            own = config.file, config.line, config.column
            place = place if place[0] else own
        disabled = is_disabled(config, full_name, place)
        if disabled:
            config = {}
        is_operator = "_type" in config or any(key.endswith(">") for key in config)
        check_keys(config, is_operator, full_name, place)
        taken = TAKEN if is_operator else TAKEN - {"_check"}  # of a group it stays, without effect, for a warning
        spec = TaskSpec(
            name=name,
            operator=is_operator,
            config={key: item for key, item in config.items() if key not in taken and not key.startswith("+")},
            export=exported(config, is_operator, full_name, place),
            data=data,
            error=self.special(config, "_error", full_name, place),
            check=special_map(config, "_check", full_name, place, strict=is_operator),
            place=place,
            places=config.places if config.__class__ is Map else NOTHING,
        )
        node = Node(len(self.nodes), parent, full_name, spec, upstreams)
        self.nodes.append(node)
        needs = needs_of(config, is_operator, full_name, place)
        if needs:
            self.needs[node.index] = needs
        if not is_operator:
            self.add_children(node, config)
        return node

    def special(self, config: Mapping[str, Any], key: str, full_name: str, place: Place) -> Mapping[str, Any] | None:
        """A handler's map; compiled once here, so that a broken one refuses the workflow (spec/language C9)."""
        handler = special_map(config, key, full_name, place, strict=True)
        if handler:
            compile_generated("^error", handler, full_name)
        return handler or None

    def add_children(self, group: Node, config: Mapping[str, Any]) -> None:
        children = [(key, value) for key, value in config.items() if key.startswith("+")]
        if "_parallel" in config:
            parallel = parallel_of(
                config["_parallel"], group.full_name, place_of(config, "_parallel", group.spec.place)
            )
        else:
            parallel = Parallel(False)
        group.spec.slots = parallel.slots
        group.spec.fail_fast = parallel.fail_fast
        order = Waves(parallel.limit) if parallel.on else Sequence_()
        known: dict[str, int] = {}
        for key, value in children:
            place = place_of(config, key, group.spec.place)
            check_task_name(key, config, place, group.full_name + key)
            child = self.add(
                key, value, group.index, order.upstreams(value, known, group.full_name + key, place), group.full_name,
                place=place,
            )  # fmt: skip
            known[key] = child.index
            order.added(child.index)


class Sequence_:  # noqa: N801  (the name `Sequence` is the standard library's)
    """File order: each task waits for the one before, and for the background tasks since (spec/language C11)."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.background = False

    def upstreams(
        self,
        value: Any,
        known: Mapping[str, int],  # noqa: ARG002  (as Waves has it)
        full_name: str,
        place: Place,
    ) -> tuple[int, ...]:
        config = task_map(value, full_name, place)
        if is_disabled(config, full_name, place):
            config = {}
        if "_after" in config:
            fail("after_without_parallel", "_after works only in a group with _parallel: true", full_name, place,
                 hint="use _needs, which works anywhere")  # fmt: skip
        self.background = boolean_option(config, "_background", full_name, place)
        return () if self.background else tuple(self.before)

    def added(self, index: int) -> None:
        if not self.background:
            self.before.clear()
        self.before.append(index)


class Waves:
    """`_parallel`: all at once, or waves of `limit`, each behind all of the one before (spec/language C12, C13)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.previous: tuple[int, ...] = ()
        self.current: list[int] = []

    def upstreams(self, value: Any, known: Mapping[str, int], full_name: str, place: Place) -> tuple[int, ...]:
        config = task_map(value, full_name, place)
        if is_disabled(config, full_name, place):
            config = {}
        if boolean_option(config, "_background", full_name, place):
            fail("background_under_parallel", "_background has no place in a group that is parallel already",
                 full_name, place, hint="delete it")  # fmt: skip
        after = []
        for name in name_list(config, "_after", full_name, place):
            if name not in known:
                fail("unknown_dependency", f"_after names {name}, which is no task before it in this group", full_name,
                     place_of(config, "_after", place), hint=did_you_mean(name, known) or "use _needs to name a later task or one elsewhere")  # fmt: skip
            after.append(known[name])
        if self.limit > 0 and len(self.current) == self.limit:
            self.previous, self.current = tuple(self.current), []
        return (*after, *self.previous)

    def added(self, index: int) -> None:
        self.current.append(index)


class Parallel(NamedTuple):
    """`_parallel` as read: on or off; waves of `limit` (0: none); a window of `slots` (None: none)."""

    on: bool
    limit: int = 0
    slots: int | None = None
    fail_fast: bool = False


def parallel_of(value: Any, full_name: str, place: Place) -> Parallel:
    """Read `_parallel` (spec/language C12 to C14; `slots` and `fail_fast` are dagrun's, features F11)."""
    try:
        if isinstance(value, Mapping):
            options = Params(value)
            if value.get("slots") is not None or (value.get("fail_fast") is not None and value.get("limit") is None):
                slots = options.integer("slots", 0)
                if "slots" in value and slots < 1:
                    raise TaskFailed("slots must be 1 or more", "bad_option", "config")
                return Parallel(True, 0, slots if slots > 0 else None, options.boolean("fail_fast", False))
            return Parallel(True, max(0, options.integer("limit")), None, options.boolean("fail_fast", False))
        if isinstance(value, bool | str):
            return Parallel(Params({"_parallel": value}).boolean("_parallel"))
    except TaskFailed as problem:
        fail(problem.kind, f"_parallel: {problem.message}", full_name, place,
             hint="use true, {limit: 4} or {slots: 4}; on a group it can't be a ${…}")  # fmt: skip
    fail("bad_parallel", f"_parallel can't be {value!r}", full_name, place, hint="use true, {limit: 4} or {slots: 4}")
