"""A remote behind a password: who gets in, and that nobody sees with what. And a fetch that is killed half-way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagrun.errors import UserError
from dagrun.project.git import Repository
from dagrun.project.git_program import address_of, hide_authority
from tests.project.git_remote import Remote, Server, files_below, served

SECRET = "s3cr:t/@%"
QUOTED = "s3cr%3At%2F%40%25"


@pytest.fixture
def remote(tmp_path) -> Remote:
    (tmp_path / "served").mkdir()
    return Remote(tmp_path / "served" / "x")


@pytest.fixture
def server(remote) -> Iterator[Server]:
    with served(remote.path.parent, "ann", SECRET) as server:
        yield server


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return tmp_path / "state"


def everything_below(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def commit_big(remote: Remote) -> str:
    """A commit of so many objects that git keeps them in a pack, which it writes while it comes."""
    return remote.commit(**{f"f{n}": os.urandom(2000).hex() for n in range(120)})


FETCH = """
import os, sys
from dagrun.project.git import Repository
Repository(os.environ["URL"], sys.argv[1], token=os.environ["TOKEN"]).fetch()
"""


@contextmanager
def fetching_half(server: Server, place: Path, url: str, token: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process that fetches, has got one half, and gets no more."""
    server.stalls = True
    environment = os.environ | {"URL": url, "TOKEN": token}
    with subprocess.Popen([sys.executable, "-c", FETCH, str(place)], env=environment) as process:
        assert server.stalled.wait(60)
        while process.poll() is None and not any(place.rglob("tmp_pack_*")):
            pass
        yield process


class TestCredentials:
    def test_a_token_is_the_password_of_the_user_in_the_url(self, remote, server, place):
        commit_id = remote.commit(a="1")
        repository = Repository(f"http://ann@{server.host}/x/.git", str(place), token=f"{SECRET}\n")
        assert repository.fetch().id == commit_id
        assert repository.fetch().id == commit_id

    def test_a_user_is_not_needed_beside_a_token(self, remote, place):
        commit_id = remote.commit(a="1")
        with served(remote.path.parent, "x-access-token", SECRET) as server:
            assert Repository(f"http://{server.host}/x/.git", str(place), token=SECRET).fetch().id == commit_id

    def test_those_of_the_url_count(self, remote, server, place):
        commit_id = remote.commit(a="1")
        assert Repository(f"http://ann:{QUOTED}@{server.host}/x/.git", str(place)).fetch().id == commit_id

    def test_a_credential_helper_of_the_user_counts(self, remote, server, place, tmp_path):
        commit_id = remote.commit(a="1")
        (tmp_path / "answer").write_text(f"username=ann\npassword={SECRET}\n")
        (tmp_path / "config").write_text(f'[credential]\n helper = "!cat {tmp_path}/answer #"\n')
        for user in ("", "ann@"):
            assert Repository(f"http://{user}{server.host}/x/.git", str(place)).fetch().id == commit_id

    def test_a_token_of_ours_goes_before_a_helper(self, remote, server, place, tmp_path):
        remote.commit(a="1")
        (tmp_path / "config").write_text(f'[credential]\n helper = "!touch {tmp_path}/asked #"\n')
        Repository(f"http://ann@{server.host}/x/.git", str(place), token=SECRET).fetch()
        assert not (tmp_path / "asked").exists()

    def test_none_are_told(self, remote, server, place):
        with pytest.raises(UserError, match=r"asks for authentication, and got none that it takes\n  pass a token"):
            Repository(f"http://{server.host}/x/.git", str(place)).fetch()

    def test_a_repository_that_is_not_there_is_told(self, remote, server, place):
        with pytest.raises(UserError, match="there is no git repository"):
            Repository(f"http://ann@{server.host}/y/.git", str(place), token=SECRET).fetch()

    @pytest.mark.parametrize("token", ["a\nb", "a\0b"])
    def test_a_token_of_two_lines_is_refused(self, place, token):
        with pytest.raises(UserError, match="control characters"):
            Repository("https://host/x", str(place), token=token)

    def test_a_token_is_for_the_web(self, place):
        with pytest.raises(UserError, match=r"ssh://git@host/x: a token is for http and https only"):
            Repository("ssh://git@host/x", str(place), token="t")


