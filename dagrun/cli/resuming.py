"""Plans: which tasks of an earlier attempt a new one takes over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagrun.cli.checking import operators
from dagrun.cli.opened import Opened
from dagrun.cli.running import revision_of
from dagrun.cli.times import schedule_params
from dagrun.core.resume import Side, Wish, below, one_task, ordered_before, plan
from dagrun.core.reuse import Plan
from dagrun.core.tree import TaskTree
from dagrun.core.workflow import TaskSpec, Workflow
from dagrun.engine.rows import decode, load_tree
from dagrun.plugins import registry
from dagrun.project.archive import Snapshot
from dagrun.store.base import AttemptRow, RevisionRow


def declared_files(files: Snapshot, spec: TaskSpec) -> dict[str, str]:
    """The digests of the project files that a task's operator declares as files, from its unevaluated keys (F38)."""
    name, command_text = operator_of(spec)
    if name is None:
        return {}
    if registry.OPERATORS.is_trusted(name):
        declared = registry.OPERATORS.load(name)().files(command_text, spec.config, files.manifest)
    else:  # an operator of the project's own counts with its code
        from dagrun.plugins.local import files_behind

        declared = files_behind(name, files.manifest)
    found = {}
    for path in declared:
        digest = files.digest(os.path.normpath(path))
        if digest is not None:
            found[path] = digest
    return found


def operator_of(spec: TaskSpec) -> tuple[str | None, Any]:
    if spec.config.get("_type") is not None:
        return str(spec.config["_type"]), spec.config.get("_command")
    for key, value in spec.config.items():
        if key.endswith(">"):
            return key[:-1], value
    return None, None


def old_side(opened: Opened, row: AttemptRow) -> tuple[TaskTree, Side]:
    with opened.store.reading() as tx:
        session = tx.get_session(row.session_id)
        revision = revision_of(opened, tx.get_revision(row.revision_id), row)
        rows = tx.load_tasks(row.id)
    workflow = revision.workflow(session.workflow)
    return load_tree(workflow, rows, row.version), Side(
        workflow, decode(row.params), lambda spec: declared_files(revision.files, spec)
    )


def make_plan(
    opened: Opened, workflow: Workflow, revision: RevisionRow, old: AttemptRow, params: Mapping[str, Any], wish: Wish
) -> Plan:
    """What a new attempt of `workflow` takes over from `old`. Raises UserError."""
    tree, before = old_side(opened, old)
    files = revision_of(opened, revision).files
    operators(frozenset(files.manifest))  # two of one name are refused here, too
    with opened.store.reading() as tx:
        times = schedule_params(workflow, tx.get_session(old.session_id).session_time)
    after = Side(workflow, {**params, **times}, lambda spec: declared_files(files, spec))
    return plan(tree, old.id, before, after, wish)


def plan_for_run(
    opened: Opened,
    workflow: Workflow,
    revision: RevisionRow,
    old: AttemptRow | None,
    params: Mapping[str, Any],
    wanted: Any,
) -> Plan:
    """For `dagrun run`: go on with the old attempt, within `--start`, `--goal`, `--end` or the task that was named."""
    forced = wanted.goal or wanted.task  # what comes after these isn't taken over: it would be of another run of them
    made = make_plan(opened, workflow, revision, old, params, Wish(start=forced)) if old is not None else Plan([])
    nodes = workflow.nodes
    everything = {node.index for node in nodes}
    if wanted.start or wanted.goal:
        target = one_task(workflow, wanted.start or wanted.goal)
        before = ordered_before(nodes, target)
        inside = {node.index for node in below(nodes, target)}
        if wanted.goal:
            skip(made, workflow, everything - before - inside)
        else:
            keep(made, before)
    if wanted.end:
        skip(made, workflow, everything - ordered_before(nodes, one_task(workflow, wanted.end)))
    if wanted.task:
        target = one_task(workflow, wanted.task)
        inside = {node.index for node in below(nodes, target)}
        skip(made, workflow, everything - inside)
    return made


def keep(made: Plan, indexes: set[int]) -> None:
    """Only these may be taken over."""
    made.reused = {index: task for index, task in made.reused.items() if index in indexes}
    made.below = {index: tasks for index, tasks in made.below.items() if index in indexes}
    made.carried = {}


def skip(made: Plan, workflow: Workflow, indexes: set[int]) -> None:
    """These operator tasks count as done without having run; groups end by themselves."""
    made.skipped |= {index for index in indexes if workflow.nodes[index].spec.operator and index not in made.reused}
