"""What `dagrun check` says of schedules that don't mean what they seem to."""

from __future__ import annotations

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.yaml import load
from dagrun.schedules.advice import advice


def kinds(text: str) -> list[str]:
    return [one.kind for one in advice(compile_workflow("w", load(text, "w.dig", None)))]


def cron(days: str) -> str:
    return f'schedule: {{cron>: "0 0 * * {days}", overlap: allow}}\n+a: {{echo>: x}}\n'


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("*", []),
        ("1-5", []),
        ("1-7", []),
        ("0-7", ["sunday_only"]),
        ("1-7/2", ["step_to_sunday"]),
        ("mon-sun/2", ["step_to_sunday"]),
        ("Sun-7", ["sunday_only"]),
    ],
)
def test_days_that_surprise_are_told(days, expected):
    assert kinds(cron(days)) == expected


@pytest.mark.parametrize(
    ("days", "expected"), [("0-7", "sun"), ("mon-sun/2", "mon, wed, fri"), ("6-7/2", "sun, sat"), ("1-7/7", "sun, mon")]
)
def test_the_days_that_are_meant_are_named(days, expected):
    (one,) = advice(compile_workflow("w", load(cron(days), "w.dig", None)))
    assert one.message == f"{days} as day of the week is {expected}"


def test_the_days_of_a_weekly_schedule_are_looked_at_too():
    assert kinds('schedule: {weekly>: "0-7,07:00:00", overlap: allow}\n+a: {echo>: x}\n') == ["sunday_only"]


def test_a_schedule_that_says_nothing_of_overlaps_is_asked_for_it_with_its_place():
    text = 'schedule:\n  daily>: "07:00:00"\n+a: {echo>: x}\n'
    (one,) = advice(compile_workflow("w", load(text, "w.dig", None)))
    assert (one.kind, one.place[0], one.place[1]) == ("no_overlap", "w.dig", 2)
    assert kinds(text.replace("+a", "  skip_on_overtime: true\n+a")) == []


def test_a_schedule_inside_a_group_is_told():
    assert kinds("+g:\n  schedule: {hourly>: '00:00'}\n  +a: {echo>: x}\n") == ["schedule_in_task"]


def test_a_schedule_inside_a_task_is_told_and_a_variable_of_that_name_is_none():
    assert kinds("+a:\n  schedule: {daily>: 07:00:00}\n  sh>: x\n") == ["schedule_in_task"]
    assert kinds("+a:\n  schedule: {day: monday}\n  sh>: x $schedule\n") == []


def test_without_a_schedule_there_is_nothing_to_say():
    assert kinds("+a: {echo>: x}\n") == []
