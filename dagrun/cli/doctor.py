"""`dagrun doctor`: what this machine has, and what the workflows of the project miss on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import click

from dagrun.cli.checking import asked, operators
from dagrun.cli.machine import Program, all_tasks, found_programs, missing_interpreters, named_interpreters
from dagrun.cli.opened import Opened, json_option, print_json
from dagrun.cli.table import print_table
from dagrun.core.check import operator_name
from dagrun.core.workflow import Node, Workflow
from dagrun.errors import NotFound, PluginError, UserError
from dagrun.light import NamedTuple
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, workflow_files

GIGABYTE = 1e9
NEEDS = {"sh": "sh", "rb": "ruby", "node": "node"}  # operator → program, where the task names no other


class Need(NamedTuple):
    what: str
    remedy: str


class Looked(NamedTuple):
    """A workflow: the operators that it uses, and what they miss here."""

    file: str
    operators: Sequence[str]
    missing: Sequence[Need]


@click.command("doctor", short_help="Say what this machine has, and what workflows miss.")
@click.option("--project", metavar="DIR", help="The project directory.")
@click.option("-c", "--config", metavar="FILE", help="Settings, instead of ~/.config/dagrun/config.toml.")
@json_option
def command(project: str | None, config: str | None, as_json: bool) -> int:
    """Show interpreters, programs and the engine for containers, and what each workflow of the project misses.

    Exit code 1 if a workflow misses something.
    """
    directory = os.path.abspath(project or ".")
    if not os.path.isdir(directory):
        raise NotFound("directory", directory)
    opened = Opened(directory, None, config)
    found = found_programs()
    files = Directory(opened.project_dir)
    looked = [look_at(files, file, found, opened) for file in workflow_files(files)]
    places = places_of(opened)
    if as_json:
        print_json(
            {
                "dagrun": version("dagrun"),
                "places": [one._asdict() for one in places],
                "programs": [one._asdict() for one in found],
                "workflows": [{**one._asdict(), "missing": [need._asdict() for need in one.missing]} for one in looked],
            }
        )
    else:
        show(found, places, looked)
    return 1 if any(one.missing for one in looked) else 0


def places_of(opened: Opened) -> list[Program]:
    """Where state and files go, and whether they can."""
    above = opened.state_dir
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    problem = None if os.access(above, os.W_OK) else "can't be written to"
    free = f"{shutil.disk_usage(above).free / GIGABYTE:.1f} GB free"
    store = opened.settings.values.get("files.store") or os.path.join(opened.state_dir, "files")
    return [Program("state", free, opened.state_dir, problem), Program("files", None, store, problem_of_files(opened))]


def problem_of_files(opened: Opened) -> str | None:
    from dagrun.files.store import open_files

    try:
        open_files(opened.settings.values.get("files.store"), opened.state_dir, "doctor")
    except UserError as problem:
        return str(problem)
    return None


def look_at(files: Directory, file: str, found: Sequence[Program], opened: Opened) -> Looked:
    try:
        workflow = compile_file(files, file)
    except UserError as unreadable:
        return Looked(file, (), [Need(str(unreadable), "dagrun check tells more")])
    tasks = [one for one in all_tasks(workflow.nodes) if one[0].spec.operator]
    used = sorted({name for node, _ in tasks if (name := operator_name(node.spec))})
    missing = dict.fromkeys(needs_of(workflow, tasks, files, found))
    if any("_outputs" in node.spec.config for node, _ in tasks) and (problem := problem_of_files(opened)):
        missing[Need("the store of files", problem)] = None
    return Looked(file, used, list(missing))


def needs_of(
    workflow: Workflow, tasks: Sequence[tuple[Node, bool]], files: Directory, found: Sequence[Program]
) -> Iterator[Need]:
    there = {one.name for one in found if one.path is not None and one.problem is None}
    paths = frozenset(files.paths())
    known = asked(files.path, paths)
    names = operators(paths).names()
    exported = {option for node, option, _ in named_interpreters(workflow) if not node.spec.operator}
    for node, in_container in tasks:
        name = operator_name(node.spec)
        if name is None:
            continue
        if name not in names:
            yield Need(
                f"operator {name}>", "install the package that brings it; dagrun operators lists those that are here"
            )
            continue
        try:
            known(name)
        except PluginError as problem:
            yield Need(f"operator {name}>", str(problem))
        if in_container:
            if "docker" not in there:
                yield Need("docker", "install the Docker client (docker.io, docker-ce-cli)")
            elif "docker engine" not in there:
                yield Need("docker engine", "start it (systemctl start docker), or set DOCKER_HOST")
            continue
        program = NEEDS.get(name)
        chosen = program in exported or node.spec.config.get(program or "") or node.spec.config.get("shell")
        if program and program not in there and not chosen:
            yield Need(program, f"install {program}; {name}> needs it ({node.full_name})")
    for finding in missing_interpreters(workflow, files.path):
        yield Need(
            finding.message.removeprefix("there is no ").removesuffix(" on this machine"),
            f"{finding.hint} ({finding.task})",
        )


def show(found: Sequence[Program], places: Sequence[Program], looked: Sequence[Looked]) -> None:
    own = Program("dagrun", version("dagrun"), os.path.dirname(sys.executable))
    rows = [(one.name, one.version or "", one.problem or one.path or "") for one in (own, *places, *found)]
    print_table(("what", "version", "where"), rows)
    if not looked:
        return
    click.echo()
    lines = []
    for one in looked:
        used = " ".join(f"{name}>" for name in one.operators)
        lines.append((one.file, used, ", ".join(need.what for need in one.missing) or "nothing"))
    print_table(("workflow", "operators", "misses"), lines)
    for one in looked:
        for need in one.missing:
            click.echo(f"{one.file}: {need.what}: {need.remedy}", err=True)
