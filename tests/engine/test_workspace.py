"""Where tries work: fresh directories, filled from a revision, gone afterwards, and nothing else with them."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from dagrun.engine.workspace import FILES, Workspaces, inside, remove_tree, sweep_work
from dagrun.errors import TaskFailed
from dagrun.project.archive import snapshot

NOBODY = 65534


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "project"
    (directory / "sub").mkdir(parents=True)
    (directory / "a.dig").write_text("+a:\n")
    (directory / "sub" / "data.txt").write_text("data")
    return directory


@pytest.fixture
def workspaces(project, tmp_path) -> Workspaces:
    return Workspaces(str(tmp_path / "state"))


class Source(NamedTuple):
    manifest: dict
    project_dir: str


@pytest.fixture
def manifest(project, workspaces) -> Source:
    return Source(snapshot(str(project), workspaces.state_dir)[1], str(project))


@pytest.fixture
def open_own(workspaces, project):
    """An own workspace with the project's files as they are now."""

    def opened(key: str = "1.2.1"):
        found = Source(snapshot(str(project), workspaces.state_dir)[1], str(project))
        return workspaces.open("own", 1, 0, key, found)

    return opened


def put(path: str, text: str = "x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def text_of(path: str) -> str:
    with open(path) as file:
        return file.read()


class TestOwn:
    def test_it_holds_the_files_of_the_revision(self, open_own):
        workspace = open_own()
        assert text_of(f"{workspace.project}/a.dig") == "+a:\n"
        assert text_of(f"{workspace.project}/sub/data.txt") == "data"

    def test_it_holds_the_revision_and_not_what_became_of_the_project(self, workspaces, project, manifest):
        (project / "a.dig").write_text("changed")
        workspace = workspaces.open("own", 1, 0, "1.2.1", manifest)
        assert text_of(f"{workspace.project}/a.dig") == "+a:\n"

    def test_two_tries_do_not_see_each_other(self, open_own):
        one, other = open_own("1.2.1"), open_own("1.3.1")
        put(f"{one.project}/out.tmp")
        assert one.project != other.project
        assert not os.path.exists(f"{other.project}/out.tmp")

    def test_a_write_changes_neither_project_nor_revision(self, open_own, project):
        first = open_own("1.2.1")
        put(f"{first.project}/sub/data.txt", "changed")
        assert (project / "sub" / "data.txt").read_text() == "data"
        assert text_of(f"{open_own('1.2.2').project}/sub/data.txt") == "data"

    def test_a_try_that_is_called_again_finds_a_fresh_one(self, open_own):
        put(f"{open_own().project}/left")
        assert not os.path.exists(f"{open_own().project}/left")

    @pytest.mark.parametrize("mode", [0o644, 0o755, 0o444, 0o555, 0o600, 0o700, 0o664, 0o777, 0o200, 0o000])
    @pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
    def test_modes_are_kept_whatever_the_umask(self, open_own, project, mode, mask):
        if os.geteuid() != 0 and not mode & stat.S_IRUSR:
            pytest.skip("a file that can't be read is in no revision")
        (project / "a.dig").chmod(mode)
        before = os.umask(mask)
        try:
            workspace = open_own()
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(f"{workspace.project}/a.dig").st_mode) == mode

    def test_a_large_file_arrives_whole(self, open_own, project):
        data = os.urandom(1 << 20) * 3 + b"end"
        (project / "large").write_bytes(data)
        (project / "empty").write_bytes(b"")
        workspace = open_own()
        with open(f"{workspace.project}/large", "rb") as file:
            assert file.read() == data
        assert os.path.getsize(f"{workspace.project}/empty") == 0

    def test_links_are_links(self, open_own, project):
        (project / "link").symlink_to("sub/data.txt")
        (project / "absolute").symlink_to(project / "a.dig")
        workspace = open_own()
        assert os.readlink(f"{workspace.project}/link") == "sub/data.txt"
        put(f"{workspace.project}/absolute", "changed")
        assert text_of(f"{workspace.project}/a.dig") == "changed"
        assert (project / "a.dig").read_text() == "+a:\n"

    def test_large_directories_of_tools_are_links_to_the_projects(self, open_own, project):
        (project / ".venv").mkdir()
        (project / "sub" / "node_modules").mkdir()
        workspace = open_own()
        assert os.readlink(f"{workspace.project}/.venv") == str(project / ".venv")
        assert os.readlink(f"{workspace.project}/sub/node_modules") == str(project / "sub" / "node_modules")

    def test_the_trys_own_files_are_outside_and_private(self, open_own):
        workspace = open_own()
        assert os.listdir(workspace.tmp) == []
        assert not workspace.tmp.startswith(workspace.project)
        assert stat.S_IMODE(os.stat(workspace.io).st_mode) == 0o700

    def test_afterwards_nothing_is_left(self, open_own, workspaces):
        workspace = open_own()
        put(f"{workspace.project}/deep/er/out")
        workspace.remove()
        assert os.listdir(workspaces.work) == []

    def test_a_revision_whose_objects_are_gone_leaves_nothing(self, workspaces, manifest):
        remove_tree(f"{workspaces.state_dir}/objects")
        with pytest.raises(FileNotFoundError):
            workspaces.open("own", 1, 0, "1.2.1", manifest)
        assert os.listdir(workspaces.work) == []


