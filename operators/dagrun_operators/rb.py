"""rb>: call a Ruby method in an interpreter of its own."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import Command, Ended, Option, Succeeded, TaskContext

from .interpreter import ruby
from .languages import outcome, program, what_to_run
from .scripts import Script, Secrets, command


class Rb(Script):
    """Call a Ruby method in an interpreter of its own.

    Its arguments are filled from the variables by name.

    Example:
        +count:
          rb>: Sales.count
          require: jobs/sales
          table: sales
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", meaning="what to call"),
        Option("require", "text", meaning="what to load first: a file of the project without `.rb`, or a gem"),
        Option("script", "any", meaning="instead: a whole program, which reads `ARGV[0]` and writes `ARGV[1]`"),
        Option("ruby", "text or list", "`ruby`", 'the interpreter; `"3.1"` is `ruby3.1`'),
        *Script.options,
    )
    namespaces: ClassVar[tuple[str, ...]] = ("rb",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The file that the task's own `require` names."""
        path = f"{config.get('require')}.rb"
        return [path] if path in project else []

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        called = what_to_run(params, "rb")
        arguments, files = program(params, called, "runner.rb")
        feature = params.text("require", "")
        # The runner loads the feature itself, so that an error in it reaches the task; a program of the
        # user's doesn't.
        before = ["-r", feature] if feature and called is None else []
        after = [feature] if feature and called is not None else []
        return command(
            task,
            params,
            [*ruby(task, params), "-I", ".", *before, "--", *arguments, *after],
            files=files,
            secrets=Secrets(task),
        )

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:
        return outcome("Ruby", task, end)
