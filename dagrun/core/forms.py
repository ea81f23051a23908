"""Maps that people write as a file of their own, with `${…}` in their texts: what a notice or a message looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dagrun.core.config import Template, mark_templates
from dagrun.core.expression import Expression
from dagrun.core.template import Scope, render
from dagrun.core.yaml import load
from dagrun.errors import TaskFailed


class OnlyNames:
    """Stands for the engine where there is none: `${a.b[0]}` is looked up without it."""

    def run(self, text: str, expressions: Sequence[Expression], view: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        raise TaskFailed(
            f"Failed to evaluate a variable {text} (only names can be used here, such as ${{error.message}})",
            "template_error",
            "config",
        )

    def parses(self, source: str) -> bool:  # noqa: ARG002
        return True

    def file(self, task: str, path: str) -> str:
        raise TaskFailed(f'{task}.file("{path}"): only tasks can ask for files', "template_error", "config")


def render_template(
    text: str, facts: Mapping[str, Any], javascript: Scope | None = None, file: str = "template"
) -> dict[str, Any]:
    """The map that a template holds, YAML or JSON, each `${…}` in its texts filled in from the facts.

    It is read first and filled in then, so that no fact can change its form. With `javascript`, a `${…}` may hold an
    expression; otherwise a name. Raises WorkflowError for a text that holds no map, TaskFailed(`template_error`) for a
    name that is no fact.
    """
    return {key: filled(value, facts, javascript or OnlyNames()) for key, value in read_template(text, file).items()}


def read_template(text: str, file: str = "template") -> Mapping[str, Any]:
    """The map, its texts with a `$` marked as templates. JSON is read as such: YAML takes no tabs."""
    if text.lstrip().startswith("{"):
        try:
            found: Mapping[str, Any] = mark_templates(json.loads(text))
        except ValueError:
            pass  # a map in YAML's short form, or a mistake that the reader of YAML explains
        else:
            return found
    return load(text, file)


def filled(value: Any, facts: Mapping[str, Any], javascript: Scope) -> Any:
    """A copy of the value, each template in it filled in; a template sees the facts, and nothing else of its map."""
    if isinstance(value, Template):
        return render(value, facts, javascript)
    if isinstance(value, Mapping):
        return {key: filled(item, facts, javascript) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, facts, javascript) for item in value]
    return value
