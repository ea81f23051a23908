"""Which operator a name stands for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dagrun.errors import PluginError
from dagrun.plugins import registry
from dagrun.plugins.operator import Operator, TaskFailed


class Package:
    def __init__(self, name):
        self.name = name


def entry(name, value, package):
    found = EntryPoint(name, value, registry.OPERATORS.group)
    vars(found).update(dist=Package(package))
    return found


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these entry points are installed."""

    def install(*entries):
        vars(registry.OPERATORS).pop("installed", None)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)

    yield install
    vars(registry.OPERATORS).pop("installed", None)


@pytest.mark.parametrize("name", registry.OPERATORS_HERE)
def test_every_built_in_can_be_loaded(name):
    operator = registry.OPERATORS.load(name)()
    assert isinstance(operator, Operator)
    assert operator.runs_in == "engine"
    assert registry.OPERATORS.is_builtin(name)
    assert registry.OPERATORS.is_trusted(name)


def test_the_project_file_names_the_same_plug_ins():
    entries = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
    for plugins in (registry.OPERATORS, registry.SCHEDULES):
        assert entries[plugins.group] == dict(plugins.built_ins)


def test_a_built_in_is_found_without_a_look_at_entry_points():
    code = """
import importlib.metadata, sys
importlib.metadata.entry_points = None
from dagrun.plugins import registry
registry.OPERATORS.load("echo")
assert "dagrun_operators.sh" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_operator_is_named_with_the_nearest_one(installed):
    installed(entry("slack", "a.b:C", "dagrun-slack"))
    with pytest.raises(TaskFailed, match=r"Unknown operator: slak> \(did you mean slack>\?\)") as caught:
        registry.OPERATORS.load("slak")
    assert (caught.value.kind, caught.value.category) == ("unknown_operator", "config")
    with pytest.raises(TaskFailed, match="Unknown operator: qqqqqqqq> "):
        registry.OPERATORS.load("qqqqqqqq")


def test_a_plug_in_is_found_by_its_entry_point(installed):
    plugin = entry("plain", "dagrun.plugins.operator:Operator", "dagrun-plain")
    installed(plugin, entry("plain", "dagrun.plugins.operator:Operator", "dagrun-plain"))
    assert registry.OPERATORS.load("plain") is Operator
    assert not registry.OPERATORS.is_trusted("plain")
    assert {"plain", "sh"} <= set(registry.OPERATORS.names())


def test_nothing_takes_the_place_of_a_built_in(installed):
    installed(entry("sh", "nowhere:Sh", "dagrun-evil"))
    assert registry.OPERATORS.load("sh").__module__ == "dagrun_operators.sh"


def test_two_packages_with_one_name_are_both_named(installed):
    installed(entry("x", "a:X", "dagrun-a"), entry("x", "b:X", "dagrun-b"))
    with pytest.raises(PluginError, match="dagrun-a and by dagrun-b\n  keep one: pip uninstall dagrun-b"):
        registry.OPERATORS.load("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:X", r"dagrun-x can't be loaded .*No module named(.|\n)*pip install no_such_module"),
        ("dagrun.plugins.operator:Nope", r"dagrun-x can't be loaded (.|\n)*pip install --upgrade dagrun-x"),
        ("dagrun.plugins.registry:OPERATORS_HERE", "is no operator class"),
    ],
)
def test_a_broken_plug_in_is_named_with_a_remedy(value, message, installed):
    installed(entry("x", value, "dagrun-x"))
    with pytest.raises(PluginError, match=message):
        registry.OPERATORS.load("x")


def test_a_program_may_register_operators_of_its_own():
    class Mine(Operator):
        pass

    registry.OPERATORS.register("mine", Mine)
    try:
        assert registry.OPERATORS.load("mine") is Mine
        assert registry.OPERATORS.is_trusted("mine")
        assert not registry.OPERATORS.is_builtin("mine")
        assert "mine" in registry.OPERATORS.names()
    finally:
        registry.OPERATORS.unregister("mine")
    assert not registry.OPERATORS.is_trusted("mine")
