"""http>: send one HTTP request, and store how it was answered."""

from __future__ import annotations

from typing import ClassVar

from dagrun.plugins.operator import Again, Command, Ended, Operator, Option, Succeeded, TaskContext, TaskFailed

from .http_request import LARGEST_STORED, NAMESPACE, OPTIONS, RUNNER, answer, content_within, request
from .network import Vault, send


class Http(Operator):
    """Send an HTTP request, and store how it was answered.

    `http.last_status` is stored, with `store_content` also `http.last_content`.

    Example:
        +start:
          http>: https://jobs.example.com/api/start
          method: POST
          content: {day: "${session_date}"}
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "the URI; the secret `http.uri` wins over it"),
        Option("store_content", "boolean", "false", "store the answer, of 65,536 characters at most"),
        *OPTIONS,
        Option("http.uri", "secret", meaning="the URI"),
    )
    namespaces: ClassVar[tuple[str, ...]] = (NAMESPACE,)

    def run(self, task: TaskContext) -> Command:
        vault = Vault(task)
        task.params.with_defaults(NAMESPACE).boolean("store_content", False)  # before anything is sent
        uri, is_secret = uri_of(task, vault)
        return send(RUNNER, request(task, vault, uri=uri, uri_is_secret=is_secret), vault)

    def ended(self, task: TaskContext, end: Ended) -> Succeeded | Again:
        got = answer(task, end)
        if isinstance(got, Again):
            return got
        # Only what is stored anew is reset: without store_content an older content stays (spec/operators 5.1).
        stored = {"last_status": got["status"]}
        if task.params.with_defaults(NAMESPACE).boolean("store_content", False):
            stored["last_content"] = content_within(got, LARGEST_STORED, "store_content")
        return Succeeded(stored={"http": stored}, reset=[f"http.{name}" for name in stored])


def uri_of(task: TaskContext, vault: Vault) -> tuple[str, bool]:
    """The URI, and whether it holds secrets. The secret `http.uri` wins over what the task says."""
    secret = vault.optional("http.uri")
    if secret is not None:
        return secret, True
    if task.params.get("_command") is None:
        raise TaskFailed("http> needs a URI, or the secret http.uri", "missing (_command)", "config")
    return vault.filled(task.params.text("_command"))
