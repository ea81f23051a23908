"""When alarms (`sla`) ring, and when they don't (features F35, F36)."""

from __future__ import annotations

import select

from dagrun.core.session import SECOND
from dagrun.core.timeline import USUAL_LEAST
from dagrun.engine import local
from dagrun.engine.local import RUN_TIME
from dagrun.engine.submit import Submission
from dagrun.errors import WorkflowError
from tests.conformance.test_schedule_scenarios import Site, at

NOON = "2026-01-01T12:00:00Z"
HOUR = 3600 * SECOND


def started(site: Site, text: str, time: int = at(NOON), **options: int) -> None:
    site.push({"workflows": {"w": text}, "at": NOON})
    revision = site.catalog.revision(site.project_id)
    workflow = revision.workflow("w")
    site.local.submit(Submission(workflow, site.project_id, revision.row, time, options=options), revision)


def became(site: Site) -> str:
    """The state of the newest attempt."""
    site.settle({})
    with site.store.reading() as tx:
        return tx.list_attempts(limit=1)[0].attempt.state


def test_what_had_ended_before_anybody_looked_is_not_late(site):
    """The machine slept, or the daemon was dead."""
    started(site, "sla: {within: 1h, fail: true}\n+a:\n  sh>: sleep 1\n")
    site.work()
    (held,) = site.local.worker.tries.values()
    site.gate.touch()
    select.select([held.fd], [], [])
    site.ahead = 2 * HOUR
    assert became(site) == "success"


def test_longer_than_usual_counts_from_the_start_and_not_from_when_it_was_to_run(site):
    text = "sla: {longer_than: +1h, fail: true}\n+a:\n  echo>: x\n"
    for number in range(USUAL_LEAST):
        started(site, text, at(NOON) + number * HOUR)
        assert became(site) == "success"
    started(site, text, at(NOON) - HOUR, **{RUN_TIME: at(NOON) - HOUR})
    assert became(site) == "success"


def test_an_attempt_that_begins_after_the_time_is_late_however_short_it_is(site):
    started(site, "sla: {within: 1h, fail: true}\n+a:\n  echo>: x\n", **{RUN_TIME: at(NOON)})
    assert became(site) == "group_error"


def test_an_alarm_that_an_earlier_version_accepted_ends_nobody(site, monkeypatch):
    def refuse(*given: object) -> None:
        if len(given) > 2:  # not when the attempt is made
            raise WorkflowError("sla: no", kind="bad_option", file="w.dig")

    monkeypatch.setattr(local, "alarm_of", refuse)
    started(site, "+a:\n  echo>: x\n")
    assert became(site) == "success"
