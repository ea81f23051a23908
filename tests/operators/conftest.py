"""Runs the Command of an operator with a real process, as simply as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagrun.plugins.operator import Command, Ended, Operator, Succeeded
from dagrun.plugins.testing import context, execute


@dataclass
class Run:
    """A project directory, and what the last command printed."""

    project: Path
    tries: Path
    output: str = ""

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def execute(self, command: Command) -> Ended:
        directory = self.tries / str(len(list(self.tries.iterdir())))
        directory.mkdir()
        log = self.tries.parent / f"{directory.name}.log"
        end = execute(command, str(self.project), str(directory), str(log))
        self.output = log.read_text()
        return end

    def __call__(self, operator: Operator, params: Mapping[str, Any], **more: Any) -> Succeeded:
        """Run the task to its end."""
        task = context(params, **more)
        command = operator.run(task)
        assert isinstance(command, Command)
        result = operator.ended(task, self.execute(command))
        assert isinstance(result, Succeeded)
        return result


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for name in ("project", "tries"):
        (tmp_path / name).mkdir()
    return Run(tmp_path / "project", tmp_path / "tries")


@pytest.fixture
def fails() -> Callable[..., Any]:
    """`with fails("kind", "category") as caught:` – the task fails that way."""
    from contextlib import contextmanager

    from dagrun.plugins.operator import TaskFailed

    @contextmanager
    def expect(kind: str, category: str | None = "config") -> Any:
        with pytest.raises(TaskFailed) as caught:
            yield caught
        assert (caught.value.kind, caught.value.category) == (kind, category)

    return expect
