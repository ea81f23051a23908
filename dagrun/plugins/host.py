"""Runs one call of a third-party operator in a process of its own: JSON in, JSON out.

    command(…) -> Command      the engine runs it like that of any task: with its limits, its log and its kill
    answer(…)  -> Answer       what the operator returned, or how it failed, once that command has ended

    python -P -m dagrun.plugins.host request.json result.json      in the task's working directory

So a plug-in can neither block the engine nor take it down, and what it prints is the task's output. The
process has no way to the store: the request holds all that the operator may know, including the secrets that
it may ask for. The engine chooses these, and masks them all in the output; the file is deleted as soon as it
has been read. `call>` and `require>` need the engine and aren't there for plug-ins.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dagrun.errors import PluginError
from dagrun.plugins import registry
from dagrun.plugins.operator import (
    Again,
    Command,
    Ended,
    Operator,
    Params,
    Result,
    Subtask,
    Subtasks,
    Succeeded,
    TaskContext,
    TaskFailed,
    TryFile,
)  # fmt: skip

REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
METHODS = ("run", "ended", "cancel")


# -- the engine's side


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the call: a result, or a failure with what its class says about retries."""

    result: Result | Command | None = None
    failure: TaskFailed | None = None
    retries: bool = True  # whether the task's `_retry` covers this failure
    warnings: Sequence[str] = ()


def command(
    operator: str, method: str, task: TaskContext, *, secrets: Mapping[str, str], end: Ended | None = None
) -> Command:
    """The command that calls `run`, `ended` (with `end`) or `cancel` of the operator."""
    return Command(
        argv=[sys.executable, "-P", "-m", __spec__.name, TryFile(REQUEST_FILE), TryFile(RESULT_FILE)],
        files={REQUEST_FILE: encode_request(operator, method, task, secrets=secrets, end=end)},
        secrets=tuple(secrets.values()),
    )


def encode_request(
    operator: str, method: str, task: TaskContext, *, secrets: Mapping[str, str], end: Ended | None = None
) -> str:
    """The request as JSON. It holds secrets: the file must be readable by its owner only."""
    known = {
        "name": task.name, "params": dict(task.params), "local": dict(task.local), "memo": dict(task.memo),
        "now": task.now, "task_limit": task.task_limit, "workdir": task.workdir, "secrets": dict(secrets),
    }  # fmt: skip
    return json.dumps({"operator": operator, "method": method, "task": known, "end": end._asdict() if end else None})


def answer(operator: str, end: Ended) -> Answer:
    """Read what the process left. One that left nothing crashed, and the task failed."""
    try:
        with open(os.path.join(end.directory, RESULT_FILE), encoding="utf-8") as file:
            return decode_result(file.read())
    except FileNotFoundError:
        message = f"Operator {operator}> ended its process with code {end.exit_code} and gave no result"
        return Answer(failure=TaskFailed(message, "operator_crashed", "runtime"))


def decode_result(text: str) -> Answer:
    """The answer in a result file, which only `main` below writes."""
    data = json.loads(text)
    warnings, retries = data["warnings"], data["retries"]
    if "failed" in data:
        return Answer(failure=TaskFailed(**data["failed"]), retries=retries, warnings=warnings)
    return Answer(DECODERS[data["kind"]](data["result"]), retries=retries, warnings=warnings)


def decode_succeeded(data: dict[str, Any]) -> Succeeded:
    generated = data["subtasks"]
    if generated is not None:
        items = tuple(Subtask(**item) for item in generated["items"])
        generated = Subtasks(**generated | {"items": items})
    return Succeeded(**data | {"subtasks": generated, "reset": tuple(data["reset"])})


def decode_command(data: dict[str, Any]) -> Command:
    return Command(
        **data | {
            "argv": tuple(decode_word(word) for word in data["argv"]),
            "environment": {name: decode_word(word) for name, word in data["environment"].items()},
            "files": {name: decode_file(content) for name, content in data["files"].items()},
            "secrets": tuple(data["secrets"]),
        }
    )  # fmt: skip


def decode_word(word: Any) -> str | TryFile:
    return TryFile(word["file"]) if isinstance(word, dict) else str(word)


def decode_file(content: Any) -> str | bytes:
    return base64.b64decode(content["base64"]) if isinstance(content, dict) else str(content)


DECODERS: Mapping[str, Any] = {
    "succeeded": decode_succeeded,
    "again": lambda data: Again(**data),
    "command": decode_command,
}


# -- the operator's side


