"""http_call>: run the workflow that a server answers with."""

from __future__ import annotations

import json
import re
from typing import ClassVar

from dagrun.plugins.operator import (
    Again,
    Command,
    Ended,
    Operator,
    Option,
    Subtasks,
    Succeeded,
    TaskContext,
    TaskFailed,
)
from dagrun.plugins.workflows import body_of

from .http_request import LARGEST_STORED, NAMESPACE, OPTIONS, RUNNER, answer, content_within, request
from .network import Vault, send
from .scripts import refuse_constant

NAME = "http_call.dig"  # as which messages know the answer; no such file is written


class HttpCall(Operator):
    """Run the workflow that a server answers with, as call> does with a file.

    Example:
        +today:
          http_call>: https://plans.example.com/api/plan?day=${session_date}
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "the URI"),
        Option(
            "content_type_override",
            "text",
            "the type of the answer",
            "`application/json` (a map) or `application/x-yaml`",
        ),
        *OPTIONS,
    )
    namespaces: ClassVar[tuple[str, ...]] = (NAMESPACE,)

    def run(self, task: TaskContext) -> Command:
        vault = Vault(task)
        uri, is_secret = vault.filled(task.params.text("_command"))
        return send(RUNNER, request(task, vault, uri=uri, uri_is_secret=is_secret), vault)

    def ended(self, task: TaskContext, end: Ended) -> Succeeded | Again:
        got = answer(task, end)
        if isinstance(got, Again):
            return got
        override = task.params.with_defaults(NAMESPACE).text("content_type_override", None)
        text = workflow_text(content_within(got, LARGEST_STORED, "http_call>"), override or got["content_type"])
        return Succeeded(subtasks=Subtasks(config=body_of(text, NAME, task)))


def workflow_text(content: str, content_type: str | None) -> str:
    """The answer as YAML. Raises TaskFailed for what is no workflow by its type."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "application/x-yaml":
        return content
    if kind == "application/json":
        return yaml_of_json(content)
    answered = f"has the type {kind}" if kind else "has no Content-Type"
    raise TaskFailed(
        f"http_call>: the answer {answered}; it must be application/json or application/x-yaml,"
        " or content_type_override must say which of them it is",
        "http_failed",
    )


def yaml_of_json(content: str) -> str:
    """JSON of a map as YAML that means the same: what YAML doesn't take as it stands is escaped."""
    try:
        value = json.loads(content, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise TaskFailed(f"http_call>: the answer is not JSON: {problem}", "bad_answer", "runtime") from None
    if not isinstance(value, dict):
        raise TaskFailed("http_call>: the answer must be a map of tasks", "bad_answer", "runtime")
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", text)
