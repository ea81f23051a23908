"""TERM: nothing new starts, what runs may end in the grace period; a second one leaves at once. One daemon a directory."""

from __future__ import annotations

import signal
import time

from tests.daemon.site import Site

EACH = "{seconds_interval>: 1, overlap: skip}"
OFTEN = "{seconds_interval>: 1}"
SOON = 2.0  # seconds: no grace was waited for, nor a look that comes by itself


def at_work(site: Site, *words: str) -> None:
    site.workflow("wf", EACH, "do: gate a", "do: begin b; finish")
    site.schedule(*words)
    site.told("start", "a")


def test_what_runs_ends_and_nothing_new_starts(site):
    site.workflow("other", OFTEN, "do: busy other ${session_unixtime} 0")
    at_work(site)
    site.told("end")
    site.process.send_signal(signal.SIGTERM)
    site.hears("stopping: [12] tasks? at work, at most 600 s more")
    count = len(site.seen("other"))
    (site.place / "a.open").touch()
    assert site.process.wait(20) == 0
    assert site.has_said("stopped$")
    assert len(site.notes("end", "a")) == 1
    assert site.notes("start", "b") == []
    assert len(site.seen("other")) == count
    assert [one.attempt.state for one in site.seen("wf")] == ["running"]
    site.schedule()
    site.told("start", "b")


def test_without_tasks_it_ends_at_once(site):
    site.workflow("wf", '{daily>: "00:00:00"}', "echo>: hello")
    site.schedule()
    begun = time.monotonic()
    site.term()
    assert time.monotonic() - begun < SOON


def test_a_second_signal_leaves_at_once_and_the_task_goes_on(site):
    at_work(site)
    site.process.send_signal(signal.SIGTERM)
    site.hears("stopping")
    begun = time.monotonic()
    site.term()
    assert time.monotonic() - begun < SOON
    assert not site.is_free("a")
    assert site.has_said("1 task goes on; the next start takes them up")


def test_after_the_grace_period_the_task_goes_on(site):
    at_work(site, str(site.directory), "--grace", "0.3")
    site.term()
    assert not site.is_free("a")


def test_control_C_and_a_closed_terminal_stop_it_as_well(site):
    site.workflow("wf", '{daily>: "00:00:00"}', "echo>: hello")
    for number in (signal.SIGINT, signal.SIGHUP):
        site.schedule()
        site.process.send_signal(number)
        assert site.process.wait(20) == 0


def test_a_second_daemon_on_the_same_directory_is_refused(site):
    site.workflow("wf", '{daily>: "00:00:00"}', "echo>: hello")
    process = site.schedule()
    said = site.refused(code=4)
    assert f"process {process.pid} runs the schedules of this directory already" in said
    site.term()
    site.schedule()


def test_a_signal_while_it_reads_the_projects_stops_it(site):
    for number in range(40):
        site.workflow(f"wf{number}", '{daily>: "00:00:00"}', "echo>: hello")
    site.schedule(ready=False)
    site.until(lambda: (site.state / "daemon.lock").exists())
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(20) in (0, -signal.SIGTERM)
    assert "Traceback" not in site.said()
