"""Templates in texts that an operator reads by itself: files whose `${…}` the engine has not filled in."""

from __future__ import annotations

from dagrun.core.javascript import JavaScript
from dagrun.core.template import render
from dagrun.plugins.operator import TaskContext

__all__ = ["fill_in"]


def fill_in(text: str, task: TaskContext) -> str:
    """The text with its `${…}` evaluated, in view of the task's variables. `${secret:…}` stays.

    Raises TaskFailed(template_error). Plain look-ups cost next to nothing, anything else an engine of its own.
    """
    return render(text, task.params, JavaScript().at(task.params.text("timezone", "UTC"), task.now))
