"""slack>: post a message to Slack, from a template."""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping
from typing import Any, ClassVar

from dagrun.plugins.operator import (
    Again,
    Command,
    Ended,
    Operator,
    Option,
    Succeeded,
    TaskContext,
    TaskFailed,
    json_text,
)
from dagrun.plugins.templates import fill_in_map

from .http_request import RUNNER, address, answer
from .network import Vault, send

SECRETS = ("slack.url", "notices.slack.url")  # the second one is that of notices: who has set it needs no other
HEADERS = [["Content-Type", "application/json; charset=utf-8", False]]
MOST_RETRIES = 10


class Slack(Operator):
    """Post a message to Slack, by an incoming webhook. Nothing is stored.

    Example:
        _error:
          slack>: {text: "${session_date} failed: ${error.message}"}
          to: "#data"
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text or map", "required", "a file of the project, or the message itself"),
        Option(
            "to", "text", "that of the webhook", "the channel, `#data` or `slack:#data`; `channel` in the message wins"
        ),
        Option("url", "text", "that of the secrets", "the webhook; write `${secret:KEY}`, since who knows it may post"),
        Option("retry", "boolean", "true", "ask again after 5xx and failures of the network"),
        Option("retry_limit", "integer", "10", "how often"),
        Option("timeout", "integer", "30", "seconds, for the whole exchange"),
        Option("slack.url", "secret", meaning="the webhook, without `url`"),
        Option("notices.slack.url", "secret", meaning="the webhook otherwise; notices use it, too"),
    )
    namespaces: ClassVar[tuple[str, ...]] = ("slack",)

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The template, where its name is written out."""
        path = posixpath.normpath(command) if isinstance(command, str) else ""
        return [path] if path in project else []

    def run(self, task: TaskContext) -> Command:
        params = task.params.with_defaults(*self.namespaces)
        vault = Vault(task)
        channel = params.text("to", None)
        payload = {**({"channel": channel.removeprefix("slack:")} if channel else {}), **message(task, vault)}
        url, _, _ = address(url_of(task, params.text("url", None), vault), ("", False), secret=True)
        request = {
            "method": "POST",
            "url": url,
            "shown": "Slack",  # who knows the URL may write there: no message holds it
            "headers": HEADERS,
            "body": json_text(payload),
            "retry": params.boolean("retry", True),
            "retry_limit": params.integer("retry_limit", MOST_RETRIES),
            "timeout": params.integer("timeout", 30),
            "redirects": 0,
            "insecure": False,
            "proxy": None,
        }
        return send(RUNNER, request, vault)

    def ended(self, task: TaskContext, end: Ended) -> Succeeded | Again:
        got = answer(task, end)
        if isinstance(got, Again):
            return got
        if got["status"] >= 300:  # a redirected POST would arrive without its body
            raise TaskFailed(f"Slack did not take the message: it answered {got['status']}", "http_failed")
        return Succeeded()


def message(task: TaskContext, vault: Vault) -> dict[str, Any]:
    """The payload: of a file, whose templates are filled in here, or a map written at the task."""
    command = task.params.get("_command")
    if isinstance(command, Mapping):
        payload = dict(command)
    elif command is not None and command != "":
        path = task.params.text("_command")
        payload = fill_in_map(task.read(path), task, path)
    else:
        raise TaskFailed("slack> needs a file, or a map such as {text: done}", "missing (_command)", "config")
    filled: dict[str, Any] = vault.fill_all(payload)
    return filled


def url_of(task: TaskContext, given: str | None, vault: Vault) -> str:
    if given is not None:
        return vault.fill(given)
    for key in SECRETS:
        url = vault.optional(key)
        if url is not None:
            return url
    raise TaskFailed(
        f"{task.name}: slack> knows no URL; set that of an incoming webhook: dagrun secrets --local --set {SECRETS[0]}",
        "secret_not_found",
        "secret not found",
    )
