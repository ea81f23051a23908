"""What a new revision makes of the schedules that are there (spec/scheduling 5.2, 5.3)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.decide import Planned
from dagrun.core.session import SECOND, format_time, microseconds
from dagrun.core.zone import zone
from dagrun.engine import timetable
from dagrun.schedules.definition import schedules_of
from dagrun.store.base import ScheduleRow
from dagrun.store.sql import open_store

HOUR = 3600 * SECOND
START = microseconds(datetime.fromisoformat("2026-05-10T10:00:00+00:00"))


class Timetable:
    """The hourly schedule of one workflow; `now` is the clock of everybody."""

    def __init__(self, path: str) -> None:
        self.store = open_store(path)
        self.now = START
        self.store._database.clock = lambda: self.now  # type: ignore[attr-defined]

    def push(self, at: int, clear: Collection[str] = (), *, goes_on: bool = False) -> str:
        self.now = at
        with self.store.transaction() as tx:
            project = tx.ensure_project("p")
            revision = tx.ensure_revision(project.id, "r", "{}")
            timetable.take_over(tx, project.id, revision.id, {("w", 0): hourly()}, at, clear, goes_on=goes_on)
        return self.next_session()

    def skip_to(self, at: int) -> str:
        with self.store.transaction() as tx:
            timetable.skip_to(tx, self.row(), hourly(), at)
        return self.next_session()

    def ran(self) -> None:
        """The next session."""
        with self.store.transaction() as tx:
            row = self.row()
            following = hourly().schedule.next_after(row.next_session)
            tx.save_schedule(timetable.moved_to(row, following, hourly())._replace(last_session=row.next_session))

    def row(self) -> ScheduleRow:
        with self.store.reading() as tx:
            (row,) = tx.list_schedules()
        return row

    def next_session(self) -> str:
        return format_time(self.row().next_session, zone("UTC"))[11:16]


def hourly() -> Planned:
    config = Map("w.dig", 1, 1)
    config["schedule"] = {"hourly>": "00:00"}
    (found,) = schedules_of(compile_workflow("w", config))
    return found


@pytest.fixture
def hours(tmp_path):
    table = Timetable(str(tmp_path / "state.db"))
    yield table
    table.store.close()


def test_a_schedule_that_is_cleared_begins_anew_with_the_push(hours):
    hours.push(START)
    hours.ran()
    assert hours.push(START + 5 * HOUR + SECOND, clear=["w"]) == "16:00"
    assert hours.row().last_session is None


def test_a_push_before_the_first_run_begins_with_the_time_of_the_push(hours):
    hours.push(START + HOUR)
    assert hours.push(START) == "10:00"
    assert hours.push(START + 5 * HOUR) == "15:00"


def test_a_daemon_that_starts_again_goes_on_with_a_session_that_is_due(hours):
    hours.push(START, goes_on=True)
    assert hours.push(START + 5 * HOUR, goes_on=True) == "10:00"


def test_what_was_left_out_before_the_first_run_stays_left_out_when_a_daemon_starts_again(hours):
    hours.push(START, goes_on=True)
    assert hours.skip_to(START + 3 * HOUR) == "13:00"
    assert hours.push(START + SECOND, goes_on=True) == "13:00"


def test_a_run_that_was_moved_stays_moved_when_a_daemon_starts_again(hours):
    hours.push(START + SECOND, goes_on=True)
    hours.ran()
    with hours.store.transaction() as tx:
        timetable.run_at(tx, hours.row(), START + 30 * 60 * SECOND)
    hours.push(START + 2 * SECOND, goes_on=True)
    assert hours.row().next_run == START + 30 * 60 * SECOND
