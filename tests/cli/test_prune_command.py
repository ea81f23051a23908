"""`dagrun prune`: its options, its settings, and what it tells."""

from __future__ import annotations

import os
import sqlite3
import time

import pytest

DAY = 86_400


@pytest.fixture
def ran(project):
    """Three attempts of one workflow, each of a session and a revision of its own."""
    for number in range(3):
        project.write("w.dig", f"+a:\n  sh>: echo {number}\n")
        project.run("run", "w.dig", "--session", f"2026-01-0{number + 1}")
    return project


def make_older(project, days: float, *attempts: int) -> None:
    """Attempts ended, and files were written, so many days earlier."""
    with sqlite3.connect(project.directory / ".dagrun" / "state.db") as store:
        for attempt in attempts:
            store.execute(
                "UPDATE attempts SET finished_at = finished_at - ? WHERE id = ?", (days * DAY * 1_000_000, attempt)
            )
        store.execute("UPDATE revisions SET created_at = created_at - ?", (days * DAY * 1_000_000,))
    store.close()
    then = time.time() - days * DAY
    for path in (project.directory / ".dagrun" / "objects").glob("*/*"):
        os.utime(path, (then, then))


def ids(project) -> list[int]:
    return [one["id"] for one in project.json("attempts")]


def test_nothing_goes_by_itself(ran):
    make_older(ran, 500, 1, 2, 3)
    assert ran.run("prune").out == "nothing is old enough\n"
    assert ids(ran) == [3, 2, 1]


def test_old_attempts_go_but_the_newest(ran):
    make_older(ran, 100, 1, 2, 3)
    told = ran.json("prune", "--keep-last", "1", "--dry-run")
    assert ids(ran) == [3, 2, 1]
    done = ran.json("prune", "--keep-last", "1")
    assert done == told | {"dry_run": False}
    expected = {
        "attempts": 2,
        "tasks": 4,
        "sessions": 2,
        "revisions": 2,
        "log_directories": 2,
        "log_bytes": 4,
        "objects": 2,
    }
    assert {key: done[key] for key in expected} == expected
    assert ids(ran) == [3]
    assert ran.run("log", "3").out == "2\n"
    assert "attempt not found: 1" in ran.run("tasks", "1", code=3).err
    ran.run("run", "w.dig", "--session", "2026-01-03", "--rerun")


def test_a_table_tells_what_went(ran):
    make_older(ran, 100, 1, 2, 3)
    lines = ran.run("prune", "--keep-last", "2", "--dry-run").out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["would", "attempts", "tasks"]
    assert ran.run("prune", "--keep-last", "2").out.splitlines()[0].split() == ["removed", "count", "bytes"]


def test_limits_come_from_the_options_before_the_settings(ran):
    settings = ran.home / ".config" / "dagrun" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[retention]\nruns = "10d"\nfailed = "2y"\nlogs = 3600\nkeep_last = 2\n')
    make_older(ran, 20, 1, 2, 3)
    told = ran.json("prune", "--dry-run")
    limits = {
        "runs_seconds": 10 * DAY,
        "failed_seconds": 730 * DAY,
        "logs_seconds": 3600,
        "keep_last": 2,
        "attempts": 1,
    }
    assert {key: told[key] for key in limits} == limits
    assert ran.json("prune", "--dry-run", "--runs", "30d")["attempts"] == 0
    assert ran.json("prune", "--dry-run", "--keep-last", "0")["attempts"] == 3


def test_logs_alone_go_of_attempts_that_stay(ran):
    make_older(ran, 40, 1, 2, 3)
    assert ran.json("prune", "--keep-last", "1")["log_directories"] == 2
    assert ids(ran) == [3, 2, 1]
    assert (ran.run("log", "1").out, ran.run("log", "3").out) == ("", "2\n")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--runs", "soon", "no length of time"),
        ("--failed", "-1d", "no length of time"),
        ("--keep-last", "few", "no number"),
    ],
)
def test_a_limit_that_is_none_is_refused(ran, option, value, says):
    ended = ran.run("prune", f"{option}={value}", code=2)
    assert says in ended.err and "write" in ended.err


def test_a_setting_that_is_no_limit_is_named(ran):
    settings = ran.home / ".config" / "dagrun" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[retention]\nkeep_last = true\n")
    assert "retention.keep_last" in ran.run("prune", code=2).err


def test_before_anything_has_run_there_is_nothing_to_prune(project):
    assert "nothing has run here yet" in project.run("prune", code=3).err
