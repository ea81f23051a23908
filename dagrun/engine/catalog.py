"""The projects of a daemon: read from their directories, checked, and taken over whole or not at all.

read(place, …) -> Candidate     a directory's workflows and schedules, each compiled and checked; raises Refused
Catalog.take_over(candidate)    its revision and its schedules are those of the store, in one transaction
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.decide import Planned
from dagrun.core.sla import alarm_of
from dagrun.core.workflow import Workflow
from dagrun.engine.local import Revision
from dagrun.engine.owners import place_of
from dagrun.engine.timetable import Key, take_over
from dagrun.errors import NotFound, UserError, WorkflowError
from dagrun.project.archive import Snapshot, snapshot
from dagrun.project.loader import compile_file, workflow_file, workflow_files
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

    def workflow_digests(self) -> dict[str, Any]:
        """Changes when a workflow does; other files change more often than people want to hear."""
        return {name: self.manifest[workflow.file or ""] for name, workflow in self.workflows.items()}


Check = Callable[[Any, Workflow], list[str]]


def read(place: Place, state_dir: str, check: Check) -> Candidate:
    """Raises Refused with every error of every file; `check` gives further ones of a workflow."""
    digest, manifest = snapshot(place.directory, state_dir, f"index-{place.name}")
    files = Snapshot(manifest, os.path.join(state_dir, "objects"))
    found = Candidate(place, digest, manifest, files, {}, {})
    problems: list[str] = []
    for path in workflow_files(files):
        try:
            read_workflow(found, path, problems, check)
        except (WorkflowError, UserError) as problem:
            problems.append(str(problem))
    if problems:
        raise Refused(place.name, problems)
    return found


def read_workflow(found: Candidate, path: str, problems: list[str], check: Check) -> None:
    workflow = compile_file(found.files, path)
    if workflow.name in found.workflows:
        raise UserError(f"{found.workflows[workflow.name].file} and {path} would be one workflow; rename one of them")
    found.workflows[workflow.name] = workflow
    for position, planned in enumerate(schedules_of(workflow)):
        found.planned[workflow.name, position] = planned
    alarm_of(workflow, 0)
    problems += check(found.files, workflow)


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
    old: dict[int, Revision] = field(default_factory=dict)  # revisions of attempts that began before

    def take_over(self, candidate: Candidate, now: int, clear: Collection[str] = ()) -> int:
        """Its id. Attempts that are at work keep their revision."""
        text = json.dumps(candidate.manifest, separators=(",", ":"), ensure_ascii=False)
        with self.store.transaction() as tx:
            project = tx.ensure_project(candidate.place.name)
            row = tx.ensure_revision(project.id, candidate.digest, text)
            take_over(tx, project.id, row.id, candidate.planned, now, clear)
        self.projects[project.id] = Known(candidate, self.make_revision(row, candidate))
        return project.id

    def make_revision(self, row: RevisionRow, candidate: Candidate) -> Revision:
        def workflow(name: str) -> Workflow:
            found = candidate.workflows.get(name)
            if found is None:
                raise NotFound("workflow", name, list(candidate.workflows))
            return found

        return Revision(row, candidate.files, candidate.manifest, candidate.place.directory, workflow)

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
        if row.revision_id not in self.old:
            self.old[row.revision_id] = self.load(tx.get_revision(row.revision_id), row)
        return self.old[row.revision_id]

    def load(self, row: RevisionRow, attempt: AttemptRow) -> Revision:
        """An older revision, from the archive. Its project's directory is the one of today."""
        manifest = json.loads(row.manifest)
        state_dir = place_of(attempt, self.state_dir)
        files = Snapshot(manifest, os.path.join(state_dir, "objects"))
        known = self.projects.get(row.project_id)
        directory = known.candidate.place.directory if known else os.path.dirname(state_dir)
        return Revision(row, files, manifest, directory, lambda name: compile_file(files, workflow_file(files, name)))
