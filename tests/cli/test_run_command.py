"""`dagrun run`: which session, what runs, what is printed where, and the exit code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest

SESSION = ("--session", "2026-01-15")
STEPS = """
timezone: Asia/Tokyo
+a:
  sh>: echo a >> $OUTSIDE/ran; echo out of a
+b:
  sh>: echo b >> $OUTSIDE/ran; test -e $OUTSIDE/mended || { echo broken; exit 3; }
+c:
  echo>: c on ${session_date}
"""


@pytest.fixture
def steps(project):
    project.write("w.dig", STEPS)
    return project


def test_a_success_prints_what_its_tasks_print_and_nothing_else(project):
    project.write("w.dig", '+a:\n  sh>: printf "one\\n\\ttwo"; echo err >&2\n+b:\n  echo>: three\n')
    ended = project.run("run", "w.dig")
    assert ended.out == "one\n\ttwoerr\nthree\n"


def test_without_a_terminal_each_event_is_one_plain_line(project):
    project.write("w.dig", "+g:\n  +a:\n    echo>: x\n")
    lines = project.run("run", "w.dig", *SESSION).err.splitlines()
    assert lines[0] == "w@2026-01-15T00:00:00+00:00: attempt 1"
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines[1:-1]] == [
        "+w+g+a running", "+w+g+a success", "+w+g success",
    ]  # fmt: skip
    assert re.fullmatch(r"w: attempt 1 succeeded in \d+\.\d s", lines[-1])


def test_a_failure_ends_with_place_exit_code_last_lines_and_a_command_that_goes_on(steps):
    ended = steps.run("run", "w.dig", *SESSION, code=1)
    assert "  +w+b (w.dig:5): Command failed with code 3 (runtime)\n    | broken\n" in ended.err
    (steps.outside / "mended").touch()
    command = shlex.split(ended.err.splitlines()[-1].partition("to go on from there: ")[2])
    assert command[0] == "dagrun"
    assert "c on 2026-01-15" in steps.run(*command[1:]).out
    assert steps.ran() == ["a", "b", "b"]


def test_only_the_last_lines_of_a_long_log_are_repeated(project):
    project.write("w.dig", "+a:\n  sh>: seq 1 100; exit 1\n")
    ended = project.run("run", "w.dig", code=1)
    assert [line for line in ended.err.splitlines() if line.startswith("    | ")] == [
        f"    | {number}" for number in range(91, 101)
    ]


def test_run_goes_on_with_the_attempt_that_failed(steps):
    steps.run("run", "w.dig", *SESSION, code=1)
    (steps.outside / "mended").touch()
    assert steps.run("run", "w.dig").err.startswith("w@2026-01-15T00:00:00+09:00: attempt 2 goes on with attempt 1\n")
    assert steps.ran() == ["a", "b", "b"]


def test_rerun_starts_afresh(steps):
    steps.run("run", "w.dig", *SESSION, code=1)
    steps.run("run", "w.dig", *SESSION, "--rerun", code=1)
    assert steps.ran() == ["a", "b", "a", "b"]


def test_a_named_session_that_succeeded_has_nothing_to_do(project):
    project.write("w.dig", "+a:\n  sh>: echo a >> $OUTSIDE/ran\n")
    project.run("run", "w.dig", *SESSION)
    ended = project.run("run", "w.dig", *SESSION)
    assert "attempt 1 succeeded already, nothing to do" in ended.err and project.ran() == ["a"]
    project.run("run", "w.dig", "--session", "2026-01-16")
    assert project.ran() == ["a", "a"]


def test_without_a_session_a_success_is_run_again(project):
    project.write("w.dig", "+a:\n  sh>: echo a >> $OUTSIDE/ran\n")
    project.run("run", "w.dig")
    project.run("run", "w.dig")
    assert project.ran() == ["a", "a"]


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026-01-15", "2026-01-15T00:00:00+09:00"),
        ("2026-01-15 10:30:00", "2026-01-15T10:30:00+09:00"),
        ("2026-01-15T10:30:00+00:00", "2026-01-15T19:30:00+09:00"),
    ],
)
def test_a_session_time_is_read_in_the_zone_of_the_workflow(project, given, time):
    project.write("w.dig", "timezone: Asia/Tokyo\n+a:\n  echo>: ${session_time}\n")
    assert project.run("run", "w.dig", "--session", given).out == f"{time}\n"


def test_hourly_and_daily_sessions_are_cut(project):
    project.write("w.dig", "+a:\n  echo>: ${session_time}\n")
    assert re.fullmatch(r"\S+T\d\d:00:00\+00:00\n", project.run("run", "w.dig", "--session", "hourly").out)
    assert re.fullmatch(r"\S+T00:00:00\+00:00\n", project.run("run", "w.dig", "--session", "daily", "--rerun").out)


def test_the_last_instant_of_the_schedule_is_the_default(project):
    project.write(
        "w.dig",
        "schedule:\n  monthly>: 3,07:00:00\n+a:\n  echo>: ${session_date} ${last_session_date} ${next_session_date}\n",
    )
    days = project.run("run", "w.dig").out.split()
    assert [day[-2:] for day in days] == ["03", "03", "03"] and days[1] < days[0] < days[2]


def test_parameters_are_merged_from_settings_file_and_options(project):
    project.write("w.dig", "+a:\n  echo>: ${a} ${b.c} ${d} ${e}\n")
    project.write("p.yml", "a: file\nb: {c: 2}\nd: file\n")
    project.write("settings", "params.a = settings\nparams.e = settings\n")
    ended = project.run("run", "w.dig", "-P", "p.yml", "-c", "settings", "-p", "d=x,y", "-p", "b.c=3")
    assert ended.out == "file 3 x,y settings\n"


def test_start_goal_end_and_a_task_choose_what_runs(project):
    project.write("w.dig", "".join(f"+{name}:\n  echo>: {name}\n" for name in "abcd"))
    assert project.run("run", "w.dig", "--rerun", "--end", "+c").out.split() == ["a", "b"]
    assert project.run("run", "w.dig", "--start", "+c").out.split() == ["c", "d"]
    assert project.run("run", "w.dig", "--goal", "+b").out.split() == ["b"]
    assert project.run("run", "w.dig", "+d").out.split() == ["d"]


PARTIAL = "".join(f"+{name}:\n  sh>: echo {name}; test {name} != c -o -e $OUTSIDE/mended\n" for name in "abcd")


@pytest.mark.parametrize(
    ("chosen", "ran"),
    [(("+d",), "a b c"), (("--end", "+b"), "b c d"), (("--goal", "+b"), "c d"), (("--start", "+d"), None)],
)
def test_what_was_left_out_has_not_run_and_runs_in_the_next_whole_run(project, chosen, ran):
    project.write("w.dig", PARTIAL)
    (project.outside / "mended").touch()
    project.run("run", "w.dig", *SESSION, *chosen)
    left = [one["name"][-1] for one in project.json("tasks", "last") if one["started_at"] is None]
    assert left == (ran or "").split()
    ended = project.run("run", "w.dig", *SESSION)
    # What comes after a task that was left out runs again with it, as after one that runs.
    assert set((ran or "").split()) <= set(ended.out.split())
    assert project.run("run", "w.dig", *SESSION).out == ""


def test_a_retry_of_a_part_that_failed_runs_what_was_left_out(project):
    project.write("w.dig", PARTIAL)
    project.run("run", "w.dig", "+c", code=1)
    (project.outside / "mended").touch()
    planned = {one["task"]: one["action"] for one in project.json("retry", "last", "--plan")}
    assert planned["+w+a"] == planned["+w+b"] == "run"
    assert project.run("run", "w.dig").out.split() == ["a", "b", "c", "d"]


def test_a_part_run_again_keeps_what_succeeded_before_it(project):
    project.write("w.dig", PARTIAL)
    (project.outside / "mended").touch()
    project.run("run", "w.dig", *SESSION)
    assert project.run("run", "w.dig", *SESSION, "+b").out.split() == ["b"]
    assert project.run("run", "w.dig", *SESSION).out.split() == ["c", "d"]


def test_a_dry_run_records_nothing_and_starts_nothing(project):
    project.write("w.dig", "+a:\n  sh>: touch $OUTSIDE/ran\n+b:\n  loop>: 2\n  _do:\n    echo>: ${i}\n")
    ended = project.run("run", "w.dig", "--dry-run")
    assert re.search(r"\+w\+a +sh> +touch \$OUTSIDE/ran", ended.out) and "at run time" in ended.out
    assert not (project.directory / ".dagrun").exists() and not project.ran()


def test_in_place_works_in_the_project_itself(project):
    project.write("w.dig", "+a:\n  sh>: echo 1 > made\n+b:\n  sh>: cat made\n")
    assert project.run("run", "w.dig", "--in-place").out == "1\n"
    assert (project.directory / "made").exists()


@pytest.mark.parametrize(
    ("top", "arguments"), [("", ["--in-place"]), ("_workspace: project\n", []), ("_workspace: shared\n", [])]
)
def test_operators_read_what_an_earlier_task_left_in_a_directory_in_common(project, top, arguments):
    project.write(
        "w.dig",
        f"{top}+a:\n  sh>: 'mkdir sub; echo \"+x: {{echo>: called}}\" > sub/c.dig; echo text > text'\n"
        "+b: {call>: sub/c}\n+c: {mail>: text, subject: s, to: b@x.org, from: a@x.org}\n",
    )
    ended = project.run("run", "w.dig", *arguments, code=1)
    assert ended.out == "called\n" and "mail> knows no server" in ended.err


def test_files_left_in_an_own_directory_are_named_with_remedies(project):
    project.write("w.dig", "+a:\n  sh>: echo 1 > made.txt\n")
    err = project.run("run", "w.dig").err
    assert "+w+a: made.txt" in err and "_workspace: shared" in err and "--in-place" in err
    assert not (project.directory / "made.txt").exists()


def test_a_kept_directory_is_named_and_stays_over_later_runs(project):
    project.write("w.dig", "+a:\n  _keep: on_failure\n  sh>: echo 1 > made.txt; exit 1\n")
    err = project.run("run", "w.dig", code=1).err
    kept = re.search(r"kept the directory of \+w\+a: (.*)", err)
    project.run("run", "w.dig", code=1)
    assert kept and os.path.exists(f"{kept[1]}/project/made.txt")


def test_json_takes_the_place_of_what_tasks_print(steps):
    (steps.outside / "mended").touch()
    attempt = steps.json("run", "w.dig", *SESSION)
    assert (attempt["id"], attempt["state"], attempt["session_time"]) == (1, "success", "2026-01-15T00:00:00+09:00")
    assert steps.json("run", "w.dig", *SESSION) == attempt  # nothing to do


def test_a_second_run_of_a_running_session_is_a_conflict(project):
    project.write("w.dig", "+a:\n  sh>: echo begun > $OUTSIDE/pipe; cat $OUTSIDE/hold\n")
    os.mkfifo(project.outside / "pipe")
    os.mkfifo(project.outside / "hold")
    first = project.start("run", "w.dig", *SESSION, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (project.outside / "pipe").read_text() == "begun\n"
    ended = project.run("run", "w.dig", *SESSION, code=4)
    assert f"attempt 1 of this session is running (process {first.pid} on " in ended.err
    assert "kill it first" in project.run("retry", "1", code=4).err
    (project.outside / "hold").write_text("")
    assert first.wait(30) == 0


def test_a_closed_pipe_stops_the_copying_and_not_the_attempt(project):
    project.write("w.dig", "+a:\n  sh>: seq 1 200000\n+b:\n  sh>: echo b >> $OUTSIDE/ran\n")
    run = project.start("run", "w.dig", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert run.stdout is not None and run.stdout.readline() == "1\n"
    run.stdout.close()
    assert run.wait(30) == 0
    assert project.ran() == ["b"] and project.json("attempts")[0]["state"] == "success"


def test_a_project_elsewhere_is_named_or_found_by_the_path(project, tmp_path):
    project.write("w.dig", "+a:\n  sh>: pwd; exit 1\n")
    for arguments in (("run", "project/w.dig"), ("run", "w", "--project", "project")):
        ended = project.run(*arguments, "--rerun", code=1, cwd=tmp_path)
        assert ended.err.rstrip().endswith("--project project")
    assert (project.directory / ".dagrun").exists() and not (tmp_path / ".dagrun").exists()


def test_a_secret_is_handed_to_the_task_that_names_it_and_stands_nowhere(project):
    secret = "s3cr3t-value-of-the-shop"
    project.run("secrets", "--local", "--set", "shop.token=-", given=secret)
    project.write(
        "w.dig",
        '+a:\n  sh>: echo "token $TOKEN"; tr "\\0" " " < /proc/$$/cmdline; test "$TOKEN" = "$(cat $OUTSIDE/right)"\n'
        '  _env: {TOKEN: "${secret:shop.token}"}\n+b:\n  sh>: test -z "$TOKEN"\n',
    )
    (project.outside / "right").write_text(secret)
    ended = project.run("run", "w.dig")
    assert "token ***" in ended.out and secret not in ended.out + ended.err
    everything = [path for path in (project.directory / ".dagrun").rglob("*") if path.is_file()]
    assert len(everything) > 3
    assert not [path for path in everything if secret.encode() in path.read_bytes()]
    assert "shop.token" in project.run("secrets", "--local").out


def test_redirected_secrets_do_not_lead_those_of_the_environment_elsewhere(project):
    for key in ("a", "b"):
        project.run("secrets", "--local", "--set", f"{key}=-", given=f"value-of-{key}")
    project.write("w.dig", '+a:\n  sh>: test "$A" = "value-of-a"\n  _secrets: {a: b}\n  _env: {A: "${secret:a}"}\n')
    project.run("run", "w.dig")


def test_a_script_sees_its_operator_and_its_command_however_they_are_spelled(project):
    project.write(
        "w.dig", "+a: {sh>: 'echo $_type: $_command'}\n+b: {_type: sh, _command: 'echo $_type'}\n+c: {py>: m.f}\n"
    )
    project.write("m.py", "def f(**variables):\n    print(variables['_type'], variables['_command'])\n")
    assert project.run("run", "w.dig").out.splitlines() == ["sh: echo $_type: $_command", "sh", "py m.f"]


def test_a_failure_without_a_text_still_shows_an_error(project):
    project.write("w.dig", "+a:\n  fail>:\n")
    ended = project.run("run", "w.dig", code=1)
    assert '+w+a failed: {"message":""}\n' in ended.err and '  +w+a (w.dig:1): {"message":""}\n' in ended.err


@pytest.mark.parametrize(("name", "code"), [("nope", 2), ("ecs", 1), ("simple", 0)])
def test_an_executor_that_nobody_knows_is_refused_before_anything_is_recorded(project, name, code):
    project.write("w.dig", "+a: {sh>: 'true'}\n")
    project.write("settings", f"agent.command_executor.type = {name}\n")
    ended = project.run("run", "w.dig", "-c", "settings", code=code)
    assert (name in ended.err) == bool(code)
    assert (project.directory / ".dagrun" / "state.db").exists() == (code != 2)


def test_an_exported_handler_is_for_the_task_that_exports_it_and_read_by_no_other(project):
    project.write(
        "w.dig",
        '_export: {_error: {echo>: "root ${error.message}"}}\n+a: {echo>: a, _export: {_check: {echo>: "${task_name}"}}}\n'
        "+b: {fail>: b}\n",
    )
    assert project.run("run", "w.dig", code=1).out.splitlines() == ["a", "+w+a^check", "root b"]


def test_a_run_that_goes_on_reuses_what_names_the_times_of_the_schedule(project):
    text = "schedule: {{daily>: 00:00:00}}\n+a: {{echo>: '${{last_session_time}} ${{next_session_date}}'}}\n+b: {{{}>: b}}\n"
    project.write("w.dig", text.format("fail"))
    project.run("run", "w.dig", "--session", "2024-03-01", code=1)
    project.write("w.dig", text.format("echo"))
    assert project.run("run", "w.dig", "--session", "2024-03-01").out == "b\n"


def test_a_broken_file_at_the_top_is_no_obstacle_to_the_call_of_one_in_a_working_directory(project):
    project.write("w.dig", "+a: {_export: {_workdir: lib}, call>: in}\n")
    project.write("in.dig", "+x: [1]\n")
    project.write("lib/in.dig", "+x: {echo>: ran}\n")
    assert project.run("run", "w.dig").out == "ran\n"


def test_the_directory_of_a_called_file_may_be_a_template(project):
    project.write("w.dig", "+a: {call>: sub/c}\n")
    project.write("sub/c.dig", "_export: {day: mon, _workdir: 'of-${day}'}\n+x: {sh>: cat here}\n")
    project.write("sub/of-mon/here", "found\n")
    assert project.run("run", "w.dig").out == "found\n"
