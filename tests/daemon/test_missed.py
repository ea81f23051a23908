"""Sessions that nobody started, because no daemon ran: what is said about them, and what becomes of them.

Nothing waits for an hour: the schedule is told to have been there an hour ago.
"""

from __future__ import annotations

import time

from tests.daemon.site import SECOND, Site, options_of

MISSED = 6
SCHEDULE = "{seconds_interval>: %s, catchup: {%s}}"
NO_SPREAD = "spread: 0"


def interval() -> int:
    """Some ten minutes. No session becomes due while a test runs, and the last one was over a minute ago: it was missed."""
    return next(every for every in range(600, 900, 7) if 90 < time.time() % every < every - 90)


def missed(site: Site, catchup: str, *tasks: str) -> list[int]:
    """A daemon that was down while six sessions should have run; the next one is at work. Their session times, in order."""
    every = interval()
    site.workflow("wf", SCHEDULE % (every, catchup), *(tasks or ("do: note ran b",)))
    site.schedule()
    site.term()
    with site.store.transaction() as tx:
        (row,) = tx.list_schedules()
        sessions = [row.next_session - number * every * SECOND for number in range(MISSED, 0, -1)]
        before = sessions[0] - every * SECOND
        tx.save_schedule(
            row._replace(last_session=before, next_session=sessions[0], planned_run=sessions[0], next_run=sessions[0])
        )
    site.schedule()
    return sessions


def times(site: Site) -> list[int]:
    return [one.session.session_time for one in site.seen("wf")]


def skipped(site: Site) -> list[int]:
    return sorted(row.session_time for row in site.skips("wf"))


def test_by_default_all_are_caught_up_oldest_first(site):
    sessions = missed(site, NO_SPREAD)
    assert site.has_said("wf: 6 sessions are overdue; all are caught up, 10 at a time$")
    site.ended(MISSED)
    assert times(site) == sessions
    assert skipped(site) == []


def test_only_the_latest_is_caught_up(site):
    sessions = missed(site, f"mode: latest, {NO_SPREAD}")
    assert site.has_said("wf: 6 sessions are overdue; the latest is caught up$")
    site.ended(1)
    assert times(site) == sessions[-1:]
    assert skipped(site) == sessions[:-1]
    assert "only the latest of the missed sessions is caught up" in site.skips("wf")[0].reason


def test_none_is_caught_up(site):
    sessions = missed(site, f"mode: none, {NO_SPREAD}")
    assert site.has_said("wf: 6 sessions are overdue; none is caught up$")
    site.until(lambda: skipped(site) == sessions)
    assert times(site) == []


def test_those_that_are_later_than_the_window_are_skipped(site):
    sessions = missed(site, f"window: 25m, {NO_SPREAD}")
    assert site.has_said("6 sessions are overdue; all are caught up, 10 at a time, if it is at most 25m late$")
    site.until(lambda: len(times(site)) + len(skipped(site)) == MISSED)
    assert skipped(site) + times(site) == sessions
    assert len(times(site)) in (2, 3)  # 25 minutes are two or three intervals


def test_so_many_at_a_time_as_the_limit_says(site):
    sessions = missed(site, f"limit: 2, {NO_SPREAD}", "do: gate ${session_unixtime}")
    site.told("start", times=2)
    site.until(lambda: waits(site) == "2 missed sessions are being caught up at a time")
    for number, session in enumerate(sessions):
        assert times(site) == sessions[: number + 2]
        (site.place / f"{session // SECOND}.open").touch()
        site.told("start", times=min(MISSED, number + 3))
    site.ended(MISSED)
    assert all(options_of(one.attempt)["missed"] for one in site.seen("wf"))


def waits(site: Site) -> str | None:
    with site.store.reading() as tx:
        return tx.list_schedules()[0].note


def test_such_starts_are_spread_out(site):
    """The share of a schedule is a part of `spread` that its name decides."""
    missed(site, "spread: 1h")
    site.until(lambda: waits(site) == "missed while nothing ran; such starts are spread out")
    assert times(site) == []


def test_what_is_due_is_told_before_it_starts(site):
    missed(site, NO_SPREAD)
    site.hears("succeeded")
    said = site.said()
    assert said.index("6 sessions are overdue") < said.index("succeeded")


def test_a_disabled_schedule_has_missed_nothing(site):
    site.workflow("wf", SCHEDULE % (interval(), NO_SPREAD), "do: note ran b")
    site.schedule()
    site.term()
    with site.store.transaction() as tx:
        (row,) = tx.list_schedules()
        past = row.next_session - 3600 * SECOND
        tx.save_schedule(
            row._replace(last_session=past, next_session=past, planned_run=past, next_run=past, disabled_at=tx.now)
        )
    site.schedule()
    assert not site.has_said("overdue")


def test_a_daemon_that_was_down_for_seconds_starts_what_came_meanwhile(site):
    site.workflow("wf", "{seconds_interval>: 1}", "do: busy wf ${session_unixtime} 0")
    site.schedule()
    site.told("end")
    site.die()
    down = site.seen("wf")[-1].session.session_time + 3 * SECOND
    site.until(lambda: clock(site) > down)
    site.schedule()
    assert site.has_said(r"wf: [3-9] sessions are overdue; all are caught up")
    site.until(lambda: any(time > down for time in times(site)))
    found = sorted(times(site))
    assert found == list(range(found[0], found[-1] + 1, SECOND))


def clock(site: Site) -> int:
    with site.store.reading() as tx:
        return tx.now
