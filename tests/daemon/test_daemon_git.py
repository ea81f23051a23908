"""Schedules of a git repository: each good commit is taken over, whatever else comes leaves the last good one at work."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.daemon.site import Site, options_of, read
from tests.project.git_remote import Remote, served

EACH = "{seconds_interval>: 1, overlap: skip}"
BROKEN = "+a:\n  sh>: true\n  +b:\n    sh>: true\n"
TOKEN = "s3cr3t-t0k3n-of-the-test"


def workflow(task: str, schedule: str = EACH) -> str:
    return f"""timezone: UTC\nschedule: {schedule}\n+a:\n  sh>: '. "$PLACE/lib.sh"; {task}'\n"""


@pytest.fixture
def remote(site) -> Remote:
    found = Remote(site.place / "etl")
    found.commit("first", **{"wf.dig": workflow("note one b")})
    return found


def schedule(site: Site, url: str, *words: str, ready: bool = True) -> None:
    site.schedule(str(site.directory), "--git", url, "--every", "1s", *words, ready=ready)


def trees(site: Site, name: str = "etl") -> set[str]:
    return set(os.listdir(site.state / "git" / name / "trees"))


def goes_on(site: Site, word: str) -> None:
    site.told(word, times=len(site.notes(word)) + 1)


def test_a_new_commit_is_taken_over(site, remote):
    schedule(site, remote.url)
    site.told("one")
    commit = remote.commit("second", **{"wf.dig": workflow("note two b")})
    site.hears(f"etl: commit {commit[:12]} of Ann <ann@example.org>: second, 1 workflows, 1 schedules")
    site.told("two")
    facts = options_of(site.seen()[-1].attempt)["commit"]
    assert (facts["id"], facts["author"], facts["subject"]) == (commit, "Ann <ann@example.org>", "second")


def test_a_broken_commit_is_refused_and_the_last_good_one_goes_on(site, remote):
    schedule(site, remote.url)
    site.told("one")
    remote.commit("broken", **{"wf.dig": BROKEN})
    site.hears(r"etl: not taken over, the revision of before goes on:\n.*wf\.dig:\d+")
    goes_on(site, "one")
    remote.commit("mended", **{"wf.dig": workflow("note two b")})
    site.hears("etl: commit .*: mended")
    site.told("two")


def test_a_forced_push_is_followed(site, remote):
    remote.commit("second", **{"wf.dig": workflow("note two b")})
    schedule(site, remote.url)
    site.told("two")
    remote.git("reset", "--quiet", "--hard", "HEAD~1")
    commit = remote.commit("other", **{"wf.dig": workflow("note other b")})
    site.hears(f"etl: commit {commit[:12]}")
    site.told("other")


def test_a_branch_that_vanishes_is_told_and_the_last_good_commit_goes_on(site, remote):
    remote.git("checkout", "--quiet", "-b", "live")
    schedule(site, remote.url, "--branch", "live")
    site.told("one")
    remote.git("checkout", "--quiet", "main")
    remote.git("branch", "--quiet", "-D", "live")
    site.hears("etl: can't be fetched; the last good commit goes on: .*live")
    goes_on(site, "one")
    remote.git("checkout", "--quiet", "-b", "live")
    site.hears("etl: can be read again")


def test_a_submodule_is_refused(site, remote):
    schedule(site, remote.url)
    site.told("one")
    inner = Remote(site.place / "inner")
    inner.commit("inner", file="text")
    remote.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.url, "part")
    remote.commit("with a submodule", **{"wf.dig": workflow("note two b")})
    site.hears("submodules are not fetched: part")
    goes_on(site, "one")
    assert site.notes("two") == []


def test_a_remote_that_cannot_be_reached_is_told_once_and_found_again(site, remote):
    schedule(site, remote.url)
    site.told("one")
    remote.path.rename(site.place / "away")
    site.hears("etl: can't be fetched; the last good commit goes on: .*there is no git repository")
    goes_on(site, "one")
    (site.place / "away").rename(remote.path)
    site.hears("etl: can be read again")
    remote.commit("second", **{"wf.dig": workflow("note two b")})
    site.told("two")
    assert site.said().count("can't be fetched") == 1


def test_a_remote_that_cannot_be_reached_at_the_start_is_refused(site):
    said = site.refused(str(site.directory), "--git", str(site.place / "nowhere"), code=2)
    assert "there is no git repository" in said and "goes on" not in said


@pytest.mark.parametrize("trouble", ["unreachable", "broken"])
def test_after_a_restart_the_last_good_commit_goes_on_all_the_same(site, remote, trouble):
    schedule(site, remote.url)
    site.told("one")
    site.die()
    if trouble == "unreachable":
        remote.path.rename(site.place / "away")
    else:
        remote.commit("broken", **{"wf.dig": BROKEN})
    schedule(site, remote.url)
    expected = {"unreachable": "can't be fetched", "broken": "not taken over"}[trouble]
    assert site.has_said(f"etl: {expected}.*the last good commit goes on")
    goes_on(site, "one")


IN_PLACE = """timezone: UTC
schedule: {seconds_interval>: 1, overlap: skip}
_workspace: project
+a:
  sh>: '. "$PLACE/lib.sh"; begin a; until [ -e "$PLACE/a.open" ]; do sleep 0.02; done; finish'
