"""py>: call a Python function, method or class in an interpreter of its own."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Ended, Option, Succeeded, TaskContext

from .interpreter import files as interpreters_files
from .interpreter import python
from .languages import outcome, program, what_to_run
from .scripts import Script, Secrets, command


class Py(Script):
    """Call a Python function, method or class in an interpreter of its own.

    Its arguments are filled from the variables by name.

    Example:
        +count:
          py>: jobs.sales.count
          table: sales
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", meaning="what to call"),
        Option("script", "any", meaning="instead: a whole program, which reads `sys.argv[1]` and writes `sys.argv[2]`"),
        Option("python", "text or list", "the project's `.venv`, or that of dagrun", "the interpreter"),
        *Script.options,
    )
    namespaces: ClassVar[tuple[str, ...]] = ("py",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The file of the module; not what it imports."""
        parts = str(command or "").replace(":", ".").split(".")
        for length in range(len(parts) - 1, 0, -1):
            path = "/".join(parts[:length])
            for file in (f"{path}.py", f"{path}/__init__.py"):
                if file in project:
                    return [file]
        return []

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        arguments, files = program(params, what_to_run(params, "py"), "runner.py")
        interpreter = python(task, params)
        return command(
            task,
            params,
            [*interpreter, *arguments],
            files={**files, **interpreters_files(interpreter)},
            secrets=Secrets(task),
            environment={"PYTHONUNBUFFERED": "1"},
        )

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:
        return outcome("Python", task, end)
