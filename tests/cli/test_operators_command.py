"""`dagrun operators`, and operators of a project's own in check, run and retry (features F09)."""

from __future__ import annotations

import json

import pytest

from dagrun.cli.hosting import bytes_of, hosting_of
from dagrun.cli.settings import Settings
from dagrun.engine.attempt import Hosting
from dagrun.errors import UserError
from dagrun.plugins import registry

SHOUT = '''
from _volume import louder
from dagrun.plugins.operator import Command, Operator, Option, Succeeded


class Base(Operator):
    retries = False


class Shout(Base):
    """Print a text in capitals.

    Nobody has to read it.

    Example:
        +x:
          shout>: hello
    """

    options = (
        Option("_command", "text", "required", "what to `shout`"),
        Option("times", "integer", "1", "how often"),
        Option("mode", "word", "loud", "", ("loud", "soft")),
        Option("shout.key", "secret", meaning="who may shout"),
    )

    def run(self, task):
        print("imported by", __name__)
        return Command(["sh", "-c", f"echo {louder(task.params.text('_command'))}; pwd"])

    def ended(self, task, end):
        return Succeeded(stored={"shouted": True})
'''
WORKFLOW = "+a:\n  echo>: quiet\n+b:\n  shout>: hello\n+c:\n  echo>: ${shouted}\n+d:\n  sh>: exit 1\n"


@pytest.fixture
def shouting(project):
    project.write("operators/shout.py", SHOUT)
    project.write("operators/_volume.py", "def louder(text):\n    return text.upper()\n")
    project.write("w.dig", WORKFLOW)
    return project


# -- the command


def test_all_operators_are_listed_with_where_they_come_from(shouting):
    lines = shouting.run("operators").out.splitlines()
    assert len(lines) == 1 + len(registry.OPERATORS_HERE) + 1
    assert [line.split()[:2] for line in lines[:2]] == [["operator", "from"], ["call>", "dagrun"]]
    assert "shout>      operators/shout.py  Print a text in capitals." in lines


def test_one_operator_is_explained(shouting):
    assert shouting.run("operators", "shout").out.splitlines() == [
        "shout>  from operators/shout.py",
        "",
        "Print a text in capitals.",
        "",
        "Nobody has to read it.",
        "",
        "option  type       default",
        "shout>  text       required  what to shout",
        "times   integer    1         how often",
        "mode    loud soft  loud",
        "",
        "secret",
        "shout.key  who may shout",
        "",
        "+x:",
        "  shout>: hello",
    ]


@pytest.mark.parametrize("name", ["wait", "wait>"])
def test_one_of_dagrun_is_explained_too(project, name):
    lines = project.run("operators", name).out.splitlines()
    assert lines[0] == "wait>  from dagrun"
    assert lines[-2:] == ["+settle:", "  wait>: 1h 30m"]


def test_json_holds_everything(shouting):
    found = json.loads(shouting.run("operators", "shout", "--json").out)
    assert found["file"] == "operators/shout.py"
    assert found["options"][2] == {
        "name": "mode", "type": "word", "choices": ["loud", "soft"], "default": "loud", "meaning": "",
    }  # fmt: skip
    assert found["secrets"] == [{"key": "shout.key", "meaning": "who may shout"}]
    assert (found["retries"], found["problem"], found["example"]) == (False, None, "+x:\n  shout>: hello")
    assert {one["name"] for one in json.loads(shouting.run("operators", "--json").out)} == {
        *registry.OPERATORS_HERE, "shout",
    }  # fmt: skip


def test_an_unknown_operator_is_told_with_the_nearest_one(shouting):
    assert shouting.run("operators", "shuot", code=2).err == "error: unknown operator shuot>\n  did you mean shout>?\n"
    assert "dagrun operators lists those that there are" in shouting.run("operators", "qqqqqqqq", code=2).err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import nowhere\n", "can't be loaded: ModuleNotFoundError: No module named 'nowhere' (bad.py:1)\n  mend"),
        ("import os; os._exit(3)\n", "ended its process with code 3 and gave no result"),
        (
            "from dagrun.plugins.operator import *\nclass Bad(Operator):\n    options = ('a',)\n",
            "is broken: options must hold values Option(name, kind, default, meaning), not 'a'\n  mend operators/bad.py",
        ),
        (
            "from dagrun.plugins.operator import *\nclass Bad(Operator):\n    options = (Option('a', 'int'),)\n",
            "is broken: the option a is of an unknown kind, int",
        ),
    ],
)
def test_a_broken_one_says_why(project, text, problem):
    project.write("operators/bad.py", text)
    assert f"Operator bad> of operators/bad.py {problem}" in project.run("operators", "bad", code=2).out


