"""Session times: how they are written and read, cut to the hour and the day, and what tasks see of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.session import (
    SECOND,
    Identity,
    builtin_variables,
    format_time,
    microseconds,
    parse_full_time,
    parse_session_time,
    start_of_day,
    start_of_hour,
    whole_seconds,
)
from dagrun.core.zone import zone
from tests.effort import examples

ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "-03:30")


def instant(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def read(text: str, place: str = "UTC") -> str | None:
    at = parse_session_time(text, zone(place))
    return None if at is None else format_time(at, UTC)


# -- reading


@pytest.mark.parametrize(
    ("text", "place", "expected"),
    [
        ("2016-01-30", "UTC", "2016-01-30T00:00:00+00:00"),
        ("2016-01-30", "Asia/Tokyo", "2016-01-29T15:00:00+00:00"),
        ("2016-01-30 01:02:03", "UTC", "2016-01-30T01:02:03+00:00"),
        ("2016-01-30 01:02:03", "America/New_York", "2016-01-30T06:02:03+00:00"),
        ("2016-07-30 01:02:03", "America/New_York", "2016-07-30T05:02:03+00:00"),
        ("2016-01-30T01:02:03", "Asia/Tokyo", "2016-01-29T16:02:03+00:00"),
        ("2016-01-30T01:02:03-08:00", "Asia/Tokyo", "2016-01-30T09:02:03+00:00"),
        ("2016-01-30 01:02:03-0800", "Asia/Tokyo", "2016-01-30T09:02:03+00:00"),
        ("2016-01-30T01:02:03Z", "Asia/Tokyo", "2016-01-30T01:02:03+00:00"),
    ],
)
def test_a_session_time_is_read_in_the_zone_of_the_workflow_or_as_its_offset_says(text, place, expected):
    assert read(text, place) == expected


@pytest.mark.parametrize(
    "text",
    ["", "today", "2016", "2016-01", "2016-13-01", "2016-02-30", "2016-01-30 25:00:00", "2016-01-30 01:02:60x",
     "2016-01-30T01:02:03+99", "hourly", "2016-01-30 01:02:03 UTC", "30-01-2016", "2016/01/30",
     "2016-1-2", "2016-01-30  1:02:03", "20160130", "2016-W04-6", "2016-01-30T01:02"],
)  # fmt: skip
def test_this_is_no_session_time(text):
    assert read(text) is None


def test_a_local_time_in_a_gap_moves_forward_by_the_gap():
    assert read("2016-03-13 02:30:00", "America/New_York") == "2016-03-13T07:30:00+00:00"  # 03:30 in summer time


def test_of_a_local_time_that_comes_twice_the_earlier_counts():
    assert read("2016-11-06 01:30:00", "America/New_York") == "2016-11-06T05:30:00+00:00"


@pytest.mark.parametrize("text", ["2016-01-30T00:00:00", "2016-01-30 00:00:00+00:00", "2016-01-30T00:00:00.5Z", "now"])
def test_a_full_time_has_an_offset_and_whole_seconds(text):
    assert parse_full_time(text) is None


def test_a_full_time_that_is_no_date_is_none():
    assert parse_full_time("2016-02-30T00:00:00Z") is None


@settings(max_examples=examples(200), deadline=None)
@given(second=st.integers(-2_000_000_000, 4_000_000_000), place=st.sampled_from(ZONES))
def test_what_is_written_is_read_as_the_same_instant(second, place):
    at = second * SECOND
    text = format_time(at, zone(place))
    assert parse_full_time(text) == at == parse_session_time(text, zone("Asia/Tokyo"))


# -- the start of an hour and of a day


@pytest.mark.parametrize(
    ("now", "place", "day", "hour"),
    [
        ("2016-01-30T15:04:05+00:00", "UTC", "2016-01-30T00:00:00+00:00", "2016-01-30T15:00:00+00:00"),
        ("2016-01-30T15:04:05+00:00", "Asia/Tokyo", "2016-01-30T15:00:00+00:00", "2016-01-30T15:00:00+00:00"),
        ("2016-01-30T14:59:59+00:00", "Asia/Tokyo", "2016-01-29T15:00:00+00:00", "2016-01-30T14:00:00+00:00"),
        ("2016-01-30T15:04:05+00:00", "Asia/Kolkata", "2016-01-29T18:30:00+00:00", "2016-01-30T14:30:00+00:00"),
        ("2016-03-13T12:00:00+00:00", "America/New_York", "2016-03-13T05:00:00+00:00", "2016-03-13T12:00:00+00:00"),
    ],
)
def test_days_and_hours_begin_by_the_clock_of_the_zone(now, place, day, hour):
    assert start_of_day(instant(now), zone(place)) == instant(day)
    assert start_of_hour(instant(now), zone(place)) == instant(hour)


@pytest.mark.parametrize("now", ["2016-11-06T05:20:00+00:00", "2016-11-06T06:20:00+00:00"])
def test_an_hour_that_comes_twice_is_two_hours(now):
    assert start_of_hour(instant(now), zone("America/New_York")) == instant(now[:14] + "00:00+00:00")


@pytest.mark.parametrize(
    ("now", "midnight"), [("00:30:00-04:00", "-04:00"), ("00:30:00-05:00", "-05:00"), ("12:00:00-05:00", "-05:00")]
)
def test_a_midnight_that_comes_twice_is_that_of_the_same_offset(now, midnight):
    havana = zone("America/Havana")
    at = start_of_day(instant(f"2024-11-03T{now}"), havana)
    assert format_time(at, havana) == f"2024-11-03T00:00:00{midnight}"


def test_an_hour_that_begins_in_a_gap_begins_after_it():
    lord_howe = zone("Australia/Lord_Howe")  # from 02:00 to 02:30
    at = start_of_hour(instant("2024-10-06T02:45:00+11:00"), lord_howe)
    assert format_time(at, lord_howe) == "2024-10-06T02:30:00+11:00"


def test_a_day_without_midnight_begins_at_its_first_moment():
    now = instant("2018-11-04T15:00:00+00:00")  # summer time began at 00:00 there
    assert format_time(start_of_day(now, zone("America/Sao_Paulo")), zone("America/Sao_Paulo")) == (
        "2018-11-04T01:00:00-02:00"
    )


@settings(max_examples=examples(300), deadline=None)
@given(at=st.integers(-2_000_000_000 * SECOND, 4_000_000_000 * SECOND), place=st.sampled_from(ZONES))
def test_cutting_goes_back_and_never_by_a_whole_unit_and_twice_is_once(at, place):
    where = zone(place)
    day, hour, second = start_of_day(at, where), start_of_hour(at, where), whole_seconds(at)
    assert day <= hour <= second <= at
    assert at - day < 26 * 3600 * SECOND and at - hour < 3600 * SECOND and at - second < SECOND
    assert (start_of_day(day, where), start_of_hour(hour, where)) == (day, hour)


# -- built-in variables


IDENTITY = Identity(1, 2, "11111111-2222-3333-4444-555555555555", 3, instant("2016-01-30T08:00:00+00:00"), "UTC")


def test_the_variables_of_a_session():
    variables = builtin_variables(IDENTITY._replace(timezone="America/Los_Angeles"), {})
    assert variables == {
        "timezone": "America/Los_Angeles",
        "project_id": 1,
        "session_uuid": "11111111-2222-3333-4444-555555555555",
        "session_id": 2,
        "attempt_id": 3,
        "session_time": "2016-01-30T00:00:00-08:00",
        "session_date": "2016-01-30",
        "session_date_compact": "20160130",
        "session_local_time": "2016-01-30 00:00:00",
        "session_tz_offset": "-0800",
        "session_unixtime": 1454140800,
        "last_executed_session_time": "",
        "last_executed_session_date": "",
        "last_executed_session_date_compact": "",
        "last_executed_session_local_time": "",
        "last_executed_session_unixtime": "",
        "last_executed_session_tz_offset": "-0800",
    }


def test_a_year_has_four_digits():
    variables = builtin_variables(IDENTITY._replace(session_time=instant("0999-01-02T03:04:05+00:00")), {})
    assert [variables[f"session_{part}"] for part in ("time", "date", "date_compact", "local_time")] == [
        "0999-01-02T03:04:05+00:00", "0999-01-02", "09990102", "0999-01-02 03:04:05",
    ]  # fmt: skip


def test_utc_is_written_as_an_offset():
    variables = builtin_variables(IDENTITY, {})
    assert (variables["session_time"], variables["session_tz_offset"]) == ("2016-01-30T08:00:00+00:00", "+0000")


def test_an_attempt_with_a_name_shows_it():
    assert builtin_variables(IDENTITY._replace(retry_name="again"), {})["retry_attempt_name"] == "again"
    assert "retry_attempt_name" not in builtin_variables(IDENTITY, {})


@pytest.mark.parametrize("name", ["last_session", "next_session", "last_executed_session"])
def test_parts_of_a_given_time_are_those_of_its_instant_in_the_zone_and_the_text_stays(name):
    variables = builtin_variables(
        IDENTITY._replace(timezone="Asia/Tokyo"), {f"{name}_time": "2016-01-29T21:00:00+01:00"}
    )
    assert {key.removeprefix(name): value for key, value in variables.items() if key.startswith(name)} == {
        "_time": "2016-01-29T21:00:00+01:00", "_date": "2016-01-30", "_date_compact": "20160130",
        "_local_time": "2016-01-30 05:00:00", "_tz_offset": "+0900", "_unixtime": 1454097600,
    }  # fmt: skip


@pytest.mark.parametrize(
    "given_time", ["2016-01-30", "2016-01-29T20:00:00Z", "2016-01-29T20:00:00+0000", "", 3, "soon"]
)
def test_from_a_given_time_of_another_form_nothing_is_derived(given_time):
    variables = builtin_variables(IDENTITY, {"last_session_time": given_time, "last_executed_session_time": given_time})
    assert not [name for name in variables if name.startswith("last_")]


def test_no_time_of_a_session_before_is_an_empty_one():
    variables = builtin_variables(IDENTITY, {"last_session_time": None, "last_executed_session_time": None})
    assert "last_session_date" not in variables and variables["last_executed_session_date"] == ""