+b:
  sh>: '. "$PLACE/lib.sh"; note "$(cat word)" b; note "$PWD" b'
"""


@pytest.mark.parametrize("restart", [False, True])
def test_an_attempt_works_in_the_tree_of_its_commit_which_goes_when_nobody_needs_it(site, remote, restart):
    old = remote.commit("old", **{"wf.dig": IN_PLACE, "word": "old"})
    schedule(site, remote.url)
    site.told("start", "a")
    new = remote.commit("new", **{"wf.dig": workflow("note new b", '{daily>: "00:00:00"}'), "word": "new"})
    site.hears(f"commit {new[:12]}")
    newest = remote.commit("newest", other="file")
    site.hears(f"commit {newest[:12]}")
    if restart:
        site.die()
        schedule(site, remote.url)
    site.until(lambda: trees(site) == {old, newest}, "the tree of a commit that nobody uses stays")
    (site.place / "a.open").touch()
    site.ended(1)
    assert [note.what for note in site.notes("old")] == ["old"]
    assert site.notes(f"{site.state}/git/etl/trees/{old}")
    site.until(lambda: trees(site) == {newest}, "the tree of an attempt that has ended stays")


def test_a_commit_that_changes_other_files_only_moves_the_project_to_its_tree(site, remote):
    """The revision is the same; the tree of the commit before goes."""
    remote.commit("in a folder", jobs__readme="text", **{"jobs/wf.dig": workflow("note job b")})
    schedule(site, remote.url, "--path", "jobs")
    site.told("job")
    commit = remote.commit("outside", readme="text")
    site.hears(f"commit {commit[:12]}")
    site.until(lambda: trees(site) == {commit})
    goes_on(site, "job")
    assert options_of(site.seen()[-1].attempt)["commit"]["id"] == commit


def test_projects_yaml_names_repositories_and_directories(site, remote):
    other = Remote(site.place / "other")
    other.commit("first", **{"jobs/wf.dig": workflow("note two b")})
    local = site.place / "local"
    local.mkdir()
    (local / "wf.dig").write_text(workflow("note three b"))
    (site.directory / "projects.yaml").write_text(
        f"projects:\n  etl: {{git: '{remote.url}', every: 1s}}\n"
        f"  other: {{git: '{other.url}', branch: main, path: jobs, every: 1s}}\n  here: {{dir: ../local}}\n"
    )
    site.schedule()
    assert site.has_said("3 projects in")
    for word in ("one", "two", "three"):
        site.told(word)
    other.path.rename(site.place / "away")
    site.hears("other: can't be fetched; the last good commit goes on")
    remote.commit("more", **{"wf.dig": workflow("note more b")})
    site.told("more")
    goes_on(site, "two")
    goes_on(site, "three")


def test_repositories_come_and_go_with_projects_yaml(site, remote):
    local = site.place / "local"
    local.mkdir()
    (local / "wf.dig").write_text(workflow("note here b"))
    listed = site.directory / "projects.yaml"
    listed.write_text("projects:\n  here: {dir: ../local}\n")
    site.schedule()
    listed.write_text(f"projects:\n  here: {{dir: ../local}}\n  etl: {{git: '{remote.url}', every: 1s}}\n")
    site.hears("etl: commit")
    site.told("one")
    remote.commit("more", **{"wf.dig": workflow("note more b")})
    site.told("more")
    remote.git("branch", "other", "HEAD~1")
    listed.write_text(f"projects:\n  etl: {{git: '{remote.url}', branch: other, every: 1s}}\n")
    site.hears("here: the project is gone")
    goes_on(site, "one")
    listed.write_text("projects:\n  here: {dir: ../local}\n")
    site.hears("etl: the project is gone")
    assert not (site.state / "git/etl/status.json").exists()
    goes_on(site, "here")


def test_nobody_waits_for_a_new_repository_that_does_not_answer(site):
    local = site.place / "local"
    local.mkdir()
    (local / "wf.dig").write_text(workflow("note here b"))
    listed = site.directory / "projects.yaml"
    listed.write_text("projects:\n  here: {dir: ../local}\n")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        site.schedule()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/etl.git"
        listed.write_text(f"projects:\n  here: {{dir: ../local}}\n  etl: {{git: '{url}'}}\n")
        connection, _ = deaf.accept()
        goes_on(site, "here")
        (local / "wf.dig").write_text(workflow("note there b"))
        site.told("there")
        connection.close()
    site.hears("projects.yaml: not taken over, the list of before goes on:\n.*etl: can't be fetched")
    goes_on(site, "there")


def test_a_token_stands_nowhere(site, remote):
    """Neither when it is right nor when it is wrong: not in what is said, in a file, or in the arguments of a process."""
    bare = site.place / "bare"
    remote.git("clone", "--quiet", "--bare", remote.url, str(bare / "etl.git"))
    settings = site.place / "settings.toml"
    settings.write_text(f'[git.etl]\ntoken = "{TOKEN}"\n')
    with served(bare, "x-access-token", TOKEN) as server:
        schedule(site, f"http://{server.host}/etl.git", "-c", str(settings))
        site.told("one")
        arguments = seen_arguments(site, remote, bare)
        server.expected = "Basic d3Jvbmc6d3Jvbmc="
        site.hears("etl: can't be fetched; the last good commit goes on: .*it asks for authentication")
        goes_on(site, "two")
    site.term()
    assert TOKEN.encode() not in arguments
    shutil.move(settings, site.place.parent / "settings.toml")
    assert [path for path in files(site.place) if TOKEN.encode() in path.read_bytes()] == []


def seen_arguments(site: Site, remote: Remote, bare: Path) -> bytes:
    """The arguments of all processes while a commit is fetched."""
    remote.commit("second", **{"wf.dig": workflow("note two b")})
    remote.git("push", "--quiet", str(bare / "etl.git"), "main")
    found = []

    def has_come() -> bool:
        found.append(b" ".join(read(f"/proc/{name}/cmdline") for name in os.listdir("/proc") if name.isdecimal()))
        return bool(site.notes("two"))

    site.until(has_come)
    text = b" ".join(found)
    assert b"fetch" in text or b"ls-remote" in text
    return text


def files(top: Path) -> list[Path]:
    return [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]


def test_sync_is_answered_at_once(site, remote):
    """`dagrun sync` touches a file; the next look fetches, whatever the interval."""
    site.schedule(str(site.directory), "--git", remote.url, "--every", "1h")
    site.told("one")
    remote.commit("second", **{"wf.dig": workflow("note two b")})
    (site.state / "git" / "etl" / "sync").touch()
    site.hears("etl: commit .*: second")
