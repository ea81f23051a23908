"""`dagrun timeline`: real runs, whose tasks say themselves when they began and ended."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from datetime import datetime

import pytest

CLOSE_SECONDS = 0.2  # so near are bars and what the tasks' logs say (features F86)
SAY = "date +%s.%N"  # the first and the last line of each try's log
WORKFLOW = f"""
+first:
  sh>: {SAY}; sleep 0.3; {SAY}
+both:
  _parallel: true
  +long:
    sh>: {SAY}; sleep 0.6; {SAY}
  +twice:
    _retry: {{limit: 1, interval: 1}}
    sh>: {SAY}; sleep 0.2; {SAY}; test -e $OUTSIDE/again || {{ touch $OUTSIDE/again; exit 1; }}
"""


@pytest.fixture
def ran(project):
    project.write("w.dig", WORKFLOW)
    project.run("run", "w.dig", "--session", "2026-01-15")
    project.environment["COLUMNS"] = "100"
    return project


@pytest.fixture
def held(project):
    """A run whose task has begun, and ends when somebody writes to `hold`."""
    project.write("w.dig", "+a:\n  sh>: echo begun > $OUTSIDE/pipe; cat $OUTSIDE/hold\n+b:\n  echo>: x\n")
    for name in ("pipe", "hold"):
        os.mkfifo(project.outside / name)
    process = project.start("run", "w.dig", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (project.outside / "pipe").read_text()
    yield process
    process.kill()
    process.wait()


def runs_of(project, name: str) -> list[tuple[float, float]]:
    """Start and end of the running bars of a task."""
    (task,) = [task for task in project.json("timeline", "last")["tasks"] if task["name"] == name]
    return [(at(bar["started_at"]), at(bar["finished_at"])) for bar in task["bars"] if bar["kind"] == "running"]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def logged(project, name: str) -> list[tuple[float, float]]:
    """What the logs of its tries say, in the order of the tries."""
    files = sorted((project.directory / ".dagrun" / "logs").glob(f"**/*{name}*"))
    return [(float(lines[0]), float(lines[-1])) for lines in (path.read_text().split() for path in files)]


@pytest.mark.parametrize(("name", "tries"), [("+w+first", 1), ("+w+both+long", 1), ("+w+both+twice", 2)])
def test_each_try_has_a_bar_that_starts_and_ends_when_its_log_says(ran, name, tries):
    bars, logs = runs_of(ran, name), logged(ran, name)
    assert len(bars) == len(logs) == tries
    for bar, log in zip(bars, logs, strict=True):
        assert log == pytest.approx(bar, abs=CLOSE_SECONDS)
        assert log[1] - log[0] == pytest.approx(bar[1] - bar[0], abs=CLOSE_SECONDS)


def test_parallel_tasks_overlap_and_tasks_one_after_the_other_do_not(ran):
    (first,), (long,), twice = (runs_of(ran, f"+w+{name}") for name in ("first", "both+long", "both+twice"))
    assert first[1] <= long[0] < twice[0][1] and first[1] <= twice[0][0] < long[1]


def test_json_has_one_shape(ran):
    found = ran.json("timeline", "last")
    assert list(found) == [
        "attempt", "workflow", "session_time", "state", "done", "started_at", "until", "usual_seconds", "tasks",
        "critical_path",
    ]  # fmt: skip
    assert [task["name"] for task in found["tasks"]] == ["+w", "+w+first", "+w+both", "+w+both+long", "+w+both+twice"]
    assert {tuple(task) for task in found["tasks"]} == {
        ("index", "name", "parent", "state", "critical", "queued_seconds", "waited_seconds", "ran_seconds", "bars")
    }
    twice = found["tasks"][-1]
    assert {tuple(bar) for bar in twice["bars"]} == {
        ("kind", "index", "try", "outcome", "started_at", "finished_at", "seconds")
    }
    shown = [(bar["kind"], bar["try"], bar["outcome"]) for bar in twice["bars"] if bar["kind"] != "queued"]
    assert shown == [("running", 1, "failed"), ("waiting", None, None), ("running", 2, "success")]
    assert twice["waited_seconds"] == pytest.approx(1, abs=CLOSE_SECONDS)
    assert [list(one) for one in found["critical_path"]] == [["index", "name", "started_at", "until", "seconds"]] * 2


def test_the_tree_is_drawn_to_scale_with_the_critical_path_marked(ran):
    head, columns, root, first, both, long, twice, legend = ran.run("timeline", "last").out.splitlines()
    assert re.fullmatch(r"w@2026-01-15T00:00:00\+00:00: attempt 1, success, \d\.\ds", head)
    assert columns.split() == ["task", "state", "start", "took"]
    assert re.fullmatch(r"  \+w +success  \+0\.0s  \d\.\ds  ─{60,}", root)
    assert re.fullmatch(r"\*   \+first +success  \+0\.0s  0\.\ds  ░*█+", first)
    assert re.fullmatch(r"    \+both .* ─+", both)
    assert re.fullmatch(r"      \+long .*  ░*█+", long)
    assert re.fullmatch(r"\*     \+twice .*  ░*█+·+░*█+", twice)
    assert legend.endswith("· waiting  █ running  ─ its tasks at work  * critical path")
    assert all(len(line) <= 100 for line in (root, first, both, long, twice))
    assert twice.count("·") == pytest.approx(3 * first.count("█"), rel=0.5)


def test_the_critical_path_alone_tells_how_long_each_task_queued_waited_and_ran(ran):
    lines = ran.run("timeline", "last", "--critical-path").out.splitlines()
    assert lines[1].split() == ["task", "start", "queued", "waited", "ran"]
    assert [line.split()[0] for line in lines[2:-1]] == ["+w+first", "+w+both+twice"]
    assert re.search(r"  \+0\.\ds  \d\.\ds +1\.\ds +\d\.\ds", lines[3])
    found = ran.json("timeline", "last", "--critical-path")
    assert [task["name"] for task in found["tasks"]] == [one["name"] for one in found["critical_path"]]


def test_where_the_encoding_has_no_blocks_the_picture_is_ascii(ran):
    ran.environment["PYTHONIOENCODING"] = "ascii"
    out = ran.run("timeline", "last").out
    assert out.isascii() and re.search(r"\+twice .*  :?#+\.+:?#+\n", out)


def test_in_a_terminal_long_names_leave_room_for_the_picture(project):
    name = "+a_task_whose_name_takes_more_than_half_of_the_line"
    project.write("w.dig", f"{name}:\n  echo>: x\n")
    project.run("run", "w.dig")
    project.environment["COLUMNS"] = "70"
    lines = [line for option in ((), ("--critical-path",)) for line in in_terminal(project, *option)]
    assert all(len(line) < 70 for line in lines if name[:9] in line or "…" in line)
    assert any(re.match(r"\*   \+a_task_\w+…  success ", line) for line in lines)
    assert any(re.match(r"…\w+_the_line  \+0.0s ", line) for line in lines)


def in_terminal(project, *options: str) -> list[str]:
    master, slave = pty.openpty()
    process = project.start("timeline", "last", *options, stdout=slave)
    os.close(slave)
    shown = b""
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:  # nobody has it open any more
        pass
    os.close(master)
    assert process.wait(30) == 0
    return shown.decode().splitlines()


def test_a_running_attempt_is_drawn_up_to_now(project, held):
    found = project.json("timeline", "last")
    assert (found["done"], found["state"]) == (False, "running")
    bar = found["tasks"][1]["bars"][-1]
    assert (bar["kind"], bar["try"], bar["finished_at"]) == ("running", 1, None)
    assert [one["name"] for one in found["critical_path"]] == ["+w+a"]
    assert "attempt 1, running" in project.run("timeline", "last").out
    (project.outside / "hold").write_text("")
    assert held.wait(30) == 0
    assert project.json("timeline", "last")["tasks"][1]["bars"][-1]["finished_at"]


def test_the_timeline_of_a_dead_process_ends_with_its_last_sign_of_life(project, held):
    os.kill(held.pid, signal.SIGKILL)
    held.wait()
    shown = project.run("timeline", "last")
    assert "attempt 1, lost" in shown.out
    assert "the process that ran it is dead; to go on: dagrun retry 1" in shown.err
    (project.outside / "hold").write_text("")  # its task was still waiting for this


def test_what_a_retry_reused_has_no_bar(project):
    project.write("w.dig", "+a:\n  echo>: x\n+b:\n  sh>: test -e $OUTSIDE/mended\n")
    project.run("run", "w.dig", code=1)
    (project.outside / "mended").touch()
    project.run("retry", "last")
    assert re.search(r"^    \+a +success in 1$", project.run("timeline", "last").out, re.MULTILINE)


def test_the_usual_duration_is_told_once_five_attempts_have_succeeded_before(project):
    project.write("w.dig", "+a:\n  echo>: x\n")
    for _ in range(6):
        project.run("run", "w.dig", "--session", "2026-01-15", "--rerun")
    assert project.json("timeline", "5")["usual_seconds"] is None
    assert 0 < project.json("timeline", "6")["usual_seconds"] < 60
    assert ", usually " in project.run("timeline", "6").out.splitlines()[0]


def test_before_anything_has_run_it_says_so(project):
    assert "nothing has run here yet" in project.run("timeline", "last", code=3).err
