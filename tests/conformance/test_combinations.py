"""Rules of the language where two of them meet, as whole runs: beside the cases of language.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conformance.harness import Project, Result, operators_registered

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs the workflow `w`, given as its text, with other files beside it."""

    def run(text: str, files: Mapping[str, str] | None = None) -> Result:
        project = Project(tmp_path / "p")
        project.push({"w.dig": dedent(text), **(files or {})})
        return project.run(project.submit())

    with operators_registered():
        yield run


def errors(result: Result) -> dict[str, str]:
    return {task.full_name: task.error["message"] for task in result.tree.tasks if task.error}


# -- what a task has in view


def test_a_handler_in_an_own_export_is_not_evaluated_before_its_time(run):
    result = run("""
        +a:
          _export:
            _error: {echo>: "failed: ${error.message}"}
          fail>: boom
    """)
    assert result.prints() == ["failed: boom"]


def test_a_check_that_is_exported_above_is_nothing_to_the_tasks_below(run):
    result = run("""
        _export:
          _check: {echo>: "${rows.count}"}
        +a: {echo>: "${typeof _check}"}
    """)
    assert (result.state, result.prints()) == ("success", ["undefined"])


def test_a_body_that_is_exported_is_evaluated_by_its_tasks(run):
    result = run("""
        _export:
          _do: {echo>: "${i}"}
        +a: {loop>: 2}
    """)
    assert result.prints() == ["0", "1"]
