"""Whatever an operator of a package or a project does is its task's failure, and nothing else's (features F09)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.broken_operators import HARMS, write_harms, write_settings
from tests.cli.conftest import Project

PACKAGE = "Operator package> of dagrun-demo can't be loaded from dagrun_nowhere:X: ModuleNotFoundError"


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[Project, dict[str, Any], str]:
    """One run of all of them, side by side: the project, each task's row, and what was said."""
    top = tmp_path_factory.mktemp("harm")
    project = Project(top)
    tasks = write_harms(project.directory)
    write_settings(project.home)
    info = top / "site" / "dagrun_demo-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: dagrun-demo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dagrun.operators]\npackage = dagrun_nowhere:X\n")
    project.environment["PYTHONPATH"] = str(top / "site")
    project.write("w.dig", f"+harms:\n  {tasks.strip().replace(chr(10), chr(10) + '  ')}\n  +package:\n    package>:\n")
    done = subprocess.run(
        project.command("run", "w.dig"), cwd=project.directory, env=project.environment, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "this is a bug" not in done.stderr
    found = {row["name"].rpartition("+")[2]: row for row in project.json("tasks", "last")}
    return project, found, done.stderr


@pytest.mark.parametrize("name", [name for name, harm in HARMS.items() if harm.kind])
def test_harm_is_the_failure_of_its_task(name, ran):
    _, rows, _ = ran
    assert rows[name]["state"] == "error"
    error = rows[name]["error"]
    assert error["kind"] == HARMS[name].kind, error
    assert re.search(HARMS[name].message, error["message"]), error["message"]


@pytest.mark.parametrize("name", [name for name, harm in HARMS.items() if not harm.kind])
def test_what_is_only_untidy_succeeds(name, ran):
    _, rows, _ = ran
    assert rows[name]["state"] == "success"


def test_a_broken_package_is_named_with_a_remedy(ran):
    _, rows, _ = ran
    error = rows["package"]["error"]
    assert error["message"].startswith(PACKAGE)
    assert (
        "; install what is missing: pip install dagrun_nowhere, or pip install --upgrade dagrun-demo"
        in error["message"]
    )


def test_a_thread_that_is_left_behind_is_told(ran):
    assert "Operator leaves_a_thread> of operators/leaves_a_thread.py left threads behind" in ran[2]


def test_a_process_that_is_left_behind_is_gone(ran):
    _, rows, _ = ran
    pid = rows["leaves_a_child"]["stored"]["child"]
    assert not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_nothing_but_the_state_lies_about(ran):
    project, _, _ = ran
    assert list((project.directory / ".dagrun" / "work").iterdir()) == []
    assert sorted(path.name for path in project.directory.iterdir()) == [".dagrun", "operators", "w.dig"]


def test_megabytes_of_output_are_all_in_the_log(ran):
    project, _, _ = ran
    assert project.run("log", "last", "+prints").out.count("x" * 99) == 50_000


def test_the_check_tells_of_those_that_cannot_be_loaded(ran):
    project, _, _ = ran
    found = json.loads(project.run("check", "--json", code=2).out)["findings"]
    broken = {one["task"].rpartition("+")[2]: one["message"] for one in found}
    assert set(broken) == {name for name, harm in HARMS.items() if harm.kind == "plugin_error"} | {"package"}
    assert broken["package"].startswith(PACKAGE)