class TestLeftovers:
    def test_a_try_that_wrote_nothing_has_none(self, open_own):
        assert open_own().leftovers() == []

    def test_new_and_changed_files_are_named_in_order(self, open_own):
        workspace = open_own()
        put(f"{workspace.project}/z.out")
        put(f"{workspace.project}/new/er/b.out")
        put(f"{workspace.project}/sub/data.txt", "other")
        assert workspace.leftovers() == ["new/er/b.out", "sub/data.txt", "z.out"]

    def test_a_change_that_keeps_the_size_is_named(self, open_own):
        workspace = open_own()
        path = f"{workspace.project}/sub/data.txt"
        put(path, "DATA")
        os.utime(path, ns=(0, 10**18))
        assert workspace.leftovers() == ["sub/data.txt"]

    def test_what_is_read_or_deleted_or_made_by_python_is_none(self, open_own):
        workspace = open_own()
        text_of(f"{workspace.project}/a.dig")
        os.unlink(f"{workspace.project}/sub/data.txt")
        put(f"{workspace.project}/__pycache__/m.pyc")
        put(f"{workspace.project}/m.pyc")
        put(f"{workspace.tmp}/scratch")
        assert workspace.leftovers() == []

    def test_links_are_not_followed(self, open_own, project):
        (project / ".venv").mkdir()
        workspace = open_own()
        put(str(project / ".venv" / "installed"))
        os.symlink("/usr", f"{workspace.project}/usr")
        assert workspace.leftovers() == []

    @pytest.mark.parametrize("form", ["shared", "project"])
    def test_workspaces_that_stay_have_none(self, workspaces, manifest, form):
        workspace = workspaces.open(form, 1, 0, "1.2.1", manifest)
        put(f"{workspace.project}/out")
        assert workspace.leftovers() == []


class TestShared:
    def test_the_tries_of_a_group_share_it(self, workspaces, manifest):
        one = workspaces.open("shared", 1, 5, "1.6.1", manifest)
        put(f"{one.project}/out", "from one")
        one.remove()
        other = workspaces.open("shared", 1, 5, "1.7.1", manifest)
        assert text_of(f"{other.project}/out") == "from one"
        assert text_of(f"{other.project}/sub/data.txt") == "data"
        assert one.io != other.io

    def test_groups_and_attempts_have_their_own(self, workspaces, manifest):
        places = [(1, 5), (1, 6), (2, 5)]
        found = {workspaces.open("shared", *place, f"{place}", manifest).project for place in places}
        assert len(found) == 3

    def test_it_is_gone_with_its_attempt_and_no_other_is(self, workspaces, manifest):
        gone = workspaces.open("shared", 1, 5, "1.6.1", manifest)
        kept = workspaces.open("shared", 11, 5, "11.6.1", manifest)
        workspaces.close_attempt(1)
        assert not os.path.exists(gone.project) and os.path.exists(kept.project)
        workspaces.close_attempt(1)

    def test_one_that_could_not_be_filled_is_made_anew_by_the_next_try(self, workspaces, manifest):
        objects = f"{workspaces.state_dir}/objects"
        os.rename(objects, f"{objects}.away")
        with pytest.raises(FileNotFoundError):
            workspaces.open("shared", 1, 5, "1.6.1", manifest)
        os.rename(f"{objects}.away", objects)
        workspace = workspaces.open("shared", 1, 5, "1.6.2", manifest)
        assert text_of(f"{workspace.project}/sub/data.txt") == "data"


