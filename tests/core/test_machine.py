"""The rules of states, one example each; and that every row of the table is exercised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagrun.core.events import CallAgain, Canceled, Failure, Finished, LeaseLost, OutOfTime, Overdue, Success, Woken
from dagrun.core.retry import Retry
from dagrun.core.state import TRANSITIONS
from tests.core.simulate import ERROR, Simulation, by_definition, text_of, tree_of

SECOND = 1_000_000
OK = {"sh>": "x"}
FAILS = {"sh>": "x", "says": "fail"}
HANDLED = {**FAILS, "_error": {"+tell": OK}}
POLLS = {"sh>": "x", "says": "again", "times": 1}
MAKES = {"sh>": "x", "says": "make", "_do": {"+made": OK}}


def started(definition: dict[str, Any]) -> Simulation:
    return Simulation(tree_of(text_of(definition))).start()


def ran(definition: dict[str, Any]) -> Simulation:
    return Simulation(tree_of(text_of(definition))).run(by_definition)


def working(definition: dict[str, Any]) -> Simulation:
    """All that is ready is claimed."""
    run = started(definition)
    run.claim()
    return run


def canceled(run: Simulation) -> Simulation:
    run.send(Canceled("enough"))
    for task in run.at_work():
        run.finish(task)
    return run


def out_of_time(definition: dict[str, Any], retry: Retry | None = None) -> Simulation:
    run = working(definition)
    (task,) = run.at_work()
    run.send(OutOfTime(task.index, task.lease or ""))
    run.finish(task, Failure({"kind": "timed_out", "message": "out of time"}, retry=retry))
    return run


def canceled_in_handlers() -> Simulation:
    run = working({"+a": HANDLED})
    run.finish(run.at_work()[0], Failure(ERROR))
    return canceled(run)


def canceled_before_the_first_claim() -> Simulation:
    return canceled(started({"+a": OK}))


def canceled_between_polls() -> Simulation:
    run = working({"+a": POLLS})
    run.finish(run.at_work()[0], CallAgain(60 * SECOND, {"polls": 1}))
    return canceled(run)


SCENARIOS: dict[tuple[str, str], Callable[[], Simulation]] = {
    ("blocked", "ready"): lambda: started({"+a": OK}),
    ("blocked", "planned"): lambda: started({"+g": {"+a": OK}}),
    ("blocked", "canceled"): lambda: canceled(working({"_parallel": {"slots": 1}, "+a": OK, "+b": OK})),
    ("ready", "running"): lambda: working({"+a": OK}),
    ("ready", "canceled"): canceled_before_the_first_claim,
    ("running", "success"): lambda: ran({"+a": OK}),
    ("running", "planned"): lambda: ran({"+a": MAKES}),
    ("running", "waiting"): lambda: ran({"+a": POLLS}),
    ("running", "failing"): lambda: ran({"+a": HANDLED}),
    ("running", "error"): lambda: ran({"+a": FAILS}),
    ("running", "stopping"): lambda: canceled(working({"+a": OK})),
    ("stopping", "canceled"): lambda: canceled(working({"+a": OK})),
    ("stopping", "waiting"): lambda: out_of_time({"+a": OK}, Retry(1)),
    ("stopping", "failing"): lambda: out_of_time({"+a": HANDLED}),
    ("stopping", "error"): lambda: out_of_time({"+a": OK}),
    ("waiting", "ready"): lambda: ran({"+a": POLLS}),
    ("waiting", "canceled"): canceled_between_polls,
    ("waiting", "planned"): lambda: ran({"+g": {"_retry": 1, "+a": FAILS}}),
    ("planned", "success"): lambda: ran({"+g": {"+a": OK}}),
    ("planned", "waiting"): lambda: ran({"+g": {"_retry": 1, "+a": FAILS}}),
    ("planned", "failing"): lambda: ran({"+g": {"_error": {"+tell": OK}, "+a": FAILS}}),
    ("planned", "group_error"): lambda: ran({"+g": {"+a": FAILS}}),
    ("planned", "canceled"): lambda: canceled(working({"+g": {"+a": OK}})),
    ("failing", "error"): lambda: ran({"+a": HANDLED}),
    ("failing", "group_error"): lambda: ran({"+g": {"_error": {"+tell": OK}, "+a": FAILS}}),
    ("failing", "canceled"): canceled_in_handlers,
}


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0]} to {row[1]}")
def test_every_row_of_the_table_is_exercised(row):
    run = SCENARIOS[row]()
    assert row in {(before, after) for _, before, after in run.moves}


def test_the_table_holds_no_move_twice_and_ends_are_ends():
    assert not [row for row in TRANSITIONS if row[0] in ("success", "error", "group_error", "canceled")]


# -- what starts when


def test_tasks_run_in_the_order_of_the_file_and_a_failure_stops_what_comes_after():
    run = ran({"+a": OK, "+b": FAILS, "+c": OK})
    assert run.states() == {"+w": "group_error", "+w+a": "success", "+w+b": "error", "+w+c": "blocked",
                            "+w^failure-alert": "success"}  # fmt: skip


def test_parallel_branches_go_on_when_one_fails():
    run = ran({"_parallel": True, "+a": FAILS, "+g": {"+b": OK, "+c": OK}})
    assert run.states()["+w+g+c"] == "success"


def test_a_task_ended_when_its_try_did_and_its_group_when_that_was_told():
    run = working({"+a": OK})
    run.now = 100 * SECOND
    (task,) = run.at_work()
    run.send(Finished(task.index, task.lease or "", Success(), 90 * SECOND))
    assert (task.finished_at, run.tree.root.finished_at) == (10 * SECOND, 100 * SECOND)


def test_a_pause_before_the_next_try_counts_from_when_the_end_was_told():
    run = working({"+a": OK})
    run.now = 100 * SECOND
    (task,) = run.at_work()
    run.send(Finished(task.index, task.lease or "", Failure(ERROR, retry=Retry(1, 5)), 90 * SECOND))
    assert (task.finished_at, task.due_at) == (None, 105 * SECOND)


def test_fail_fast_ends_the_others():
    run = working({"_parallel": {"slots": 3, "fail_fast": True}, "+a": OK, "+b": OK, "+g": {"+c": OK, "+d": OK}})
    failing, other, deep = run.at_work()
    run.finish(failing, Failure(ERROR))
    assert [run.tree[task.index].state for task in (other, deep)] == ["stopping", "stopping"]
    run.finish(other)
    run.finish(deep)
    assert run.states()["+w+g"] == "canceled" and run.states()["+w"] == "failing"  # its alert is at work
    assert run.states()["+w+g+d"] in ("canceled", "blocked")


def names(run: Simulation) -> list[str]:
    return [task.full_name for task in run.claim()]


def test_a_limit_makes_waves():
    run = started({"_parallel": {"limit": 2}, "+a": OK, "+b": OK, "+c": OK, "+d": OK})
    first = run.claim()
    assert [task.full_name for task in first] == ["+w+a", "+w+b"]
    run.finish(first[0])
    assert names(run) == []
    run.finish(first[1])
    assert names(run) == ["+w+c", "+w+d"]


def test_slots_are_a_moving_window():
    run = started({"_parallel": {"slots": 2}, "+a": OK, "+b": OK, "+c": OK, "+d": OK})
    first = run.claim()
    run.finish(first[0])
    assert names(run) == ["+w+c"]
    run.finish(first[1])
    assert names(run) == ["+w+d"]


def test_a_task_in_the_background_runs_beside_the_one_before_it():
    run = started({"+a": OK, "+b": {**OK, "_background": True}, "+c": OK})
    assert names(run) == ["+w+a", "+w+b"]
    run.finish(run.tree[2])
    assert names(run) == []
    run.finish(run.tree[1])
    assert names(run) == ["+w+c"]


def test_a_need_across_groups_is_waited_for():
    run = started({"_parallel": True, "+g": {"+a": OK, "+b": OK}, "+h": {"+c": {**OK, "_needs": ["+g+a"]}}})
    run.finish(run.claim()[0])
    assert names(run) == ["+w+g+b", "+w+h+c"]


# -- failures


def test_a_task_is_tried_again_as_often_as_it_says():
    run = ran({"+a": {**FAILS, "_retry": 2}})
    assert run.tree[1].tries == 3 and run.states()["+w+a"] == "error"


def test_a_try_that_succeeds_clears_the_error_of_the_one_before():
    run = ran({"+a": {**FAILS, "_retry": 2, "times": 1}})
    assert (run.tree[1].tries, run.tree[1].state, run.tree[1].error) == (2, "success", None)


def test_what_fails_below_a_task_is_not_mixed_with_the_error_of_an_earlier_try():
    made = {**FAILS, "_retry": 1, "times": 1, "_check": {"+look": FAILS}}
    run = ran({"+g": {"+a": made, "_error": {"+tell": OK}}})
    assert (run.states()["+w+g+a"], run.tree.by_name()["+w+g+a"].error) == ("group_error", None)


def test_the_pause_before_the_next_try_is_waited_for():
    run = working({"+a": OK})
    run.finish(run.at_work()[0], Failure(ERROR, retry=Retry(1, 10)))
    assert run.tree.next_due() == 10 * SECOND
    assert run.advance() and run.now == 10 * SECOND and names(run) == ["+w+a"]


def test_failures_of_the_platform_are_counted_apart():
    run = working({"+a": OK})
    task = run.at_work()[0]
    for _ in range(3):
        run.send(LeaseLost(task.index, task.lease or ""))
        assert run.advance()
        run.claim()
    run.finish(task, Failure(ERROR, retry=Retry(1)))
    assert (task.platform_retries, task.retries, task.state) == (3, 1, "ready")


def test_a_group_runs_again_from_its_start_and_its_old_round_stays_to_be_seen():
    run = ran({"+g": {"_retry": 1, "+a": OK, "+b": {**FAILS, "times": 5}}, "+z": OK})
    rounds = [task for task in run.tree.tasks if task.full_name == "+w+g+a"]
    assert [(task.superseded, task.state) for task in rounds] == [(True, "success"), (False, "success")]
    assert run.states()["+w+g"] == "group_error" and run.states()["+w+z"] == "blocked"


def test_handlers_run_once_after_the_last_try_and_do_not_rescue():
    run = ran({"+a": {**FAILS, "_retry": 2, "_error": {"+tell": OK}}, "+b": OK})
    assert run.history("+w+a^error+tell") == ["ready", "running", "success"]
    assert (run.states()["+w+a"], run.states()["+w+b"]) == ("error", "blocked")


def test_a_handler_that_fails_leaves_the_outcome_as_it_is():
    run = ran({"+a": {**FAILS, "_error": {"+tell": FAILS}}})
    assert (run.states()["+w+a^error"], run.states()["+w+a"]) == ("group_error", "error")


def test_a_check_that_fails_fails_its_task():
    run = ran({"+a": {**OK, "_check": {"+look": FAILS}}, "+b": OK})
    assert (run.states()["+w+a"], run.states()["+w+b"]) == ("group_error", "blocked")


def test_what_was_generated_is_part_of_its_task():
    run = ran({"+a": {**MAKES, "_do": {"+made": FAILS}}, "+b": OK})
    assert (run.states()["+w+a^sub+made"], run.states()["+w+a"], run.states()["+w+b"]) == (
        "error",
        "group_error",
        "blocked",
    )


def test_a_polling_task_keeps_its_memo_and_counts_one_try():
    run = ran({"+a": {"sh>": "x", "says": "again", "times": 4}})
    assert (run.tree[1].tries, run.tree[1].state) == (1, "success")


def test_a_waiting_task_can_be_woken_early():
    run = working({"+a": OK})
    run.finish(run.at_work()[0], CallAgain(3_600 * SECOND, {"seen": 1}))
    run.send(Woken(1))
    assert names(run) == ["+w+a"]


def test_too_many_tasks_fail_the_one_that_generates_them():
    run = started({"+a": MAKES})
    run.tree.task_limit = 3
    run.claim()
    run.finish(run.at_work()[0], by_definition(run.at_work()[0]))
    assert run.states()["+w+a"] == "error" and (run.tree[1].error or {})["kind"] == "task_limit"


def test_an_alarm_adds_its_tasks_beside_what_is_at_work():
    run = working({"+a": OK})
    run.send(Overdue(alert=True, fail=False, tasks={"+mail": OK}))
    assert run.tree[1].state == "running"
    run.run(lambda task: Success())
    assert run.states()["+w^sla+mail"] == "success" and run.tree.root.state == "success"


def test_an_alarm_may_fail_the_attempt_without_ending_anything():
    run = working({"+a": OK, "+b": OK})
    run.send(Overdue(alert=False, fail=True, tasks={}))
    run.run(lambda task: Failure(ERROR) if task.full_name.endswith("^fail") else Success())
    assert (run.states()["+w+b"], run.tree.root.state) == ("success", "group_error")
