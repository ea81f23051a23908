"""`dagrun plan`: what a run would do."""

from __future__ import annotations

import os
import time

import click

from dagrun.cli.opened import json_option, print_json
from dagrun.cli.params import param_options, read_params
from dagrun.cli.planning import print_plan, rows_of
from dagrun.cli.settings import load_settings
from dagrun.core.session import bad_session_time, parse_session_time, start_of_day
from dagrun.core.zone import zone
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, find_project


@click.command("plan", short_help="Show what a run would do.")
@click.argument("workflow")
@click.option("--project", metavar="DIR", help="The project directory.")
@param_options
@click.option("--session", metavar="TIME", help="Session time; today by default.")
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
    place = zone(found.timezone)
    at = start_of_day(time.time_ns() // 1000, place) if session is None else parse_session_time(session, place)
    if at is None:
        raise bad_session_time(str(session))
    if as_json:
        print_json(rows_of(found, given, at))
        return 0
    return print_plan(found, given, at)
