"""What a command imports before it does anything: start-up is what everyone waits for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dagrun

HEAVY = {
    "alembic", "croniter", "docker", "immutables", "pathspec", "psycopg", "quickjs", "rich", "sqlalchemy",
}  # fmt: skip


def imported(directory: Path, *arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dagrun.cli", *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    directory = tmp_path_factory.mktemp("project")
    (directory / "wf.dig").write_text("+hello:\n  echo>: hello ${session_date}\n")
    return directory


def test_help_imports_click_and_nothing_heavy(project):
    found = imported(project, "--help")
    assert "click" in found
    assert found & (HEAVY | {"sqlite3", "yaml"}) == set()


def test_a_run_imports_only_what_its_tasks_need(project):
    found = imported(project, "run", "wf.dig", "--session", "2026-01-15")
    assert {"click", "sqlite3", "yaml"} <= found
    assert found & HEAVY == set()


def test_a_second_run_does_not_import_more(project):
    found = imported(project, "run", "wf.dig", "--session", "2026-01-15", "--rerun")
    assert found & HEAVY == set()


def test_declarations_are_those_that_cost_least(sources):
    """One import from the standard library would do no harm, eighty of them are a tenth of the start."""
    heavy = re.compile(r"^from typing import .*\b(NamedTuple|Protocol)\b", re.MULTILINE)
    assert [path for path, text in sources.items() if heavy.search(text)] == []


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    top = Path(dagrun.__file__).parent
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*.py") if path.name != "light.py"}
