"""Which interpreter runs py>, rb> and node>."""

from __future__ import annotations

import sys

import pytest

from dagrun.plugins import programs
from dagrun.plugins.testing import context
from dagrun_operators.interpreter import node, python, ruby

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


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which a Python 3.12 hides behind programs that are none."""

    def program(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return str(file)

    program("shims/python3.12", "echo 'python3.12: command not found' >&2; exit 127")
    program("bin/python", "echo 2.7.18")
    program("bin/python3.13", "exec /bin/sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr("dagrun.plugins.programs.PROBE_SECONDS", 0.2)
    return program


def test_a_version_is_a_program_that_runs_and_says_so(machine, tmp_path):
    real = machine(".pyenv/versions/3.12.1/bin/python", "echo 3.12.1")
    assert chosen({"python": "3.12"}) == [real]
    assert chosen({"python": "3.12.1"}) == [real]
    newer = machine(".pyenv/versions/3.12.10/bin/python", "echo 3.12.10")
    assert chosen({"python": "3.12"}) == [newer]


def test_of_a_shim_the_program_is_taken_that_it_starts(machine, tmp_path):
    """It decides by the directory in which it is called, and that of the task may name another version."""
    real = machine("opt/python", "")
    machine(
        "shims/python3.12",
        f'case "$*" in *version_info*) echo 3.12.1;; *sys.executable*) echo {real};; *) exit 127;; esac',
    )
    assert chosen({"python": "3.12"}) == [real]
    silent = machine("shims/python3.12", 'case "$*" in *version_info*) echo 3.12.10;; *) exit 127;; esac')
    assert chosen({"python": "3.12"}) == [silent]


def test_a_version_that_is_not_there_is_told(machine, fails):
    with fails("bad_option") as caught:
        chosen({"python": "3.13"})
    assert "there is no python 3.13" in caught.value.message
    assert "dagrun doctor" in caught.value.message


def test_a_program_that_did_not_answer_in_time_is_asked_again(machine, tmp_path):
    real = machine("bin/python3.12", "[ -e $HOME/busy ] && exec /bin/sleep 60; echo 3.12.1")
    (tmp_path / "busy").touch()
    assert programs.find("python", "3.12") is None
    (tmp_path / "busy").unlink()
    assert programs.find("python", "3.12") == real


def test_another_language_by_version(machine, fails):
    node20 = machine(".nvm/versions/node/v20.1.0/bin/node", "echo 20.1.0")
    machine("bin/node", "echo 18.2.0")
    assert chosen({"node": "20"}, node) == [node20]
    assert chosen({}, node) == ["node"]
    ruby31 = machine("bin/ruby3.1", "echo 3.1.4")
    assert chosen({"ruby": "3.1"}, ruby) == [ruby31]
    with fails("bad_option"):
        chosen({"ruby": "1.9"}, ruby)


@pytest.mark.parametrize(
    ("value", "argv"),
    [
        ("python3", ["python3"]),
        ("/bin/sh", ["/bin/sh"]),
        ("bin/python", ["bin/python"]),
        ("./my bin/python", ["./my bin/python"]),
        (["python3", "-B"], ["python3", "-B"]),
        (["python3"], ["python3"]),
        ("venv:envs/a", ["/project/envs/a/bin/python"]),
        ("venv:envs/a/", ["/project/envs/a/bin/python"]),
    ],
)
def test_a_choice(value, argv):
    programs = {"envs/a/bin/python": "/project/envs/a/bin/python", VENV: "never"}
    assert chosen({"python": value}, programs=programs, workdir="sub") == argv


def test_a_path_may_begin_at_home(machine, tmp_path):
    real = machine("my envs/a/bin/python", "echo 3.12.1")
    assert chosen({"python": "~/my envs/a/bin/python"}) == [real]
    assert chosen({"python": "venv:~/my envs/a/"}, programs={real: real}) == [real]


@pytest.mark.parametrize(
    ("value", "argv"), [(None, ["python"]), ("3.12", ["python3.12"]), ("/opt/python", ["/opt/python"])]
)
def test_in_a_container_its_image_decides(value, argv):
    assert chosen({"python": value, "_docker": "img"}) == argv
    assert chosen({"ruby": "3.1", "docker": {"image": "img"}}, ruby) == ["ruby3.1"]


def test_an_environment_of_the_host_is_refused_in_a_container(fails):
    with fails("bad_option"):
        chosen({"python": "venv:x", "_docker": "img"})


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


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("3.x", 'a version is written in numbers, like "3.12"'),
        (">=3.11", 'a version is written in numbers, like "3.12"'),
        ("python3 -B", "one with arguments is a list: [python3, -B]"),
        ("/bin/sh -e", "one with arguments is a list: [/bin/sh, -e]"),
        ("/nowhere/python", "there is no program /nowhere/python on this machine"),
        ("~/nowhere", "nowhere on this machine"),
        ("/", "there is no program / on this machine"),
        ("venv:", "like venv:envs/etl"),
        ("uv:", "like uv:requirements.txt"),
    ],
)
def test_a_choice_that_is_a_slip_is_told(value, words, fails):
    with fails("bad_option") as caught:
        chosen({"python": value})
    assert words in caught.value.message


def test_uv_needs_the_file_of_requirements(fails):
    with fails("file_not_found"):
        chosen({"python": "uv:req.txt"}, programs={"uv": "/bin/uv"})


def test_ruby():
    assert chosen({}, ruby) == ["ruby"]
    assert chosen({"ruby": ["bundle", "exec", "ruby"]}, ruby) == ["bundle", "exec", "ruby"]