@dataclass(slots=True)
class HostedTask:
    """The TaskContext that a plug-in sees."""

    name: str
    params: Params
    local: Mapping[str, Any]
    memo: Mapping[str, Any]
    now: float
    task_limit: int
    workdir: str
    secrets: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def secret(self, key: str, *, direct: bool = False) -> str:  # noqa: ARG002
        if key not in self.secrets:
            raise TaskFailed(f"Secret not found for key: '{key}'", "secret_not_found", "secret not found")
        return self.secrets[key]

    def print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def notify(self, text: str) -> None:
        self.warn(text)

    def read(self, path: str) -> str:
        place = os.path.realpath(path)
        if os.path.commonpath([place, self.top()]) != self.top():
            raise TaskFailed(f"{path} is outside of the project", "outside_project", "config")
        try:
            with open(place, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            raise TaskFailed(f"File not found: {path}", "file_not_found", "config") from None
        except (OSError, UnicodeDecodeError) as error:
            raise TaskFailed(f"{path} can't be read: {error}", "file_not_readable", "config") from None

    def find(self, program: str) -> str | None:
        return shutil.which(os.path.join(self.top(), program) if "/" in program else program)

    def workflow(self, path: str) -> NoReturn:
        raise TaskFailed(f"{path}: only call> can load a workflow", "not_supported", "config")

    def require(self, workflow: str, **_: Any) -> NoReturn:
        raise TaskFailed(f"{workflow}: only require> can start a workflow", "not_supported", "config")

    def top(self) -> str:
        """The top of the project; the process was started in the working directory."""
        return os.path.realpath(os.path.relpath(".", self.workdir or "."))


def main(request_file: str, result_file: str) -> None:
    """Make one call and write how it went. The process ends with code 0 then, also when the task failed."""
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    os.unlink(request_file)
    end = Ended(**request["end"]) if request["end"] else None
    task = HostedTask(**request["task"] | {"params": Params(request["task"]["params"])})
    text = make_call(request["operator"], request["method"], task, end)
    with open(f"{result_file}.part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{result_file}.part", result_file)


def make_call(name: str, method: str, task: HostedTask, end: Ended | None) -> str:
    """The result file's contents, whatever the operator does."""
    retries = True
    try:
        operator = registry.OPERATORS.load(name)()
        retries = operator.retries
        result = call(operator, method, task, end)
        kind, encoded = encode(name, result)
        outcome = {"kind": kind, "result": encoded}
        return json.dumps({**outcome, "retries": retries, "warnings": task.warnings}, allow_nan=False)
    except TaskFailed as error:
        failure = error
    except PluginError as error:
        failure = TaskFailed(str(error), "plugin_error", "config")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        failure = TaskFailed(f"{type(error).__name__}: {error}", "operator_error", "runtime")
    failed = {name: getattr(failure, name) for name in ("message", "kind", "category", "platform", "facts")}
    return json.dumps({"failed": failed, "retries": retries, "warnings": task.warnings})


def call(operator: Operator, method: str, task: HostedTask, end: Ended | None) -> Result | Command:
    if method == "run":
        return operator.run(task)
    if method == "ended" and end is not None:
        return operator.ended(task, end)
    operator.cancel(task)
    return Succeeded()


def encode(name: str, result: object) -> tuple[str, dict[str, Any]]:
    """The kind of the result and its fields as JSON values."""
    if isinstance(result, Command):
        return "command", encode_command(result)
    if isinstance(result, Succeeded):
        return "succeeded", plain(result)
    if isinstance(result, Again):
        return "again", plain(result)
    raise TaskFailed(
        f"Operator {name}> returned {result!r}; it must return Succeeded, Again or Command",
        "bad_result",
        "runtime",
    )


def plain(value: Any) -> Any:
    """A result as JSON values: named tuples become maps."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def encode_command(result: Command) -> dict[str, Any]:
    return {
        "argv": [encode_word(word) for word in result.argv],
        "environment": {name: encode_word(word) for name, word in result.environment.items()},
        "files": {name: encode_file(content) for name, content in result.files.items()},
        "secrets": list(result.secrets),
        "image": result.image,
        "workdir_on_path": result.workdir_on_path,
    }


def encode_word(word: str | TryFile) -> Any:
    return {"file": word.name} if isinstance(word, TryFile) else word


def encode_file(content: str | bytes) -> Any:
    return {"base64": base64.b64encode(content).decode("ascii")} if isinstance(content, bytes) else content


if __name__ == "__main__":
    main(*sys.argv[1:])
