"""for_range>: the same tasks for consecutive pieces of a range of numbers."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Option, Params, Succeeded, TaskContext, TaskFailed

from .generate import Generator, body, check_limit, repeat


class ForRange(Generator):
    """Run the same tasks for consecutive pieces of a range of numbers.

    Each sees its piece as the variable `range`: `from`, `to` (not included) and `index`.

    Example:
        +ids:
          for_range>: {from: 0, to: 1000000, step: 100000}
          _do:
            sh>: ./load.sh --from ${range.from} --to ${range.to}
    """

    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "JSON map", "required", "`from`, `to`, and either `step` or `slices`"),
        *Generator.options,
    )

    def run(self, task: TaskContext) -> Succeeded:
        given = Params(task.params.map_or_json("_command"))
        start, end = given.integer("from"), given.integer("to")
        step = width(given, start, end)
        do = body(task)
        count = max(0, -(-(end - start) // step))
        check_limit(task, count)
        pieces = ((index, start + index * step) for index in range(count))
        return repeat(task, do, (piece(index, low, min(low + step, end)) for index, low in pieces))


def width(given: Params, start: int, end: int) -> int:
    """The width of a piece: `step`, or the range cut into at most `slices` pieces."""
    if (given.get("step") is None) == (given.get("slices") is None):
        raise TaskFailed("for_range> takes either step or slices", "bad_option", "config")
    option = "slices" if given.get("step") is None else "step"
    number = given.integer(option)
    if number < 1:
        raise TaskFailed(f"for_range>: {option} must be at least 1, not {number}", "bad_option", "config")
    return number if option == "step" else max(1, -(-(end - start) // number))


def piece(index: int, low: int, high: int) -> tuple[str, dict[str, dict[str, int]]]:
    return f"+range-from={low}&to={high}", {"range": {"from": low, "to": high, "index": index}}
