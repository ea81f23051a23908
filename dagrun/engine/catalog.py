"""The projects of a daemon: read from their directories, checked, and taken over whole or not at all.

read(place, …) -> Candidate     a directory's workflows and schedules, each compiled and checked; raises Refused
Catalog.take_over(candidate)    its revision and its schedules are those of the store, in one transaction
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.decide import Planned
from dagrun.core.sla import alarm_of
from dagrun.core.workflow import Workflow
from dagrun.engine.local import Revision
from dagrun.engine.noticing import check_rules
from dagrun.engine.owners import place_of
from dagrun.engine.rows import decode
from dagrun.engine.timetable import Key, take_over
from dagrun.errors import NotFound, UserError, WorkflowError
from dagrun.light import NamedTuple
from dagrun.project.archive import Snapshot, snapshot
from dagrun.project.loader import compile_file, name_of, workflow_file, workflow_files
from dagrun.project.sources import Place
from dagrun.schedules.definition import schedules_of
from dagrun.store.base import AttemptRow, RevisionRow, ScheduleRow, Store, Tx


class Refused(UserError):
    """A project that is not valid as a whole; `problems` says why, a line each."""

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.name = name
        self.problems = problems


@dataclass
class Candidate:
    """A project that could be taken over."""

    place: Place
    digest: str
    manifest: Mapping[str, Any]
    files: Any
    workflows: dict[str, Workflow]
    planned: dict[Key, Planned]
    paths: frozenset[str]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by workflow: the files that it was compiled from

    def workflow_digests(self) -> dict[str, Any]:
        """Changes when a workflow does; other files change more often than people want to hear."""
        return {name: self.manifest[workflow.file or ""] for name, workflow in self.workflows.items()}

    def schedules(self, workflow: str) -> dict[Key, Planned]:
        found: dict[Key, Planned] = {}
        while (key := (workflow, len(found))) in self.planned:
            found[key] = self.planned[key]
        return found


Check = Callable[[frozenset[str], Workflow], list[str]]


class Noted(NamedTuple):
    """Files, and which of them were read."""

    files: Any
    seen: list[str]

    def read(self, path: str) -> bytes:
        self.seen.append(path)
        found: bytes = self.files.read(path)
        return found

    def paths(self) -> list[str]:
        found: list[str] = self.files.paths()
        return found


def read(place: Place, state_dir: str, check: Check, before: Candidate | None = None) -> Candidate:
    """Raises Refused with every error of every file; `check` gives further ones of a workflow, from the paths of all files.

    Of a valid candidate `before` it takes what is still the same, so that a change of one file costs what that file costs.
    """
    digest, manifest = snapshot(place.directory, state_dir, f"index-{place.name}")
    files = Snapshot(manifest, os.path.join(state_dir, "objects"))
    paths = frozenset(files.paths())
    if before is not None and before.paths == paths:
        paths = before.paths  # the same one, so that it is compared once
    found = Candidate(place, digest, manifest, files, {}, {}, paths)
    problems: list[str] = []
    for path in workflow_files(files):
        try:
            read_workflow(found, path, problems, check, before)
        except (WorkflowError, UserError) as problem:
            problems.append(str(problem))
    if problems:
        raise Refused(place.name, list(dict.fromkeys(problems)))
    return found


def read_workflow(found: Candidate, path: str, problems: list[str], check: Check, before: Candidate | None) -> None:
    old = unchanged(found, path, before)
    noted = Noted(found.files, [])
    workflow = old or compile_file(noted, path)
    if workflow.name in found.workflows:
        raise UserError(f"{found.workflows[workflow.name].file} and {path} would be one workflow; rename one of them")
    found.workflows[workflow.name] = workflow
    if old and before:
        found.parts[old.name] = before.parts[old.name]
        found.planned.update(before.schedules(old.name))
    else:
        found.parts[workflow.name] = tuple(noted.seen)
        for position, planned in enumerate(schedules_of(workflow)):
            found.planned[workflow.name, position] = planned
        alarm_of(workflow, 0)
    check_rules(workflow, found.files)
    if not old or not before or before.paths is not found.paths:
        problems += check(found.paths, workflow)


def unchanged(found: Candidate, path: str, before: Candidate | None) -> Workflow | None:
    """The workflow of that file as it was compiled before, if all files that it came from are as they were."""
    workflow = before.workflows.get(name_of(path)) if before else None
    if before is None or workflow is None or workflow.file != path:
        return None
    for part in before.parts[workflow.name]:
        entry = found.manifest.get(part)
        if entry is None or entry[0] != "file" or entry != before.manifest.get(part):  # behind a link: who knows
            return None
    return workflow


@dataclass
class Known:
    """A project that was taken over."""

    candidate: Candidate
    revision: Revision


@dataclass
class Catalog:
    """See `scheduler.Projects`. `attempt_options` are given to every attempt."""

    store: Store
    state_dir: str
    attempt_options: Mapping[str, Any] = field(default_factory=dict)
    projects: dict[int, Known] = field(default_factory=dict)
    old: dict[tuple[int, str], Revision] = field(default_factory=dict)  # by revision and tree; of earlier attempts

    def take_over(self, candidate: Candidate, now: int, clear: Collection[str] = (), *, goes_on: bool = False) -> int:
        """Its id. Attempts that are at work keep their revision."""
        text = json.dumps(candidate.manifest, separators=(",", ":"), ensure_ascii=False)
        with self.store.transaction() as tx:
            project = tx.ensure_project(candidate.place.name)
            tx.lock_project(project.id)
            row = tx.ensure_revision(project.id, candidate.digest, text)
            take_over(tx, project.id, row.id, candidate.planned, now, clear, goes_on=goes_on)
        self.projects[project.id] = Known(candidate, self.make_revision(row, candidate))
        return project.id

    def make_revision(self, row: RevisionRow, candidate: Candidate) -> Revision:
        def workflow(name: str) -> Workflow:
            found = candidate.workflows.get(name)
            if found is None:
                raise NotFound("workflow", name, list(candidate.workflows))
            return found

        return Revision(row, candidate.files, candidate.manifest, candidate.place.directory, workflow)

    def candidate(self, name: str) -> Candidate | None:
        """The project of that name as it was taken over last."""
        return next((one.candidate for one in self.projects.values() if one.candidate.place.name == name), None)

    def known(self, project_id: int) -> Known:
        try:
            return self.projects[project_id]
        except KeyError:
            raise NotFound("project", str(project_id), hint="it is not among those of this daemon") from None

    # -- for the scheduler

    def ids(self) -> list[int]:
        return list(self.projects)

    def planned(self, row: ScheduleRow) -> Planned:
        found = self.known(row.project_id).candidate.planned.get((row.workflow, row.position))
        if found is None:
            raise NotFound("schedule", row.workflow)
        return found

    def schedules(self, workflow: Workflow) -> Sequence[Planned]:
        """Those of a workflow, which is a project's newest as a rule."""
        for known in self.projects.values():
            if known.candidate.workflows.get(workflow.name) is workflow:
                return list(known.candidate.schedules(workflow.name).values())
        return schedules_of(workflow, strict=False)

    def workflow(self, project_id: int, name: str) -> Workflow:
        return self.known(project_id).revision.workflow(name)

    def revision(self, project_id: int) -> Revision:
        return self.known(project_id).revision

    def options(self, project_id: int) -> Mapping[str, Any]:
        commit = self.known(project_id).candidate.place.commit
        return {**self.attempt_options, "commit": commit} if commit else self.attempt_options

    def revision_of(self, tx: Tx, row: AttemptRow) -> Revision:
        for known in self.projects.values():
            if known.revision.row.id == row.revision_id:
                return known.revision
        tree = (decode(row.options).get("commit") or {}).get("tree", "")
        if (row.revision_id, tree) not in self.old:
            self.old[row.revision_id, tree] = self.load(tx.get_revision(row.revision_id), row, tree)
        return self.old[row.revision_id, tree]

    def load(self, row: RevisionRow, attempt: AttemptRow, tree: str) -> Revision:
        """An older revision, from the archive. Its project's directory is its commit's tree, or else the one of today."""
        manifest = json.loads(row.manifest)
        state_dir = place_of(attempt, self.state_dir)
        files = Snapshot(manifest, os.path.join(state_dir, "objects"))
        known = self.projects.get(row.project_id)
        directory = known.candidate.place.directory if known else os.path.dirname(state_dir)
        if tree:
            directory = os.path.join(state_dir, tree)
        return Revision(row, files, manifest, directory, lambda name: compile_file(files, workflow_file(files, name)))
