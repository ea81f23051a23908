"""The commands about schedules: previews, moving them, backfills, and why something doesn't run (features F43, F64, F65, F103)."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

DAILY = 'timezone: Asia/Tokyo\nschedule:\n  daily>: "07:00:00"\n+a:\n  sh>: echo $session_date >> $OUTSIDE/ran\n'


@pytest.fixture
def daemon(project):
    """Starts daemons; all are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = project.start("schedule", ".", *options, stderr=subprocess.PIPE)
        started.append(process)
        assert process.stderr is not None
        while f"process {process.pid}" not in (line := process.stderr.readline()):
            assert line, "the daemon ended"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def stop(process) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.fixture
def scheduled(project, daemon):
    """A project whose schedules are in the store; no daemon runs any more."""
    project.write("w.dig", DAILY)
    stop(daemon())
    return project


# -- schedules


def test_the_next_runs_come_from_the_files_and_need_no_store(project):
    project.write("w.dig", DAILY)
    project.write("v.dig", 'schedule: {cron>: "0 3 * * *", delay: 60}\n+a: {echo>: x}\n')
    found = project.json("schedules", "w", "--next", "2", "--from", "2026-03-01 07:00:00")
    assert found == [
        {"workflow": "w", "session_time": "2026-03-01T00:00:00+09:00", "run_time": "2026-03-01T07:00:00+09:00"},
        {"workflow": "w", "session_time": "2026-03-02T00:00:00+09:00", "run_time": "2026-03-02T07:00:00+09:00"},
    ]
    both = project.json("schedules", "--next", "3", "--from", "2026-03-01T00:00:00+00:00")
    assert [one["workflow"] for one in both] == ["v", "w", "v"]
    assert not (project.directory / ".dagrun").exists()


@pytest.mark.parametrize("start", ["2026-02-28 22:00:00 +0000", "2026-03-01 07:00:00 +0900", "1772316000"])
def test_a_time_is_read_in_each_of_digdags_forms(project, start):
    project.write("w.dig", DAILY)
    (found,) = project.json("schedules", "w", "--next", "1", "--from", start)
    assert found["run_time"] == "2026-03-01T07:00:00+09:00"


def test_a_number_beyond_the_calendar_is_no_time(project):
    project.write("w.dig", DAILY)
    assert "is no time" in project.run("schedules", "--from", "9" * 30, code=2).err


def test_a_list_of_schedules_is_merged_by_run_time(project):
    project.write("w.dig", 'schedule:\n  - {cron>: "0 3 * * *"}\n  - {cron>: "30 2 * * *"}\n+a: {echo>: x}\n')
    found = project.json("schedules", "w", "--next", "3", "--from", "2026-03-01")
    assert [one["session_time"][:16] for one in found] == ["2026-03-01T02:30", "2026-03-01T03:00", "2026-03-02T02:30"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["x", "--next", "1"], "schedule not found: x"), (["--next", "1", "--from", "soon"], "--from 'soon' is no time")],
)
def test_what_can_not_be_previewed_is_told(project, arguments, message):
    project.write("w.dig", DAILY)
    ended = project.run("schedules", *arguments, code=None)
    assert ended.code in (2, 3)
    assert message in ended.err.lower() or message in ended.err


def test_schedules_are_listed_as_the_daemon_keeps_them(scheduled):
    (found,) = scheduled.json("schedules")
    assert (found["workflow"], found["schedule"], found["timezone"]) == ("w", {"daily>": "07:00:00"}, "Asia/Tokyo")
    assert found["next_session_time"].endswith("T00:00:00+09:00")
    assert found["last_session_time"] is None
    assert "daily> 07:00:00" in scheduled.run("schedules", "w").out


# -- moving them


def test_a_disabled_schedule_says_so_until_it_is_enabled(scheduled):
    scheduled.run("disable", "w", "--until", "2030-01-01")
    (found,) = scheduled.json("schedules")
    assert found["disabled_until"] == "2029-12-31T15:00:00.000000Z"
    assert "disabled since" in scheduled.run("why", "w").out
    scheduled.run("enable", "w")
    assert scheduled.json("schedules")[0]["disabled_at"] is None


def test_a_schedule_is_enabled_by_itself_when_its_time_has_come(scheduled, daemon):
    scheduled.run("disable", "w", "--until", "2020-01-01")
    daemon()
    while scheduled.json("schedules")[0]["disabled_at"] is not None:
        pass


def test_sessions_are_left_out(scheduled):
    before = scheduled.json("schedules")[0]["next_session_time"]
    (shown,) = scheduled.json("reschedule", "w", "-s", "2", "-d")
    assert scheduled.json("schedules")[0]["next_session_time"] == before
    (moved,) = scheduled.json("reschedule", "w", "--skip", "2")
    assert moved["next_session_time"] == shown["next_session_time"] > before
    assert "already past" in scheduled.run("reschedule", "w", "--skip-to", "2020-01-01", code=4).err
    scheduled.run("reschedule", "w", "-a", "2030-01-01 09:00:00 +0900")
    (found,) = scheduled.json("schedules")
    assert found["next_run_time"] == "2030-01-01T00:00:00.000000Z"
    assert found["next_session_time"] == moved["next_session_time"]


