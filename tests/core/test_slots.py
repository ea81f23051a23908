"""The moving window of a group (`_parallel: {slots: n}`): who takes a slot, who waits for one, and who needs none."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.events import CallAgain, Failure, Overdue, Woken
from dagrun.core.retry import Retry
from dagrun.core.state import DONE
from tests.core.simulate import ERROR, Simulation, by_definition, text_of, tree_of
from tests.core.workflows import workflow
from tests.effort import examples

SECOND = 1_000_000
OK = {"sh>": "x"}


def started(definition: dict[str, Any]) -> Simulation:
    return Simulation(tree_of(text_of(definition))).start()


def state(run: Simulation, name: str) -> str:
    return run.states()[f"+w{name}"]


def one_of_two() -> Simulation:
    """A window of one: +a is at work, +b waits for its slot."""
    run = started({"_parallel": {"slots": 1}, "+a": OK, "+b": OK})
    run.claim()
    return run


def test_a_task_that_waits_for_a_time_gives_its_slot_away():
    run = one_of_two()
    run.finish(run.tree[1], CallAgain(60 * SECOND, {"polls": 1}))
    assert (state(run, "+a"), state(run, "+b")) == ("waiting", "ready")


def test_a_task_whose_time_has_come_waits_for_a_slot():
    run = one_of_two()
    run.finish(run.tree[1], CallAgain(60 * SECOND, {"polls": 1}))
    run.claim()
    assert run.advance()
    assert state(run, "+a") == "waiting"
    run.finish(run.tree[2])
    assert state(run, "+a") == "ready"


def test_a_task_that_was_woken_early_waits_for_a_slot_and_then_runs_at_once():
    run = one_of_two()
    run.finish(run.tree[1], CallAgain(60 * SECOND, {"polls": 1}))
    run.claim()
    run.send(Woken(1))
    assert state(run, "+a") == "waiting"
    run.finish(run.tree[2])
    assert (run.now, state(run, "+a")) == (0, "ready")


def test_a_task_that_was_woken_twice_is_not_woken_again_before_its_next_time():
    run = one_of_two()
    run.finish(run.tree[1], CallAgain(60 * SECOND, {"polls": 1}))
    run.claim()
    run.send(Woken(1), Woken(1))
    run.finish(run.tree[2])
    run.claim()
    run.finish(run.tree[1], CallAgain(90 * SECOND, {"polls": 2}))
    assert (state(run, "+a"), run.tree.next_due()) == ("waiting", 90 * SECOND)


def test_an_alarm_does_not_shorten_the_pause_of_a_task_that_waited_for_a_slot():
    run = one_of_two()
    run.send(Overdue(alert=False, fail=False, tasks={"+mail": OK}))
    run.claim()
    run.finish(run.tree.tasks[-1])
    run.finish(run.tree[1])
    run.claim()
    run.finish(run.tree[2], Failure(ERROR, retry=Retry(1, interval=60)))
    assert (state(run, "+b"), run.tree.next_due()) == ("waiting", 60 * SECOND)


def test_the_tasks_of_an_alarm_need_no_slot():
    run = one_of_two()
    run.send(Overdue(alert=True, fail=False, tasks={"+mail": OK}))
    assert (state(run, "^sla^alert"), state(run, "^sla+mail"), state(run, "+b")) == ("ready", "ready", "blocked")


def test_handlers_need_no_slot():
    run = started({"_parallel": {"slots": 1}, "_error": {"+tell": OK}, "+a": OK})
    run.claim()
    run.finish(run.tree[1], Failure(ERROR))
    assert (state(run, "^failure-alert"), state(run, "^error+tell")) == ("ready", "ready")


def test_a_group_holds_its_slot_until_it_is_done():
    run = started({"_parallel": {"slots": 1}, "+g": {"+a": OK, "+b": OK}, "+c": OK})
    run.finish(run.claim()[0])
    assert state(run, "+c") == "blocked"
    run.finish(run.claim()[0])
    assert state(run, "+c") == "ready"


# -- fail_fast


def test_who_waits_for_a_slot_below_a_group_that_fails_fast_never_starts():
    inner = {"_parallel": {"slots": 1}, "+x": OK, "+y": OK}
    run = started({"_parallel": {"slots": 2, "fail_fast": True}, "+a": OK, "+g": inner})
    run.claim()
    run.finish(run.tree[1], Failure(ERROR))
    run.finish(run.tree[3])
    assert [state(run, name) for name in ("+g+x", "+g+y", "+g")] == ["canceled"] * 3


class Watched(Simulation):
    """After each step nothing below a group that fails fast is at work, or waits to be, once a member has failed."""

    def send(self, *events: Any) -> Any:
        done = super().send(*events)
        for group in self.tree.tasks:
            if group.spec.fail_fast and group.state == "planned" and group.failed_children and not group.superseded:
                for task in self.tree.descendants(group):
                    assert task.state not in ("ready", "running", "waiting"), task.full_name
        return done


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(definition=workflow(fail_fast=True), drawn=st.lists(st.integers(0, 1_000), max_size=40))
def test_nothing_starts_below_a_group_that_fails_fast_once_a_member_has_failed(definition, drawn):
    definition["_parallel"] = {"slots": 2, "fail_fast": True}
    for name, task in definition.items():
        if name.startswith("+"):
            task.pop("_background", None)
    run = Watched(tree_of(text_of(definition)))
    run.run(by_definition, lambda working: working[drawn.pop() % len(working) if drawn else 0])
    assert run.tree.root.state in DONE
