"""`dagrun sync`, with a daemon that runs a repository made by the test, and without."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.project.git_remote import Remote

GOOD = "+a:\n  echo>: x\n"
BAD = "+a:\n  echo>: x\n  sh>: y\n"


@pytest.fixture
def remote(tmp_path) -> Remote:
    remote = Remote(tmp_path / "etl")
    (remote.path / "w.dig").write_text(GOOD)
    remote.commit("the beginning")
    return remote


@contextmanager
def daemon(project, *arguments: str):
    """A daemon that is at work; what it says is in the way of nobody."""
    process = project.start("schedule", *arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        while f"process {process.pid}" not in (line := process.stderr.readline()):
            assert line, "the daemon has ended"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def running(project, remote):
    with daemon(project, "--git", remote.url, "--every", "1h") as process:
        yield process


def write(remote: Remote, subject: str, text: str = GOOD, **files: str) -> str:
    (remote.path / "w.dig").write_text(text)
    return remote.commit(subject, **files)


def test_a_new_commit_is_taken_over_at_once(project, remote, running):
    newest = write(remote, "more", GOOD + "+b:\n  echo>: y\n")
    out = project.run("sync").out
    assert out == f"etl: taken over, commit {newest[:12]} of Ann <ann@example.org>: more\n"


def test_the_same_commit_is_unchanged(project, remote, running):
    (found,) = project.json("sync", "etl")
    assert (found["project"], found["outcome"], found["problem"]) == ("etl", "unchanged", None)
    assert found["daemon"] == running.pid
    assert found["commit"]["id"] == remote.git("rev-parse", "HEAD")
    assert found["commit"].keys() == {"id", "author", "date", "subject", "url", "branch", "path"}


def test_a_commit_that_changes_no_workflow_is_taken_over_too(project, remote, running):
    write(remote, "words", README="x")
    assert project.run("sync").out.startswith("etl: taken over, ")


def test_a_commit_that_is_not_valid_is_refused_with_its_reasons(project, remote, running):
    newest = write(remote, "broken", BAD)
    ended = project.run("sync", code=2)
    assert ended.out.startswith(f"etl: refused, commit {newest[:12]} of Ann <ann@example.org>: broken\n")
    assert "a task can have one operator only" in ended.out
    assert project.run("sync", code=2).out == ended.out
    write(remote, "mended")
    assert project.run("sync").out.startswith("etl: taken over, ")


def test_a_repository_that_can_not_be_fetched_is_told(project, remote, running):
    os.rename(remote.path, remote.path.with_name("away"))
    ended = project.run("sync", code=2)
    assert "can't be fetched; the last good commit goes on" in ended.out
    os.rename(remote.path.with_name("away"), remote.path)
    assert project.run("sync").out.startswith("etl: unchanged, ")


def test_time_is_over_when_the_daemon_does_not_answer(project, remote, running):
    running.send_signal(signal.SIGSTOP)
    ended = project.run("sync", "--timeout", "0s", code=5)
    assert re.match(rf"etl: the daemon, process {running.pid}, has not fetched it within 0 s\n  .*--timeout", ended.out)


def test_a_daemon_that_ends_meanwhile_is_a_conflict(project, remote, running):
    running.send_signal(signal.SIGSTOP)
    sync = project.start("sync", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wish = project.directory / ".dagrun" / "git" / "etl" / "sync"
    while not wish.exists():
        assert sync.poll() is None
    running.kill()
    _, said = sync.communicate(timeout=30)
    assert (sync.returncode, "ended before it answered" in said) == (4, True)


def test_a_project_that_is_not_there_is_not_found(project, remote, running):
    ended = project.run("sync", "elt", code=3)
    assert "git project not found: elt (did you mean etl?)" in ended.err


def test_a_daemon_of_folders_has_nothing_to_fetch(project):
    project.write("w.dig", GOOD)
    with daemon(project):
        assert "the running daemon fetches none" in project.run("sync", code=3).err


def test_attempts_of_the_daemon_show_their_commits(project, remote):
    scheduled = "timezone: UTC\nschedule:\n  daily>: 00:00:00\n" + GOOD
    old = write(remote, "first", scheduled)
    with daemon(project, "--git", remote.url, "--every", "1h"):
        project.run("backfill", "w", "--from", "2026-01-01", "--count", "1")
        project.run("log", "last", "--follow")
        new = write(remote, "second", scheduled, note="x")
        project.run("sync")
        project.run("backfill", "w", "--from", "2026-01-02", "--count", "1")
        project.run("log", "last", "--follow")
        first, second = project.json("show", "1"), project.json("show", "2")
    assert [one["commit"]["id"] for one in (first, second)] == [old, new]
    assert (second["changes"], second["changes_note"]) == (["A note"], None)
    assert second["run_by"]["daemon"] and second["state"] == "success"


# -- without a daemon


def test_without_a_daemon_what_projects_yaml_lists_is_fetched(project, remote):
    project.write("projects.yaml", f"projects:\n  mine: {{git: '{remote.url}', branch: main}}\n  here: {{dir: .}}\n")
    newest = remote.git("rev-parse", "HEAD")
    ended = project.run("sync")
    assert ended.out == f"mine: fetched, commit {newest[:12]} of Ann <ann@example.org>: the beginning\n"
    assert "no daemon runs here" in ended.err
    (found,) = project.json("sync", "mine")
    assert (found["outcome"], found["daemon"], found["commit"]["id"]) == ("fetched", None, newest)
    assert "git project not found: here" in project.run("sync", "here", code=3).err


def test_without_a_daemon_what_the_last_one_fetched_is_fetched_again(project, remote):
    with daemon(project, "--git", remote.url):
        pass
    newest = write(remote, "later", BAD)
    assert project.run("sync", "etl").out.startswith(f"etl: fetched, commit {newest[:12]} ")


def test_without_anything_to_fetch_it_says_so(project):
    ended = project.run("sync", code=3)
    assert "no daemon runs here" in ended.err and "dagrun schedule --git" in ended.err


def test_a_remote_that_is_gone_is_told_without_a_daemon(project, tmp_path):
    project.write("projects.yaml", f"projects: {{mine: {{git: '{tmp_path}/nowhere'}}}}\n")
    assert "can't be fetched" in project.run("sync", code=2).out
