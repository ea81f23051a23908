"""A mirror of a real repository, and the files of its commits."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.project.git import Repository, part_of, take
from tests.project.git_remote import Remote, files_below


@pytest.fixture
def remote(tmp_path) -> Remote:
    return Remote(tmp_path / "remote")


@pytest.fixture
def place(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def repository(remote, place) -> Repository:
    return Repository(remote.url, str(place))


class TestFetch:
    def test_it_tells_the_newest_commit(self, remote, repository):
        commit_id = remote.commit("größer\n\nnot this", a="1")
        commit = repository.fetch()
        assert commit == (commit_id, "Ann <ann@example.org>", 1_700_000_000_000_000, "größer")
        assert repository.commit(commit_id) == commit

    def test_it_follows_the_branch(self, remote, repository):
        first = remote.commit(a="1")
        assert repository.fetch().id == first
        second = remote.commit(a="2")
        assert repository.fetch().id == second
        assert repository.fetch().id == second

    def test_it_follows_a_forced_push(self, remote, repository):
        remote.commit(a="1")
        old = remote.commit(a="2")
        repository.fetch()
        remote.git("reset", "--quiet", "--hard", "HEAD~1")
        new = remote.commit(a="3")
        assert repository.fetch().id == new
        assert repository.commit(old).id == old

    def test_another_branch_can_be_named(self, remote, place):
        remote.commit(a="1")
        remote.git("checkout", "--quiet", "-b", "work/of-ann")
        work = remote.commit(a="2")
        remote.git("checkout", "--quiet", "main")
        assert Repository(remote.url, str(place), branch="work/of-ann").fetch().id == work

    def test_a_default_branch_of_another_name_is_followed(self, remote, repository):
        remote.commit(a="1")
        repository.fetch()
        remote.git("checkout", "--quiet", "-b", "main2/sub")
        remote.git("branch", "--quiet", "-D", "main")
        new = remote.commit(a="2")
        assert repository.fetch().id == new

    def test_a_detached_head_is_followed(self, remote, repository):
        first = remote.commit(a="1")
        remote.commit(a="2")
        remote.git("checkout", "--quiet", "--detach", first)
        assert repository.fetch().id == first

    def test_a_branch_that_does_not_exist_is_told_with_those_like_it(self, remote, place):
        remote.commit(a="1")
        with pytest.raises(NotFound, match=r"branch not found: mian \(did you mean main\?\)"):
            Repository(remote.url, str(place), branch="mian").fetch()

    def test_a_branch_that_vanished_is_told(self, remote, place):
        remote.commit(a="1")
        remote.git("branch", "work")
        repository = Repository(remote.url, str(place), branch="work")
        repository.fetch()
        remote.git("branch", "-D", "work")
        with pytest.raises(NotFound, match="doesn't have it, or no longer"):
            repository.fetch()

    @pytest.mark.parametrize("branch", ["", "a b", "*", "a:refs/heads/b", "..", "-b\n"])
    def test_what_cannot_be_a_branch_is_refused(self, remote, place, branch):
        remote.commit(a="1")
        with pytest.raises(UserError, match="can't be the name of a branch"):
            Repository(remote.url, str(place), branch=branch).fetch()

    def test_a_repository_without_commits_is_told(self, repository):
        with pytest.raises(UserError, match="has no commit yet"):
            repository.fetch()

    def test_a_head_that_names_no_branch_is_told(self, remote, repository):
        remote.commit(a="1")
        remote.git("symbolic-ref", "HEAD", "refs/heads/gone")
        with pytest.raises(UserError, match="names a branch that isn't there\n  name one that is: main"):
            repository.fetch()

    def test_a_repository_that_is_not_there_is_told(self, tmp_path, place):
        with pytest.raises(UserError, match=r"no/where: there is no git repository\n .*\n  git says: fatal"):
            Repository(str(tmp_path / "no" / "where"), str(place)).fetch()

    def test_a_host_that_does_not_answer_is_told(self, place):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with pytest.raises(UserError, match="it can't be reached"):
            Repository(f"git://127.0.0.1:{port}/x", str(place)).fetch()

    def test_a_host_that_says_nothing_is_given_up(self, place):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
            with pytest.raises(UserError, match=r"took longer than 0\.3 s\n  look at the network"):
                Repository(url, str(place), seconds=0.3).fetch()

    def test_a_missing_git_is_told(self, remote, repository, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UserError, match=r"the program git can't be started: .*\n  install it"):
            repository.fetch()

    def test_a_directory_that_cannot_be_written_is_told(self, remote, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match=r"file.* can't be written"):
            Repository(remote.url, str(tmp_path / "file" / "state")).fetch()

    def test_the_repository_around_does_not_matter(self, remote, tmp_path, monkeypatch):
        commit_id = remote.commit(a="1")
        around = Remote(tmp_path / "around")
        around.git("config", f"url.{tmp_path}/elsewhere.insteadOf", remote.url)
        monkeypatch.setenv("GIT_DIR", str(around.path / ".git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(around.path / ".git" / "index"))
        repository = Repository(remote.url, str(around.path / ".dagrun" / "git"))
        assert repository.fetch().id == commit_id
        assert files_below(repository.tree(commit_id)) == {"a": "1"}


class TestUrl:
    @pytest.mark.parametrize("url", ["", "-u", "--upload-pack=touch x", "ext::sh -c true", "fd::3", "https://a\n/b"])
    def test_what_git_would_take_for_something_else_is_refused(self, place, url):
        with pytest.raises(UserError, match="is refused as the URL of a git repository"):
            Repository(url, str(place))

    def test_other_schemes_are_refused(self, place):
        with pytest.raises(UserError, match="repositories of sftp:// are not fetched\n  there are: file, git"):
            Repository("sftp://host/x", str(place))

    def test_a_configuration_does_not_lead_to_a_program(self, place, tmp_path, monkeypatch):
        settings = {
            "COUNT": "1",
            "KEY_0": f"url.ext::touch {tmp_path}/ran ".strip() + ".insteadOf",
            "VALUE_0": "git://x/",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
        with pytest.raises(UserError, match="transport 'ext' not allowed"):
            Repository("git://x/", str(place)).fetch()
        assert not (tmp_path / "ran").exists()


class TestDamage:
    @pytest.fixture
    def fetched(self, remote, repository, place) -> Path:
        remote.commit(a="1", b="2")
        repository.fetch()
        return place / "mirror.git"

    def test_what_a_killed_fetch_leaves_is_removed(self, remote, repository, fetched):
        left = ["HEAD.lock", "packed-refs.lock", "refs/heads/fetched.lock", "shallow.lock"]
        left += ["objects/pack/tmp_pack_abc", "objects/pack/pack-1.pack", "objects/pack/pack-2.keep"]
        for name in left:
            (fetched / name).write_bytes(b"PACK\0\0garbage")
        new = remote.commit(a="3")
        inode = fetched.stat().st_ino
        assert repository.fetch().id == new
        assert [name for name in left if (fetched / name).exists()] == []
        assert fetched.stat().st_ino == inode

    @pytest.mark.parametrize("lost", ["HEAD", "config", "objects", "refs"])
    def test_a_mirror_that_lacks_a_part_is_made_anew(self, remote, repository, fetched, lost):
        (shutil.rmtree if (fetched / lost).is_dir() else os.unlink)(fetched / lost)
        assert repository.fetch().id == remote.git("rev-parse", "HEAD")
        assert files_below(repository.tree(remote.git("rev-parse", "HEAD"))) == {"a": "1", "b": "2"}

    def test_a_mirror_that_lost_an_object_is_made_anew(self, remote, repository, fetched):
        blob = remote.git("rev-parse", "HEAD:b")
        (fetched / "objects" / blob[:2] / blob[2:]).unlink()
        assert repository.fetch().id == remote.git("rev-parse", "HEAD")
        assert files_below(repository.tree(remote.git("rev-parse", "HEAD"))) == {"a": "1", "b": "2"}

    def test_an_empty_ref_is_mended(self, remote, repository, fetched):
        (fetched / "refs" / "heads" / "fetched").write_text("")
        assert repository.fetch().id == remote.git("rev-parse", "HEAD")

    def test_contents_that_are_damaged_are_fetched_again(self, remote, repository, fetched):
        blob, commit_id = remote.git("rev-parse", "HEAD:b", "HEAD").split()
        path = fetched / "objects" / blob[:2] / blob[2:]
        path.chmod(0o644)
        path.write_bytes(b"garbage")
        with pytest.raises(UserError, match="can't be read\n  fetch again: it is made anew then"):
            repository.tree(commit_id)
        assert os.listdir(fetched.parent / "trees") == []
        repository.fetch()
        assert files_below(repository.tree(commit_id)) == {"a": "1", "b": "2"}

    def test_a_damaged_mirror_stays_while_the_new_one_cannot_be_had(self, remote, repository, fetched):
        (fetched / "damaged").write_text("")
        blob = remote.git("rev-parse", "HEAD:b")
        (remote.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
        with pytest.raises(UserError, match="git says"):
            repository.fetch()
        assert repository.commit(remote.git("rev-parse", "HEAD")).subject == "a change"
        assert sorted(os.listdir(fetched.parent)) == ["mirror.git", "mirror.git.lock", "trees"]

    def test_half_made_directories_are_removed(self, repository, fetched):
        parts = [Path(part_of(str(fetched))), Path(part_of(str(fetched.parent / "trees" / "abc")))]
        for part in parts:
            part.mkdir()
        repository.fetch()
        repository.remove_trees([])
        assert [part.exists() for part in parts] == [False, False]

    def test_a_mirror_of_another_kind_of_hash_is_made_anew(self, remote, repository, fetched):
        shutil.rmtree(remote.path / ".git")
        remote.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
        commit_id = remote.commit(a="9")
        assert len(commit_id) == 64
        assert repository.fetch().id == commit_id
        assert files_below(repository.tree(commit_id)) == {"a": "9", "b": "2"}


FETCH = "import sys; from dagrun.project.git import Repository; print(Repository(*sys.argv[1:]).fetch().id)"


class TestTwoAtOnce:
    def test_processes_that_fetch_at_once_have_the_same(self, remote, place):
        remote.commit(a="1")
        for text in ("2", "3"):
            commit_id = remote.commit(a=text)
            command = [sys.executable, "-c", FETCH, remote.url, str(place)]
            both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            assert [process.communicate()[0].strip() for process in both] == [commit_id] * 2

    def test_who_waits_too_long_is_told(self, remote, place):
        remote.commit(a="1")
        place.mkdir()
        with open(place / "mirror.git.lock", "w") as file:
            assert take(file.fileno(), 0)
            with pytest.raises(Conflict, match="another process has been at work"):
                Repository(remote.url, str(place), seconds=0.05).fetch()
