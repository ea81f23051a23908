"""Expressions by the clock, moment as its version 2.21, and plain names of the engine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.javascript import JavaScript
from dagrun.core.template import render
from dagrun.core.zone import zone
from tests.effort import examples

EPOCH = 1_709_253_005  # 2024-03-01T00:30:05Z
NEW_YORK = "America/New_York"
ENGINE = JavaScript()


@pytest.mark.parametrize("now", [0.0, 2147483.647, 2147483.648, EPOCH + 0.25, 1 << 31, 1 << 32])
def test_the_clock_is_right_at_any_time(now):
    text = render("${Date.now()} ${moment().valueOf()} ${moment().unix()}", {}, JavaScript().at("UTC", now))
    assert text == f"{int(now * 1000)} {int(now * 1000)} {int(now)}"


@settings(max_examples=examples(200), deadline=None)
@given(
    name=st.sampled_from(["Africa/Casablanca", NEW_YORK, "America/Santiago", "Australia/Lord_Howe", "Europe/London"]),
    local=st.datetimes(datetime(1900, 1, 1), datetime(2400, 12, 31)).map(lambda time: time.replace(microsecond=0)),
)
def test_local_times_are_those_of_the_zone_in_any_year(name, local):
    time = local.replace(tzinfo=zone(name)).astimezone(UTC)
    form = "YYYY-MM-DDTHH:mm:ss"
    text = f"${{moment('{local:%Y-%m-%dT%H:%M:%S}').unix()}} ${{moment.unix({time.timestamp():.0f}).format('{form}')}}"
    shown = time.astimezone(zone(name)).replace(tzinfo=None)
    assert render(text, {}, ENGINE.at(name, 0.0)) == f"{time.timestamp():.0f} {shown.isoformat()}"


# Source: moment 2.21.0 itself, in this zone.
AS_IN_2_21 = {
    "moment('20240130').format()": "2024-01-30T00:00:00-05:00",
    "moment('20240130T0130').format()": "2024-01-30T01:30:00-05:00",
    "moment('20240130T013045Z').format()": "2024-01-29T20:30:45-05:00",
    "moment('2024W09').format('YYYY-MM-DD')": "2024-02-26",
    "moment('2024060').format('YYYY-MM-DD')": "2024-02-29",
    "moment('2024-05').format()": "2024-05-01T00:00:00-04:00",
    "moment.utc('2024-05').format()": "2024-05-01T00:00:00Z",
    "moment.utc('2024/02/29').format()": "2024-02-29T00:00:00Z",
    "moment.utc('Feb 29, 2024').format()": "2024-02-29T00:00:00Z",
    "new Date('2/29/2024 EST').toISOString()": "2024-02-29T05:00:00.000Z",
    "moment('02-29-2024').format()": "2024-02-29T00:00:00-05:00",
    "moment('20240230').isValid()": "false",
    "moment('2024-13').isValid()": "false",
    "moment('2024-02-29').diff('20240101', 'days')": "59",
    "moment('2024-01-30').add({months: 1, days: 1}).format('YYYY-MM-DD')": "2024-03-01",
    "moment('2024-03-01').subtract({months: 1, days: 1}).format('YYYY-MM-DD')": "2024-01-31",
    "moment('2024-02-29').add({years: 1, days: -1}).format('YYYY-MM-DD')": "2025-02-27",
    "moment('2024-03-09T12:00').add({days: 1, hours: 1}).format()": "2024-03-10T13:00:00-04:00",
    "moment('2024-02-29').year(2023).format('YYYY-MM-DD')": "2023-02-28",
    "moment('2024-02-29').set('year', 2028).format('YYYY-MM-DD')": "2028-02-29",
    "moment('2024-02-29T01:30:45.123').format('SSSS')": "1230",
    "moment('2024-02-29T12:34:56+09').format()": "2024-02-28T22:34:56-05:00",
    "moment.parseZone('2024-02-29T12:34:56').format()": "2024-02-29T12:34:56Z",
    "moment.parseZone('2024-02-29T12:34:56+09:00').add(1, 'month').format()": "2024-03-29T12:34:56+09:00",
    "moment.utc('Thu, 29 Feb 2024 12:34:56 +0900').format()": "2024-02-29T03:34:56Z",
    "moment('Fri, 29 Feb 2024 12:34:56 GMT').isValid()": "false",
    "moment('2024-01-01').isoWeekYear(2026).format('YYYY-MM-DD')": "2025-12-29",
    "moment('2024-01-01').weekYear(2023).format('YYYY-MM-DD')": "2023-01-02",
    "moment.duration(45, 'days').days()": "14",
    "moment.duration({months: 1, days: -1}).days()": "30",
    "moment('2024-02-29').add('02:30').format()": "2024-02-29T00:00:00-05:00",
    "moment.duration(NaN).isValid()": "false",
    "moment('2024-02-29').month('3').format('YYYY-MM-DD')": "2024-04-29",
}


@pytest.mark.parametrize("source", AS_IN_2_21)
def test_moment_answers_as_its_version_2_21_does(source):
    assert render("${" + source + "}", {}, JavaScript().at(NEW_YORK, float(EPOCH))) == AS_IN_2_21[source]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("${Math.PI}", "3.141592653589793"), ("${Number.MAX_SAFE_INTEGER}", "9007199254740991"), ("${NaN}", "null"), ("${x}${Math.E}", "12.718281828459045")],
)  # fmt: skip
def test_a_plain_name_of_the_engine_is_no_variable_that_is_missing(text, shown):
    assert render(text, {"x": 1}, JavaScript().at("UTC", 0.0)) == shown
    assert render("${Math.PI}", {"Math": {"PI": 3}}, JavaScript().at("UTC", 0.0)) == "3"
