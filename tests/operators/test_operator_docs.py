"""What the documents say about operators is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagrun.plugins import registry

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.OPERATORS_HERE)
def test_every_operator_has_a_page_that_names_its_options(name):
    page = (ROOT / "docs" / "operators" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}>: ")
    assert "**Differences from Digdag:**" in page
    assert [option for option in registry.OPERATORS.load(name)().options if f"`{option}`" not in page] == []


def test_the_operator_of_the_readme_works():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "operators" / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    names["test_it_looks_again_later"]()
    task = names["context"]({"_command": "a.csv"}, files={"a.csv": "abc"})
    assert names["FileWait"]().run(task) == names["Succeeded"](stored={"size": 3})