@pytest.mark.parametrize("arguments", [[], ["--skip", "1", "-t", "now"]])
def test_a_wish_that_is_unclear_is_refused(scheduled, arguments):
    scheduled.run("reschedule", "w", *arguments, code=2)


@pytest.mark.parametrize("command", ["enable", "disable", "reschedule"])
def test_an_unknown_workflow_has_no_schedule(scheduled, command):
    options = ["--skip", "1"] if command == "reschedule" else []
    assert "schedule not found: x" in scheduled.run(command, "x", *options, code=3).err


# -- backfill


def test_a_backfill_makes_the_sessions_that_its_dry_run_shows(scheduled, daemon):
    shown = scheduled.json("backfill", "w", "2026-03-01..2026-03-03", "--name", "b1", "--dry-run")
    assert [one["session_time"][:10] for one in shown] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert scheduled.json("attempts") == []
    made = scheduled.json("backfill", "w", "2026-03-01..2026-03-03", "--name", "b1")
    assert [one["session_time"] for one in made] == [one["session_time"] for one in shown]
    assert "no daemon runs here" in scheduled.run("why", "1").out
    assert "started already" in scheduled.run("backfill", "w", "2026-03-01..2026-03-03", "--name", "b1", code=4).err
    daemon()
    while len(scheduled.ran()) < 3:
        pass
    assert scheduled.ran() == ["2026-03-01", "2026-03-02", "2026-03-03"]


def test_a_backfill_may_begin_with_the_newest_and_leave_out_what_is_there(scheduled, daemon):
    process = daemon()
    scheduled.run("backfill", "w", "2026-03-02", "--count", "1")
    while not scheduled.ran():
        assert process.poll() is None
    scheduled.run("backfill", "w", "2026-03-01..2026-03-03", "--order", "newest", "--only", "missing")
    while len(scheduled.ran()) < 3:
        assert process.poll() is None
    assert scheduled.ran() == ["2026-03-02", "2026-03-03", "2026-03-01"]


def test_a_backfill_stops_after_so_many_failures(project, daemon):
    project.write("w.dig", DAILY + "+b:\n  fail>: no\n")
    process = daemon()
    project.run("backfill", "w", "2026-03-01..2026-03-04", "--stop-after", "2")
    while [one["done"] for one in project.json("attempts")] != [True] * 4:
        assert process.poll() is None
    assert sorted(one["state"] for one in project.json("attempts")) == ["canceled"] * 2 + ["group_error"] * 2


def test_an_attempt_that_waits_can_be_killed(scheduled):
    scheduled.run("backfill", "w", "2026-03-01..2026-03-02", "--name", "b1")
    scheduled.run("kill", "2")
    states = {one["id"]: one["state"] for one in scheduled.json("attempts")}
    assert states == {1: "queued", 2: "canceled"}


def test_an_attempt_that_waits_for_its_turn_has_not_started(scheduled):
    scheduled.run("backfill", "w", "2026-03-01..2026-03-02", "--name", "b1")
    waits = re.compile(r"w@2026-03-01T00:00:00\+09:00 +(#1 +)?queued +(1 +1 *)?([0-9a-f]{12} *)?$", re.MULTILINE)
    assert waits.search(scheduled.run("attempts").out) and waits.search(scheduled.run("sessions").out)
    assert [one["id"] for one in scheduled.json("attempts", "--state", "queued")] == [2, 1]
    assert scheduled.json("attempts", "--state", "running") == []
    assert [(one["state"], one["started_at"]) for one in scheduled.json("sessions")] == [("queued", None)] * 2
    shown = scheduled.run("show", "1").out
    assert "state     queued: " in shown and "started" not in shown
    assert scheduled.json("show", "1")["state"] == "queued"
    drawn = scheduled.json("timeline", "1")
    assert (drawn["state"], drawn["started_at"], drawn["tasks"]) == ("queued", None, [])
    assert "attempt 1, queued, " in scheduled.run("timeline", "1").out
    assert "attempt 1 has been queued for " in scheduled.run("why", "1").out


def test_of_what_is_not_done_why_tells_what_is_at_work_and_what_is_queued(project, daemon):
    project.write("w.dig", f"{DAILY}+b:\n  sh>: while [ ! -e $OUTSIDE/open ]; do sleep 0.05; done\n")
    daemon()
    project.run("backfill", "w", "2026-03-01..2026-03-02")
    while not project.ran():
        pass
    found = project.json("why", "w")[1:]
    (project.outside / "open").touch()
    assert found == ["attempt 1 is at work: dagrun why 1", "attempt 2 is queued: dagrun why 2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "give FROM or FROM..TO"), (["soon"], "FROM 'soon' is no time"), (["2026-03-01", "--name", ""], "needs a name"),
     (["2026-03-01..2026-03-02", "--count", "5"], "count is set to 5 but there are only 2 attempts")],
)  # fmt: skip
def test_a_backfill_that_can_not_be_is_refused(scheduled, arguments, message):
    assert message in scheduled.run("backfill", "w", *arguments, code=2).err
    assert scheduled.json("attempts") == []


