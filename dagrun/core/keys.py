"""The keys of one task's map: which may stand there, what type they have, and what is said when they are wrong.

Nothing is evaluated. Errors are WorkflowErrors with the place in the file. Sources: spec/language 1.4, 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from dagrun.core.config import Map, Params, suggest
from dagrun.core.files import patterns, targets
from dagrun.core.kinds import to_list, to_text
from dagrun.core.needs import Need
from dagrun.core.template import file_references
from dagrun.core.workflow import GENERATED, NOTHING, Place
from dagrun.errors import TaskFailed, WorkflowError
from dagrun.light import pattern

DIGDAGS = (
    "timezone", "schedule", "sla", "_parallel", "_background", "_after", "_error", "_check", "_retry", "_export",
    "_secrets",
)  # fmt: skip
GROUP_KEYS = (*DIGDAGS, "_needs", "_workspace", "_use", "_docker")
TASKS_ALONE = (
    "_env",
    "_inputs",
    "_keep",
    "_kill_grace",
    "_outputs",
    "_signal",
    "_timeout",
)  # that a group would be expected to hand on

TASK_NAME = pattern(r"[+^][A-Za-z0-9_\-=\[\]{}%&@`,.^]*\Z")
LONGEST_NAME = 255


def task_map(value: Any, full_name: str, place: Place) -> Mapping[str, Any]:
    """The task's map; a list of maps is flattened, a repeated key replaces the value at its first place (C3)."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list):
        flat: dict[str, Any] = {}
        for entry in value:
            if not isinstance(entry, Mapping):
                break
            flat.update(entry)
        else:
            return flat
    fail("task_not_a_map", "a task must be a map of keys", full_name, place,
         hint="write an operator below it, such as  sh>: ./script.sh")  # fmt: skip


def check_keys(config: Mapping[str, Any], is_operator: bool, full_name: str, place: Place) -> None:
    operators = [key for key in config if key.endswith(">")]
    if is_operator:
        children = [key for key in config if key.startswith("+")]
        if children:
            fail("operator_with_children", f"a task with an operator can't have tasks of its own: {', '.join(children)}",
                 full_name, place_of(config, children[0], place), hint="put the operator into a task beside them")  # fmt: skip
        if len(operators) > 1:
            fail("multiple_operators", f"a task can have one operator only, here are: {', '.join(operators)}", full_name,
                 place_of(config, operators[1], place), hint="make two tasks of it")  # fmt: skip
        return
    unknown = [key for key in config if key not in GROUP_KEYS and not key.startswith("+")]
    if unknown:
        # The kind is that of the cases, which know none of our own keys; the hint does.
        named = [f"{key} (suggesting {near})" if (near := suggest(key, DIGDAGS)) else key for key in unknown]
        fail(f"invalid_group_keys: {', '.join(named)}", f"a group can't have these keys: {', '.join(unknown)}",
             full_name, place_of(config, unknown[0], place), hint=unknown_key_hint(unknown, GROUP_KEYS))  # fmt: skip


def is_disabled(config: Mapping[str, Any], full_name: str, place: Place) -> bool:
    return "_disable" in config and boolean_option(config, "_disable", full_name, place)


def map_option(config: Mapping[str, Any], key: str, full_name: str, place: Place) -> Mapping[str, Any]:
    value = config.get(key)
    if value is None:
        return NOTHING
    if not isinstance(value, Mapping):
        fail(f"bad_type ({key})", f"{key} must be a map", full_name, place_of(config, key, place),
             hint="write  name: value  lines below it")  # fmt: skip
    return value


def exported(config: Mapping[str, Any], is_operator: bool, full_name: str, place: Place) -> Mapping[str, Any]:
    """`_export`; and a group's `_docker`, which is that of all tasks below it (features F80)."""
    export = map_option(config, "_export", full_name, place)
    return export if is_operator or "_docker" not in config else {**export, "_docker": config["_docker"]}