class TestAgain:
    """A directory in which nothing was changed serves the next try."""

    def test_files_of_other_tasks_are_taken_out_of_it(self, workspaces, manifest):
        first = workspaces.open("own", 1, 0, "1.2.1", manifest)
        put(f"{first.io}/{FILES}/1/d/x")
        first.give_back(set())
        second = workspaces.open("own", 1, 0, "1.3.1", manifest)
        assert second is first
        assert os.listdir(second.io) == ["tmp"]

    def test_it_is_never_that_of_another_revision(self, workspaces, project, manifest):
        first = workspaces.open("own", 1, 0, "1.2.1", manifest)
        put(str(project / "other.txt"))
        other = Source(snapshot(str(project), workspaces.state_dir)[1], str(project))
        second = workspaces.open("own", 2, 0, "2.2.1", other)
        first.give_back(set())
        second.give_back(set())
        third = workspaces.open("own", 2, 0, "2.3.1", other)
        assert "other.txt" in os.listdir(third.project)
        fourth = workspaces.open("own", 2, 0, "2.4.1", other)
        assert "other.txt" in os.listdir(fourth.project)
        assert sorted(os.listdir(workspaces.work)) == ["2.3.1", "2.4.1"]

    def test_it_is_that_which_lies_at_the_path_already(self, workspaces, manifest):
        first, second = (workspaces.open("own", 1, 0, key, manifest) for key in ("1.2.1", "1.3.1"))
        first.give_back(set())
        second.give_back(set())
        assert workspaces.open("own", 1, 0, "1.2.1", manifest) is first
        assert workspaces.open("own", 1, 0, "1.4.1", manifest) is second
        assert sorted(os.listdir(workspaces.work)) == ["1.2.1", "1.4.1"]

    @pytest.mark.parametrize("name", [FILES, "other"])
    def test_a_link_is_not_followed(self, workspaces, manifest, tmp_path, name):
        put(str(tmp_path / "precious" / "file"), "gold")
        workspace = workspaces.open("own", 1, 0, "1.2.1", manifest)
        os.symlink(tmp_path / "precious", f"{workspace.io}/{name}")
        workspace.give_back(set())
        assert text_of(str(tmp_path / "precious" / "file")) == "gold"

    def test_what_a_task_made_there_is_removed_with_it(self, workspaces, manifest):
        workspace = workspaces.open("own", 1, 0, "1.2.1", manifest)
        put(f"{workspace.io}/other/x")
        workspace.give_back(set())
        assert os.listdir(workspaces.work) == []


class TestProject:
    def test_it_is_the_project_itself(self, workspaces, manifest, project):
        workspace = workspaces.open("project", 1, 0, "1.2.1", manifest)
        assert workspace.project == str(project)

    def test_removing_it_removes_the_trys_own_files_alone(self, workspaces, manifest, project):
        workspace = workspaces.open("project", 1, 0, "1.2.1", manifest)
        workspace.remove()
        assert not os.path.exists(workspace.top)
        assert (project / "sub" / "data.txt").read_text() == "data"


class TestRemoval:
    @pytest.fixture
    def precious(self, tmp_path) -> Iterator[str]:
        """A directory that must survive every removal, and does."""
        put(str(tmp_path / "precious" / "file"), "gold")
        os.chmod(tmp_path / "precious", 0o755)
        yield str(tmp_path / "precious")
        assert text_of(str(tmp_path / "precious" / "file")) == "gold"
        assert stat.S_IMODE(os.stat(tmp_path / "precious").st_mode) == 0o755

    def test_links_in_it_are_not_followed(self, tmp_path, precious):
        put(str(tmp_path / "top" / "sub" / "x"))
        os.symlink(precious, tmp_path / "top" / "dir")
        os.symlink(f"{precious}/file", tmp_path / "top" / "sub" / "file")
        remove_tree(str(tmp_path / "top"))
        assert not os.path.lexists(tmp_path / "top")

    def test_a_link_in_its_place_is_not_followed(self, tmp_path, precious):
        """A task may replace its own directory."""
        os.symlink(precious, tmp_path / "top")
        remove_tree(str(tmp_path / "top"))
        assert not os.path.lexists(tmp_path / "top")

    def test_a_try_that_replaced_its_directory_harms_nobody(self, open_own, precious):
        workspace = open_own()
        remove_tree(workspace.top)
        os.symlink(precious, workspace.top)
        assert os.path.isdir(open_own().project), "the next call of the try has a directory again"

    def test_a_file_in_its_place_is_removed(self, tmp_path):
        put(str(tmp_path / "top"))
        remove_tree(str(tmp_path / "top"))
        assert not os.path.lexists(tmp_path / "top")

    def test_what_is_gone_already_is_fine(self, tmp_path):
        remove_tree(str(tmp_path / "none"))

    def test_pipes_are_removed(self, tmp_path):
        put(str(tmp_path / "top" / "x"))
        os.mkfifo(tmp_path / "top" / "pipe")
        remove_tree(str(tmp_path / "top"))
        assert not os.path.lexists(tmp_path / "top")

    @pytest.mark.parametrize("mode", [0o555, 0o500, 0o000, 0o300])
    def test_directories_without_rights_are_removed(self, mode):
        """However deep; and nothing that they link to changes."""

        def work(directory: str) -> None:
            for path in ("top/a/b/c/file", "top/a/other/file", "precious/file"):
                put(f"{directory}/{path}")
            os.chmod(f"{directory}/precious", 0o555)
            os.symlink(f"{directory}/precious", f"{directory}/top/a/b/link")
            for path in ("top/a/b/c", "top/a/other", "top/a/b", "top/a", "top"):
                os.chmod(f"{directory}/{path}", mode)
            remove_tree(f"{directory}/top")
            assert os.listdir(directory) == ["precious"]
            assert stat.S_IMODE(os.stat(f"{directory}/precious").st_mode) == 0o555
            os.chmod(f"{directory}/precious", 0o755)

        without_rights(work)

    def test_files_are_named_also_beside_a_directory_that_can_not_be_read(self):
        def work(directory: str) -> None:
            os.makedirs(f"{directory}/project")
            workspaces = Workspaces(f"{directory}/state")
            workspace = workspaces.open("own", 1, 0, "1.2.1", Source({}, ""))
            put(f"{workspace.project}/closed/x")
            put(f"{workspace.project}/out")
            os.chmod(f"{workspace.project}/closed", 0)
            assert workspace.leftovers() == ["out"]
            workspace.remove()

        without_rights(work)

    def test_what_a_dead_process_left_of_an_attempt_is_swept_and_no_more(self, workspaces):
        for name in ("1.2.1", "1.5.shared", "11.2.1", "2.1.1"):
            put(f"{workspaces.work}/{name}/x")
        sweep_work(workspaces.state_dir, 1)
        assert sorted(os.listdir(workspaces.work)) == ["11.2.1", "2.1.1"]

    def test_nothing_to_sweep_is_fine(self, tmp_path):
        sweep_work(str(tmp_path), 1)


