"""What loop>, for_each> and for_range> share: a body, repeated with other variables each time.

The variables go along as data and not into the body's `_export`: they are values, never templates, and they
win over an `_export` of the same name. The number of rounds is checked before the first one is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, ClassVar

from dagrun.plugins.operator import Operator, Option, Subtask, Subtasks, Succeeded, TaskContext, TaskFailed

LONGEST_NAME = 255  # of a task, with its sign (spec/language C5)


class Generator(Operator):
    """Base of the loops."""

    runs_in: ClassVar[str] = "engine"
    retries: ClassVar[bool] = False
    options: ClassVar[tuple[Option, ...]] = (
        Option("_do", "map", "required", "what to run"),
        Option(
            "_parallel", "boolean or map", "false", "also `{limit: N}` or `{slots: N}`; may be inherited, or a `${…}`"
        ),
    )


def body(task: TaskContext) -> Mapping[str, Any]:
    """The map to repeat. It may be empty, but it has to be there."""
    return task.params.map_("_do")


def check_limit(task: TaskContext, rounds: int) -> None:
    """Fail when there are more rounds than an attempt may have tasks."""
    if rounds > task.task_limit:
        raise TaskFailed(
            f"{rounds} rounds are more than the {task.task_limit} tasks that an attempt may have",
            "operator_task_limit",
            "config",
        )


def repeat(task: TaskContext, do: Mapping[str, Any], rounds: Iterable[tuple[str, Mapping[str, Any]]]) -> Succeeded:
    """One task for each round, given as its name and its variables.

    `_parallel` is handed on as it is, wherever the task has it from: the compiler reads it, as on any group.
    """
    items = [Subtask(short(name), do, data) for name, data in rounds]
    options = {key: task.params[key] for key in ("_parallel",) if key in task.params}
    return Succeeded(subtasks=Subtasks(items=items, options=options) if items else None)


def short(name: str) -> str:
    """The name, or what fits of it and a hash of all of it: always the same for the same item."""
    if len(name) <= LONGEST_NAME:
        return name
    mark = "-" + sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return name[: LONGEST_NAME - len(mark)] + mark
