"""What http>, http_call> and mail> share: a runner does the network work in a process of its own.

The engine is one thread, and must not wait for a server. So the operator writes all that is to be done into
`request.json` of the try's own directory, secrets included: they never stand in arguments or in the environment.
The runner, a file of the standard library alone, leaves `result.json`: its result, or `{"error": {"message", …}}`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from dagrun.plugins.operator import Command, Ended, TaskFailed, TryFile

from .languages import runner
from .scripts import Secrets

REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
OUT_OF_TIME = 128 + signal.SIGALRM  # the runner's own alarm ended it


def send(runner_file: str, request: Mapping[str, Any], secrets: Secrets) -> Command:
    """The command that carries the request out."""
    return Command(
        # Isolated, and without site-packages: what the project or the user has installed doesn't matter here.
        argv=[sys.executable, "-I", "-S", TryFile(runner_file), TryFile(REQUEST_FILE), TryFile(RESULT_FILE)],
        files={runner_file: runner(runner_file), REQUEST_FILE: json.dumps(request)},
        secrets=tuple(dict.fromkeys(secrets.values)),
    )


def request_of(end: Ended) -> dict[str, Any]:
    """The request as it was sent."""
    with open(os.path.join(end.directory, REQUEST_FILE), encoding="utf-8") as file:
        request: dict[str, Any] = json.load(file)
    return request


def result_of(end: Ended) -> dict[str, Any] | None:
    """What the runner left; None when its alarm went off. Raises TaskFailed when it broke."""
    if end.exit_code == OUT_OF_TIME:
        return None
    try:
        with open(os.path.join(end.directory, RESULT_FILE), encoding="utf-8") as file:
            result: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        raise TaskFailed(
            f"the process that talks to the server ended with code {end.exit_code}; its log says why",
            "operator_crashed",
            "runtime",
        ) from None
    return result


class Vault(Secrets):
    """The task's secrets, some of which need not be there."""

    def optional(self, key: str) -> str | None:
        """The value, or None when there is no such secret."""
        try:
            return self._look_up(key, False)
        except TaskFailed as problem:
            if problem.kind != "secret_not_found":
                raise
            return None

    def fill_all(self, value: Any) -> Any:
        """The value with the secrets in all its texts and keys filled in."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, Mapping):
            return {self.fill(str(key)): self.fill_all(item) for key, item in value.items()}
        return [self.fill_all(item) for item in value] if isinstance(value, list | tuple) else value

    def filled(self, text: str) -> tuple[str, bool]:
        """The text with its secrets, and whether it has any."""
        before = len(self.values)
        return self.fill(text), len(self.values) > before