def without_rights(work: Callable[[str], None]) -> None:
    """`work(directory)` has run as somebody who isn't root, in a process of its own."""
    directory = tempfile.mkdtemp()  # pytest's own belong to root alone
    child = os.fork() if os.geteuid() == 0 else None
    if child is None:
        work(directory)
    elif child == 0:
        try:
            os.chown(directory, NOBODY, NOBODY)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work(directory)
            os._exit(0)
        except BaseException:
            with open(f"{directory}/problem", "w") as file:
                traceback.print_exc(file=file)
            os._exit(1)
    else:
        _, status = os.waitpid(child, 0)
        problem = text_of(f"{directory}/problem") if status else ""
        remove_tree(directory)
        assert status == 0, problem
        return
    remove_tree(directory)


class TestWorkdir:
    @pytest.fixture
    def top(self, tmp_path) -> str:
        for path in ("project/sub/deep", "project-other", "outside"):
            os.makedirs(tmp_path / path)
        put(str(tmp_path / "project" / "file"))
        return str(tmp_path / "project")

    @pytest.mark.parametrize(
        ("workdir", "found"),
        [("", ""), (".", ""), ("sub", "/sub"), ("sub/deep", "/sub/deep"), ("sub/../sub/", "/sub"), ("./sub", "/sub")],
    )
    def test_a_directory_of_the_project(self, top, workdir, found):
        assert inside(top, workdir) == top + found

    def test_an_absolute_path_inside(self, top):
        assert inside(top, f"{top}/sub") == f"{top}/sub"

    def test_a_link_inside(self, top):
        os.symlink("sub/deep", f"{top}/link")
        assert inside(top, "link") == f"{top}/sub/deep"

    def test_a_project_that_is_reached_by_a_link(self, top, tmp_path):
        os.symlink(top, tmp_path / "way")
        assert inside(str(tmp_path / "way"), "sub") == f"{top}/sub"

    @pytest.mark.parametrize(
        "workdir", ["..", "../outside", "../project-other", "sub/../../outside", "/", "/tmp", "link", "link/x", "up/x"]
    )
    def test_what_leaves_the_project_is_refused(self, top, workdir):
        os.symlink("../outside", f"{top}/link")
        os.symlink("..", f"{top}/up")
        with pytest.raises(TaskFailed, match="is outside of the project") as caught:
            inside(top, workdir)
        assert (caught.value.kind, caught.value.category) == ("outside_project", "config")

    @pytest.mark.parametrize("workdir", ["none", "file", "file/x", "sub/none", "nul\0byte"])
    def test_what_is_no_directory_is_told(self, top, workdir):
        with pytest.raises(TaskFailed, match="is no directory of the project") as caught:
            inside(top, workdir)
        assert (caught.value.kind, caught.value.category) == ("file_not_found", "config")


def test_the_keys_of_a_manifest_survive_the_store(workspaces, project):
    """A revision is kept as JSON; names that are no text come back as they were."""
    name = os.fsdecode(b"caf\xe9")
    (project / name).write_text("x")
    found = json.loads(json.dumps(snapshot(str(project), workspaces.state_dir)[1]))
    workspace = workspaces.open("own", 1, 0, "1.2.1", Source(found, str(project)))
    assert os.path.exists(os.path.join(workspace.project, name))
