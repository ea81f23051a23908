"""Each example runs to the result that it states.

An example is a folder of `examples/` with a README.md and an expected.json: one step or a list of them. A step:

    command          the arguments of dagrun
    exit             its exit code
    stdout           the lines of standard output, in order; or stdout_any_order, with `first` and `last` where they are
                     certain; or stdout_contains, pieces of it
    stderr_contains  pieces of standard error
    copy             files to copy before, from → to
    env              variables of the environment
    needs            programs without which the example can't run; `engine` is one for containers
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import containers
from tests.missing import need
from tests.zygote import Ended, call

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name[0] not in "._")
KEYS = {
    "command", "exit", "stdout", "stdout_any_order", "first", "last", "stdout_contains", "stderr_contains", "copy", "env",
    "needs",
}  # fmt: skip


def steps_of(name: str) -> list[dict[str, Any]]:
    found = json.loads((EXAMPLES / name / "expected.json").read_text())
    return found if isinstance(found, list) else [found]


def test_there_are_examples():
    assert len(NAMES) >= 14


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_what_it_shows_and_how_it_ends(name):
    readme = (EXAMPLES / name / "README.md").read_text()
    assert readme.startswith("# ")
    steps = steps_of(name)
    assert steps
    for step in steps:
        assert set(step) <= KEYS
        assert {"command", "exit"} <= set(step)
        assert f"dagrun {step['command'][0]}" in readme


@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs_to_its_stated_result(name, tmp_path):
    project = tmp_path / name
    shutil.copytree(EXAMPLES / name, project, ignore=shutil.ignore_patterns(".dagrun", "__pycache__"))
    home = tmp_path / "home"
    home.mkdir()
    for step in steps_of(name):
        needs = list(step.get("needs", ()))
        if "engine" in needs:  # for containers
            needs.remove("engine")
            step = {**step, "env": {**step.get("env", {}), "DOCKER_HOST": containers.engine()}}
        need(*needs)
        for source, target in step.get("copy", {}).items():
            shutil.copyfile(project / source, project / target)
        check(step, dagrun(step, project, home))


def dagrun(step: dict[str, Any], project: Path, home: Path) -> Ended:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **step.get("env", {})}
    return call(step["command"], cwd=project, env=environment)


def check(step: dict[str, Any], ended: Ended) -> None:
    lines = ended.out.splitlines()
    assert ended.code == step["exit"], ended.err
    if "stdout" in step:
        assert lines == step["stdout"], ended.err
    if "stdout_any_order" in step:
        assert sorted(lines) == sorted(step["stdout_any_order"]), ended.err
    if "first" in step:
        assert lines[0] == step["first"]
    if "last" in step:
        assert lines[-1] == step["last"]
    for piece in step.get("stdout_contains", ()):
        assert piece in ended.out
    for piece in step.get("stderr_contains", ()):
        assert piece in ended.err


def test_the_demo_shows_the_report_and_leaves_the_checkout_clean(tmp_path):
    before = files_of(EXAMPLES)
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "HANDLER: 2026-01-15 is not complete" in ended.stdout
    assert "All 181 orders are in the report." in ended.stdout
    assert "Shown: " in ended.stdout[-300:]
    assert files_of(EXAMPLES) == before
    assert list(tmp_path.iterdir()) == []


def files_of(directory: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix != ".pyc"
    }
