"""py>: call a Python function, method or class in an interpreter of its own."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Command, Ended, Succeeded, TaskContext

from .interpreter import python
from .languages import outcome, program, what_to_run
from .scripts import Script, Secrets, command


class Py(Script):
    """Run `runner.py`, or the program in `script`. Parameters are arguments, not environment variables."""

    options: ClassVar[tuple[str, ...]] = ("script", "python", *Script.options)
    namespaces: ClassVar[tuple[str, ...]] = ("py",)

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        arguments, files = program(params, what_to_run(params, "py"), "runner.py")
        return command(
            task,
            params,
            [*python(task, params), *arguments],
            files=files,
            secrets=Secrets(task),
            environment={"PYTHONUNBUFFERED": "1"},
        )

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:  # noqa: ARG002
        return outcome("Python", end)
