"""Operators of a project's own: files `operators/NAME.py`, each with one class that derives from Operator.

Only `load_file` runs such a file, and only `host.py` and `describe.py` call it, in a process of their own. A file whose name
begins with `_` is no operator: it is for what the others import. All of them are part of the project's revision.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from dagrun.errors import PluginError
from dagrun.plugins import registry
from dagrun.plugins.operator import Operator

FOLDER = "operators"


def file_of(name: str, paths: Container[str]) -> str | None:
    """The file of the project that holds the operator of that name."""
    path = f"{FOLDER}/{name}.py"
    return path if path in paths and "/" not in name and not name.startswith("_") else None


@lru_cache(maxsize=8)  # a daemon asks once a workflow; the set knows its hash
def names_in(paths: frozenset[str]) -> tuple[str, ...]:
    """The operators of a project, by the paths of its files. Raises PluginError: another one has such a name."""
    found = sorted(
        path[len(FOLDER) + 1 : -3] for path in paths if path.startswith(f"{FOLDER}/") and path.endswith(".py")
    )
    names = tuple(name for name in found if file_of(name, paths))
    for name in names:
        path = f"{FOLDER}/{name}.py"
        if registry.OPERATORS.is_builtin(name):
            raise PluginError(
                f"{path} would take the place of dagrun's own {name}>\n"
                f"  rename it; if it is no operator: {FOLDER}/_{name}.py, or another folder"
            )
        if name in registry.OPERATORS.installed:
            package = registry.OPERATORS.origin(name)
            raise PluginError(f"Operator {name}> is brought by {path} and by {package}\n  keep one, or rename {path}")
    return names


def files_behind(name: str, paths: Iterable[str]) -> list[str]:
    """The files that decide what the operator does: its own, and those for all of them."""
    own = f"{FOLDER}/{name}.py"
    return [path for path in paths if path == own or (path.startswith(f"{FOLDER}/_") and path.endswith(".py"))]


def load_file(name: str, path: str) -> type[Operator]:
    """The one operator that the file defines. It may import its neighbours. Raises PluginError, or what the file raises."""
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.append(folder)  # the last: nothing there takes the place of a package
    module_name = f"dagrun_project_{name}"
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} can't be loaded as Python")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return the_one_of(vars(module), module_name)


def the_one_of(names: dict[str, Any], module: str) -> type[Operator]:
    """Of what a module defines the operator. One that others derive from is no more than their base."""
    found = [
        value
        for value in dict.fromkeys(each for each in names.values() if isinstance(each, type))
        if issubclass(value, Operator) and value.__module__ == module
    ]
    found = [one for one in found if not any(other is not one and issubclass(other, one) for other in found)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise PluginError("no class in it derives from dagrun.plugins.operator.Operator; write one")
    listed = " and ".join(one.__name__ for one in found)
    raise PluginError(f"{listed} are operators; leave one in it, and give each other one a file of its own")
