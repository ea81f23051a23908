"""Many schedules that are due at once: some dozens a pass, with work on them between the passes, and each session once."""

from __future__ import annotations

from dagrun.engine.scheduler import AT_ONCE, IN_A_PASS
from tests.conformance.test_schedule_scenarios import Site
from tests.conformance.test_schedule_scenarios import at as instant

MIDNIGHT = "2026-01-02T00:00:00+00:00"
COUNT = IN_A_PASS + AT_ONCE + 1


def crowd(site: Site) -> int:
    """When they are due."""
    text = 'schedule: {daily>: "00:00:00"}\n+a:\n  echo>: x\n'
    site.push({"workflows": {f"w{number:03}": text for number in range(COUNT)}, "at": "2026-01-01T12:00:00+00:00"})
    return instant(MIDNIGHT)


def test_a_pass_starts_some_and_asks_to_be_called_again_at_once(site):
    now = crowd(site)
    assert site.scheduler.poll(now) == 0.0
    assert len(site.attempts()) == IN_A_PASS
    site.work()
    assert site.scheduler.poll(now) > 0
    site.work()
    found = site.attempts()
    assert len({one.session.workflow for one in found}) == len(found) == COUNT
    assert {(one.session.session_time, one.attempt.state) for one in found} == {(now, "success")}


def test_a_scheduler_that_dies_between_two_passes_leaves_the_rest_to_the_next_one(site):
    now = crowd(site)
    site.scheduler.poll(now)
    again = type(site.scheduler)(site.store, site.local, site.catalog, lambda _: None)
    while again.poll(now) == 0.0:
        site.work()
    site.work()
    assert len({one.session.id for one in site.attempts()}) == len(site.attempts()) == COUNT
