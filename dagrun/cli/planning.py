"""What a run would do, without doing it: each task with its parameters as far as they are known before (features F07)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from dagrun.cli.table import print_table
from dagrun.cli.times import schedule_params
from dagrun.core.check import operator_name
from dagrun.core.javascript import JavaScript
from dagrun.core.kinds import json_text
from dagrun.core.params import Variables
from dagrun.core.reuse import build_tree
from dagrun.core.session import Identity, builtin_variables
from dagrun.core.template import evaluate
from dagrun.core.tree import Task
from dagrun.core.workflow import GENERATED, Workflow
from dagrun.errors import TaskFailed

AT_RUN_TIME = "at run time"
GENERATORS = ("loop>", "for_each>", "for_range>", "call>", "http_call>", "if>", "py>", "rb>")
WIDEST = 100


def print_plan(workflow: Workflow, params: Mapping[str, Any], session_time: int, *, show_params: bool = False) -> int:
    """Print a table of the tasks; records nothing and starts nothing."""
    rows = rows_of(workflow, params, session_time)
    print_table(
        ("task", "operator", "command", "note"),
        [(one["task"], one["operator"], one["command"], one["note"]) for one in rows],
    )
    if show_params:
        for one in rows:
            click.echo(f"{one['task']}: {json_text(one['params'])}")
    return 0


def rows_of(workflow: Workflow, params: Mapping[str, Any], session_time: int) -> list[dict[str, Any]]:
    identity = Identity(0, 0, "", 0, session_time, workflow.timezone)
    tree = build_tree(workflow)
    variables = Variables(tree, {**params, **schedule_params(workflow, session_time)})
    scope = JavaScript().at(workflow.timezone, time.time())
    return [row_of(variables, identity, scope, task) for task in tree.tasks]


def row_of(variables: Variables, identity: Identity, scope: Any, task: Task) -> dict[str, Any]:
    row: dict[str, Any] = {"task": task.full_name, "operator": "", "command": "", "note": "", "params": {}}
    if not task.spec.operator:
        if not next(iter(variables.tree.members(task)), None):
            row["note"] = "does nothing: disabled, or empty"
        return row
    config, name = task.spec.config, operator_name(task.spec)
    row["operator"] = f"{name}>" if name else "_type"
    key = "_command" if "_type" in config else row["operator"]
    seen = variables.visible(task)
    inherited = {**seen.in_order(), **builtin_variables(identity, seen), "task_name": task.full_name}
    try:
        params = evaluate(inherited, config, scope)
        row["params"] = {name: params[name] for name in config if name not in GENERATED}
        command = params.get(key)
    except TaskFailed:
        # What an earlier task stores isn't known yet; a mistake looks the same from here.
        command = config.get(key)
        row["note"] = AT_RUN_TIME
    row["command"] = one_line(command)
    if row["operator"] in GENERATORS and not row["note"]:
        row["note"] = f"its tasks {AT_RUN_TIME}"
    return row


def one_line(command: Any) -> str:
    text = command if isinstance(command, str) else json_text(command) if command is not None else ""
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