# -- in the project


def test_the_check_knows_its_options(shouting):
    shouting.write("v.dig", "+a:\n  shout>: hello\n  times: often\n  tmies: 3\n")
    assert shouting.run("check", "v.dig", code=2).out.splitlines() == [
        "v.dig: 2 tasks, UTC",
        "v.dig:1:1: warning: +v+a: shout> has no option tmies, and nothing else uses it",
        "  did you mean times?",
        'v.dig:3:3: error: +v+a: times must be a whole number, but it is "often"',
    ]


def test_it_runs_from_the_revision_in_the_workspace_and_never_in_the_engine(shouting):
    out = shouting.run("run", "w.dig", code=1).out.splitlines()
    assert out[:3] == ["quiet", "imported by dagrun_project_shout", "HELLO"]
    assert "/.dagrun/work/" in out[3]
    assert out[4] == "true"


@pytest.mark.parametrize("file", ["operators/shout.py", "operators/_volume.py"])
def test_a_retry_runs_the_tasks_again_whose_operator_has_changed(shouting, file):
    shouting.run("run", "w.dig", code=1)
    unchanged = shouting.json("retry", "last", "--plan")
    assert {one["task"]: one["action"] for one in unchanged}["+w+b"] == "reuse"
    path = shouting.directory / file
    path.write_text(f"{path.read_text()}\n# changed\n")
    plan = {one["task"]: (one["action"], one["reason"]) for one in shouting.json("retry", "last", "--plan")}
    assert plan["+w+a"][0] == "reuse"
    assert plan["+w+b"] == ("run", f"{file} changed")
    assert plan["+w+c"] == ("run", "+w+b, which it depends on, runs")
    assert "HELLO" in shouting.run("retry", "last", code=1).out


@pytest.mark.parametrize(
    "words", [("run", "w.dig", "--rerun"), ("retry", "last"), ("check",), ("operators",), ("operators", "sh")]
)
def test_a_name_that_dagrun_has_is_refused(shouting, words):
    shouting.run("run", "w.dig", code=1)
    shouting.write("operators/sh.py", SHOUT)
    ended = shouting.run(*words, code=2)
    assert (
        "error: operators/sh.py would take the place of dagrun's own sh>\n"
        "  rename it; if it is no operator: operators/_sh.py, or another folder\n"
    ) in ended.out + ended.err


def test_a_name_that_a_package_has_is_refused(shouting, tmp_path):
    info = tmp_path / "site" / "dagrun_demo-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: dagrun-demo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dagrun.operators]\nshout = dagrun_demo:Demo\n")
    shouting.environment["PYTHONPATH"] = str(tmp_path / "site")
    assert shouting.run("run", "w.dig", code=2).err == (
        "error: Operator shout> is brought by operators/shout.py and by dagrun-demo 1.0\n"
        "  keep one, or rename operators/shout.py\n"
    )


# -- settings


def test_a_person_may_run_them_and_a_daemon_when_it_is_told_to():
    assert hosting_of(Settings({}), daemon=False) == Hosting(True, 2 << 30)
    assert hosting_of(Settings({}), daemon=True) == Hosting(False, 2 << 30)
    assert hosting_of(Settings({"operators.project": "true"}), daemon=True).project
    assert hosting_of(Settings({"operators.project": False}), daemon=False).project


@pytest.mark.parametrize(
    ("text", "size"),
    [("512 MiB", 512 << 20), ("1.5G", 3 << 29), ("64kb", 64 << 10), ("1tib", 1 << 40), (1000, 1000), ("0", 0)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("operators.memory", "much", "operators.memory in the settings must be a size like 512 MiB, not 'much'"),
        ("operators.project", "maybe", "operators.project in the settings must be true or false, not 'maybe'"),
    ],
)
def test_a_wrong_setting_is_told(key, value, problem):
    with pytest.raises(UserError, match=problem):
        hosting_of(Settings({key: value}), daemon=True)
