"""What sh>, py> and rb> share: the environment of a command, its secrets, and what it leaves behind.

The contract with a command in any language: parameters as JSON in the file $DAGRUN_IN (also
$DAGRUN_PARAMS_FILE), values to store as a JSON map in the file $DAGRUN_OUT, exit code 0 for success.
DAGRUN_TRY and DAGRUN_TMP come from the engine. The operators only describe a command; the engine hands it to
an executor.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from dagrun.plugins.operator import (
    Command,
    Ended,
    Operator,
    Option,
    Params,
    Succeeded,
    TaskContext,
    TaskFailed,
    TryFile,
    docker_options,
)
from dagrun.plugins.secrets import resolve_secrets

PARAMS_FILE = "params.json"
OUT_FILE = "out.json"
CONTRACT = {
    "DAGRUN_IN": TryFile(PARAMS_FILE),
    "DAGRUN_PARAMS_FILE": TryFile(PARAMS_FILE),
    "DAGRUN_OUT": TryFile(OUT_FILE),
}
MEANINGS = ("retry", "skip", "no_retry")  # of `_exit_codes`
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Script(Operator):
    """Base of the operators that run a command."""

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_env", "map", "none", "more variables of the environment; only at the task itself"),
        Option("docker", "map", "none", "run in a container of this `image`"),
        Option("_exit_codes", "map", "none", "what an exit code means: `{75: retry, 77: skip, 65: no_retry}`"),
        Option("*", "any", meaning="any other key is a variable of what runs"),
    )

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:
        told = by_exit_code(task, end)
        if told is not None:
            return told
        if end.exit_code:
            fail(f"Command failed with code {end.exit_code}", end)
        return Succeeded(stored=written(end))


def by_exit_code(task: TaskContext, end: Ended) -> Succeeded | None:
    """What `_exit_codes` says of how it ended (features F08): a success that shows as skipped, None when it says nothing.

    Raises TaskFailed: `retry` is tried again as `_retry` says, without one like a failure of the platform; `no_retry` never is.
    """
    meanings = exit_codes(task.params)
    meaning = meanings.get(end.exit_code)
    if meaning is None:
        return None
    if meaning == "skip":
        return Succeeded(stored=written(end), reason=f"exit code {end.exit_code}")
    again = meaning == "retry"
    raise TaskFailed(
        f"Command failed with code {end.exit_code} ({meaning})",
        "command_failed",
        "runtime",
        platform=again and task.params.get("_retry") is None,
        final=not again,
    )


def exit_codes(params: Params) -> dict[int, str]:
    given = params.optional_map("_exit_codes")
    for code, meaning in given.items():
        if not str(code).isdecimal() or not 0 < int(code) < 256 or meaning not in MEANINGS:
            raise TaskFailed(
                f"_exit_codes: {code}: {meaning} is not known; write codes from 1 to 255 with {', '.join(MEANINGS)}",
                "bad_option",
                "config",
            )
    return {int(code): meaning for code, meaning in given.items()}


class Secrets:
    """Fills `${secret:…}` in and keeps the values, which must be masked in the output."""

    def __init__(self, task: TaskContext) -> None:
        self._task = task
        self.values: list[str] = []

    def fill(self, text: str, *, direct: bool = False) -> str:
        """The text with its secrets. Any other `${word:…}` left in it fails the task, as in Digdag."""
        return resolve_secrets(text, lambda key: self._look_up(key, direct), strict=True)

    def _look_up(self, key: str, direct: bool) -> str:
        value = self._task.secret(key, direct=direct)
        self.values.append(value)
        return value


def command(
    task: TaskContext,
    params: Params,
    argv: Sequence[str | TryFile],
    *,
    files: Mapping[str, str],
    secrets: Secrets,
    environment: Mapping[str, str] | None = None,
    workdir_on_path: bool = False,
) -> Command:
    """The command of a script operator. `_env` wins over `environment`, the contract over both."""
    own = own_environment(task, secrets)
    exit_codes(params)  # a slip in it is to be told before anything has run
    return Command(
        argv=argv,
        environment={**(environment or {}), **own, **CONTRACT},
        files={PARAMS_FILE: json.dumps(dict(params.items())), **files},
        secrets=tuple(dict.fromkeys(secrets.values)),
        image=docker_options(params),
        workdir_on_path=workdir_on_path,
    )


def own_environment(task: TaskContext, secrets: Secrets) -> dict[str, str]:
    """`_env` of the task itself, never an inherited one: it is where secrets are handed to a process.

    `_secrets` leads none of its look-ups elsewhere (spec/operators 1.5).
    """
    if task.local.get("_env") is None:
        return {}
    given = Params(Params(task.local).optional_map("_env"))
    for name in given:
        if not VARIABLE.match(name):
            raise TaskFailed(f"_env: {name!r} can't be the name of a variable", "bad_option", "config")
    return {name: secrets.fill(given.text(name), direct=True) for name, value in given.items() if value is not None}


def written(end: Ended) -> dict[str, Any]:
    """The values that the command wrote to $DAGRUN_OUT. Raises TaskFailed when that isn't a JSON map."""
    path = f"{end.directory}/{OUT_FILE}"
    if not os.access(path, os.F_OK):  # the usual case, for which an exception costs ten times as much
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        values = json.loads(text, parse_constant=refuse_constant) if text.strip() else {}
    except FileNotFoundError:
        return {}
    except ValueError as error:  # of JSON, or of UTF-8
        raise TaskFailed(f"What was written to $DAGRUN_OUT is not JSON: {error}", "bad_output", "runtime") from None
    if not isinstance(values, dict):
        raise TaskFailed(
            f'What was written to $DAGRUN_OUT must be a map, like {{"rows": 3}}; it is {text.strip()[:60]}',
            "bad_output",
            "runtime",
        )
    return values


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def fail(message: str, end: Ended) -> NoReturn:
    """Fail the task; its `_error` sees what it wrote to $DAGRUN_OUT before (features F03)."""
    try:
        stored = written(end)
    except TaskFailed:
        stored = {}  # the command's own failure is the news
    raise TaskFailed(message, "command_failed", "runtime", facts={"stored": stored} if stored else None)
