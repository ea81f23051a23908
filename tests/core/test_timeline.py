"""Timelines: which bars a history gives, and which tasks determined the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from dagrun.core.events import CallAgain, Canceled, Event, Failure, Finished, LeaseLost, Step
from dagrun.core.retry import Retry
from dagrun.core.state import DONE
from dagrun.core.timeline import BELOW, QUEUED, RUNS, USUAL_MOST, WAITS, Bar, Line, Timeline, timeline, usual
from dagrun.core.tree import Task, TaskTree
from tests.core import workflows
from tests.core.simulate import ERROR, Answer, Simulation, Success, by_definition, text_of, tree_of

SECOND = 1_000_000
OK = {"sh>": "x"}


class MoveRecord(NamedTuple):
    idx: int
    before: str
    after: str
    at: int
    reason: str | None


class TryRecord(NamedTuple):
    idx: int
    try_number: int
    started_at: int
    finished_at: int
    outcome: str


@dataclass
class Recorded(Simulation):
    """A simulation that keeps the history as the store does."""

    records: list[MoveRecord] = field(default_factory=list)
    tries: list[TryRecord] = field(default_factory=list)

    def send(self, *events: Event) -> Step:
        done = super().send(*events)
        self.records += [MoveRecord(move.task, move.before, move.after, self.now, move.reason) for move in done.moves]
        return done

    def finish(self, task: Task, answer: Answer | None = None) -> Step:
        if not isinstance(answer, CallAgain):
            outcome = "failed" if isinstance(answer, Failure) else "success"
            began = max(move.at for move in self.records if move.idx == task.index and move.after == "running")
            self.tries.append(TryRecord(task.index, task.tries, began, self.now, outcome))
        return super().finish(task, answer)

    def after(self, seconds: float) -> Recorded:
        """Let time pass, and what is due then become due."""
        self.now += int(seconds * SECOND)
        self.send()
        return self

    def named(self, name: str) -> Task:
        return self.tree.by_name()[f"+w{name}"]

    def timeline(self) -> Timeline:
        return timeline(self.tree, self.records, sorted(self.tries), 0, self.now)

    def line(self, name: str) -> Line:
        (found,) = [line for line in self.timeline().lines if line.task.full_name == f"+w{name}"]
        return found

    def bars(self, name: str) -> list[tuple[str, float, float]]:
        return [(bar.kind, bar.start / SECOND, bar.end / SECOND) for bar in self.line(name).bars]

    def path(self) -> list[str]:
        return [self.tree[span.task].full_name.removeprefix("+w") for span in self.timeline().path]


def begun(workflow: dict[str, Any]) -> Recorded:
    recorded = Recorded(tree_of(text_of(workflow)))
    recorded.start()
    recorded.claim()
    return recorded


def failed(retry: int = 0, interval: int = 0) -> Failure:
    return Failure(ERROR, retry=Retry(retry, interval) if retry else None)


def end(recorded: Recorded, name: str, answer: Answer | None = None) -> Recorded:
    """That task ends now, and a worker takes what is ready then."""
    recorded.finish(recorded.named(name), answer)
    recorded.claim()
    return recorded


# -- bars


def test_an_attempt_that_has_no_tasks_yet_has_no_lines():
    assert timeline(TaskTree(static=1), [], [], 0, SECOND) == Timeline(0, SECOND, [], [])


def test_a_task_queues_until_a_worker_claims_it():
    recorded = Recorded(tree_of(text_of({"+a": OK})))
    recorded.start()
    recorded.after(2).claim()
    end(recorded.after(3), "+a")
    assert recorded.bars("+a") == [(QUEUED, 0, 2), (RUNS, 2, 5)]
    assert recorded.bars("") == [(BELOW, 0, 5)]


def test_each_try_is_a_bar_of_its_own_with_its_number_and_outcome():
    recorded = begun({"+a": OK})
    end(recorded.after(1), "+a", failed(2, 4))
    recorded.after(4).claim()
    end(recorded.after(2), "+a")
    assert recorded.bars("+a") == [(RUNS, 0, 1), (WAITS, 1, 5), (RUNS, 5, 7)]
    assert [(bar.number, bar.outcome) for bar in recorded.line("+a").bars if bar.kind == RUNS] == [
        (1, "failed"),
        (2, "success"),
    ]


def test_tries_that_follow_at_once_are_two_bars():
    recorded = begun({"+a": OK})
    end(recorded.after(1), "+a", failed(1))
    end(recorded.after(1), "+a")
    assert recorded.bars("+a") == [(RUNS, 0, 1), (RUNS, 1, 2)]
    assert [bar.number for bar in recorded.line("+a").bars] == [1, 2]


def test_polls_of_one_try_share_its_number_and_the_last_one_has_its_outcome():
    recorded = begun({"+a": OK})
    end(recorded.after(1), "+a", CallAgain(3 * SECOND, {"polls": 1}))
    recorded.after(2).claim()
    end(recorded.after(1), "+a")
    assert [(bar.kind, bar.number, bar.outcome) for bar in recorded.line("+a").bars] == [
        (RUNS, 1, None),
        (WAITS, None, None),
        (RUNS, 1, "success"),
    ]


def test_a_try_whose_worker_was_lost_has_no_record_and_takes_none_of_another():
    recorded = begun({"+a": OK})
    task = recorded.after(2).named("+a")
    recorded.send(LeaseLost(task.index, task.lease or ""))
    recorded.after(30).claim()
    end(recorded.after(1), "+a")
    runs = [bar for bar in recorded.line("+a").bars if bar.kind == RUNS]
    assert [(bar.number, bar.outcome) for bar in runs] == [(1, None), (2, "success")]


def test_a_try_that_ended_while_no_engine_was_there_to_tell_has_its_own_length():
    recorded = begun({"+a": OK})
    end(recorded.after(5), "+a", failed(1, 2))
    (lost,) = recorded.tries
    recorded.tries = [lost._replace(finished_at=1 * SECOND)]
    assert recorded.after(1).bars("+a") == [(RUNS, 0, 1), (WAITS, 5, 6)]


def test_a_task_that_is_told_to_end_runs_until_it_has_ended():
    recorded = begun({"+a": OK})
    recorded.after(1).send(Canceled())
    recorded.after(2)
    recorded.finish(recorded.named("+a"), Success())
    assert recorded.bars("+a") == [(RUNS, 0, 3)]


def test_what_is_at_work_is_open_and_lasts_until_now():
    recorded = begun({"+a": OK, "+b": OK}).after(2)
    assert list(recorded.line("+a").bars) == [Bar(RUNS, 1, 0, 2 * SECOND, True, 1)]
    assert recorded.bars("+b") == []


def test_the_rounds_of_a_retried_group_share_a_line():
    recorded = begun({"+g": {"_retry": {"limit": 1, "interval": 3}, "+a": OK}})
    end(recorded.after(1), "+g+a", failed())
    recorded.after(3).claim()
    end(recorded.after(2), "+g+a")
    assert [line.task.full_name for line in recorded.timeline().lines] == ["+w", "+w+g", "+w+g+a"]
    assert recorded.bars("+g+a") == [(RUNS, 0, 1), (RUNS, 4, 6)]
    assert recorded.bars("+g") == [(BELOW, 0, 1), (WAITS, 1, 4), (BELOW, 4, 6)]
    assert len({bar.task for bar in recorded.line("+g+a").bars}) == 2
    assert recorded.line("+g").length(WAITS) == 3 * SECOND


# -- the critical path


def test_of_parallel_tasks_the_one_that_ended_last_is_critical():
    recorded = begun({"+g": {"_parallel": True, "+a": OK, "+b": OK}, "+c": OK})
    end(recorded.after(1), "+g+b")
    end(recorded.after(1), "+g+a")
    end(recorded.after(1), "+c")
    assert recorded.path() == ["+g+a", "+c"]


def test_a_task_is_preceded_by_what_it_needs_and_not_by_what_merely_ended_before():
    recorded = begun({"_parallel": True, "+a": OK, "+other": OK, "+b": {**OK, "_after": ["+a"]}})
    end(recorded.after(2), "+a")
    end(recorded.after(1), "+other")
    end(recorded.after(1), "+b")
    assert recorded.path() == ["+a", "+b"]


def test_what_ended_in_the_same_turn_is_told_apart_by_the_order_of_the_moves():
    recorded = begun({"_parallel": True, "+a": OK, "+other": OK, "+b": {**OK, "_after": ["+a"]}})
    a, other = recorded.after(2).named("+a"), recorded.named("+other")
    recorded.send(Finished(other.index, other.lease or "", Success()), Finished(a.index, a.lease or "", Success()))
    recorded.claim()
    end(recorded.after(1), "+b")
    assert recorded.path() == ["+a", "+b"]


def test_a_need_of_another_group_can_be_critical():
    recorded = begun({"_parallel": True, "+g": {"+a": OK}, "+h": {"+b": OK, "+c": {**OK, "_needs": ["+g+a"]}}})
    end(recorded.after(1), "+h+b")
    end(recorded.after(4), "+g+a")
    end(recorded.after(1), "+h+c")
    assert recorded.path() == ["+g+a", "+h+c"]


def test_the_rounds_of_a_group_and_the_wait_between_them_are_on_the_path():
    recorded = begun({"+g": {"_retry": {"limit": 1, "interval": 3}, "+a": OK}})
    end(recorded.after(1), "+g+a", failed())
    recorded.after(3).claim()
    end(recorded.after(2), "+g+a")
    assert recorded.path() == ["+g+a", "+g", "+g+a"]


def test_who_waited_for_a_slot_is_preceded_by_who_gave_it_back():
    recorded = begun({"_parallel": {"slots": 2}, "+a": OK, "+b": OK, "+c": OK})
    end(recorded.after(1), "+b")
    end(recorded.after(2), "+a")
    end(recorded.after(2), "+c")
    assert recorded.path() == ["+b", "+c"]


def test_generated_tasks_are_preceded_by_their_generator_and_handlers_by_the_failure():
    workflow = {"+a": {**OK, "_check": {"+look": OK}}, "+b": {**OK, "_error": {"+tell": OK}}}
    recorded = begun(workflow)
    end(recorded.after(1), "+a")
    end(recorded.after(1), "+a^check+look")
    end(recorded.after(1), "+b", failed())
    end(recorded.after(1), "+b^error+tell")
    end(recorded.after(1), "^failure-alert")
    assert recorded.path() == ["+a", "+a^check+look", "+b", "+b^error+tell", "^failure-alert"]


def test_while_the_attempt_runs_the_task_that_has_been_at_work_longest_is_critical():
    recorded = begun({"_parallel": {"slots": 2}, "+a": OK, "+b": OK, "+c": OK})
    end(recorded.after(1), "+a")
    assert recorded.after(1).path() == ["+b"]


def test_before_anything_has_moved_there_are_lines_without_bars():
    found = timeline(tree_of(text_of({"+a": OK})), [], [], 0, 0)
    assert [line.bars for line in found.lines] == [(), ()] and found.path == []


# -- the usual duration


def test_the_usual_duration_is_the_median_of_the_last_successes():
    assert usual([1, 2, 3, 4]) is None
    assert usual([5, 1, 9, 2, 3]) == 3
    assert usual([4, 1, 9, 2, 3, 6]) == 3
    assert usual([1] * USUAL_MOST + [100] * 100) == 1


# -- any workflow, any order


@st.composite
def histories(draw: st.DrawFn) -> Recorded:
    """A workflow that has run to its end or some way there, each task for a time of its own."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    recorded = Recorded(tree_of(text_of(draw(workflows.workflow()))))
    slots = draw(st.sampled_from([1, 2, 1_000]))
    most = draw(st.integers(0, 200))
    recorded.start()
    for _ in range(most):
        recorded.claim(max(0, slots - len(recorded.at_work())))
        working = recorded.at_work()
        if working:
            recorded.after(chance.randint(0, 3))
            task = chance.choice(working)
            recorded.finish(task, by_definition(task))
        elif recorded.tree.root.state in DONE or not recorded.advance():
            break
    return recorded


