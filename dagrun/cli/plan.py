"""`dagrun plan`: what a run would do."""

from __future__ import annotations

import os

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.cli.params import param_options, read_params
from dagrun.cli.planning import print_plan, rows_of
from dagrun.cli.settings import load_settings
from dagrun.cli.times import session_time
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, find_project


@click.command("plan", short_help="Show what a run would do.")
@click.argument("workflow")
@click.option("--project", metavar="DIR", help="The project directory.")
@param_options
@click.option("--session", metavar="TIME", help="Session time, as of a run.")
@json_option
def command(
    workflow: str,
    project: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    config: str | None,
    session: str | None,
    as_json: bool,
) -> int:
    """Show each task of WORKFLOW with its command, as far as it is known before it runs. Starts nothing."""
    directory, file = find_project(workflow, project, os.getcwd())
    found = compile_file(Directory(directory), file)
    given = read_params(load_settings(os.environ, config).params, params_file, params)
    at = session_time(found, session)
    if as_json:
        print_json(rows_of(found, given, at))
        return 0
    return print_plan(found, given, at)
