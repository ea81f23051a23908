"""Alarms as runs of the real program show them (features F35, F36)."""

from __future__ import annotations

LONG = "+a:\n  sh>: while [ ! -e $OUTSIDE/open ]; do sleep 0.05; done\n"


def test_an_attempt_that_is_not_done_in_time_is_killed_if_the_file_says_so(project):
    project.write("w.dig", f"sla: {{within: 1s, kill: true}}\n{LONG}")
    ended = project.run("run", "w", code=6)
    assert "is not done in time (sla)" in ended.err


def test_the_tasks_of_an_alarm_run_beside_the_others(project):
    project.write("w.dig", f"sla: {{within: 1s, do: {{sh>: touch $OUTSIDE/open}}}}\n{LONG}")
    assert "SLA violation" in project.run("run", "w").err


def test_a_run_that_is_longer_than_usual_is_told_once_there_are_five_to_compare_with(project):
    project.write("w.dig", "sla: {longer_than: 3x_usual}\n+a:\n  sh>: sleep ${seconds}\n")
    for _ in range(4):
        assert "SLA" not in project.run("run", "w", "--rerun", "-p", "seconds=0.2").err
    assert "SLA" not in project.run("run", "w", "--rerun", "-p", "seconds=1.5").err
    assert "SLA violation" in project.run("run", "w", "--rerun", "-p", "seconds=3").err


def test_check_refuses_an_alarm_that_no_run_could_have(project):
    project.write("w.dig", "sla: {time: 07:00, duration: 01:00}\n+a:\n  echo>: x\n")
    assert "w.dig:1:6: SLA must be specified" in project.run("check", code=2).out
