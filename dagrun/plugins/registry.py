"""Which operator a name stands for.

A built-in is found in the table below without a look at what else is installed; any other name through the
entry-point group `dagrun.operators`, read once. Nothing is imported before a task needs it. `register` is for
tests and for programs that embed dagrun.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dagrun.core.config import suggest
from dagrun.errors import PluginError, TaskFailed
from dagrun.plugins.operator import OperatorFactory

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "dagrun.operators"

# The same names stand in pyproject.toml, for tools that look for entry points; a test compares the two.
BUILT_INS: Mapping[str, str] = {
    "call": "dagrun_operators.call:Call",
    "echo": "dagrun_operators.echo:Echo",
    "fail": "dagrun_operators.fail:Fail",
    "for_each": "dagrun_operators.for_each:ForEach",
    "for_range": "dagrun_operators.for_range:ForRange",
    "if": "dagrun_operators.if_:If",
    "loop": "dagrun_operators.loop:Loop",
    "notify": "dagrun_operators.notify:Notify",
    "py": "dagrun_operators.py:Py",
    "rb": "dagrun_operators.rb:Rb",
    "require": "dagrun_operators.require:Require",
    "sh": "dagrun_operators.sh:Sh",
    "wait": "dagrun_operators.wait:Wait",
}

_registered: dict[str, OperatorFactory] = {}


def load(name: str) -> OperatorFactory:
    """What makes the operator of that name, without the `>`.

    Raises TaskFailed(kind="unknown_operator") when there is none, PluginError when it can't be loaded.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_INS:
        module, _, attribute = BUILT_INS[name].partition(":")
        return cast(OperatorFactory, getattr(import_module(module), attribute))
    if name not in _plugins():
        near = suggest(name, names())
        hint = f"did you mean {near}>?" if near else "is the package that brings it installed?"
        raise TaskFailed(f"Unknown operator: {name}> ({hint})", "unknown_operator", "config")
    return _load_plugin(name, _plugins()[name])


def names() -> list[str]:
    """The names of all operators, sorted."""
    return sorted({*_registered, *BUILT_INS, *_plugins()})


def is_builtin(name: str) -> bool:
    """Whether the operator is part of dagrun."""
    return name in BUILT_INS


def is_trusted(name: str) -> bool:
    """Whether the operator may run inside the engine: it is built in, or this program registered it."""
    return name in BUILT_INS or name in _registered


def register(name: str, factory: OperatorFactory) -> None:
    """Make the name stand for this operator in this process, whatever it stood for before."""
    _registered[name] = factory


def unregister(name: str) -> None:
    """Undo `register`."""
    _registered.pop(name, None)


@cache
def _plugins() -> dict[str, list[EntryPoint]]:
    """The entry points of other packages by name. One that is seen twice (two paths to it) counts once."""
    from importlib.metadata import entry_points

    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        if entry.name not in BUILT_INS:
            found.setdefault(entry.name, {})[_package(entry), entry.value] = entry
    return {name: list(entries.values()) for name, entries in found.items()}


def _load_plugin(name: str, entries: list[EntryPoint]) -> OperatorFactory:
    if len(entries) > 1:
        packages = [_package(entry) for entry in entries]
        raise PluginError(
            f"Operator {name}> is brought by {' and by '.join(packages)}\n  keep one: pip uninstall {packages[-1]}"
        )
    (entry,) = entries
    package = _package(entry)
    try:
        factory = entry.load()
    except Exception as error:  # whatever a module does when it is imported
        raise PluginError(
            f"Operator {name}> of {package} can't be loaded from {entry.value}: "
            f"{type(error).__name__}: {error}\n"
            f"  {_remedy(error, package)}"
        ) from error
    if not callable(factory):
        raise PluginError(f"Operator {name}> of {package}: {entry.value} is no operator class\n  tell its author")
    return cast(OperatorFactory, factory)


def _remedy(error: Exception, package: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        return f"install what is missing: pip install {missing}, or pip install --upgrade {package}"
    return f"try another version: pip install --upgrade {package}"


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]
