"""What is prepared before its time changes nothing but the time that it takes."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.events import Canceled
from dagrun.engine.attempt import Attempt
from dagrun.engine.foresight import Foresight
from dagrun.engine.launch import Launcher
from dagrun.engine.turn import take_turn
from dagrun.engine.workspace import working
from tests.effort import examples
from tests.engine.conftest import LIMIT_SECONDS, Bench, world_in


@pytest.fixture
def taken(monkeypatch) -> list[str]:
    """The names of the tasks that were started as they had been foreseen."""
    names: list[str] = []
    take = Foresight.take

    def noted(self, held, services):
        found = take(self, held, services)
        if found is not None:
            names.append(held.task.spec.name)
        return found

    monkeypatch.setattr(Foresight, "take", noted)
    return names


def run(bench, text: str) -> Bench:
    running = bench()
    running.add(text)
    running.run()
    assert not running.worker.foresight.foreseen
    assert working(running.world.state_dir) == []
    assert not running.alive()
    return running


def test_a_task_that_follows_another_is_foreseen(bench, taken):
    running = run(
        bench, '_export:\n  x: 7\n+a:\n  sh>: "true"\n+b:\n  sh>: echo ${x} $x ${task_name}\n+c:\n  sh>: pwd; env'
    )
    assert taken == ["+b", "+c"]
    assert running.diary.printed[1] == "7 7 +wf+b\n"
    printed = running.diary.printed[2]
    assert printed.splitlines()[0] == f"{running.workspaces.work}/1.3.1/project"
    assert f"DAGRUN_TMP={running.workspaces.work}/1.3.1/io/tmp\n" in printed
    assert f"DAGRUN_TRY={running.world.store.id}/1.3.1\n" in printed


def test_what_was_foreseen_is_dropped_when_the_task_before_stores_something(bench, taken):
    running = run(
        bench, '+a:\n  sh>: "echo {\\\\\\"x\\\\\\": 1} > $DAGRUN_OUT"\n+b:\n  _export:\n    y: ${x}\n  sh>: echo $x $y'
    )
    assert running.diary.printed[1] == "1 1\n"
    assert taken == []


def test_what_was_foreseen_is_gone_when_the_task_before_fails(bench, taken):
    running = run(bench, '+a:\n  sh>: "true"\n+b:\n  sh>: exit 1\n+c:\n  sh>: "true"')
    assert taken == ["+b"]
    assert running.diary.moves[-1] == ("+wf", "group_error")


@pytest.mark.parametrize(
    "last",
    [
        "sh>: echo ${moment().valueOf()}",
        "_export: {at: '${Date.now()}'}\n  sh>: echo $at",
    ],
)
def test_an_expression_is_evaluated_at_its_time(bench, taken, last):
    running = run(bench, f'+a:\n  sh>: "true"\n+b:\n  sh>: sleep 0.2; date +%s%3N\n+c:\n  {last}')
    assert taken == ["+b"]
    ended, evaluated = (int(text) for text in running.diary.printed[1:])
    assert evaluated >= ended


def test_a_time_limit_counts_from_the_start(bench, taken):
    text = '+a:\n  sh>: "true"\n+b:\n  sh>: sleep 1\n+c:\n  sh>: "true"\n  _timeout: 0.8'
    running = run(bench, text)
    assert taken == ["+b", "+c"]
    assert running.diary.moves[-1] == ("+wf", "success")


def test_a_secret_is_asked_for_at_its_time(bench, taken):
    running = bench()
    asked: list[float] = []
    running.worker.secret_value = lambda _: str(bool(asked.append(time.monotonic())) or "s3cret")
    running.add('+a:\n  sh>: "true"\n+b:\n  sh>: sleep 0.1\n+c:\n  sh>: test -n "${secret:key}"')
    running.run()
    assert taken == ["+b"]
    assert len(asked) == 1


def test_a_task_that_waits_for_others_as_well_is_not_foreseen(bench, taken):
    text = '_parallel: true\n+a:\n  sh>: "true"\n+b:\n  sh>: "true"\n+c:\n  sh>: "true"\n  _needs: [+a, +b]\n'
    run(bench, text)
    assert taken == []


@pytest.mark.parametrize("tries", [2, 3, 4])
def test_a_task_is_foreseen_anew_at_each_try_of_the_one_before_it(bench, taken, tries):
    failing = f"case $DAGRUN_TRY in *.{tries}) ;; *) exit 1;; esac"
    text = '+y: {sh>: "true"}\n+z: {sh>: "true"}\n+a:\n  _retry: {limit: 5, interval: 0}\n  sh>: '
    running = run(bench, f"{text}{failing}\n+b: {{sh>: pwd; ls}}")
    assert taken == ["+z", "+a", "+b"]
    assert running.diary.moves[-1] == ("+wf", "success")
    assert running.diary.printed[-1] == f"{running.workspaces.work}/1.4.1/project\n"


def test_what_was_foreseen_behind_a_failure_is_gone_at_once(bench):
    running = bench()
    running.add(
        "+y: {sh>: 'true'}\n+z: {sh>: 'true'}\n+a:\n  _retry: {limit: 1, interval: 60}\n  sh>: exit 1\n+b: {sh>: 'true'}"
    )
    running.run(lambda: ("+wf+a", "waiting") in running.diary.moves)
    assert not running.worker.foresight.foreseen
    pooled = [os.path.basename(one.top) for one in running.workspaces.pool.ready]
    assert sorted(pooled) == sorted(working(running.world.state_dir)) and pooled
    running.worker.end_all()


def test_a_problem_before_its_time_leaves_nothing_behind(bench, taken, monkeypatch):
    start_ahead = Launcher.start_ahead
    early: list[str] = []

    def fails(self, prepared, command, log):
        start_ahead(self, prepared, command, log)
        early.append(prepared.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Launcher, "start_ahead", fails)
    running = run(bench, "".join(f'+t{number}:\n  sh>: "true"\n' for number in range(6)))
    assert len(early) >= 3 and taken == ["+t1", "+t2"]  # for those there was no directory yet to be laid out in
    assert running.diary.moves[-1] == ("+wf", "success")


SLOW = "".join(f'+t{number}: {{sh>: "true"}}\n' for number in range(5)) + "+slow: {sh>: exec sleep 30}\n"
BEHIND = "".join(f"+b{number}:\n  sh>: echo ran >> ${{out}}\n" for number in range(3))


def await_shells(running: Bench) -> tuple[Attempt, str]:
    """`+slow` is at work, and two shells wait behind it; the attempt, and the file that they would write to."""
    out = f"{running.world.state_dir}/out"
    attempt = running.add(f"_export: {{out: {out}}}\n{SLOW}{BEHIND}")
    running.run(lambda: ("+wf+slow", "running") in running.diary.moves and not running.worker.reports)
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(running.alive()) != 3:  # a process that becomes its program has no environment for a moment
        assert time.monotonic() < deadline
    return attempt, out


def test_the_shells_of_the_next_tasks_wait_and_are_gone_when_the_attempt_is_canceled(bench):
    running = bench()
    attempt, out = await_shells(running)
    take_turn(running.world.open_another(), running.world.same(attempt.live), [Canceled("elsewhere")])
    running.run()
    assert not running.alive() and not os.path.exists(out)
    assert not running.worker.foresight.foreseen
    assert working(running.world.state_dir) == []


def test_no_shell_waits_when_the_worker_cannot_go_on(bench, monkeypatch):
    running = bench()
    _, out = await_shells(running)
    monkeypatch.setattr(running.worker, "collect", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        running.worker.poll()
    assert not running.alive() and not os.path.exists(out)


def test_nothing_is_foreseen_behind_a_task_that_follows_one_which_stored_something(bench, taken):
    stores = '{sh>: \'echo "{\\"x\\": 1}" > $DAGRUN_OUT\'}'
    run(
        bench,
        "".join(f"+s{number}: {stores}\n" for number in range(4))
        + '+a: {sh>: "true"}\n+b: {sh>: "true"}\n+c: {sh>: "true"}',
    )
    assert taken == ["+c"]


KINDS = {
    "plain": 'sh>: "true"',
    "reads": "sh>: echo x=${x} y=$y",
    "stores": 'sh>: \'echo "{\\"x\\": $me}" > $DAGRUN_OUT\'',
    "exports": "_export: {y: 'y${x}'}\n  sh>: echo $y",
    "writes": "sh>: ls; echo new > left.txt",
    "group": "+in:\n    sh>: echo in ${x}\n  +behind:\n    sh>: ls",
    "fails": "sh>: echo once; exit 3\n  _retry: {limit: 1, interval: 0}\n  _error: {echo>: failed}",
    "recovers": "sh>: case $DAGRUN_TRY in *.1) exit 1;; esac; ls\n  _retry: {limit: 1, interval: 0}",
    "loops": "loop>: 2\n  _do: {+x: {sh>: 'echo ${i}'}, +y: {sh>: 'echo ${i} ${x}'}}",
    "echoes": "echo>: ${x}",
    "evaluates": "sh>: echo ${x + 1}",
    "kept": "_workspace: shared\n  +one: {sh>: echo 1 > f}\n  +two: {sh>: cat f}",
    "limited": "sh>: echo limited\n  _timeout: 10s",
}


@settings(deadline=None, max_examples=examples(25))
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=6))
def test_any_chain_ends_the_same_with_and_without_foresight(tmp_path_factory, kinds):
    text = "_export: {x: 1, y: 2}\n" + "".join(
        f"+t{number}:\n  {KINDS[kind].replace('$me', str(number))}\n" for number, kind in enumerate(kinds)
    )
    with pytest.MonkeyPatch.context() as patch:
        foreseen = told(tmp_path_factory.mktemp("with"), text)
        patch.setattr(Foresight, "look", lambda _: None)
        assert told(tmp_path_factory.mktemp("without"), text) == foreseen


def told(directory: Path, text: str) -> object:
    """All that the run of a workflow leaves, but times and places."""
    with world_in(directory) as world:
        running = Bench(world, str(directory), slots=8)
        attempt = running.add(text)
        running.run()
        assert working(world.state_dir) == []
        with world.store.reading() as tx:
            tasks = [
                (one.name, one.state, one.tries, one.stored, one.exported, one.error)
                for one in tx.load_tasks(attempt.id)
            ]
            moves = [(one.seq, one.idx, one.before, one.after) for one in tx.load_moves(attempt.id)]
        return running.diary.printed, running.diary.warnings, tasks, moves, running.outcomes(attempt)
