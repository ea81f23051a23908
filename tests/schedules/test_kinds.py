"""The contract of every kind of schedule: strictly later, the same each time, in bounded time, on both clock changes."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.decide import Policy
from dagrun.core.schedule import END, Schedule
from dagrun.core.session import EPOCH, SECOND, format_time, local_time, microseconds
from dagrun.core.yaml import load
from dagrun.errors import WorkflowError
from dagrun.plugins.registry import SCHEDULES
from dagrun.schedules.definition import schedules_of
from tests.effort import examples

SAMPLES = {
    "at": ["2026-03-29 02:30:00", ["2026-05-01", "2026-10-25 02:30:00"]],
    "cron": ["0 7 * * *", "*/10 0-3 * * *", "30 2 * * *", "0 0 29 2 mon", "15 4 L * *", "0 22-2 * * fri-mon"],
    "daily": ["07:00:00", "30:00:00", "-1:00:00"],
    "hourly": ["15:00"],
    "minutes_interval": [7, "30"],
    "monthly": ["31,07:00:00"],
    "seconds_interval": [7],
    "weekly": ["mon-fri,07:00:00"],
}
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe", "America/Nuuk", "+05:30"]
EACH = [(kind, command, zone) for kind, commands in SAMPLES.items() for command in commands for zone in ZONES]


def schedule(kind: str, command, zone: str = "UTC", **options) -> Schedule:
    config = Map("w.dig", 1, 1)
    config.update({"timezone": zone, "schedule": {f"{kind}>": command, **options}})
    (found,) = schedules_of(compile_workflow("w", config))
    return found.schedule


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def test_every_built_in_kind_has_a_sample():
    assert set(SAMPLES) == set(SCHEDULES.built_ins)


@pytest.mark.parametrize(("kind", "command", "zone"), EACH)
@settings(max_examples=examples(25), deadline=None, derandomize=True)
@given(seconds=st.one_of(st.integers(1_700_000_000, 4_950_000_000), st.integers(1_774_500_000, 1_775_100_000)))
def test_the_next_instant_is_strictly_later_and_the_same_each_time(kind, command, zone, seconds):
    one = schedule(kind, command, zone)
    now = seconds * SECOND
    found = one.next_after(now)
    assert found.session_time > now
    assert found == one.next_after(now) == schedule(kind, command, zone).next_after(now)
    first = one.first_at(now)
    assert first.run_time >= now or first.session_time == END


@pytest.mark.parametrize(("kind", "command", "zone"), EACH)
def test_the_next_run_of_a_start_in_2126_is_found_at_once(kind, command, zone):
    one = schedule(kind, command, zone)
    began = time.process_time()
    for day in range(10):
        one.first_at(at(f"2126-03-{day + 1:02}T12:00:00+00:00"))
    assert (time.process_time() - began) / 10 < 0.02


@pytest.mark.parametrize("pattern", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_day_that_never_comes_is_refused_at_once(pattern):
    began = time.process_time()
    with pytest.raises(WorkflowError, match="never comes"):
        schedule("cron", pattern)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "kind_and_command", [("daily", "07:00:00"), ("weekly", "Sun,07:00:00"), ("monthly", "1,07:00:00")]
)
def test_a_year_has_each_local_midnight_once(kind_and_command, zone):
    one = schedule(*kind_and_command, zone)
    place = ZoneInfo(zone)
    first = datetime(2026, 1, 1)
    wanted = {
        "daily": [first + timedelta(days=day) for day in range(365)],
        "weekly": [
            first + timedelta(days=day) for day in range(365) if (first + timedelta(days=day)).isoweekday() == 7
        ],
        "monthly": [datetime(2026, month, 1) for month in range(1, 13)],
    }[kind_and_command[0]]
    found, now = [], microseconds(first.replace(tzinfo=place)) - SECOND
    while (slot := one.next_after(now)).session_time < microseconds(datetime(2027, 1, 1, tzinfo=place)):
        assert slot.run_time - slot.session_time == 7 * 3600 * SECOND
        found.append((EPOCH + timedelta(microseconds=slot.session_time)).astimezone(place).replace(tzinfo=None))
        now = slot.session_time
    assert found == wanted


def sessions(one: Schedule, begin: str, count: int) -> list[str]:
    found, now = [], at(begin)
    for _ in range(count):
        now = one.next_after(now).session_time
        found.append(format_time(now, one.place)[11:])
    return found


def test_a_time_in_the_gap_runs_as_much_later():
    one = schedule("cron", "30 2 * * *", "Europe/Berlin")
    assert sessions(one, "2026-03-28T12:00:00+01:00", 2) == ["03:30:00+02:00", "02:30:00+02:00"]


def test_a_time_that_comes_twice_runs_the_second_time_only():
    one = schedule("cron", "30 2 * * *", "Europe/Berlin")
    assert sessions(one, "2026-10-24T12:00:00+02:00", 2) == ["02:30:00+01:00", "02:30:00+01:00"]


def test_a_gap_that_ends_at_midnight_loses_no_day():
    one = schedule("cron", "15,45 23 * * *", "America/Nuuk")
    assert sessions(one, "2024-03-29T23:50:00-02:00", 2)[0] == "00:15:00-01:00"


def test_the_window_is_that_of_the_run_times():
    one = schedule("daily", "07:00:00", start="2026-02-01", end="2026-02-03")
    found, now = [], at("2026-01-01T00:00:00+00:00")
    while (slot := one.next_after(now)).session_time != END:
        now = slot.session_time
        found.append(format_time(slot.run_time, one.place)[:10])
    assert found == ["2026-02-01", "2026-02-02", "2026-02-03"]


@pytest.mark.parametrize("delay", ["90", " +90 ", 90.5])
def test_a_delay_is_read_as_every_whole_number(delay):
    assert schedule("cron", "0 7 * * *", delay=delay).delay == 90 * SECOND


def test_a_delay_without_a_value_is_none():
    assert schedule("minutes_interval", 5, delay=None).delay == 0


@pytest.mark.parametrize(
    ("kind", "command", "options"),
    [
        ("daily", "99999999999999999999:00:00", {}),
        ("hourly", "99999999999:00", {}),
        ("cron", "0 7 * * *", {"delay": -(2**31)}),
        ("seconds_interval", "99999999999999999999", {}),
    ],
)
def test_numbers_that_no_calendar_holds_are_refused(kind, command, options):
    with pytest.raises(WorkflowError) as refused:
        schedule(kind, command, **options)
    assert refused.value.kind == "bad_schedule"


def test_before_the_first_sessions_of_the_calendar_there_is_none():
    assert schedule("daily", "07:00:00", "Asia/Tokyo").last_before(at("0001-01-02T00:00:00+09:00")) is None


def test_an_interval_longer_than_the_calendar_is_over_before_it_begins():
    assert schedule("seconds_interval", 2**62).first_at(SECOND).session_time == END


def test_a_needless_dash_before_the_name_of_a_day_is_left_out():
    assert sessions(schedule("weekly", "-mon,07:00:00"), "2026-01-01T00:00:00+00:00", 1) == ["00:00:00+00:00"]
    with pytest.raises(WorkflowError, match="weekly>"):
        schedule("weekly", "-1,07:00:00")


def test_an_offset_with_seconds_has_its_full_minutes_too():
    one = schedule("daily", "00:00:00", "+09:00:30")
    assert sessions(one, "2026-01-01T00:00:00+00:00", 2) == ["00:00:00+09:00"] * 2


def test_the_last_instant_before_a_time_that_comes_twice_does_not_depend_on_the_way_there():
    one = schedule("minutes_interval", 7, "Antarctica/Troll")  # the clock is put back by two hours at 01:00
    last = one.last_before(at("2010-10-31T00:59:30+00:00"))
    assert last == at("2010-10-30T22:56:00+00:00")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"daily>": "07:00:00", "strat": "2026-01-01"}, "'strat' is not used at schedule"),
        ({"dayly>": "07:00:00"}, "Unknown schedule: dayly> \\(did you mean daily>"),
        ({"start": "2026-01-01"}, "no kind"),
        ({"daily>": "7"}, "daily> needs HH:MM:SS"),
        ({"cron>": "* * * *"}, "has 4"),
        ({"daily>": "07:00:00", "start": "01.02.2026"}, "Invalid start"),
        ({"daily>": "07:00:00", "skip_delayed_by": "soon"}, "skip_delayed_by"),
        ("daily", "must be a map"),
        ({}, "must be a map"),
    ],
)
def test_a_schedule_that_can_not_be_read_is_refused_with_its_reason(config, message):
    workflow = Map("w.dig", 1, 1)
    workflow["schedule"] = config
    with pytest.raises(WorkflowError, match=message):
        schedules_of(compile_workflow("w", workflow))


# -- what a change of the clock means (features F62)


def walk(one: Schedule, start: str, end: str) -> list[str]:
    found, now = [], at(start)
    while (now := one.next_after(now).session_time) < at(end):
        found.append(local_time(now, one.place).isoformat())
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["2026-10-25T02:30:00+01:00"]),
        ({"overlap": "first"}, ["2026-10-25T02:30:00+02:00"]),
        ({"overlap": "both"}, ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    ],
)
def test_a_time_that_comes_twice_is_run_as_the_file_says(change, expected):
    one = schedule("cron", "30 2 * * *", "Europe/Berlin", dst=change)
    assert walk(one, "2026-10-24T12:00:00+00:00", "2026-10-25T20:00:00+00:00") == expected


@pytest.mark.parametrize(("gap", "expected"), [("run_after", ["2026-03-29T03:30:00+02:00"]), ("skip", [])])
def test_a_time_that_is_missing_is_run_later_or_not_at_all(gap, expected):
    one = schedule("cron", "30 2 * * *", "Europe/Berlin", dst={"gap": gap, "overlap": "first"})
    assert walk(one, "2026-03-28T12:00:00+00:00", "2026-03-29T20:00:00+00:00") == expected


def test_with_both_readings_no_quarter_of_the_repeated_hour_is_lost():
    one = schedule("cron", "*/15 * * * *", "Europe/Berlin", dst={"overlap": "both"})
    found = walk(one, "2026-10-24T23:59:00+00:00", "2026-10-25T03:00:00+00:00")
    assert len(found) == len(set(found)) == 12


@pytest.mark.parametrize("dst", [{"gap": "later"}, {"overlap": "none"}, "first", {"when": "first"}])
def test_a_change_of_the_clock_of_another_form_is_refused(dst):
    with pytest.raises(WorkflowError, match="dst"):
        schedule("cron", "30 2 * * *", dst=dst)


# -- several schedules of one workflow


def test_a_list_has_each_schedule_with_its_own_zone_and_policy():
    text = """
