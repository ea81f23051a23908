"""Reading a project again costs what has changed of it, and gives what a first reading would."""

from __future__ import annotations

import os

import pytest

from dagrun.engine.catalog import Candidate, Refused, read
from dagrun.project.sources import Place

DAILY = 'schedule: {daily>: "07:00:00"}\n+a:\n  echo>: x\n'
LIST = 'schedule:\n  - {daily>: "07:00:00"}\n  - {daily>: "09:00:00"}\n+a:\n  echo>: x\n'


class Project:
    def __init__(self, top) -> None:
        self.directory = top / "p"
        self.directory.mkdir()
        self.state = str(top / "state")
        self.checked: list[str] = []

    def put(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / name.replace("_dig", ".dig").replace("_yml", ".yml")).write_text(text)

    def read(self, before: Candidate | None = None) -> Candidate:
        self.checked = []
        return read(Place("p", str(self.directory)), self.state, self.check, before)

    def check(self, paths: frozenset[str], workflow) -> list[str]:
        self.checked.append(workflow.name)
        return []


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def kept(before: Candidate, after: Candidate) -> set[str]:
    return {name for name, workflow in after.workflows.items() if before.workflows.get(name) is workflow}


def test_only_what_has_changed_is_compiled_and_checked_again(project):
    project.put(a_dig=DAILY, b_dig=LIST)
    before = project.read()
    assert project.checked == ["a", "b"]
    project.put(a_dig=DAILY.replace("07", "08"))
    after = project.read(before)
    assert (kept(before, after), project.checked) == ({"b"}, ["a"])
    fresh = project.read()
    assert after.planned.keys() == fresh.planned.keys() == {("a", 0), ("b", 0), ("b", 1)}
    assert {key: one.text for key, one in after.planned.items()} == {
        key: one.text for key, one in fresh.planned.items()
    }


def test_a_changed_file_that_is_included_counts_as_a_change(project):
    project.put(a_dig="+a:\n  !include : part.yml\n", b_dig=DAILY, part_yml="echo>: x\n")
    before = project.read()
    project.put(part_yml="echo>: y\n")
    after = project.read(before)
    assert kept(before, after) == {"b"}
    assert after.workflows["a"].nodes[1].spec.config["echo>"] == "y"


def test_what_stands_behind_a_link_is_always_read(project):
    project.put(a_dig="+a:\n  !include : part.yml\n", b_dig=DAILY, real_yml="echo>: x\n")
    os.symlink("real.yml", project.directory / "part.yml")
    before = project.read()
    project.put(real_yml="echo>: y\n")
    after = project.read(before)
    assert kept(before, after) == {"b"}
    assert after.workflows["a"].nodes[1].spec.config["echo>"] == "y"


def test_another_file_lets_all_be_checked_again(project):
    """A `call>` may name it."""
    project.put(a_dig=DAILY)
    before = project.read()
    project.put(c_dig=DAILY)
    after = project.read(before)
    assert (kept(before, after), project.checked) == ({"a"}, ["a", "c"])


def test_a_workflow_and_its_schedules_that_are_gone_are_gone(project):
    project.put(a_dig=DAILY, b_dig=LIST)
    before = project.read()
    (project.directory / "b.dig").unlink()
    after = project.read(before)
    assert (list(after.workflows), list(after.planned)) == (["a"], [("a", 0)])


def test_a_broken_file_refuses_the_project_also_when_the_others_are_known(project):
    project.put(a_dig=DAILY, b_dig=LIST)
    before = project.read()
    project.put(b_dig="+a:\n  sh>: [\n")
    with pytest.raises(Refused, match=r"b\.dig"):
        project.read(before)
