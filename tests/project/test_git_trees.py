"""The files of a commit, and what changed between two."""

from __future__ import annotations

import filecmp
import os
import stat
import subprocess
from pathlib import Path

import pytest

from dagrun.errors import NotFound, UserError
from dagrun.project.git import Repository
from tests.project.git_remote import Remote, files_below

UNKNOWN = "0123456789" * 4


@pytest.fixture
def remote(tmp_path) -> Remote:
    return Remote(tmp_path / "remote")


@pytest.fixture
def mirrored(remote, tmp_path):
    """A repository, fetched, that looks at a path."""

    def mirrored(path: str = "") -> Repository:
        repository = Repository(remote.url, str(tmp_path / "state"), path=path)
        repository.fetch()
        return repository

    return mirrored


class TestTree:
    def test_it_holds_the_files_of_the_commit(self, remote, mirrored, tmp_path):
        old = remote.commit(a="1", sub__b="2")
        new = remote.commit(a="3")
        repository = mirrored()
        assert repository.tree(old) == str(tmp_path / "state" / "trees" / old)
        assert files_below(repository.tree(old)) == {"a": "1", "sub/b": "2"}
        assert files_below(repository.tree(new)) == {"a": "3", "sub/b": "2"}
        assert sorted(os.listdir(tmp_path / "state" / "trees")) == sorted([old, new])

    def test_it_is_kept(self, remote, mirrored):
        commit_id = remote.commit(a="1")
        tree = mirrored().tree(commit_id)
        inode = os.stat(tree).st_ino
        assert os.stat(mirrored().tree(commit_id)).st_ino == inode

    def test_it_is_kept_when_the_mirror_forgot_its_commit(self, remote, mirrored, tmp_path):
        commit_id = remote.commit(a="1")
        mirrored().tree(commit_id)
        remote.git("commit", "--quiet", "--amend", "--message", "another")
        (tmp_path / "state" / "mirror.git" / "damaged").write_text("")
        repository = mirrored()
        with pytest.raises(NotFound):
            repository.commit(commit_id)
        assert files_below(repository.tree(commit_id)) == {"a": "1"}

    def test_modes_and_links_are_as_they_were(self, remote, mirrored):
        remote.commit(run="#!/bin/sh\n")
        (remote.path / "run").chmod(0o755)
        for name, target in {"inside": "run", "away": "/etc/passwd", "nowhere": "../../x"}.items():
            (remote.path / name).symlink_to(target)
        commit_id = remote.commit(a="1")
        tree = mirrored().tree(commit_id)
        assert files_below(tree) == {
            "a": "1", "away": "-> /etc/passwd", "inside": "-> run", "nowhere": "-> ../../x", "run": "#!/bin/sh\n",
        }  # fmt: skip
        assert [stat.S_IMODE(os.stat(f"{tree}/{name}").st_mode) & 0o111 for name in ("run", "a")] == [0o111, 0]
        assert stat.S_IMODE(os.stat(tree).st_mode) == stat.S_IMODE(os.stat(os.path.dirname(tree)).st_mode)

    def test_attributes_count_as_in_a_checkout(self, remote, mirrored, tmp_path):
        attributes = "hidden export-ignore\nsubst export-subst\ndos text eol=crlf\nident ident\nwide working-tree-encoding=UTF-16\n"
        remote.commit(**{".gitattributes": attributes}, hidden="h", subst="$Format:%H$", dos="1\n2\n", ident="$Id$\n")
        commit_id = remote.commit(plain="1\r\n2\n", sub__hidden="h")
        tree = mirrored().tree(commit_id)
        subprocess.run(["git", "clone", "--quiet", remote.url, tmp_path / "clone"], check=True)
        names = [".gitattributes", "hidden", "subst", "dos", "ident", "plain", "sub/hidden"]
        assert filecmp.cmpfiles(tree, tmp_path / "clone", names, shallow=False) == (names, [], [])
        assert Path(tree, "dos").read_bytes() == b"1\r\n2\r\n"

    def test_a_configured_line_end_does_not_count(self, remote, mirrored, tmp_path, monkeypatch):
        commit_id = remote.commit(a="1\n2\n")
        (tmp_path / "config").write_text("[core]\n autocrlf = true\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
        assert Path(mirrored().tree(commit_id), "a").read_bytes() == b"1\n2\n"

    def test_a_pointer_of_lfs_stays_a_file(self, remote, mirrored, tmp_path, monkeypatch):
        remote.commit(**{".gitattributes": "*.bin filter=lfs -text\n", "a.bin": "version https://git-lfs\n"})
        settings = '[filter "lfs"]\n smudge = echo smudged\n process = false\n required = true\n'
        (tmp_path / "config").write_text(settings)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
        tree = mirrored().tree(remote.git("rev-parse", "HEAD"))
        assert Path(tree, "a.bin").read_text() == "version https://git-lfs\n"

    def test_hooks_are_not_run(self, remote, mirrored, tmp_path, monkeypatch):
        (tmp_path / "hooks").mkdir()
        for name in ("post-checkout", "post-index-change", "reference-transaction"):
            (tmp_path / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
            (tmp_path / "hooks" / name).chmod(0o755)
        commit_id = remote.commit(a="1")
        (tmp_path / "config").write_text(f"[core]\n hooksPath = {tmp_path}/hooks\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
        mirrored().tree(commit_id)
        assert not (tmp_path / "ran").exists()

    def test_a_commit_without_files_has_an_empty_directory(self, remote, mirrored):
        commit_id = remote.commit()
        assert os.listdir(mirrored().tree(commit_id)) == []

    @pytest.mark.parametrize("commit_id", [UNKNOWN, "HEAD", "..", "-h", "abc", ""])
    def test_a_commit_that_is_unknown_is_told(self, remote, mirrored, commit_id):
        remote.commit(a="1")
        repository = mirrored()
        for ask in (repository.tree, repository.commit):
            with pytest.raises(NotFound, match="commit not found"):
                ask(commit_id)

    def test_nothing_fetched_has_no_commits(self, remote, tmp_path):
        repository = Repository(remote.url, str(tmp_path / "state"))
        for ask in (repository.tree, repository.commit):
            with pytest.raises(NotFound, match=r"not fetched yet, or gone from .*; fetch again"):
                ask(UNKNOWN)

    def test_trees_of_other_commits_are_removed(self, remote, mirrored, tmp_path):
        old, new = remote.commit(a="1"), remote.commit(a="2")
        repository = mirrored()
        repository.tree(old), repository.tree(new)
        repository.remove_trees({new})
        assert os.listdir(tmp_path / "state" / "trees") == [new]
        assert files_below(repository.tree(old)) == {"a": "1"}

    def test_a_file_that_git_refuses_is_told(self, remote, mirrored):
        blob = remote.git("rev-parse", f"{remote.commit(a='1')}:a")
        folder = remote.git_with(f"100644 blob {blob}\tconfig\n", "mktree")
        tree = remote.git_with(f"040000 tree {folder}\t.git\n", "mktree")
        commit_id = remote.git("commit-tree", "-m", "bad", tree)
        remote.git("update-ref", "refs/heads/main", commit_id)
        with pytest.raises(UserError, match=r"a file of it can't be written here\n  rename it .*\n.*invalid path"):
            mirrored().tree(commit_id)


class TestPath:
    def test_it_is_the_directory_that_counts(self, remote, mirrored):
        commit_id = remote.commit(a="1", jobs__daily__b="2")
        for path in ("jobs/daily", "./jobs//daily/"):
            repository = mirrored(path)
            assert repository.tree(commit_id) == mirrored().tree(commit_id) + "/jobs/daily"
            assert files_below(repository.tree(commit_id)) == {"b": "2"}

    def test_a_path_that_is_not_there_is_told(self, remote, mirrored):
        commit_id = remote.commit(a="1")
        with pytest.raises(NotFound, match=f"directory not found: jobs\n  commit {commit_id} of .* doesn't have it"):
            mirrored("jobs").tree(commit_id)

    def test_a_file_is_no_directory(self, remote, mirrored):
        commit_id = remote.commit(a="1")
        with pytest.raises(UserError, match=r"a in commit .* is a file\n  name a directory"):
            mirrored("a").tree(commit_id)

    @pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/etc", "a/..", "a\0"])
    def test_what_is_no_path_inside_is_refused(self, remote, mirrored, path):
        commit_id = remote.commit(a__b="1")
        repository = mirrored(path)
        for ask in (repository.tree, lambda commit_id: repository.changes(commit_id, commit_id)):
            with pytest.raises(UserError, match="is no path inside of a repository"):
                ask(commit_id)

    @pytest.mark.parametrize("target", ["/etc", "..", "../..", "a/../../..", "one"])
    def test_a_link_that_leads_outside_is_refused(self, remote, mirrored, target):
        (remote.path / "link").symlink_to(target)
        (remote.path / "one").symlink_to("/")
        commit_id = remote.commit(a__b="1")
        for path in ("link", "link/etc"):
            with pytest.raises(UserError, match=r"leads out of .*, through a link in it"):
                mirrored(path).tree(commit_id)

    def test_a_link_that_leads_inside_is_followed(self, remote, mirrored):
        (remote.path / "sub").mkdir()
        (remote.path / "sub" / "current").symlink_to("../jobs")
        first = remote.commit(jobs__v1__a="1", other="1")
        second = remote.commit(jobs__v1__a="2", other="2")
        repository = mirrored("sub/current/v1")
        assert files_below(repository.tree(first)) == {"a": "1"}
        assert repository.changes(first, second) == ["M jobs/v1/a"]

    def test_a_link_to_the_top_is_followed(self, remote, mirrored):
        (remote.path / "link").symlink_to(".")
        first = remote.commit(sub__a="1", other="1")
        second = remote.commit(sub__a="2", other="2")
        assert mirrored("link").tree(first).endswith("/link")
        assert mirrored("link").changes(first, second) == ["M other", "M sub/a"]
        assert mirrored("link/sub").changes(first, second) == ["M sub/a"]

    def test_a_link_to_itself_is_told(self, remote, mirrored):
        (remote.path / "link").symlink_to("link")
        commit_id = remote.commit(a="1")
        with pytest.raises(NotFound, match="directory not found: link"):
            mirrored("link").tree(commit_id)
        assert mirrored("link").changes(commit_id, commit_id) == []


class TestSubmodules:
    @pytest.fixture
    def commit_id(self, remote, tmp_path) -> str:
        library = Remote(tmp_path / "library")
        library.commit(code="1")
        allowed = ("-c", "protocol.file.allow=always")
        remote.git(*allowed, "submodule", "--quiet", "add", library.url, "jobs/library")
        return remote.commit(jobs__a="1", other__b="2")

    @pytest.mark.parametrize("path", ["", "jobs", "jobs/library", "jobs/library/sub"])
    def test_those_inside_are_told(self, mirrored, commit_id, path):
        with pytest.raises(UserError, match=r"submodules are not fetched: jobs/library in .*\n  copy their files"):
            mirrored(path).tree(commit_id)

    def test_those_elsewhere_do_not_matter(self, mirrored, commit_id):
        assert files_below(mirrored("other").tree(commit_id)) == {"b": "2"}

    def test_a_broken_list_is_told(self, remote, mirrored):
        commit_id = remote.commit(**{".gitmodules": "[submodule\n"})
        with pytest.raises(UserError, match=r"the file \.gitmodules of .* is wrong\n  git says"):
            mirrored().tree(commit_id)

    def test_an_empty_list_does_not_matter(self, remote, mirrored):
        commit_id = remote.commit(**{".gitmodules": ""})
        assert os.listdir(mirrored().tree(commit_id)) == [".gitmodules"]


class TestChanges:
    @pytest.fixture
    def two(self, remote) -> tuple[str, str]:
        old = remote.commit(jobs__a="1", jobs__b="2", jobs__moved="3\n" * 9, other="4")
        remote.git("mv", "jobs/moved", "jobs/größe neu")
        remote.git("rm", "--quiet", "jobs/b")
        return old, remote.commit(jobs__a="5", jobs__c="6", other="7")

    def test_each_file_has_a_line(self, mirrored, two):
        assert mirrored().changes(*two) == [
            "M jobs/a", "D jobs/b", "A jobs/c", "R jobs/moved → jobs/größe neu", "M other",
        ]  # fmt: skip

    def test_they_are_those_of_the_path(self, mirrored, two):
        assert mirrored("jobs").changes(*two) == ["M jobs/a", "D jobs/b", "A jobs/c", "R jobs/moved → jobs/größe neu"]
        assert mirrored("oth*").changes(*two) == []

    def test_a_link_that_became_a_file_is_told(self, remote, mirrored):
        (remote.path / "a").symlink_to("b")
        old = remote.commit(b="1")
        (remote.path / "a").unlink()
        new = remote.commit(a="2")
        assert mirrored().changes(old, new) == ["T a"]

    def test_a_name_with_a_line_end_stays_one_line(self, remote, mirrored):
        old = remote.commit(a="1")
        new = remote.commit(**{"b\nM c": "2"})
        assert mirrored().changes(old, new) == [r'A "b\nM c"']

    def test_the_diff_is_unified(self, remote, mirrored, two):
        lines = mirrored("other").diff(*two).split("\n")
        assert lines[0] == "diff --git a/other b/other"
        assert lines[2:6] == ["--- a/other", "+++ b/other", "@@ -1 +1 @@", "-4"]
        assert mirrored("nowhere").diff(*two) == ""

    def test_a_commit_that_is_gone_is_told(self, remote, mirrored, tmp_path):
        old = remote.commit(a="1")
        mirrored()
        remote.git("commit", "--quiet", "--amend", "--message", "another")
        new = mirrored().fetch().id
        assert mirrored().changes(old, new) == []
        subprocess.run(["git", "gc", "--quiet", "--prune=now"], cwd=tmp_path / "state" / "mirror.git", check=True)
        for ask in (mirrored().changes, mirrored().diff):
            with pytest.raises(NotFound, match=f"commit not found: {old}\n  not fetched yet, or gone from"):
                ask(old, new)
            with pytest.raises(NotFound, match="commit not found"):
                ask(new, old)
