"""The commands that only tell: attempts, tasks, log, check, plan, graph; and those that make no attempt."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import pytest

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
WORKFLOW = """
+a:
  sh>: echo of a; echo '{"rows":3}' > $DAGRUN_OUT
+g:
  _parallel: true
  +b:
    sh>: echo of b; exit 2
  +c:
    py>: m.call
"""


@pytest.fixture
def ran(project):
    project.write("w.dig", WORKFLOW)
    project.write("m.py", "import dagrun\ndef call():\n    print('of c')\n    dagrun.env.export({'seen': [1]})\n")
    project.run("run", "w.dig", "--session", "2026-01-15", code=1)
    return project


def test_tasks_have_one_shape_in_tree_order(ran):
    tasks = ran.json("tasks", "last")
    assert [list(task) for task in tasks] == [
        ["index", "name", "parent", "state", "tries", "started_at", "finished_at", "error", "stored", "exported", "reused_from"]
    ] * 6  # fmt: skip
    assert [(task["name"], task["parent"], task["state"], task["tries"]) for task in tasks] == [
        ("+w", None, "group_error", 0), ("+w+a", 0, "success", 1), ("+w+g", 0, "group_error", 0),
        ("+w+g+b", 2, "error", 1), ("+w+g+c", 2, "success", 1), ("+w^failure-alert", 0, "success", 1),
    ]  # fmt: skip
    assert [task["index"] for task in tasks] == [0, 1, 2, 3, 4, 5]
    assert tasks[3]["error"] == {"kind": "command_failed", "message": "Command failed with code 2 (runtime)"}
    assert (tasks[1]["error"], tasks[1]["stored"], tasks[4]["exported"]) == (None, {"rows": 3}, {"seen": [1]})
    assert all(TIME.match(task[key]) for task in tasks for key in ("started_at", "finished_at"))
    assert {task["reused_from"] for task in tasks} == {None}


def test_tasks_are_a_table_for_people(ran):
    lines = ran.run("tasks", "1").out.splitlines()
    assert lines[0].split() == ["task", "state", "tries", "took", "error"]
    assert re.match(r"    \+b +failed +1 +\d\.\ds  Command failed with code 2 \(runtime\)", lines[4])


def test_attempts_are_listed_newest_first_and_can_be_chosen(ran):
    ran.write("v.dig", "+a:\n  echo>: x\n")
    ran.run("run", "v.dig")
    assert [one["workflow"] for one in ran.json("attempts")] == ["v", "w"]
    assert [one["id"] for one in ran.json("attempts", "w")] == [1]
    assert [one["state"] for one in ran.json("attempts", "--state", "failed")] == ["group_error"]
    assert len(ran.json("attempts", "--limit", "1")) == 1
    assert "w@2026-01-15T00:00:00+00:00" in ran.run("attempts").out


def test_logs_are_shown_of_all_tasks_or_of_one(ran):
    assert sorted(ran.run("log", "last").out.split("\n")) == ["", "of a", "of b", "of c"]
    assert ran.run("log", "1", "+g+b").out == "of b\n"
    assert "+nosuch" in ran.run("log", "1", "+nosuch", code=3).err
    assert all(isinstance(one, dict) for one in ran.json("log", "1"))


def test_a_log_is_followed_to_the_end_of_the_attempt(project):
    project.write("w.dig", "+a:\n  sh>: echo first; echo begun > $OUTSIDE/pipe; cat $OUTSIDE/hold; echo last\n")
    for name in ("pipe", "hold"):
        os.mkfifo(project.outside / name)
    run = project.start("run", "w.dig", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (project.outside / "pipe").read_text()
    follower = project.start("log", "last", "-f", stdout=subprocess.PIPE)
    assert follower.stdout.readline() == "first\n"
    (project.outside / "hold").write_text("")
    assert follower.stdout.read() == "last\n"
    assert (run.wait(30), follower.wait(30)) == (0, 0)


def test_a_plan_has_a_row_a_task_and_starts_nothing(project):
    project.write("w.dig", WORKFLOW + "+e:\n  echo>: ${rows + 1} ${x}\n+f:\n  echo>: ${x}\n+h:\n  _disable: true\n")
    rows = {row["task"]: row for row in project.json("plan", "w.dig", "-p", "x=5")}
    assert list(rows) == ["+w", "+w+a", "+w+g", "+w+g+b", "+w+g+c", "+w+e", "+w+f", "+w+h"]
    assert (rows["+w+e"]["note"], rows["+w+f"]["command"]) == ("at run time", "5")
    assert "disabled" in rows["+w+h"]["note"]
    assert "+w+f  " in project.run("plan", "w.dig", "-p", "x=5").out
    assert not (project.directory / ".dagrun").exists()


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run"), ("run", "-dE")])
def test_in_a_plan_now_is_now_and_not_the_time_of_the_session(project, command):
    project.write("w.dig", "+a:\n  echo>: ${moment().year()} of ${session_date}\n")
    before = time.gmtime().tm_year
    rows = project.json(*command, "w.dig", "--session", "2020-01-01")
    assert rows[1]["command"] in {f"{year} of 2020-01-01" for year in (before, time.gmtime().tm_year)}


@pytest.mark.parametrize("session", ["daily", "last", "schedule", "2024-02-29"])
def test_a_plan_is_of_the_session_that_a_run_would_have(project, session):
    project.write("w.dig", "schedule: {daily>: 07:00:00}\n+a:\n  echo>: ${session_local_time}\n")
    (_, row) = project.json("plan", "w", "--session", session)
    assert row["command"].endswith(" 00:00:00")
    assert row["command"] == project.json("run", "w", "--session", session, "--dry-run")[1]["command"]


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run")])
def test_a_plan_knows_the_times_that_a_schedule_gives_to_its_sessions(project, command):
    project.write("w.dig", "schedule: {daily>: 07:00:00}\n+a:\n  echo>: ${last_session_date} ${next_session_date}\n")
    (_, row) = project.json(*command, "w.dig", "--session", "2024-03-01")
    assert (row["command"], row["note"]) == ("2024-02-29 2024-03-02", "")


def test_a_plan_shows_an_operator_that_is_named_by_its_type_as_any_other(project):
    project.write(
        "w.dig", "+a: {_type: echo, _command: '${session_date}'}\n+b: {_type: loop, _command: 2, _do: {echo>: x}}\n"
    )
    rows = project.json("plan", "w.dig", "--session", "2024-03-01")[1:]
    shown = [(row["operator"], row["command"], row["note"]) for row in rows]
    assert shown == [("echo>", "2024-03-01", ""), ("loop>", "2", "its tasks at run time")]


def test_a_graph_is_drawn_in_three_forms(project):
    project.write("w.dig", WORKFLOW)
    assert project.run("graph", "w.dig").out.splitlines() == [
        "+w",
        "  +a  sh>",
        "  +g  after +a",
        "    +b  sh>",
        "    +c  py>",
    ]
    assert project.run("graph", "w.dig", "--format", "mermaid").out.startswith("flowchart TD\n")
    assert "t1 --> t2" in project.run("graph", "w.dig", "--format", "mermaid").out
    assert project.run("graph", "w.dig", "--format", "dot").out.startswith("digraph")
    assert [one["upstreams"] for one in project.json("graph", "w.dig")] == [[], [], [1], [], []]


def test_a_check_tells_of_all_workflows_and_fails_for_one_that_is_broken(project):
    project.write("good.dig", "+a:\n  echo>: x\n")
    assert project.run("check").out == "good.dig: 2 tasks, UTC\n"
    project.write("warned.dig", "+a:\n  echo>: x\n  _tmeout: 3\n")
    assert "warned.dig:1:1: warning: +warned+a: echo> has no option _tmeout" in project.run("check").out
    project.run("check", "--strict", code=2)
    project.write("bad.dig", "+a:\n  echo>: x\n  sh>: y\n")
    assert "error: bad.dig:3:3: +bad+a: a task can have one operator only" in project.run("check", code=2).out
    found = json.loads(project.run("check", "--json", code=2).out)
    assert {one["level"] for one in found["findings"]} == {"error", "warning"} and len(found["workflows"]) == 2


@pytest.mark.parametrize("kind", ["echo", "sh", "python"])
def test_a_new_project_runs_at_once(project, kind):
    project.run("init", "first", "--type", kind)
    assert "exists" in project.run("init", "first").out
    assert project.run("run", "first.dig", cwd=project.directory / "first").out


def test_a_secret_is_a_file_as_it_is(project):
    project.write("pem", "one\r\ntwo\n")
    project.run("secrets", "--local", "--set", "key=@pem")
    assert (project.home / ".config/dagrun/secrets/key").read_bytes() == b"one\r\ntwo\n"
    project.write("key", b"\xff\x00")
    assert "is no text" in project.run("secrets", "--local", "--set", "key=@key", code=2).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [(["a=@none"], 3, "not found: none"), (["@none"], 3, "not found: none"), (["b=1", "a=1", "a=2"], 2, "two values")],
)
def test_secrets_that_can_not_be_read_are_refused_before_any_is_set(project, words, code, message):
    assert message in project.run("secrets", "--local", "--set", *words, code=code).err
    assert project.json("secrets", "--local") == []


def test_secrets_are_set_listed_and_deleted(project):
    project.run("secrets", "--local", "--set", "a.b=-", given="value-of-ab")
    assert project.json("secrets", "--local") == [{"key": "a.b"}]
    assert project.run("secrets", "--local").out == "a.b\n"
    project.run("secrets", "--local", "--delete", "a.b")
    assert project.json("secrets", "--local") == []


def test_version_and_completion(project):
    version = project.run("version").out.strip()
    assert project.run("--version").out.strip() == version == project.json("version")["version"]
    for shell in ("bash", "zsh", "fish"):
        assert "_DAGRUN_COMPLETE" in project.run("completion", shell).out


def test_the_help_names_every_command(project):
    out = project.run("--help").out
    names = re.findall(r"^  ([a-z]+) ", out, re.MULTILINE)
    assert {"run", "retry", "kill", "attempts", "tasks", "log", "check", "plan", "graph", "init", "secrets"} <= set(
        names
    )
    for name in names:
        assert project.run(name, "--help").out.startswith("Usage:")


def test_before_anything_has_run_reading_commands_say_so(project):
    for command in ("attempts", "tasks last", "log last", "kill last"):
        assert "nothing has run here yet" in project.run(*command.split(), code=3).err


def test_a_finished_attempt_can_not_be_killed(ran):
    assert "attempt 1 has ended already" in ran.run("kill", "1", code=4).err


def test_the_version_is_all_that_counts_wherever_it_is_asked_for(project):
    assert project.run("run", "nothing", "--version").out == project.run("--version").out


def test_settings_may_be_named_before_the_command_and_those_behind_it_win(project):
    project.write("w.dig", "+a:\n  echo>: ${day}\n")
    for day in ("monday", "friday"):
        project.write(day, f"params.day = {day}\n")
    assert project.run("-c", "monday", "run", "w").out == "monday\n"
    assert project.run("-c", "monday", "run", "w", "--rerun", "-c", "friday").out == "friday\n"
    assert "Commands:" in project.run("-c", "monday", "--help").out


@pytest.mark.parametrize(
    "command",
    [
        ("attempts", "--limit"),
        ("sessions", "--limit"),
        ("schedules", "--next"),
        ("backfill", "w", "2026-01-01", "--count"),
    ],
)
def test_no_number_is_too_large_to_be_refused(project, command):
    project.write("w.dig", "+a:\n  echo>: x\n")
    assert "is not in the range" in project.run(*command, str(2**64), code=2).err
