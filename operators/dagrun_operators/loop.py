"""loop>: the same tasks, a number of times."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Option, Succeeded, TaskContext

from .generate import Generator, body, check_limit, repeat


class Loop(Generator):
    """Run the same tasks a number of times, with the variable `i`.

    Example:
        +repeat:
          loop>: 7
          _do:
            sh>: ./load.sh ${i}
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "integer", "required", "number of rounds; 0 and less make none"),
        Option("count", "integer", meaning="wins over `loop>`, from wherever it comes"),
        *Generator.options,
    )

    def run(self, task: TaskContext) -> Succeeded:
        count = rounds(task)
        do = body(task)
        check_limit(task, count)
        return repeat(task, do, ((f"+loop-{i}", {"i": i}) for i in range(count)))


def rounds(task: TaskContext) -> int:
    """How many rounds. A parameter `count` from anywhere wins over the number at loop>, as in Digdag."""
    written = task.params.integer("_command")
    count = task.params.integer("count", written)
    if count != written and "count" not in task.local:
        task.warn(f"loop> makes {count} rounds, not {written}: an inherited parameter is named `count`. Rename it.")
    return count
