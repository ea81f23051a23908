"""`dagrun check`: everything that can be said of workflows without running them."""

from __future__ import annotations

import os
from typing import Any

import click

from dagrun.cli.checking import look_at_all
from dagrun.cli.opened import json_option, print_json
from dagrun.cli.params import param_options, read_params
from dagrun.cli.settings import load_settings
from dagrun.core.check import ERROR, Finding
from dagrun.errors import NotFound, UserError, WorkflowError
from dagrun.project.archive import Directory
from dagrun.project.loader import find_project


@click.command("check", short_help="Check workflows without running them.")
@click.argument("workflow", required=False)
@click.option("--project", metavar="DIR", help="The project directory.")
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@param_options
@json_option
def command(
    workflow: str | None,
    project: str | None,
    strict: bool,
    params: tuple[str, ...],
    params_file: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Check WORKFLOW, or all workflows of the project. Exit code 2 if there is an error."""
    read_params(load_settings(os.environ, config).params, params_file, params)
    directory, only = os.path.abspath(project or "."), None
    if workflow is not None:
        directory, only = find_project(workflow, project, os.getcwd())
    elif not os.path.isdir(directory):
        raise NotFound("directory", directory)
    workflows, findings, errors = look_at_all(Directory(directory), only)
    failed = bool(errors) or any(strict or one.level == ERROR for one in findings)
    if as_json:
        print_json(
            {
                "workflows": [
                    {"name": one.name, "file": one.file, "tasks": len(one.nodes), "timezone": one.timezone}
                    for one in workflows
                ],
                "findings": [*map(error_object, errors), *map(finding_object, findings)],
            }
        )
        return 2 if failed else 0
    for one in workflows:
        click.echo(f"{one.file}: {len(one.nodes)} tasks, {one.timezone}")
    for problem in errors:
        click.echo(f"error: {problem}")
    for finding in findings:
        click.echo(str(finding))
    if not workflows and not errors:
        click.echo(f"no workflows in {directory}")
    return 2 if failed else 0


def error_object(problem: UserError) -> dict[str, Any]:
    found = problem if isinstance(problem, WorkflowError) else WorkflowError(str(problem), kind="error")
    return {
        "level": ERROR, "kind": found.kind, "message": found.message, "file": found.file, "line": found.line,
        "column": found.column, "task": found.task, "hint": found.hint,
    }  # fmt: skip


def finding_object(finding: Finding) -> dict[str, Any]:
    file, line, column = finding.place
    return {
        "level": finding.level, "kind": finding.kind, "message": finding.message, "file": file, "line": line,
        "column": column, "task": finding.task, "hint": finding.hint,
    }  # fmt: skip
