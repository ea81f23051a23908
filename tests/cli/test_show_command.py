"""`dagrun show`: one attempt whole."""

from __future__ import annotations

import json
import sqlite3

import pytest

from dagrun.project.git import Repository
from dagrun.project.sources import facts_of
from tests.project.git_remote import Remote


@pytest.fixture
def ran(project):
    project.write("w.dig", "+a:\n  sh>: echo one\n")
    project.write("gone.txt", "x")
    project.write("same.txt", "x")
    project.run("run", "w.dig", "--session", "2026-01-01")
    project.write("w.dig", "+a:\n  sh>: exit 2\n")
    project.write("new.txt", "x")
    (project.directory / "gone.txt").unlink()
    project.run("run", "w.dig", "--session", "2026-01-02", "-p", "x=1", code=1)
    return project


def facts(out: str) -> dict[str, str]:
    return {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in out.splitlines() if line[0] != " "}


def test_an_attempt_is_shown_whole(ran):
    found = facts(ran.run("show", "last").out)
    assert list(found) == [
        "attempt",
        "session",
        "project",
        "state",
        "started",
        "ended",
        "run by",
        "params",
        "revision",
        "changes",
    ]
    assert found["attempt"] == "2, #1 of its session"
    assert found["session"] == "w@2026-01-02T00:00:00+00:00"
    assert found["state"] == "failed"
    assert found["params"] == '{"x": "1"}'
    assert found["run by"].startswith("process ")
    assert found["changes"] == "3 files since attempt 1"


def test_changed_files_are_those_since_the_previous_attempt_of_the_workflow(ran):
    assert ran.run("show", "2").out.splitlines()[-3:] == ["  D gone.txt", "  A new.txt", "  M w.dig"]
    ran.write("other.dig", "+a:\n  echo>: x\n")
    ran.run("run", "other.dig")
    ran.run("run", "w.dig", "--session", "2026-01-03", code=1)
    shown = ran.json("show", "4")
    assert (shown["previous_attempt"], shown["changes"], shown["changes_note"]) == (2, ["A other.dig"], None)


def test_the_first_attempt_has_nothing_before_it(ran):
    shown = ran.json("show", "1")
    assert (shown["previous_attempt"], shown["changes"], shown["commit"]) == (None, None, None)
    assert "first attempt" in facts(ran.run("show", "w@2026-01-01").out)["changes"]


def test_json_has_the_shape_of_attempts_and_more(ran):
    (listed, _) = ran.json("attempts")
    shown = ran.json("show", "2")
    assert listed.items() <= shown.items()
    assert shown["run_by"].keys() == {"host", "pid", "daemon", "alive"}
    assert (shown["run_by"]["daemon"], shown["run_by"]["alive"], shown["timezone"]) == (False, None, "UTC")


def test_the_definition_is_that_of_the_attempt(ran):
    assert ran.run("show", "1", "--definition").out == "+a:\n  sh>: echo one\n"
    assert ran.json("show", "2", "--definition")["definition"] == "+a:\n  sh>: exit 2\n"


def test_a_retry_says_of_which_attempt(ran):
    ran.write("w.dig", "+a:\n  sh>: exit 0\n")
    ran.run("retry", "2")
    found = facts(ran.run("show", "last").out)
    assert (found["retries"], found["changes"]) == ("attempt 2", "1 file since attempt 2")


def test_what_is_not_there_is_not_found(ran):
    assert "attempt not found: 77" in ran.run("show", "77", code=3).err
    assert "names no attempt" in ran.run("show", "nosuch", code=2).err


# -- attempts of commits


@pytest.fixture
def remote(tmp_path) -> Remote:
    return Remote(tmp_path / "remote")


def fetched(project, remote: Remote) -> dict:
    """What a daemon would note of the newest commit with an attempt."""
    repository = Repository(remote.url, str(project.directory / ".dagrun" / "git" / "default"), branch="main")
    return facts_of(repository.fetch(), repository)


def note_commit(project, attempt: int, commit: dict) -> None:
    with sqlite3.connect(project.directory / ".dagrun" / "state.db") as store:
        store.execute("UPDATE attempts SET options = ? WHERE id = ?", (json.dumps({"commit": commit}), attempt))
    store.close()


def test_a_commit_is_shown_with_its_author_and_the_files_that_it_changed(ran, remote):
    remote.commit("first", jobs__a="1", jobs__b="1")
    note_commit(ran, 1, fetched(ran, remote))
    newest = remote.commit("second: more", jobs__a="2", jobs__c="3")
    note_commit(ran, 2, fetched(ran, remote))
    shown = ran.json("show", "2")
    assert shown["commit"] == {
        "id": newest, "author": "Ann <ann@example.org>", "subject": "second: more", "url": remote.url, "branch": "main",
        "path": "", "date": "2023-11-14T22:13:20.000000Z",
    }  # fmt: skip
    assert (shown["changes"], shown["changes_note"]) == (["M jobs/a", "A jobs/c"], None)
    found = facts(ran.run("show", "2").out)
    assert found["commit"] == f"{newest}  second: more"
    assert found["author"].startswith("Ann <ann@example.org>, 2023-11-1")
    assert found["from"] == f"{remote.url}, branch main"


def test_a_commit_that_the_mirror_no_longer_knows_is_said_to_be_gone(ran, remote):
    remote.commit("first", a="1")
    old = fetched(ran, remote)
    note_commit(ran, 1, old | {"id": "1" * 40})
    note_commit(ran, 2, old)
    shown = ran.json("show", "2")
    assert "the mirror no longer knows commit 111111111111" in shown["changes_note"]
    assert shown["changes"] == ["D gone.txt", "A new.txt", "M w.dig"]
    assert "no longer knows" in facts(ran.run("show", "2").out)["note"]


def test_the_same_commit_has_no_changes(ran, remote):
    remote.commit("first", a="1")
    for attempt in (1, 2):
        note_commit(ran, attempt, fetched(ran, remote))
    assert ran.json("show", "2")["changes"] == []
    assert facts(ran.run("show", "2").out)["changes"] == "nothing since attempt 1"


def test_commits_of_two_places_are_not_compared(ran, remote):
    remote.commit("first", a="1")
    commit = fetched(ran, remote)
    note_commit(ran, 1, commit | {"url": "https://example.org/other.git"})
    note_commit(ran, 2, commit)
    shown = ran.json("show", "2")
    assert "another place" in shown["changes_note"] and shown["changes"] == ["D gone.txt", "A new.txt", "M w.dig"]
