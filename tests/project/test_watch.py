"""The stamps of a watched project are those that a look at every file gives, and are made anew only after something happened."""

from __future__ import annotations

import os
import shutil

import pytest

from dagrun.project.archive import stamp
from dagrun.project.watch import Watch, local_devices


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "project"
    (directory / "scripts" / "deep").mkdir(parents=True)
    (directory / "w.dig").write_text("+a:\n  echo>: a\n")
    (directory / "scripts" / "deep" / "job.sh").write_text("true")
    (directory / ".dagrun").mkdir()
    return directory


@pytest.fixture
def watch(project):
    if os.stat(project).st_dev not in local_devices():
        pytest.skip("not on a local disk of Linux")
    watch = Watch()
    yield watch
    watch.close()


def write_in_place(project):
    with open(project / "w.dig", "r+") as file:
        file.write("+b")


def make_directories(project):
    (project / "new" / "newer").mkdir(parents=True)
    (project / "new" / "newer" / "x.sql").write_text("x")


def replace(project):
    (project / "part").write_text("+c:\n  echo>: c\n")
    (project / "part").replace(project / "w.dig")


CHANGES = {
    "written in place": write_in_place,
    "replaced by another, as editors do": replace,
    "deep down": lambda project: (project / "scripts" / "deep" / "job.sh").write_text("false"),
    "removed": lambda project: (project / "w.dig").unlink(),
    "another mode": lambda project: (project / "w.dig").chmod(0o700),
    "another time": lambda project: os.utime(project / "w.dig", (1, 1)),
    "new directories": make_directories,
    "a directory moved away": lambda project: (project / "scripts").rename(project.parent / "scripts"),
    "a directory removed": lambda project: shutil.rmtree(project / "scripts"),
    "a link": lambda project: (project / "link").symlink_to("w.dig"),
    "what is ignored": lambda project: (project / ".dagrunignore").write_text("scripts/\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_noticed(change, project, watch):
    before = watch.stamp(str(project))
    assert before == watch.stamp(str(project)) == stamp(str(project))
    CHANGES[change](project)
    assert watch.stamp(str(project)) == stamp(str(project)) != before


def test_what_happens_in_a_directory_that_came_later_is_noticed(project, watch):
    watch.stamp(str(project))
    make_directories(project)
    before = watch.stamp(str(project))
    (project / "new" / "newer" / "x.sql").write_text("longer")
    assert watch.stamp(str(project)) == stamp(str(project)) != before


def test_a_project_that_was_replaced_as_a_whole_is_noticed(project, watch):
    before = watch.stamp(str(project))
    project.rename(project.parent / "old")
    project.mkdir()
    (project / "w.dig").write_text("+new:\n  echo>: new\n")
    found = watch.stamp(str(project))
    assert found == stamp(str(project)) != before
    (project / "w.dig").write_text("+newer:\n  echo>: newer\n")
    assert watch.stamp(str(project)) == stamp(str(project)) != found


def test_a_link_that_now_leads_elsewhere_is_noticed(project, watch):
    shutil.copytree(project, project.parent / "release-2")
    (project.parent / "release-2" / "w.dig").write_text("+new:\n  echo>: new\n")
    current = project.parent / "current"
    current.symlink_to("project")
    before = watch.stamp(str(current))
    (project.parent / "next").symlink_to("release-2")
    (project.parent / "next").replace(current)
    assert watch.stamp(str(current)) == stamp(str(current)) != before


def test_projects_are_told_apart(project, watch):
    other = project.parent / "other"
    other.mkdir()
    before = watch.stamp(str(project)), watch.stamp(str(other))
    (other / "x.dig").write_text("+x:\n  echo>: x\n")
    assert str(project) in watch.known
    assert watch.stamp(str(project)) == before[0]
    assert watch.stamp(str(other)) == stamp(str(other)) != before[1]


def test_as_long_as_nothing_happens_no_file_is_looked_at(project, watch):
    directory = str(project)
    watch.stamp(directory)
    known = watch.known[directory]
    (project / ".dagrun" / "state.db").write_text("what dagrun itself writes")
    watch.stamp(directory)
    assert watch.known[directory] is known


def test_a_project_that_is_gone_is_an_error_and_can_come_back(project, watch):
    watch.stamp(str(project))
    shutil.rmtree(project)
    with pytest.raises(FileNotFoundError):
        watch.stamp(str(project))
    project.mkdir()
    assert watch.stamp(str(project)) == stamp(str(project))


def test_without_inotify_each_stamp_is_a_look(project):
    watch = Watch()
    watch.close()
    watch.fd = -1
    before = watch.stamp(str(project))
    write_in_place(project)
    (project / "more.dig").write_text("")
    assert watch.stamp(str(project)) == stamp(str(project)) != before


def test_on_a_file_system_that_others_may_change_each_stamp_is_a_look(project, watch):
    watch.devices = frozenset()
    watch.stamp(str(project))
    assert str(project) not in watch.known
