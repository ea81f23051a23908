"""Looks at the workflows of a project: what `dagrun check` reports, and what `dagrun run` warns about before it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import click

from dagrun.core.check import ERROR, WARNING, Finding, Operators, called_file, check, groups_around, works_at_top
from dagrun.core.kinds import Option
from dagrun.core.workflow import Workflow
from dagrun.errors import PluginError, UserError, WorkflowError
from dagrun.plugins import registry
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, workflow_files

# Of the neighbours of a workflow, so many bytes are compiled before a run, to warn about broken ones: 20 ms at most.
LOOKED_AT = 50_000
OPERATORS_FOLDER = "operators/"  # of the project; most have none


Known = Callable[[str], tuple[Sequence[Option], bool] | None]


@cache
def built_in(name: str) -> tuple[Sequence[Option], bool] | None:
    """What is known of an operator without running anybody's code."""
    if not registry.OPERATORS.is_trusted(name):
        return None
    operator = registry.OPERATORS.load(name)()
    return operator.options, operator.retries


def asked(directory: str, paths: Collection[str]) -> Known:
    """The same, and what third-party operators say of themselves in a process of their own; raises PluginError."""
    from dagrun.plugins.describe import describe

    @cache
    def known(name: str) -> tuple[Sequence[Option], bool] | None:
        if registry.OPERATORS.is_trusted(name) or name not in operators(paths).names():
            return built_in(name)
        found = describe(name, directory, paths)
        if found.problem:
            raise PluginError(found.problem)
        return found.options, found.retries

    return known


def operators(paths: Collection[str], known: Known = built_in) -> Operators:
    """The operators that a project with these files may use. Raises PluginError when two have the same name."""
    if not any(path.startswith(OPERATORS_FOLDER) for path in paths):
        return Operators(registry.OPERATORS.names, known)
    from dagrun.plugins.local import names_in

    own = names_in(frozenset(paths))
    return Operators(lambda: [*registry.OPERATORS.names(), *own], known)


def findings_of(files: Any, workflow: Workflow) -> list[Finding]:
    paths = frozenset(files.paths())
    return check(workflow, operators(paths), paths)


def check_notify(files: Any, workflow: Workflow) -> None:
    """Raises WorkflowError. Most workflows tell nobody, and need none of the modules."""
    if workflow.notify:
        from dagrun.engine.noticing import check_rules

        check_rules(workflow, files)


def check_times(workflow: Workflow) -> None:
    """Of `schedule` and `sla`. Raises WorkflowError. Most workflows have neither, and need none of the modules."""
    if workflow.schedule is not None:
        from dagrun.schedules.definition import schedules_of

        schedules_of(workflow)
    if workflow.sla is not None:
        from dagrun.core.sla import alarm_of

        alarm_of(workflow, 0)


def advice_of(workflow: Workflow) -> list[Finding]:
    from dagrun.schedules.advice import advice

    return [Finding(WARNING, *one) for one in advice(workflow)]


def called_files(files: Any, workflow: Workflow) -> list[str]:
    """The files in the project's top directory that `call>` names literally, also through each other."""
    paths = frozenset(files.paths())
    found: list[str] = []
    todo = [workflow]
    while todo:
        caller = todo.pop()
        for node in caller.nodes:
            path = called_file(node.spec) if node.spec.operator else None
            if path is None or path not in paths or path in (*found, workflow.file):
                continue
            if works_at_top((node.spec, *groups_around(caller, node))):
                found.append(path)
                todo.append(compile_file(files, path))
    return found


def warn_before_run(files: Any, workflow: Workflow) -> None:
    """The findings as warnings. Raises WorkflowError where a called file of the top directory is broken."""
    called = called_files(files, workflow)
    check_notify(files, workflow)
    for finding in findings_of(files, workflow):
        click.echo(str(finding).replace(f" {ERROR}: ", " warning: ", 1), err=True)
    left = LOOKED_AT
    for file in workflow_files(files):
        if file != workflow.file and file not in called:
            left -= len(files.read(file))
            if left < 0:
                break
            try:
                compile_file(files, file)
            except WorkflowError as problem:
                click.echo(f"warning: {problem}", err=True)


def look_at_all(files: Directory, only: str | None) -> tuple[list[Workflow], list[Finding], list[UserError]]:
    """All workflows of the project, or one: what compiles, what was found, and the errors of the rest."""
    from dagrun.cli.machine import missing_interpreters

    paths = frozenset(files.paths())
    known = asked(files.path, paths)
    try:
        operators(paths)
    except PluginError as problem:
        return [], [], [problem]
    workflows: list[Workflow] = []
    findings: list[Finding] = []
    errors: list[UserError] = []
    for file in [only] if only else workflow_files(files):
        try:
            workflow = compile_file(files, file)
            workflows.append(workflow)
            findings += check(workflow, operators(paths, known), paths)
            check_times(workflow)
            findings += advice_of(workflow)
            findings += missing_interpreters(workflow, files.path)
            check_notify(files, workflow)
        except WorkflowError as problem:
            errors.append(problem)
    return workflows, findings, errors
