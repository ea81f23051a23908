"""What an operator says of itself, asked in a process of its own."""

from __future__ import annotations

import pytest

from dagrun.plugins import describe as module
from dagrun.plugins.describe import describe, parts_of


def test_one_that_never_ends_its_import_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.5)
    (tmp_path / "operators").mkdir()
    (tmp_path / "operators" / "bad.py").write_text("while True: pass\n")
    found = describe("bad", str(tmp_path), ["operators/bad.py"])
    assert (
        found.problem
        == "Operator bad> of operators/bad.py doesn't end its import within 0.5 s\n  mend operators/bad.py"
    )


@pytest.mark.parametrize(
    ("docstring", "text", "example"),
    [
        (None, "", ""),
        ("One line.", "One line.", ""),
        ("One.\n\n    Example:\n        +a:\n          x>: 1\n    ", "One.", "+a:\n  x>: 1"),
        ("One.\n\n    Example:\n        +a:\n\n        +b:\n\n    More.\n", "One.\n\nMore.", "+a:\n\n+b:"),
        ("One.\n\n    Example:", "One.", ""),
    ],
)
def test_a_docstring_has_a_text_and_an_example(docstring, text, example):
    assert parts_of(docstring) == (text, example)
