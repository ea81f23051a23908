"""What the documents say about operators is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagrun.cli.checking import findings_of
from dagrun.core.compiler import compile_workflow
from dagrun.core.yaml import load
from dagrun.plugins import registry
from dagrun.plugins.describe import describe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.OPERATORS_HERE)
def test_every_operator_has_a_page(name):
    page = (ROOT / "docs" / "operators" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}>: ")
    assert "**Differences from Digdag:**" in page


@pytest.mark.parametrize("name", registry.OPERATORS_HERE)
def test_every_operator_explains_itself_with_an_example_that_passes_the_check(name, tmp_path):
    described = describe(name, str(tmp_path), ())
    assert described.summary.endswith(".")
    assert any(option.name == "_command" for option in described.options)
    workflow = compile_workflow("w", load(described.example, "w.dig", None))
    wrong = [
        str(one) for one in findings_of(Project(), workflow) if one.kind not in ("missing_script", "file_not_found")
    ]
    assert wrong == []


class Project:
    """Without any files."""

    def paths(self) -> list[str]:
        return []
