"""What holds for every workflow, whatever its tasks answer and in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.events import Canceled, Claimed, Finished, LeaseLost, OutOfTime, Success
from dagrun.core.state import BLOCKED, DONE, FAILED, RUNNING, STOPPING, SUCCESS, TRANSITIONS
from dagrun.core.tree import AT_WORK, Task, TaskTree
from tests.core.simulate import Simulation, by_definition, counters, outcome, text_of, tree_of
from tests.core.workflows import workflow
from tests.effort import examples

SETTINGS = settings(max_examples=examples(150), deadline=None, derandomize=True)
CHOICES = st.lists(st.integers(0, 1_000), max_size=40)


class Choices:
    """Picks as hypothesis drew, and the first one afterwards."""

    def __init__(self, drawn: list[int]) -> None:
        self.drawn = list(drawn)

    def __call__(self, tasks: Any) -> Any:
        return tasks[self.drawn.pop(0) % len(tasks)] if self.drawn else tasks[0]


class Watched(Simulation):
    """After each step: all moves are legal, and the counters are those of a count from scratch."""

    def send(self, *events: Any) -> Any:
        done = super().send(*events)
        for move in done.moves:
            assert (move.before, move.after) in TRANSITIONS
        assert counters(self.tree) == recount(self.tree)
        return done


def recount(tree: TaskTree) -> list[Any]:
    """`counters`, from the states alone and by the definitions of the fields."""
    dead: set[int] = set()
    while True:
        found = {task.index for task in tree.tasks if task.index not in dead and is_dead(tree, task, dead)}
        if not found:
            break
        dead |= found

    def counted(task: Task) -> Any:
        if task.index in dead:
            return "dead"
        members = [tree[index] for index in task.children if not tree[index].superseded]
        return (
            sum(tree[index].state != SUCCESS for index in task.upstreams),
            sum(one.state not in DONE and one.index not in dead for one in members),
            sum(one.state in FAILED and one.spec.name not in ("^error", "^failure-alert") for one in members),
            sum(one.index in dead for one in members),
            sum(one.state in AT_WORK for one in members),
        )

    return [counted(task) for task in tree.tasks if not task.superseded and task.state not in DONE]


def is_dead(tree: TaskTree, task: Task, dead: set[int]) -> bool:
    """It hasn't begun, and something before or around it ended without success, or is dead."""
    around = [*task.upstreams, *([task.parent] if task.parent is not None else [])]
    return (
        task.state == BLOCKED
        and not task.superseded
        and any(index in dead or (tree[index].state in DONE and tree[index].state != SUCCESS) for index in around)
    )


def simulation(definition: dict[str, Any]) -> Watched:
    return Watched(tree_of(text_of(definition)))


@SETTINGS
@given(definition=workflow(fail_fast=True), drawn=CHOICES)
def test_every_attempt_ends_by_legal_moves_with_true_counters(definition, drawn):
    run = simulation(definition).run(by_definition, Choices(drawn))
    assert run.tree.root.state in DONE
    assert not [task for task in run.tree.tasks if task.state not in DONE and not task.dead and not task.superseded]


@SETTINGS
@given(definition=workflow(), drawn=CHOICES)
def test_any_order_of_finishes_gives_the_same_final_tree(definition, drawn):
    first = simulation(definition).run(by_definition)
    other = simulation(definition).run(by_definition, Choices(drawn))
    assert outcome(first.tree) == outcome(other.tree)


@SETTINGS
@given(definition=workflow(fail_fast=True), drawn=CHOICES, steps=st.integers(0, 15))
def test_a_late_answer_changes_nothing(definition, drawn, steps):
    run, _ = partly(definition, drawn, steps)
    before = [everything(task) for task in run.tree.tasks]
    events: list[Any] = []
    for task in run.tree.tasks:
        for late in ("somebody-else", "lease-0"):
            events += [
                Finished(task.index, late, Success(stored={"late": 1})),
                LeaseLost(task.index, late),
                OutOfTime(task.index, late),
            ]
        if task.state not in (RUNNING, STOPPING):
            events.append(Finished(task.index, task.lease or "", Success(stored={"late": 1})))
    for event in events:
        assert not run.send(event).moves
    assert [everything(task) for task in run.tree.tasks] == before


@SETTINGS
@given(definition=workflow(fail_fast=True), drawn=CHOICES, steps=st.integers(0, 15))
def test_cancel_always_ends_it(definition, drawn, steps):
    run, done = partly(definition, drawn, steps)
    run.send(Canceled("enough"))
    assert done or run.tree.root.state in ("canceled", "planned", "failing", "waiting", *DONE)
    while run.at_work():  # nothing new begins: only what is at work has to end
        assert run.tree.claimable(1_000) == []
        run.finish(run.at_work()[0])
    assert run.tree.root.state == (done or "canceled")
    assert not [task for task in run.tree.tasks if task.state not in DONE and not task.dead and not task.superseded]


@SETTINGS
@given(definition=workflow(), drawn=CHOICES)
def test_events_that_come_together_do_what_they_do_one_by_one(definition, drawn):
    together = simulation(definition).start()
    while together.tree.root.state not in DONE:
        together.claim()
        working = together.at_work()
        if working:
            together.send(*[Finished(task.index, task.lease or "", by_definition(task)) for task in working])
        elif not together.advance():
            break
    assert outcome(together.tree) == outcome(simulation(definition).run(by_definition).tree)


@SETTINGS
@given(definition=workflow(), drawn=CHOICES)
def test_one_worker_gives_the_same_as_many(definition, drawn):
    alone = simulation(definition).start()
    while alone.tree.root.state not in DONE:
        if alone.claim(1):
            (task,) = alone.at_work()
            alone.finish(task, by_definition(task))
        elif not alone.advance():
            break
    assert outcome(alone.tree) == outcome(simulation(definition).run(by_definition).tree)


@SETTINGS
@given(definition=workflow(fail_fast=True), drawn=CHOICES, steps=st.integers(0, 15))
def test_what_is_not_ready_can_not_be_claimed(definition, drawn, steps):
    run, _ = partly(definition, drawn, steps)
    ready = {task.index for task in run.tree.tasks if task.state == "ready" and not task.superseded}
    assert set(run.tree.claimable(1_000)) == ready
    for task in run.tree.tasks:
        if task.index not in ready:
            assert not run.send(Claimed(task.index, "thief")).moves
            assert task.lease != "thief"


def partly(definition: dict[str, Any], drawn: list[int], steps: int) -> tuple[Watched, str | None]:
    """A run after so many finishes, and how it ended if it did; what is ready then is claimed in every other case."""
    run = simulation(definition).start()
    choose = Choices(drawn)
    for _ in range(steps):
        run.claim()
        working = run.at_work()
        if working:
            task = choose(working)
            run.finish(task, by_definition(task))
        elif not run.advance():
            break
    if steps % 2:
        run.claim()
    return run, run.tree.root.state if run.tree.root.state in DONE else None


def everything(task: Task) -> tuple[Any, ...]:
    names = ("state", "tries", "retries", "platform_retries", "lease", "due_at", "started_at", "finished_at", "stored",
             "error", "reason", "superseded", "waiting_for", "open_children", "failed_children", "dead")  # fmt: skip
    return tuple(getattr(task, name) for name in names)
