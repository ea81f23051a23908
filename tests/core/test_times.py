"""Time zones, and the edges of session times, waits, windows and alarms: beside the tests of each of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_workflow
from dagrun.core.retry import LONGEST_WAIT_SECONDS, Retry, parse_retry
from dagrun.core.schedule import OVER, Schedule, Slot
from dagrun.core.session import (
    SECOND,
    bad_session_time,
    format_time,
    microseconds,
    offset_text,
    parse_full_time,
    parse_session_time,
    start_of_day,
)
from dagrun.core.sla import Alarm, alarm_of
from dagrun.core.yaml import load
from dagrun.core.zone import transitions, zone
from dagrun.errors import TaskFailed, WorkflowError
from tests.effort import examples

HOUR = 3600


def offset(name: str, text: str = "2024-01-01T00:00:00") -> float:
    """Hours east of Greenwich."""
    found = datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone(zone(name)).utcoffset()
    assert found is not None
    return found.total_seconds() / HOUR


# -- names of zones


@pytest.mark.parametrize("name", ["UTC", "Z", "GMT", "UT", "+0", "-00:00", "UTC+0", "GMT-0", "UT+00:00"])
def test_these_are_all_names_of_utc(name):
    assert zone(name) is UTC


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("+9", 9), ("-9", -9), ("+09", 9), ("+0930", 9.5), ("+09:30", 9.5), ("-03:30", -3.5), ("-0330", -3.5),
        ("+18:00", 18), ("-18:00", -18), ("UTC+9", 9), ("GMT-05:00", -5), ("UT+0530", 5.5), ("+01:02:03", 3723 / HOUR),
    ],
)  # fmt: skip
def test_an_offset_is_a_zone(name, hours):
    assert offset(name) == hours


@pytest.mark.parametrize(
    ("name", "winter", "summer"),
    [("Asia/Tokyo", 9, 9), ("America/New_York", -5, -4), ("Europe/London", 0, 1), ("Australia/Lord_Howe", 11, 10.5),
     ("Etc/GMT+5", -5, -5), ("America/Argentina/Buenos_Aires", -3, -3)],
)  # fmt: skip
def test_a_region_is_a_zone(name, winter, summer):
    assert (offset(name), offset(name, "2024-07-01T00:00:00")) == (winter, summer)


@pytest.mark.parametrize(
    "name",
    ["JST", "PST", "EST", "MST", "HST", "ROC", "localtime", "Factory", "posix/UTC", "right/UTC", "Mars/Base", "asia/tokyo ",
     "", " ", "+", "-", "+19", "+18:01", "+09:60", "+9:00", "+09:0", "+090", "+09:3000", "UTC+", "UTC +9", "9", "Z+1",
     "utc+9", "../etc/passwd", "/etc/localtime", "Asia", "Asia/", "Asia/Tokyo\n", "+09\n", "\u0663", "+\u0669"],
)  # fmt: skip
def test_this_is_no_zone(name):
    with pytest.raises(ValueError, match=r"zone|offset"):
        zone(name)


@pytest.mark.parametrize("value", [9, None, 9.5, True, ("UTC",)])
def test_what_is_no_text_is_no_zone(value):
    with pytest.raises(ValueError, match="not the name of a time zone"):
        zone(value)


# -- the table of a zone's changes


@pytest.mark.parametrize(
    ("name", "rows"), [("UTC", (0, "UTC")), ("+09:00", (9 * HOUR, "+09:00")), ("-0330", (-12600, "-0330"))]
)
def test_an_offset_never_changes(name, rows):
    ((_, *found),) = transitions(name)
    assert tuple(found) == rows


def test_a_change_is_known_to_the_second():
    change = int(datetime(2024, 3, 10, 7, tzinfo=UTC).timestamp())
    assert (change, -4 * HOUR, "EDT") in transitions("America/New_York")


def test_a_change_of_half_an_hour_is_known():
    change = int(datetime(2024, 4, 6, 15, tzinfo=UTC).timestamp())
    assert (change, 10 * HOUR + HOUR // 2) in [row[:2] for row in transitions("Australia/Lord_Howe")]


@settings(max_examples=examples(200), deadline=None)
@given(
    name=st.sampled_from(
        ["America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"]
    ),
    second=st.integers(-750_000_000, 2_180_000_000),  # 1946 to 2039
)
def test_the_table_gives_the_offset_of_every_second(name, second):
    row = [row for row in transitions(name) if row[0] <= second][-1]
    assert row[1] == datetime.fromtimestamp(second, zone(name)).utcoffset().total_seconds()  # type: ignore[union-attr]


def test_the_changes_stand_in_order():
    for name in ("America/New_York", "Africa/Casablanca"):
        times = [row[0] for row in transitions(name)]
        assert times == sorted(set(times))


# -- session times


@pytest.mark.parametrize(
    "text", ["now", "today", "next", "last", "schedule", "daily", "hourly", "2016-1-1x", "\u0662016-01-01"]
)
def test_a_word_is_no_instant(text):
    assert parse_session_time(text, UTC) is None


def test_a_bad_session_time_is_shown_with_the_forms_that_can_be_used():
    message = str(bad_session_time("yesterday"))
    assert all(
        form in message for form in ("'yesterday'", "hourly", "daily", "schedule", "last", "yyyy-MM-dd HH:mm:ss")
    )


@pytest.mark.parametrize(
    ("text", "full"),
    [("2016-01-30T01:02:03+0900", True), ("2016-01-30T01:02:03+09:00", True), ("2016-01-30T01:02:03Z", True),
     ("2016-01-30T01:02:03z", False), ("2016-01-30T01:02:03+9", False), ("2016-01-30T01:02Z", False),
     ("2016-01-30T24:00:00Z", False), ("\u0662016-01-30T01:02:03Z", False), ("2016-01-30T01:02:03Z\n", False)],
)  # fmt: skip
def test_a_full_time_has_this_form(text, full):
    assert (parse_full_time(text) is not None) == full


@pytest.mark.parametrize(
    ("minutes", "colon", "expected"),
    [(0, True, "+00:00"), (540, True, "+09:00"), (-210, True, "-03:30"), (-30, False, "-0030"), (345, False, "+0545")],
)
def test_an_offset_is_written_with_its_sign(minutes, colon, expected):
    local = datetime(2016, 1, 1, tzinfo=timezone(timedelta(minutes=minutes)))
    assert offset_text(local, colon=colon) == expected


def test_daily_is_the_start_of_the_day_of_the_zone_and_not_of_utc():
    now = microseconds(datetime(2016, 1, 30, 20, tzinfo=UTC))
    assert format_time(start_of_day(now, zone("Asia/Tokyo")), zone("Asia/Tokyo")) == "2016-01-31T00:00:00+09:00"
    assert format_time(start_of_day(now, zone("-10")), zone("-10")) == "2016-01-30T00:00:00-10:00"


# -- waits


@pytest.mark.parametrize("value", [10**14, "99999999d"])
def test_no_wait_is_longer_than_can_be_counted(value):
    for kind in ("constant", "exponential"):
        retry = parse_retry({"limit": 5_000, "interval": value, "interval_type": kind})
        for number in (1, 2, 60, 1_000, 4_999):
            assert retry.wait(number) <= LONGEST_WAIT_SECONDS * SECOND < 2**62


def test_a_wait_of_less_than_a_second_is_kept():
    assert Retry(3, 0.25, 2.0).wait(1) == 250_000 and Retry(3, 0.25, 2.0).wait(3) == 1_000_000


@pytest.mark.parametrize(
    "value", [{"limit": True}, {"limit": [3]}, {"limit": 1, "interval": -1}, {"limit": 1, "interval": True},
              {"limit": 1, "interval": {}}, {"limit": 1, "interval_type": []}, {"limit": 2**70}, [], "3 times"]
)  # fmt: skip
def test_a_retry_of_another_form_is_a_mistake_of_the_file(value):
    with pytest.raises(TaskFailed) as caught:
        parse_retry(value)
    assert caught.value.category == "config"


@pytest.mark.parametrize("kind", [None, "constant"])
def test_a_null_option_is_left_out(kind):
    value = {"limit": 2, "interval": None, "interval_type": kind, "max_interval": None, "platform_limit": None}
    assert parse_retry(value) == Retry(2)


# -- windows of schedules


class Every:
    """An instant at every so many seconds since 1970."""

    def __init__(self, seconds: int) -> None:
        self.step = seconds * SECOND

    def next_after(self, at: int) -> int:
        return (at // self.step + 1) * self.step


def test_a_session_that_runs_just_when_the_window_begins_is_in_it():
    schedule = Schedule(Every(10), UTC, delay=5 * SECOND, start=25 * SECOND)
    assert schedule.next_after(10 * SECOND) == Slot(20 * SECOND, 25 * SECOND)


def test_a_session_that_runs_just_when_the_window_ends_is_not():
    schedule = Schedule(Every(10), UTC, delay=5 * SECOND, end=25 * SECOND)
    assert (schedule.next_after(0), schedule.next_after(10 * SECOND)) == (Slot(10 * SECOND, 15 * SECOND), OVER)


# -- alarms


def alarm(sla: str, now: str = "2024-03-10T00:00:00Z", place: str = "UTC") -> Alarm:
    workflow = compile_workflow("w", load(f"timezone: {place}\nsla: {sla}\n+a: {{sh>: x}}\n", "w.dig", None))
    found = alarm_of(workflow, microseconds(datetime.fromisoformat(now)))
    assert found is not None
    return found


def after(found: Alarm, now: str = "2024-03-10T00:00:00Z") -> int:
    return (found.at - microseconds(datetime.fromisoformat(now))) // SECOND


@pytest.mark.parametrize(
    ("sla", "seconds"),
    [("{duration: '00:00:01'}", 1), ("{duration: '1:30'}", 5400), ("{duration: '30:00:00'}", 108_000),
     ("{time: '00:00'}", 0), ("{time: '24:00'}", 86_400), ("{duration: '1:2'}", 3720), ("{time: '23:59:59'}", 86_399), ("{time: '9:05'}", 32_700)],
)  # fmt: skip
def test_an_alarm_has_a_time_or_a_duration(sla, seconds):
    assert after(alarm(sla)) == seconds


def test_an_alarm_in_an_hour_that_does_not_exist_comes_after_the_gap():
    now = "2024-03-10T05:00:00Z"  # midnight in New York; 02:00 to 03:00 is left out on this day
    assert after(alarm("{time: '02:30'}", now, "America/New_York"), now) == 2 * HOUR + HOUR // 2


@pytest.mark.parametrize(
    "sla", ["{}", "3", "[1]", "{time: '1:00', duration: '1:00'}", "{time: soon}", "{time: '\u0661:20'}", "{duration: '1h'}",
            "{duration: -1}", "{time: [1]}", "{time: null}"]
)  # fmt: skip
def test_an_alarm_of_another_form_is_a_mistake_of_the_file(sla):
    with pytest.raises(WorkflowError) as caught:
        alarm(sla)
    assert (caught.value.kind, caught.value.file) == ("bad_option", "w.dig")


def keys_of(found: Alarm) -> dict[str, Any]:
    return dict(found.tasks)


def test_an_alarm_keeps_its_own_tasks_apart_from_its_options():
    found = alarm("{duration: '1:00', fail: true, alert: false, +tell: {echo>: late}}")
    assert (found.fail, found.alert, keys_of(found)) == (True, False, {"+tell": {"echo>": "late"}})
