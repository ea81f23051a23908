"""Templates in texts that an operator reads by itself: files whose `${…}` the engine has not filled in."""

from __future__ import annotations

from typing import Any

from dagrun.core.forms import render_template
from dagrun.core.javascript import JavaScript, Scope
from dagrun.core.template import render
from dagrun.errors import WorkflowError
from dagrun.plugins.operator import TaskContext, TaskFailed

__all__ = ["fill_in", "fill_in_map"]


def fill_in(text: str, task: TaskContext) -> str:
    """The text with its `${…}` evaluated, in view of the task's variables. `${secret:…}` stays.

    Raises TaskFailed(template_error). Plain look-ups cost next to nothing, anything else an engine of its own.
    """
    return render(text, task.params, scope(task))


def fill_in_map(text: str, task: TaskContext, file: str) -> dict[str, Any]:
    """The map that the text of a file holds, YAML or JSON, each `${…}` in its texts evaluated likewise.

    Raises TaskFailed too, for a text that holds no map.
    """
    try:
        return render_template(text, task.params, scope(task), file)
    except WorkflowError as problem:
        raise TaskFailed(str(problem), "bad_template", "config") from None


def scope(task: TaskContext) -> Scope:
    return JavaScript().at(task.params.text("timezone", "UTC"), task.now)
