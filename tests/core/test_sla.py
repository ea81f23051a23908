"""`sla`: when the alarm of an attempt is due, and what it can't be (spec/language 8)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.events import Canceled, Failure, Overdue, Success
from dagrun.core.session import format_time, microseconds
from dagrun.core.sla import Alarm, Pace, alarm_of
from dagrun.core.yaml import load
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed, WorkflowError
from tests.core.simulate import ERROR, Simulation, text_of, tree_of

OK = {"sh>": "x"}
NOON = "2016-01-30T12:00:00+00:00"


def alarm(sla: Any, at: str = NOON, place: str = "UTC") -> Alarm | None:
    text = text_of({"timezone": place, **({"sla": sla} if sla is not None else {}), "+a": OK})
    return alarm_of(compile_workflow("w", load(text, "w.dig", None)), microseconds(datetime.fromisoformat(at)))


def due(sla: dict[str, Any], at: str = NOON, place: str = "UTC") -> str:
    found = alarm(sla, at, place)
    assert found is not None
    return format_time(found.at, zone(place))


def test_without_sla_there_is_no_alarm():
    assert alarm(None) is None


def test_a_duration_counts_from_the_run():
    assert due({"duration": "01:30:05"}) == "2016-01-30T13:30:05+00:00"
    assert due({"duration": "30:00"}) == "2016-01-31T18:00:00+00:00"


def test_a_time_is_that_of_the_day_of_the_run():
    assert due({"time": "13:00"}) == "2016-01-30T13:00:00+00:00"


@pytest.mark.parametrize("time", ["11:59:59", "00:00"])
def test_a_time_that_is_past_is_that_of_the_next_day(time):
    assert due({"time": time})[:10] == "2016-01-31"


def test_a_time_is_read_in_the_zone_of_the_workflow():
    assert due({"time": "22:00"}, place="Asia/Tokyo") == "2016-01-30T22:00:00+09:00"
    assert due({"time": "20:00"}, place="Asia/Tokyo") == "2016-01-31T20:00:00+09:00"


def test_a_time_that_is_now_rings_at_once():
    assert due({"time": "12:00"}) == NOON


def test_the_next_day_is_24_hours_later_over_a_change_of_the_offset():
    assert due({"time": "09:00"}, "2016-03-12T20:00:00-05:00", "America/New_York") == "2016-03-13T10:00:00-04:00"


def test_a_duration_is_elapsed_time_over_a_change_of_the_offset():
    assert due({"duration": "12:00"}, "2016-03-12T20:00:00-05:00", "America/New_York") == "2016-03-13T09:00:00-04:00"


def test_it_alerts_unless_told_otherwise_and_fails_only_if_told_to():
    first, second = alarm({"duration": "1:00"}), alarm({"duration": "1:00", "alert": False, "fail": True})
    assert first is not None and second is not None
    assert (first.alert, first.fail, second.alert, second.fail) == (True, False, False, True)


def test_all_other_keys_are_the_tasks_of_the_alarm():
    found = alarm({"time": "13:00", "fail": True, "alert": False, "+mail": OK, "_parallel": True})
    assert found is not None
    assert found.event() == Overdue(False, True, {"+mail": OK, "_parallel": True})


def test_a_time_without_a_value_is_left_out():
    assert due({"time": None, "duration": "1:00"}) == due({"duration": "1:00"})


@pytest.mark.parametrize(
    "sla",
    [{}, {"fail": True}, {"time": "13:00", "duration": "01:00"}, "13:00", ["13:00"], {"time": "1300"}, {"time": 13},
     {"duration": "1h"}, {"time": "${t}"}, {"time": None}, {"time": "99999999:00"}, {"duration": "-99999999999999:00"}],
)  # fmt: skip
def test_this_is_no_sla(sla):
    with pytest.raises(WorkflowError) as caught:
        alarm(sla)
    assert (caught.value.kind, caught.value.file) == ("bad_option", "w.dig")


def test_an_alarm_never_lies_beyond_the_calendar():
    assert due({"within": "99999999999999s"}) == "9999-01-01T00:00:00+00:00"


def test_an_alarm_that_neither_fails_nor_does_not_is_refused():
    with pytest.raises((WorkflowError, TaskFailed)):
        alarm({"time": "13:00", "fail": "maybe"})


# -- when it goes off


def test_alert_and_failing_task_and_own_tasks_run_at_once_beside_what_is_at_work():
    run = Simulation(tree_of(text_of({"+a": OK, "+b": OK}))).start()
    run.claim()
    run.send(Overdue(True, True, {"+mail": OK, "+then": OK}))
    assert {name: state for name, state in run.states().items() if "^sla" in name} == {
        "+w^sla^alert": "ready", "+w^sla^fail": "ready", "+w^sla": "planned", "+w^sla+mail": "ready",
        "+w^sla+then": "blocked",
    }  # fmt: skip
    assert run.states()["+w+a"] == "running" and run.states()["+w+b"] == "blocked"


def test_the_alert_and_the_failure_of_an_alarm_say_the_same():
    run = Simulation(tree_of(text_of({"+a": OK}))).start()
    run.send(Overdue(True, True, {}))
    said = {task.full_name: task.spec.config["_command"] for task in run.tree.tasks if "_command" in task.spec.config}
    assert said == {"+w^sla^alert": "SLA violation", "+w^sla^fail": "SLA violation"}


def test_an_alarm_holds_the_attempt_open_until_its_tasks_are_done():
    run = Simulation(tree_of(text_of({"+a": OK}))).start()
    run.claim()
    run.send(Overdue(True, False, {}))
    run.finish(run.tree[1])
    assert run.tree.root.state == "planned"
    run.finish(run.claim()[0])
    assert run.tree.root.state == "success"


def test_broken_tasks_of_an_alarm_are_left_out_with_a_note():
    run = Simulation(tree_of(text_of({"+a": OK}))).start()
    step = run.send(Overdue(False, False, {"no": "key of a group"}))
    assert "a group can't have these keys: no" in step.notes[0]
    assert run.states() == {"+w": "planned", "+w+a": "ready", "+w^sla": "success"}


def test_an_alarm_whose_task_fails_fails_the_attempt():
    run = Simulation(tree_of(text_of({"+a": OK}))).start()
    run.send(Overdue(True, False, {}))
    run.run(lambda task: Failure(ERROR) if task.full_name.endswith("^alert") and "sla" in task.full_name else Success())
    assert run.tree.root.state == "group_error"


@pytest.mark.parametrize("ending", ["done", "canceled"])
def test_an_alarm_after_the_end_changes_nothing(ending):
    run = Simulation(tree_of(text_of({"+a": OK}))).start()
    run.claim()
    if ending == "done":
        run.finish(run.tree[1])
    else:
        run.send(Canceled())
    assert not run.send(Overdue(True, True, {"+mail": OK})).inserted


def test_a_round_that_starts_anew_does_not_repeat_the_tasks_of_an_alarm():
    run = Simulation(tree_of(text_of({"_retry": 1, "+a": {"sh>": "x", "says": "fail"}}))).start()
    run.send(Overdue(True, False, {}))
    failed: list[str] = []

    def answer(task: Any) -> Any:
        failed.append(task.full_name)
        return Failure(ERROR) if task.full_name == "+w+a" and failed.count("+w+a") == 1 else Success()

    run.run(answer)
    assert (run.tree.root.state, failed.count("+w^sla^alert"), failed.count("+w+a")) == ("success", 1, 2)


def test_the_tasks_of_an_alarm_during_the_pause_of_the_root_are_not_lost():
    run = Simulation(tree_of(text_of({"_retry": {"limit": 1, "interval": 60}, "+a": OK}))).start()
    run.finish(run.claim()[0], Failure(ERROR))
    assert run.tree.root.state == "waiting"
    run.send(Overdue(True, False, {}))
    run.run(lambda task: Success())
    assert ("+w^sla^alert", "running", "success") in run.moves


def test_the_tasks_of_an_alarm_during_the_pause_of_the_root_hold_the_next_round_open():
    run = Simulation(tree_of(text_of({"_retry": {"limit": 1, "interval": 60}, "+a": OK}))).start()
    run.finish(run.claim()[0], Failure(ERROR))
    run.send(Overdue(True, False, {}))
    assert run.advance()
    alert, again = run.claim()
    run.finish(again)
    assert (alert.full_name, again.full_name, run.tree.root.state) == ("+w^sla^alert", "+w+a", "planned")
    run.finish(alert)
    assert run.tree.root.state == "success"


# -- alarms of our own (features F35, F36)


def own(sla: dict[str, Any], pace: Pace | None = None) -> Alarm | None:
    text = text_of({"sla": sla, "+a": OK})
    return alarm_of(compile_workflow("w", load(text, "w.dig", None)), microseconds(datetime.fromisoformat(NOON)), pace)


@pytest.mark.parametrize(
    ("sla", "minutes"),
    [
        ({"finish_by": "13:30"}, 90),
        ({"within": "2h"}, 120),
        ({"within": "2h", "finish_by": "13:30"}, 90),
        ({"duration": "01:00", "within": "2h"}, 60),
        ({"longer_than": "2x_usual"}, 23),
        ({"longer_than": "1.5x_usual"}, 18),
        ({"longer_than": "+10m"}, 23),
        ({"longer_than": "2x_usual", "within": "5m"}, 5),
    ],
)
def test_the_first_of_the_alarms_counts(sla, minutes):
    noon = microseconds(datetime.fromisoformat(NOON))
    found = own(sla, Pace(started_at=noon + 180_000_000, usual=600_000_000))
    assert found is not None
    assert found.at - noon == minutes * 60_000_000


def test_an_alarm_about_the_usual_length_needs_to_know_it():
    assert own({"longer_than": "2x_usual"}) is None
    found = own({"longer_than": "2x_usual", "within": "1h"})
    assert found is not None and found.at - microseconds(datetime.fromisoformat(NOON)) == 3_600_000_000


def test_a_limit_of_the_start_alone_rings_nothing_in_the_attempt():
    assert own({"start_within": "10m"}) is None


def test_tasks_may_stand_in_do_and_kill_is_an_option():
    found = own({"within": "1h", "kill": True, "alert": False, "do": {"+tell": OK}})
    assert found is not None
    assert (found.kill, found.alert, dict(found.tasks)) == (True, False, {"+tell": OK})


@pytest.mark.parametrize(
    "sla",
    [{"within": "soon"}, {"finish_by": "7"}, {"longer_than": "twice"}, {"longer_than": "+x"}, {"start_within": []}],
)
def test_an_alarm_of_our_own_that_can_not_be_read_is_refused(sla):
    with pytest.raises(WorkflowError) as refused:
        own(sla)
    assert refused.value.kind == "bad_option"
