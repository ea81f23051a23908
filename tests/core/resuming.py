"""Old attempts, the plans of what new ones take over from them, and the new attempts, for the tests of resuming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagrun.core.compiler import compile_workflow
from dagrun.core.events import Success
from dagrun.core.resume import Side, Wish, plan
from dagrun.core.reuse import Plan, build_tree
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import Workflow
from dagrun.core.yaml import load
from tests.core.simulate import Simulation, by_definition, text_of

OLD_ATTEMPT = 7
FAILS = {"sh>": "fail", "says": "fail"}
CHAIN = {"+a": {"sh>": "a"}, "+b": {"sh>": "b"}, "+c": FAILS, "+d": {"sh>": "d"}}
DIAMOND = {
    "_parallel": True,
    "+a": {"sh>": "a"},
    "+b": {"sh>": "b", "_after": ["+a"]},
    "+c": {"sh>": "c", "_after": ["+a"]},
    "+d": {"sh>": "d", "_after": ["+b", "+c"]},
}


def compiled(definition: Mapping[str, Any]) -> Workflow:
    return compile_workflow("w", load(text_of(dict(definition)), "w.dig", None))


def side(definition: Mapping[str, Any], params: Mapping[str, Any] | None = None, files: Any = None) -> Side:
    return Side(compiled(definition), params or {}, files or (lambda _: {}))


def attempt(definition: Mapping[str, Any]) -> TaskTree:
    """An attempt whose tasks answered as they say."""
    return Simulation(build_tree(compiled(definition))).run(by_definition).tree


def planned(
    old: Mapping[str, Any],
    new: Mapping[str, Any] | None = None,
    wish: Wish | None = None,
    *,
    tree: TaskTree | None = None,
    params: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
    files: tuple[Any, Any] = (None, None),
) -> Plan:
    return plan(
        tree or attempt(old),
        OLD_ATTEMPT,
        side(old, params[0], files[0]),
        side(old if new is None else new, params[1], files[1]),
        wish or Wish(),
    )


def shown(found: Plan) -> dict[str, tuple[str, str]]:
    return {choice.name.removeprefix("+w"): (choice.action, choice.reason) for choice in found.choices}


def actions(found: Plan) -> dict[str, str]:
    return {name: action for name, (action, _) in shown(found).items() if name}


def continued(old: Mapping[str, Any], new: Mapping[str, Any], found: Plan) -> Simulation:
    """The new attempt, run to its end with everything succeeding."""
    run = Simulation(build_tree(compiled(new), found, OLD_ATTEMPT))
    run.run(succeeds)
    return run


def succeeds(task: Task) -> Success:
    done = by_definition(task)
    return done if isinstance(done, Success) else Success(stored={"by": task.full_name})


def ran_names(run: Simulation) -> list[str]:
    return [name for name, _, after in run.moves if after == "running"]
