"""A busy schedule whose daemon is killed with -9 at random moments and started again: the ledger has each session once.

Three workflows with a session each second: one lets sessions overlap, one skips those that find another at work, one makes
them wait. In the end the schedules are taken away, so that what waits can end.
"""

from __future__ import annotations

import random
import select
from collections import Counter

import pytest

from tests import postgres
from tests.daemon.site import SECOND, Site

EACH_SECOND = "{seconds_interval>: 1, overlap: %s}"
OVERLAPS = {"free": "allow", "picky": "skip", "patient": "queue"}
SECONDS = {"free": "0.7", "picky": "1.4", "patient": "0.5"}  # that a task takes
SOONEST, LATEST = 0.05, 1.3  # seconds from the start of a daemon to its death: while it reads, takes up, or works


class Story:
    def __init__(self, site: Site, seed: int, kills: int) -> None:
        self.site = site
        self.chance = random.Random(seed)
        self.kills = kills

    def tell(self) -> None:
        self.write(scheduled=True)
        self.site.schedule()
        for _ in range(self.kills):
            self.wait_for_the_moment()
            self.site.die()
            self.site.schedule(ready=False)
        self.site.is_at_work()
        self.site.told("end", times=len(self.site.notes("end")) + 2)
        self.write(scheduled=False)
        self.site.hears("revision")
        self.site.until(lambda: not self.site.live(), "not all attempts end")
        self.site.term()

    def write(self, *, scheduled: bool) -> None:
        for name, overlap in OVERLAPS.items():
            schedule = EACH_SECOND % overlap if scheduled else ""
            task = f"do: busy {name} ${{session_unixtime}} {SECONDS[name]}"
            self.site.workflow(name, schedule, "echo>: ${session_time}", task)

    def wait_for_the_moment(self) -> None:
        """Some time, from the start or from the next line of a task."""
        process = self.site.process
        assert process is not None
        if self.chance.random() < 0.5:
            self.site.is_at_work()
            lines = len(self.site.ledger())
            self.site.until(lambda: len(self.site.ledger()) > lines)
        select.select([], [], [], self.chance.uniform(SOONEST, LATEST))
        assert process.poll() is None, self.site.said()

    def holds(self) -> None:
        notes = self.site.ledger()
        for name in OVERLAPS:
            started = Counter(note.task for note in notes if note.what == "start" and note.task.startswith(f"{name}@"))
            ended = Counter(note.task for note in notes if note.what == "end" and note.task.startswith(f"{name}@"))
            assert set(started.values()) == {1}, started
            assert started == ended
            self.lacks_nothing(name, {int(task.partition("@")[2]) for task in started})
        assert [note for note in notes if note.what == "overlap" and not note.task.startswith("free@")] == []
        assert {one.attempt.state for one in self.site.seen()} == {"success"}
        assert self.site.processes() == {} and self.site.of_store() == {}
        assert self.site.leftovers() == []
        assert "Traceback" not in self.site.said()

    def lacks_nothing(self, name: str, ran: set[int]) -> None:
        attempts = {one.session.session_time // SECOND for one in self.site.seen(name)}
        skipped = {row.session_time // SECOND for row in self.site.skips(name)}
        assert attempts == ran
        assert ran & skipped == set()
        assert set(range(min(ran), max(ran) + 1)) <= ran | skipped


def survives(site: Site, seed: int, kills: int) -> None:
    story = Story(site, seed, kills)
    story.tell()
    story.holds()


def test_each_session_runs_once_however_often_the_daemon_is_killed(site):
    survives(site, seed=1, kills=5)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
def test_each_session_runs_once_over_many_kills(site, seed):
    survives(site, seed, kills=50)


@pytest.mark.soak
def test_it_is_the_same_with_PostgreSQL(site):
    site.database = postgres.database_url()
    survives(site, seed=4, kills=3)
