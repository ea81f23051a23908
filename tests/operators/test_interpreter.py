"""Which interpreter runs py> and rb>."""

from __future__ import annotations

import sys

import pytest

from dagrun.plugins.testing import context
from dagrun_operators.interpreter import python, ruby

VENV = ".venv/bin/python"


def chosen(params, choose=python, **more):
    task = context(params, **more)
    return choose(task, task.params)


def test_the_order_without_a_choice(monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert chosen({}) == [sys.executable]
    monkeypatch.setenv("VIRTUAL_ENV", "/active")
    active = {"/active/bin/python": "/active/bin/python"}
    assert chosen({}) == [sys.executable]
    assert chosen({}, programs=active) == ["/active/bin/python"]
    assert chosen({}, programs={**active, VENV: "/project/.venv/bin/python"}) == ["/project/.venv/bin/python"]


@pytest.mark.parametrize(
    ("value", "argv"),
    [
        ("python3", ["python3"]),
        ("/opt/python", ["/opt/python"]),
        (["python3", "-B"], ["python3", "-B"]),
        (["python3"], ["python3"]),
        ("3.12", ["/usr/bin/python3.12"]),
        ("venv:envs/a", ["/project/envs/a/bin/python"]),
        ("venv:envs/a/", ["/project/envs/a/bin/python"]),
        ("uv:req.txt", ["/bin/uv", "run", "--no-project", "--with-requirements", "../req.txt", "python"]),
    ],
)
def test_a_choice(value, argv):
    programs = {
        "python3.12": "/usr/bin/python3.12",
        "envs/a/bin/python": "/project/envs/a/bin/python",
        "uv": "/bin/uv",
        VENV: "never",
    }
    assert chosen({"python": value}, programs=programs, files={"req.txt": ""}, workdir="sub") == argv


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, "bad_type (python)"), (3.12, "bad_type (python)"), (True, "bad_type (python)"), ([], "bad_type (python)"),
        ([1], "bad_type (python)"), ({"a": 1}, "bad_type (python)"), ("3.99", "bad_option"),
        ("venv:nowhere", "bad_option"), ("uv:req.txt", "bad_option"),
    ],
)  # fmt: skip
def test_a_choice_that_leads_nowhere(value, kind, fails):
    with fails(kind):
        chosen({"python": value})


def test_uv_needs_the_file_of_requirements(fails):
    with fails("file_not_found"):
        chosen({"python": "uv:req.txt"}, programs={"uv": "/bin/uv"})


def test_ruby():
    assert chosen({}, ruby) == ["ruby"]
    assert chosen({"ruby": ["bundle", "exec", "ruby"]}, ruby) == ["bundle", "exec", "ruby"]
    assert chosen({"ruby": "3.1"}, ruby, programs={"ruby3.1": "/usr/bin/ruby3.1"}) == ["/usr/bin/ruby3.1"]
