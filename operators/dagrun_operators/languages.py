"""What py> and rb> share: a runner calls the user's code and tells in a file how it went.

The runner is one file of the language itself, which is copied beside its input. It is called with the name of
what to run, `input.json` (`{"params": {…}}`) and `output.json`, which it writes in one piece:
`{"subtask_config", "export_params", "store_params"}`, or `{"error": {"class", "message", "backtrace"}}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from dagrun.plugins.operator import Ended, Params, Subtasks, Succeeded, TaskContext, TaskFailed, TryFile, mark_templates

from .scripts import by_exit_code, fail, refuse_constant, written

INPUT_FILE = "input.json"
OUTPUT_FILE = "output.json"


@cache
def runner(name: str) -> str:
    """The text of a runner."""
    return (files("dagrun_operators") / "runner" / name).read_text(encoding="utf-8")


def what_to_run(params: Params, operator: str) -> str | None:
    """The name of what to call; None when the task has the text of a whole program in `script`."""
    name = "" if params.get("_command") is None else params.text("_command")
    if name.strip():
        return name.strip()
    if params.get("script") is None:
        raise TaskFailed(
            f"{operator}> needs the name of what to call, or a program in `script`",
            "missing (_command)",
            "config",
        )
    return None


def program(params: Params, name: str | None, file: str) -> tuple[list[str | TryFile], dict[str, str]]:
    """Arguments and files: of the runner with what to call, or of the task's own program."""
    text = params.text("script") if name is None else runner(file)
    called = [] if name is None else [name]
    return [TryFile(file), *called, TryFile(INPUT_FILE), TryFile(OUTPUT_FILE)], {
        file: text,
        INPUT_FILE: json.dumps({"params": dict(params)}),
    }


def outcome(language: str, task: TaskContext, end: Ended) -> Succeeded:
    """The result that the runner wrote. Raises TaskFailed: the error that it wrote, or there is none."""
    told = by_exit_code(task, end)
    if told is not None:
        return told
    if end.exit_code:
        fail(f"{language} command failed with code {end.exit_code}{reason(end)}", end)
    result = read_output(end)
    if result is None:
        fail(
            f"{OUTPUT_FILE} does not exist: a program must write its result to the path in its last argument",
            end,
        )
    subtasks = part(result, "subtask_config")
    return Succeeded(
        stored={**written(end), **part(result, "store_params")},
        exported=part(result, "export_params"),
        subtasks=Subtasks(config=mark_templates(subtasks)) if subtasks else None,
    )


def reason(end: Ended) -> str:
    """`: MESSAGE (Class)` and the trace, as far as the runner could still tell."""
    try:
        error = (read_output(end) or {}).get("error")
    except TaskFailed:
        return ""
    if not isinstance(error, dict):
        return ""
    trace = "".join(str(line) for line in error.get("backtrace") or ())
    return f": {error.get('message')} ({error.get('class')})" + (f"\n{trace}" if trace else "")


def read_output(end: Ended) -> Mapping[str, Any] | None:
    try:
        with open(os.path.join(end.directory, OUTPUT_FILE), encoding="utf-8") as file:
            result = json.load(file, parse_constant=refuse_constant)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TaskFailed(f"{OUTPUT_FILE} is not JSON: {error}", "command_failed", "runtime") from None
    if not isinstance(result, dict):
        raise TaskFailed(f"{OUTPUT_FILE} must hold a map", "command_failed", "runtime")
    return result


def part(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = result.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TaskFailed(f"{OUTPUT_FILE}: {name} must be a map", "command_failed", "runtime")
    return value
