"""Which operator, or which kind of schedule, a name stands for.

A built-in is found in its table without a look at what else is installed; any other name through the entry points of
its group, read once. Nothing is imported before it is needed. `register` is for tests and for programs that embed dagrun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from dagrun.core.config import near_or_missing
from dagrun.errors import PluginError, TaskFailed
from dagrun.light import NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from dagrun.plugins.operator import OperatorFactory
    from dagrun.plugins.schedule import ScheduleKind

Factory = TypeVar("Factory")

# The same names stand in pyproject.toml, for tools that look for entry points; a test compares the two.
OPERATORS_HERE: Mapping[str, str] = {
    "call": "dagrun_operators.call:Call",
    "docker": "dagrun_operators.docker:Docker",
    "echo": "dagrun_operators.echo:Echo",
    "exec": "dagrun_operators.exec_:Exec",
    "fail": "dagrun_operators.fail:Fail",
    "for_each": "dagrun_operators.for_each:ForEach",
    "for_range": "dagrun_operators.for_range:ForRange",
    "http": "dagrun_operators.http:Http",
    "http_call": "dagrun_operators.http_call:HttpCall",
    "if": "dagrun_operators.if_:If",
    "loop": "dagrun_operators.loop:Loop",
    "mail": "dagrun_operators.mail:Mail",
    "node": "dagrun_operators.node:Node",
    "notify": "dagrun_operators.notify:Notify",
    "py": "dagrun_operators.py:Py",
    "rb": "dagrun_operators.rb:Rb",
    "require": "dagrun_operators.require:Require",
    "sh": "dagrun_operators.sh:Sh",
    "slack": "dagrun_operators.slack:Slack",
    "wait": "dagrun_operators.wait:Wait",
}
SCHEDULES_HERE: Mapping[str, str] = {
    "at": "dagrun.schedules.interval:At",
    "cron": "dagrun.schedules.cron:Cron",
    "daily": "dagrun.schedules.calendar:Daily",
    "hourly": "dagrun.schedules.calendar:Hourly",
    "minutes_interval": "dagrun.schedules.interval:MinutesInterval",
    "monthly": "dagrun.schedules.calendar:Monthly",
    "seconds_interval": "dagrun.schedules.interval:SecondsInterval",
    "weekly": "dagrun.schedules.calendar:Weekly",
}


class Origin(NamedTuple):
    """Where a plug-in comes from: a package, a file of the project, a module (in tests), or else dagrun itself."""

    package: str = ""
    version: str = ""
    file: str = ""
    module: str = ""

    def __str__(self) -> str:
        return self.file or self.module or f"{self.package} {self.version}".strip() or "dagrun"


class Plugins(Generic[Factory]):
    """All plug-ins of one group. `noun` is what messages call one of them."""

    def __init__(self, group: str, built_ins: Mapping[str, str], noun: str) -> None:
        self.group = group
        self.built_ins = built_ins
        self.noun = noun
        self.registered: dict[str, Factory] = {}
        self._loaded: dict[str, Factory] = {}  # built-ins

    def load(self, name: str) -> Factory:
        """What makes the plug-in of that name, without the `>`.

        Raises TaskFailed(kind="unknown_operator", or "unknown_schedule") when there is none, PluginError when it can't be
        loaded.
        """
        if name in self.registered:
            return self.registered[name]
        if name in self._loaded:
            return self._loaded[name]
        if name in self.built_ins:
            module, _, attribute = self.built_ins[name].partition(":")
            found = self._loaded[name] = cast(Factory, getattr(import_module(module), attribute))
            return found
        if name not in self.installed:
            hint = near_or_missing(self.noun, name, self.names())
            raise TaskFailed(f"Unknown {self.noun}: {name}> ({hint})", f"unknown_{self.noun}", "config")
        return self._load_installed(name, self.installed[name])

    def names(self) -> list[str]:
        """The names of all of them, sorted."""
        return sorted({*self.registered, *self.built_ins, *self.installed})

    def is_builtin(self, name: str) -> bool:
        """Whether it is part of dagrun."""
        return name in self.built_ins

    def is_trusted(self, name: str) -> bool:
        """Whether it may run inside the engine: it is built in, or this program registered it."""
        return name in self.built_ins or name in self.registered

    def origin(self, name: str) -> Origin:
        """The package that brings it, without a look into it; dagrun, if it is none of a package."""
        if self.is_trusted(name) or name not in self.installed:
            return Origin()
        entry = self.installed[name][0]
        return Origin(_package(entry), entry.dist.version if entry.dist is not None else "")

    def register(self, name: str, factory: Factory) -> None:
        """Make the name stand for this one in this process, whatever it stood for before."""
        self.registered[name] = factory

    def unregister(self, name: str) -> None:
        """Undo `register`."""
        self.registered.pop(name, None)

    @cached_property
    def installed(self) -> dict[str, list[EntryPoint]]:
        """The entry points of other packages by name. One that is seen twice (two paths to it) counts once."""
        from importlib.metadata import entry_points

        found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            if entry.name not in self.built_ins:
                found.setdefault(entry.name, {})[_package(entry), entry.value] = entry
        return {name: list(entries.values()) for name, entries in found.items()}

    def _load_installed(self, name: str, entries: list[EntryPoint]) -> Factory:
        title = f"{self.noun.capitalize()} {name}>"
        if len(entries) > 1:
            packages = [_package(entry) for entry in entries]
            raise PluginError(
                f"{title} is brought by {' and by '.join(packages)}\n  keep one: pip uninstall {packages[-1]}"
            )
        (entry,) = entries
        package = _package(entry)
        try:
            factory: Any = entry.load()
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever a module does when it is imported
            raise PluginError(
                f"{title} of {package} can't be loaded from {entry.value}: {type(error).__name__}: {error}\n"
                f"  {_remedy(error, package)}"
            ) from error
        if not callable(factory):
            raise PluginError(f"{title} of {package}: {entry.value} is no {self.noun} class\n  tell its author")
        return cast(Factory, factory)


def _remedy(error: BaseException, package: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        missing = error.name.partition(".")[0]
        return f"install what is missing: pip install {missing}, or pip install --upgrade {package}"
    return f"try another version: pip install --upgrade {package}"


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]


OPERATORS: Plugins[OperatorFactory] = Plugins("dagrun.operators", OPERATORS_HERE, "operator")
SCHEDULES: Plugins[Callable[[], ScheduleKind]] = Plugins("dagrun.schedules", SCHEDULES_HERE, "schedule")