# -- sessions and why


def test_skipped_sessions_are_listed_with_the_reason(project, daemon):
    project.write(
        "w.dig",
        "schedule:\n  seconds_interval>: 1\n  overlap: skip\n"
        "+a:\n  sh>: while [ ! -e $OUTSIDE/open ]; do sleep 0.05; done\n",
    )
    process = daemon()
    while not [one for one in project.json("sessions") if one["state"] == "skipped"]:
        assert process.poll() is None
    (project.outside / "open").touch()
    skipped = next(one for one in project.json("sessions") if one["state"] == "skipped")
    assert skipped["reason"] == "#1 still running"
    assert "#1 still running" in project.run("sessions").out


def test_why_names_the_chain_of_what_a_task_waits_for(project):
    project.write(
        "w.dig", "+a:\n  sh>: while [ ! -e $OUTSIDE/open ]; do sleep 0.05; done\n+b:\n  +c:\n    sh>: 'true'\n"
    )
    run = project.start("run", "w", stderr=subprocess.DEVNULL)
    while "running" not in (project.run("tasks", "last", code=None).out):
        assert run.poll() is None
    lines = project.json("why", "last", "+b+c")
    assert lines[0] == "+w+b+c waits for +w+b to begin"
    assert lines[1] == "+w+b waits for +w+a"
    assert lines[2].startswith("+w+a runs since ")
    (project.outside / "open").touch()
    assert run.wait(30) == 0
    assert "is done since" in project.run("why", "last").out
    assert "task not found: +x" in project.run("why", "last", "+x", code=3).err


def test_why_a_task_waits_to_be_tried_again(project):
    project.write("w.dig", "+a:\n  _retry: {limit: 1, interval: 60}\n  sh>: exit 3\n")
    run = project.start("run", "w", stderr=subprocess.DEVNULL)
    while "waiting" not in project.run("tasks", "last", code=None).out:
        assert run.poll() is None
    assert "is tried again in " in project.json("why", "last", "+a")[0]
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 6


def test_why_a_workflow_does_not_run(scheduled, daemon):
    assert "no daemon runs here" in scheduled.run("why", "w").out
    process = daemon()
    assert "the next session is" in scheduled.run("why", "w").out
    scheduled.run("pause", "--all", "--reason", "migration")
    assert "everything is paused" in scheduled.run("why", "w").out
    assert "(migration)" in scheduled.run("why", "w").out
    scheduled.run("unpause", "--all")
    scheduled.run("unpause", "--all", code=4)
    assert json.loads(scheduled.run("why", "w", "--json").out)
    stop(process)


# -- retrying what a daemon ran


def done(project, process) -> None:
    """The first attempt has ended, with its alert."""
    while not [one for one in project.json("attempts") if one["id"] == 1 and one["done"]]:
        assert process.poll() is None


def test_an_attempt_of_a_folders_project_is_retried_with_its_files_as_they_are_now(project, daemon):
    project.write("etl/w.dig", "schedule: {seconds_interval>: 1, overlap: skip}\n+a:\n  sh>: ./a.sh\n")
    project.write("etl/a.sh", "echo broken >> $OUTSIDE/ran; exit 1\n").chmod(0o755)
    project.write("other/v.dig", "+a: {echo>: x}\n")
    process = daemon()
    done(project, process)
    stop(process)
    project.write("etl/a.sh", "echo mended >> $OUTSIDE/ran\n").chmod(0o755)
    project.run("retry", "1")
    assert project.ran()[-1] == "mended"


def test_an_attempt_of_a_commit_is_retried_on_the_commit_that_was_taken_over_last(project, daemon):
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", *words],
            cwd=project.outside / "repo", check=True, capture_output=True,
        )  # fmt: skip

    repository = project.outside / "repo"
    repository.mkdir()
    text = "schedule: {seconds_interval>: 1, overlap: skip}\n+a:\n  sh>: echo one >> $OUTSIDE/ran; exit 1\n"
    (repository / "w.dig").write_text(text)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "first")
    process = daemon("--git", f"file://{repository}")
    done(project, process)
    (repository / "w.dig").write_text(text.replace("one", "two").replace("exit 1", "true").replace("1,", "3600,"))
    git("commit", "-qam", "second")
    project.run("sync")
    stop(process)
    project.run("retry", "1")
    assert project.ran()[-1] == "two"
    assert project.run("retry", "1", "--keep-revision", code=1)


def test_a_backfill_is_paused_and_killed_as_one(scheduled, daemon):
    scheduled.run("backfill", "w", "2026-03-01..2026-03-03", "--name", "b1")
    scheduled.run("pause", "--backfill", "b1")
    daemon()
    assert "is paused since" in scheduled.run("why", "1").out
    scheduled.run("kill", "--backfill", "b1")
    assert [one["state"] for one in scheduled.json("attempts")] == ["canceled"] * 3
    assert scheduled.ran() == []
    assert "backfill not found: b1" in scheduled.run("kill", "--backfill", "b1", code=3).err