@given(histories())
def test_bars_of_a_task_follow_each_other_between_start_and_end(recorded):
    found = recorded.timeline()
    for line in found.lines:
        for bar in line.bars:
            assert found.start <= bar.start <= bar.end <= found.end
        for before, after in pairwise(line.bars):
            assert before.end <= after.start


@given(histories())
def test_each_start_of_a_try_is_a_bar_and_each_record_names_one(recorded):
    bars = [bar for line in recorded.timeline().lines for bar in line.bars if bar.kind == RUNS]
    assert len(bars) == sum(move.after == "running" for move in recorded.records)
    named = {(bar.task, bar.number, bar.end, bar.outcome) for bar in bars if bar.outcome}
    assert named == {(row.idx, row.try_number, row.finished_at, row.outcome) for row in recorded.tries}


@given(histories())
def test_each_task_has_one_line_below_its_parent(recorded):
    lines = recorded.timeline().lines
    assert sorted(line.task.full_name for line in lines) == sorted({task.full_name for task in recorded.tree.tasks})
    for before, after in pairwise(lines):
        assert 1 <= after.depth <= before.depth + 1


@given(histories())
def test_the_critical_path_is_a_chain_to_the_end(recorded):
    path = recorded.timeline().path
    for before, after in pairwise(path):
        assert before.ended < after.began and before.end <= after.start
    moved = [bar.end for line in recorded.timeline().lines for bar in line.bars if bar.kind != BELOW]
    assert not moved or path[-1].end == max(moved)


@given(histories())
def test_where_nobody_waits_for_a_slot_the_critical_path_leaves_no_gap(recorded):
    if any(task.spec.slots is not None for task in recorded.tree.tasks):
        return  # a task that waits for its next try lends its slot, and nothing has ended then
    path = recorded.timeline().path
    for before, after in pairwise(path):
        assert before.end == after.start
    assert not path or path[0].start == 0