def needs_of(config: Mapping[str, Any], is_operator: bool, full_name: str, place: Place) -> list[Need]:
    """What a task waits for: what `_needs` names, and the tasks whose files it asks for (features F12, F79)."""
    found = []
    if "_needs" in config:
        at = place_of(config, "_needs", place)
        found = [Need("_needs", name, at) for name in name_list(config, "_needs", full_name, place)]
    if not is_operator:
        exported = file_references(config.get("_export"))
        return found + [Need("file()", name, place_of(config, "_export", place)) for name in sorted(exported)]
    if "_outputs" in config or "_inputs" in config:
        try:
            patterns(config.get("_outputs"))
            names = targets(config.get("_inputs"))
        except TaskFailed as problem:
            key = "_inputs" if "_inputs" in problem.message else "_outputs"
            fail(problem.kind, problem.message, full_name, place_of(config, key, place))
        found += [Need("_inputs", name, place_of(config, "_inputs", place)) for name in names]
    named = {
        name
        for key, value in config.items()
        if value.__class__ is not str and key not in ("_error", "_check", *GENERATED)
        for name in file_references(value)
    }
    found += [Need("file()", name, place) for name in sorted(named)]
    for key in GENERATED:
        if key in config:
            found += [Need(key, name, place_of(config, key, place)) for name in sorted(asked_below(config[key]))]
    return found


def asked_below(body: Any) -> set[str]:
    """The tasks whose files tasks of a `_do` ask for, without those of the `_do` itself. Names that lead nowhere may be among them."""
    names, own = file_references(body), set()
    todo = [body]
    while todo:
        config = todo.pop()
        if isinstance(config, list):
            todo += config
        elif isinstance(config, Mapping):
            inputs = config.get("_inputs")
            names |= {name for name in inputs if name.startswith("+")} if isinstance(inputs, Mapping) else set()
            below = [key for key in config if key.startswith("+")]
            own |= set(below)
            todo += [config[key] for key in (*below, *GENERATED) if key in config]
    return {name for name in names if f"+{name.replace('/', '+').split('+')[1]}" not in own}


def special_map(
    config: Mapping[str, Any], key: str, full_name: str, place: Place, *, strict: bool
) -> Mapping[str, Any] | None:
    """`_error` or `_check`. `_check` of a group has no effect, whatever it is (spec/language C4)."""
    if not strict:
        return None
    return map_option(config, key, full_name, place) or None


def boolean_option(config: Mapping[str, Any], key: str, full_name: str, place: Place) -> bool:
    if config.get(key) is None:
        return False
    try:
        return Params(config).boolean(key)
    except TaskFailed as problem:
        fail(problem.kind, problem.message, full_name, place_of(config, key, place), hint="use true or false")


def name_list(config: Mapping[str, Any], key: str, full_name: str, place: Place) -> list[str]:
    value = config.get(key)
    if value is None:
        return []
    try:
        return [to_text(name) for name in to_list(value)]
    except ValueError:
        fail(f"bad_type ({key})", f"{key} must be a list of task names", full_name, place_of(config, key, place),
             hint=f"write  {key}: [+a, +b]")  # fmt: skip


def check_task_name(name: str, config: Mapping[str, Any], place: Place | None, full_name: str) -> None:
    if not TASK_NAME.match(name) or len(name) > LONGEST_NAME:
        at = place or place_of(config, name)
        problem = (
            f"longer than {LONGEST_NAME} characters"
            if len(name) > LONGEST_NAME
            else "has a character that can't be used"
        )
        fail("bad_task_name", f"bad task name {name[:60]!r}: {problem}", full_name[:120], at,
             hint="use letters, digits, _ - = [ ] { } % & @ ` , . and ^")  # fmt: skip


# -- errors


def place_of(config: Mapping[str, Any], key: str, default: Place = (None, None, None)) -> Place:
    if isinstance(config, Map) and key in config:
        return config.place(key)
    return default


def did_you_mean(name: str, names: Iterable[str]) -> str | None:
    near = suggest(name, list(names))
    return f"did you mean {near}?" if near else None


def unknown_key_hint(unknown: Sequence[str], known: Sequence[str]) -> str:
    of_tasks = [key for key in unknown if key in TASKS_ALONE]
    if of_tasks:
        return f"{', '.join(of_tasks)}: write it at the tasks that have an operator"
    near = [f"{key} → {found}" for key in unknown if (found := suggest(key, known))]
    if near:
        return "did you mean " + ", ".join(near) + "?"
    if any(key.endswith(">") for key in unknown):
        return "put the operator into a task: a key that starts with +"
    return f"known keys are {', '.join(known)} and tasks, which start with +"


def fail(kind: str, message: str, task: str, place: Place, hint: str | None = None) -> NoReturn:
    file, line, column = place
    raise WorkflowError(message, kind=kind, file=file, line=line, column=column, task=task, hint=hint)
