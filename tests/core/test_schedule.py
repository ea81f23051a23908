"""The arithmetic of schedules over any kind of instants; the kinds have tests of their own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.schedule import DAY, END, OVER, Schedule, Slot, midnight, resolve
from dagrun.core.session import SECOND, format_time, microseconds
from dagrun.core.zone import zone
from tests.effort import examples

HOUR = 3600 * SECOND


class Listed:
    """A kind of schedule that knows its instants by heart."""

    def __init__(self, *instants: int) -> None:
        self.instants = sorted(instants)

    def next_after(self, at: int) -> int | None:
        return next((one for one in self.instants if one > at), None)


class Every:
    def __init__(self, period: int) -> None:
        self.period = period

    def next_after(self, at: int) -> int | None:
        return (at // self.period + 1) * self.period


def at(*seconds: int) -> list[int]:
    return [second * SECOND for second in seconds]


def test_the_next_session_is_strictly_later():
    schedule = Schedule(Listed(*at(10, 20)), UTC)
    assert schedule.next_after(10 * SECOND) == Slot(20 * SECOND, 20 * SECOND)
    assert schedule.next_after(10 * SECOND - 1) == Slot(10 * SECOND, 10 * SECOND)


def test_the_schedule_is_over_behind_its_last_instant():
    assert Schedule(Listed(*at(10)), UTC).next_after(10 * SECOND) == OVER
    assert Schedule(Listed(), UTC).first_at(0) == OVER


def test_a_delay_is_added_to_the_run_and_not_to_the_session():
    assert Schedule(Listed(*at(10)), UTC, delay=5 * SECOND).next_after(0) == Slot(10 * SECOND, 15 * SECOND)


def test_the_first_session_from_now_on_includes_one_that_is_due_now():
    schedule = Schedule(Listed(*at(10, 20)), UTC)
    assert schedule.first_at(10 * SECOND).session_time == 10 * SECOND
    assert schedule.first_at(10 * SECOND + 1).session_time == 20 * SECOND


def test_the_first_session_from_now_on_counts_by_the_time_of_the_run():
    schedule = Schedule(Listed(*at(10, 20)), UTC, delay=5 * SECOND)
    assert schedule.first_at(15 * SECOND).session_time == 10 * SECOND
    assert schedule.first_at(16 * SECOND).session_time == 20 * SECOND


def test_a_window_begins_with_its_first_second_and_ends_before_its_last():
    schedule = Schedule(Every(10 * SECOND), UTC, start=30 * SECOND, end=50 * SECOND)
    assert [slot.run_time // SECOND for slot in sessions(schedule, 0)] == [30, 40]


def test_a_window_counts_by_the_time_of_the_run():
    schedule = Schedule(Every(10 * SECOND), UTC, delay=20 * SECOND, start=45 * SECOND)
    first = schedule.next_after(0)
    assert first.run_time >= 45 * SECOND


def test_a_window_without_an_instant_has_no_session():
    assert Schedule(Every(100 * SECOND), UTC, start=110 * SECOND, end=120 * SECOND).next_after(0) == OVER


def sessions(schedule: Schedule, after: int, most: int = 100) -> list[Slot]:
    found: list[Slot] = []
    while len(found) < most:
        slot = schedule.next_after(found[-1].session_time if found else after)
        if slot == OVER:
            break
        found.append(slot)
    return found


# -- the last one before


def test_the_last_session_is_strictly_before():
    schedule = Schedule(Listed(*at(10, 20, 30)), UTC)
    assert schedule.last_before(20 * SECOND) == 10 * SECOND
    assert schedule.last_before(20 * SECOND + 1) == 20 * SECOND
    assert schedule.last_before(10 * SECOND) is None


def test_the_last_session_is_found_however_long_ago_within_reason():
    old = 10 * DAY
    assert Schedule(Listed(old), UTC).last_before(old + 40 * 365 * DAY) == old
    assert Schedule(Listed(old), UTC).last_before(old + 46 * 365 * DAY) is None


def test_window_and_delay_do_not_count_for_the_last_session():
    schedule = Schedule(Every(HOUR), UTC, delay=HOUR, start=100 * HOUR, end=101 * HOUR)
    assert schedule.last_before(10 * HOUR) == 9 * HOUR


def test_there_is_no_last_session_before_the_end_of_time():
    assert Schedule(Every(HOUR), UTC).last_before(END) is None


@settings(max_examples=examples(200), deadline=None)
@given(
    seconds=st.lists(st.integers(0, 400_000), max_size=12, unique=True),
    now=st.integers(0, 400_000),
    fraction=st.sampled_from([0, 1, SECOND - 1]),
    delay=st.sampled_from([0, 1, 3_600]),
    place=st.sampled_from(["UTC", "America/New_York"]),
)
def test_first_next_and_last_are_what_a_look_at_all_instants_says(seconds, now, fraction, delay, place):
    instants = sorted(at(*seconds))
    schedule = Schedule(Listed(*instants), zone(place), delay=delay * SECOND)
    moment = now * SECOND + fraction
    later = [one for one in instants if one > moment]
    due = [one for one in instants if one + delay * SECOND >= moment]
    before = [one for one in instants if one < moment]
    assert schedule.next_after(moment).session_time == (later[0] if later else END)
    assert schedule.first_at(moment).session_time == (due[0] if due else END)
    assert schedule.last_before(moment) == (before[-1] if before else None)


# -- local times


def wall(place: str, *parts: int) -> str:
    return format_time(resolve(datetime(*parts), zone(place)), zone(place))  # type: ignore[arg-type]


def test_a_time_in_a_gap_moves_forward_by_the_gap():
    assert wall("America/New_York", 2016, 3, 13, 2, 30) == "2016-03-13T03:30:00-04:00"


def test_of_a_time_that_comes_twice_the_later_counts():
    assert wall("America/New_York", 2016, 11, 6, 1, 30) == "2016-11-06T01:30:00-05:00"


def test_a_midnight_that_does_not_exist_is_the_first_moment_of_the_day():
    place = zone("America/Sao_Paulo")
    assert format_time(midnight(datetime(2018, 11, 4), place), place) == "2018-11-04T01:00:00-02:00"


@pytest.mark.parametrize("place", ["UTC", "Asia/Tokyo"])
def test_a_plain_time_is_itself(place):
    assert wall(place, 2016, 1, 30, 7, 8, 9).startswith("2016-01-30T07:08:09")
    assert microseconds(datetime(2016, 1, 30, tzinfo=zone(place))) == midnight(datetime(2016, 1, 30), zone(place))