class TestHiding:
    def test_what_is_refused_is_not_shown(self, remote, server, place):
        url = f"http://ann:{QUOTED}x@{server.host}/x/.git"
        with pytest.raises(UserError) as error:
            Repository(url, str(place)).fetch()
        assert str(error.value).startswith(f"http://***@{server.host}/x/.git: it asks for authentication")
        assert "ann" not in str(error.value)
        assert "s3cr" not in str(error.value)

    def test_half_a_password_is_not_shown(self, place):
        with pytest.raises(UserError) as error:
            Repository("https://ann:half/half@host/x", str(place))
        assert "half" not in str(error.value)

    @pytest.mark.parametrize("user, token", [(f"ann:{QUOTED}", ""), ("ann", SECRET)])
    def test_no_list_of_processes_and_no_file_tells_it(self, remote, server, place, monkeypatch, tmp_path, user, token):
        monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
        commit_big(remote)
        url = f"http://{user}@{server.host}/x/.git"
        with fetching_half(server, place, url, token) as process:
            seen = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True).stdout
            assert b"git fetch" in seen or b"git -" in seen
            assert f"http://{server.host}/x/.git".encode() in seen
            process.kill()
        server.stalls = False
        repository = Repository(url, str(place), token=token)
        repository.tree(repository.fetch().id)
        assert repository.url == f"http://***@{server.host}/x/.git"
        for text in (seen, everything_below(place)):
            assert b"s3cr" not in text
            assert b"ann@" not in text.replace(b"ann@example.org", b"")
        assert not (tmp_path / "trace").exists()

    def test_another_host_gets_no_token(self):
        address = address_of("https://host:8443/x?y", "t0ken")
        assert "t0ken" not in repr(address)
        variables = address.variables({"GIT_CONFIG_COUNT": "2"})
        assert variables["GIT_CONFIG_COUNT"] == "4"
        assert variables["GIT_CONFIG_KEY_2"] == variables["GIT_CONFIG_KEY_3"] == "credential.https://host:8443.helper"

    @pytest.mark.parametrize(
        "text, shown",
        [
            ("https://user:token@host/x", "https://***@host/x"),
            ("fatal: unable to access 'https://t@host/x/': no", "fatal: unable to access 'https://***@host/x/': no"),
            ("https://u:p@ss@host/x and http://a:b@c", "https://***@host/x and http://***@c"),
            ("https://host/@scope/x", "https://host/@scope/x"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("ssh://git:pass@host/x", "ssh://***@host/x"),
            ("git@host:x", "git@host:x"),
        ],
    )
    def test_whoever_is_named_before_a_host_is_hidden(self, text, shown):
        assert hide_authority(text) == shown


class TestKill:
    @pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
    def test_a_fetch_that_is_killed_half_way_leaves_nothing_behind(self, remote, server, place, before):
        url = f"http://ann:{QUOTED}@{server.host}/x/.git"
        if before:
            remote.commit(a="1")
            Repository(url, str(place)).fetch()
        commit_id = commit_big(remote)
        with fetching_half(server, place, url) as process:
            process.kill()  # its git lives on, and waits for the other half
        server.stalls = False
        repository = Repository(url, str(place))
        assert repository.fetch().id == commit_id
        assert len(files_below(repository.tree(commit_id))) == 120 + before
        assert list(place.rglob("tmp_*")) == []
        assert list(place.rglob("*.part")) == []

    def test_the_time_limit_ends_the_whole_of_git(self, remote, server, place):
        commit_big(remote)
        server.stalls = True
        with pytest.raises(UserError, match=r"git \S+ took longer than 1 s\n  look at the network, or allow more"):
            Repository(f"http://ann:{QUOTED}@{server.host}/x/.git", str(place), seconds=1).fetch()
        assert sorted(os.listdir(place)) == ["mirror.git.lock", "trees"]


class TestSsh:
    """With an `ssh` that runs the command here instead of there, and leaves its arguments."""

    @pytest.fixture
    def programs(self, tmp_path, monkeypatch) -> Path:
        programs = tmp_path / "programs"
        programs.mkdir()
        for name in ("ssh", "another-ssh"):
            (programs / name).write_text(
                f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\nfor last; do :; done\neval "$last"\n'
            )
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
        monkeypatch.delenv("GIT_SSH", raising=False)
        return programs

    def test_it_never_asks(self, remote, place, programs, tmp_path):
        commit_id = remote.commit(a="1")
        assert Repository(f"git@host:{remote.path}", str(place)).fetch().id == commit_id
        assert (tmp_path / "calls").read_text().startswith(f"{programs}/ssh -o BatchMode=yes ")

    def test_the_one_that_the_user_chose_is_used(self, remote, place, programs, tmp_path, monkeypatch):
        remote.commit(a="1")
        (tmp_path / "config").write_text("[core]\n sshCommand = another-ssh -x\n")
        Repository(f"ssh://git@host{remote.path}", str(place)).fetch()
        monkeypatch.setenv("GIT_SSH_COMMAND", "another-ssh -y")
        Repository(f"ssh://git@host{remote.path}", str(place)).fetch()
        calls = (tmp_path / "calls").read_text().splitlines()
        assert calls[0].startswith(f"{programs}/another-ssh -x ")
        assert calls[-1].startswith(f"{programs}/another-ssh -y ")

    @pytest.mark.parametrize(
        "answer, told",
        [
            ("git@host: Permission denied (publickey).", "it asks for authentication"),
            ("Host key verification failed.", "the key of its host isn't known"),
            ("ssh: connect to host host port 22: Connection refused", "it can't be reached"),
            ("ERROR: Repository not found.", "there is no git repository"),
        ],
    )
    def test_what_it_answers_is_told(self, place, programs, answer, told):
        (programs / "ssh").write_text(f"#!/bin/sh\necho '{answer}' >&2\nexit 255\n")
        with pytest.raises(UserError) as error:
            Repository("ssh://git@host/x", str(place)).fetch()
        assert str(error.value).startswith(f"ssh://git@host/x: {told}")
        assert f"git says: {answer}" in str(error.value)