timezone: Asia/Tokyo
schedule:
  - {daily>: "07:00:00", overlap: skip}
  - {cron>: "0 12 * * *", timezone: Europe/Berlin, catchup: {mode: latest, window: 6h, limit: 2, spread: 5s}, jitter: 30s}
+a:
  echo>: x
"""
    one, two = schedules_of(compile_workflow("w", load(text, "w.dig", None)))
    assert (one.policy.overlap, two.policy.overlap) == ("skip", "allow")
    assert two.policy == Policy("allow", "latest", 6 * 3600 * SECOND, 2, 5 * SECOND, 30 * SECOND)
    assert (
        local_time(two.schedule.first_at(0).session_time, two.schedule.place).isoformat() == "1970-01-01T12:00:00+01:00"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"overlap": "never"}, {"catchup": "some"}, {"catchup": {"limit": 0}}, {"catchup": {"most": 1}},
        {"catchup": {"window": "long"}}, {"jitter": "much"}, {"skip_delayed_by": "x"}, {"timezone": "Asia/Tokyo"},
    ],
)  # fmt: skip
def test_an_option_of_another_form_is_refused_with_its_place(options):
    with pytest.raises(WorkflowError) as refused:
        schedule("daily", "07:00:00", **options)
    assert refused.value.kind == "bad_schedule"
