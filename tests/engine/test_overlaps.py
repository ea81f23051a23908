"""What becomes of a session while others of its workflow are at work: `overlap` and `concurrency` (features F54, F55)."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dagrun.cli.kill import end_waiting
from dagrun.core.session import SECOND
from dagrun.engine.admission import look
from dagrun.engine.submit import Submission, submit
from dagrun.engine.waiting_room import end_queued, ready
from dagrun.store.base import QueueRow, Tx
from dagrun.store.sql import open_store
from tests import postgres
from tests.conformance.test_schedule_scenarios import Site, at
from tests.engine.conftest import LIMIT_SECONDS

START = at("2026-01-01T00:00:00Z")
HOUR = 3600 * SECOND


def begun(site: Site, options: str, top: str = "") -> None:
    """Four sessions, an hour apart; the first one is at work until the gate is open."""
    text = f"{top}\nschedule:\n  hourly>: 00:00\n{options}\n+a:\n  sh>: sleep 1\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    for hour in range(4):
        site.scheduler.poll(START + hour * HOUR)
        site.work()


def settle(site: Site) -> None:
    """Until nothing is at work and nothing waits."""
    site.gate.touch()
    while True:
        site.scheduler.start_queued()
        while site.local.worker.attempts:
            site.local.worker.wait(site.local.poll())
        with site.store.reading() as tx:
            if not tx.list_queued():
                return


def became(site: Site) -> list[str]:
    """Of each session, by its hour: the state of its attempt, or that it was skipped."""
    settle(site)
    with site.store.reading() as tx:
        found = {one.session.session_time: one.attempt.state for one in tx.list_attempts()}
        for skip in tx.list_skips(site.project_id, "w"):
            found.setdefault(skip.session_time, f"skipped: {skip.reason}")
    return [state for _, state in sorted(found.items())]


def at_work(site: Site) -> int:
    return len(site.local.worker.tries)


@pytest.mark.parametrize(
    ("overlap", "together", "expected"),
    [
        ("allow", 4, ["success"] * 4),
        ("skip", 1, ["success", *["skipped: #1 still running"] * 3]),
        ("queue", 1, ["success"] * 4),
        ("latest", 1, ["success", "canceled", "canceled", "success"]),
        ("replace", 1, ["canceled", "canceled", "canceled", "success"]),
    ],
)
def test_overlapping_sessions_become_what_the_schedule_says(site, overlap, together, expected):
    begun(site, f"  overlap: {overlap}")
    assert at_work(site) <= together
    assert became(site) == expected


@pytest.mark.parametrize(
    ("when_full", "expected"),
    [
        ("queue", ["success"] * 4),
        ("skip", ["success", *["skipped: #1 is at work, and concurrency is 1"] * 3]),
        ("fail", ["success", *["error"] * 3]),
        ("latest", ["success", "canceled", "canceled", "success"]),
        ("replace", ["canceled", "canceled", "canceled", "success"]),
    ],
)
def test_more_attempts_than_may_be_at_work_become_what_the_file_says(site, when_full, expected):
    begun(site, "", f"concurrency: {{limit: 1, when_full: {when_full}}}")
    assert at_work(site) <= 1
    assert became(site) == expected


def test_a_newer_session_takes_the_place_of_an_attempt_of_another_process_too(site):
    text = "concurrency: {limit: 1, when_full: replace}\nschedule:\n  hourly>: 00:00\n+a:\n  sh>: sleep 1\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    revision = site.catalog.revision(site.project_id)
    wanted = Submission(revision.workflow("w"), site.project_id, revision.row, START - HOUR)
    with site.store.transaction() as tx:
        other, _ = submit(tx, site.local.filled(wanted))
    site.scheduler.poll(START)
    with site.store.reading() as tx:
        assert tx.get_attempt(other.id).state == "canceled"
    assert became(site) == ["canceled", "success"]


def test_two_may_be_at_work_and_the_others_come_in_order(site):
    begun(site, "", "concurrency: 2")
    assert at_work(site) == 2
    assert became(site) == ["success"] * 4
    with site.store.reading() as tx:
        ends = [one.attempt.finished_at for one in tx.list_attempts()[::-1]]
    assert max(ends[:2]) <= min(ends[2:])


def stop_a_strict_line(site: Site) -> None:
    """The first of three sessions has failed."""
    text = "concurrency: {limit: 1, order: strict}\nschedule:\n  hourly>: 00:00\n+a:\n  fail>: no\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    for hour in range(3):
        site.scheduler.poll(START + hour * HOUR)
        site.work()


def test_a_strict_order_stops_after_a_failure_until_it_is_mended(site):
    stop_a_strict_line(site)
    with site.store.reading() as tx:
        states = [one.attempt.state for one in tx.list_attempts()[::-1]]
        assert (states, len(tx.list_queued())) == (["group_error", "running", "running"], 2)


def test_of_a_line_that_has_stopped_only_what_failed_starts(site):
    stop_a_strict_line(site)
    workflow = site.catalog.workflow(site.project_id, "w")
    revision = site.catalog.revision(site.project_id).row

    def verdict(hour: int, **more: int) -> str:
        wanted = Submission(workflow, site.project_id, revision, START + hour * HOUR, **more)
        with site.store.reading() as tx:
            return look(tx, site.local.filled(wanted)).verdict

    assert [verdict(9), verdict(0), verdict(9, resumed_from=1)] == ["stopped", "start", "start"]


def test_keys_are_counted_apart(site):
    text = (
        'concurrency: {limit: 1, key: "${session_hour}", when_full: skip}\nschedule:\n  hourly>: 00:00\n'
        "+a:\n  sh>: sleep 1\n"
    )
    text = text.replace("${session_hour}", "${last_session_time}")
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    for hour in range(3):
        site.scheduler.poll(START + hour * HOUR)
        site.work()
    assert at_work(site) == 3
    assert became(site) == ["success"] * 3


def test_what_waits_is_told_with_its_reason(site):
    begun(site, "  overlap: queue")
    with site.store.reading() as tx:
        assert [row.why for row in tx.list_queued()] == ["the session before it is not done"] * 3
    settle(site)


def test_a_session_that_starts_too_late_is_told_of_once(site):
    said: list[str] = []
    site.scheduler.say = said.append
    text = "sla: {start_within: 10m}\nschedule:\n  hourly>: 00:00\n+a:\n  echo>: x\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    site.scheduler.poll(START + 15 * 60 * SECOND)
    site.work()
    site.scheduler.poll(START + HOUR + 60 * SECOND)
    late = [text for text in said if "did not start within" in text]
    assert late == ["w@2026-01-01T00:00:00+00:00 did not start within 10m of its time (sla), but 15m late"]


def test_a_session_that_waits_in_the_queue_too_long_is_told_of_once(site):
    said: list[str] = []
    site.scheduler.say = said.append
    begun(site, "  overlap: queue", "sla: {start_within: 10m}")
    site.scheduler.poll(START + 4 * HOUR)
    site.scheduler.poll(START + 5 * HOUR)
    late = sorted({text.partition(" ")[0] for text in said if "did not start within" in text})
    assert late == [f"w@2026-01-01T0{hour}:00:00+00:00" for hour in (1, 2, 3, 4)]
    assert len([text for text in said if "T01:00" in text and "did not start within" in text]) == 1


def test_a_kill_and_a_newer_session_that_end_the_same_one_do_not_wait_for_each_other(tmp_path):
    url = postgres.database_url()
    site, other = Site(tmp_path, url), open_store(url)
    begun(site, "", "concurrency: {limit: 1, when_full: latest}")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url, autocommit=True) as looker:
        with other.transaction() as tx:
            (entry,) = tx.list_queued()
            row = tx.lock_attempt(entry.attempt_id)
            polled = pool.submit(site.scheduler.poll, START + 4 * HOUR)
            while not looker.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                assert not polled.done()
            end_queued(tx, row, "killed")
        polled.result(LIMIT_SECONDS)
    with other.reading() as tx:
        assert "killed" in tx.get_attempt(row.id).error
        assert [one.attempt_id for one in tx.list_queued()] == [row.id + 1]
    site.local.worker.end_all()
    other.close()
    site.store.close()


def test_a_session_may_wait_in_the_queue_whose_file_is_gone(site):
    begun(site, "  overlap: queue", "sla: {start_within: 10m}")
    site.push({"workflows": {"other": "+a:\n  echo>: x\n"}, "at": "2026-01-01T04:00:00Z"})
    site.scheduler.poll(START + 5 * HOUR)
    assert became(site) == ["success"] * 4


def test_what_is_killed_in_the_moment_of_its_turn_is_not_started(tmp_path, monkeypatch):
    url = postgres.database_url()
    site, other = Site(tmp_path, url), open_store(url)
    begun(site, "", "concurrency: 1")
    site.gate.touch()
    while site.local.worker.attempts:
        site.local.worker.wait(site.local.poll())
    looks: list[int] = []

    def seen(tx: Tx, projects: Collection[int]) -> list[QueueRow]:
        found = ready(tx, projects)
        looks.append(found[0].attempt_id)
        if len(looks) == 2:  # under the lock of the project, which who kills doesn't need
            end_waiting(other, tx.get_attempt(looks[0]))
        return found

    monkeypatch.setattr("dagrun.engine.scheduler.ready", seen)
    site.scheduler.start_some_queued()
    with other.reading() as tx:
        killed = tx.get_attempt(looks[0])
        assert (killed.state, killed.version, tx.load_tasks(killed.id)) == ("canceled", 0, [])
    assert not site.local.worker.attempts
    other.close()
    site.store.close()


def test_the_sessions_of_a_backfill_have_no_alarm(site):
    text = "sla: {duration: 00:00:00}\nschedule:\n  daily>: 00:00:00\n+a:\n  sh>: sleep 1\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-03T12:00:00Z"})
    site.backfill({"body": {"attemptName": "b", "fromTime": "2026-01-02T00:00:00Z", "dryRun": False}})
    site.scheduler.start_queued()
    (attempt,) = site.local.worker.attempts.values()
    site.work()
    settle(site)
    assert {task.full_name for task in attempt.tree.tasks} == {"+w", "+w+a"}
