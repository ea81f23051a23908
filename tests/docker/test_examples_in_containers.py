"""The examples run unmodified in containers, to the same results: only a parameter file says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import containers
from tests.examples.test_examples import EXAMPLES, check, dagrun, steps_of

# Those whose commands are shell and Python; others need a program that the image hasn't, or signals of this machine.
NAMES = ("demo", "retry_after_mending")
MORE = ("call", "if_else", "loop", "needs", "parallel", "python", "workspaces")


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.soak) for name in MORE)])
def test_an_example_gives_the_same_in_containers(name: str, tmp_path: Path):
    project, home = tmp_path / name, tmp_path / "home"
    shutil.copytree(EXAMPLES / name, project, ignore=shutil.ignore_patterns(".dagrun", "__pycache__"))
    home.mkdir()
    image = tmp_path / "image.yml"
    image.write_text("docker: {image: python}\n")
    for step in steps_of(name):
        for source, target in step.get("copy", {}).items():
            shutil.copyfile(project / source, project / target)
        command = [*step["command"], *(["-P", str(image)] if step["command"][0] == "run" else [])]
        environment = {**step.get("env", {}), "DOCKER_HOST": containers.engine()}
        check(step, dagrun({**step, "command": command, "env": environment}, project, home))
    assert containers.all_containers(str(project)) == []
