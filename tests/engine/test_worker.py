"""The worker with real processes and a real store: no more at once than there are slots, and nothing outlives it."""

from __future__ import annotations

import os
import sqlite3

import pytest

from dagrun.core.events import Canceled
from dagrun.engine import worker as engine
from dagrun.engine.attempt import open_attempt
from dagrun.engine.rows import decode
from dagrun.engine.submit import submit
from dagrun.engine.turn import take_turn, take_turns
from dagrun.engine.worker import Report
from dagrun.errors import LimitExceeded, UserError
from dagrun.plugins.operator import Command
from dagrun.project.archive import Snapshot
from dagrun_operators.sh import Sh

HANG = "sleep 60"
STUBBORN = f"+a:\n  sh>: trap '' TERM; {HANG}\n  _kill_grace: 1h"


def crowd(number: int, script: str) -> str:
    return "_parallel: true\n" + "".join(f"+t{i}:\n  sh>: {script}\n" for i in range(number))


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_than_its_slots_are_at_work_and_all_of_them_are_used(bench, slots):
    running = bench(slots)
    most: list[int] = []
    running.add(crowd(7, '"true"'))
    running.run(lambda: bool(most.append(len(running.worker.tries))))
    assert max(most) == slots
    assert running.diary.moves.count(("+wf", "success")) == 1


def test_slots_are_shared_by_all_attempts(bench, world):
    running = bench(2)
    running.add(crowd(3, "sleep 60"))
    wanted = world.submission(crowd(3, "sleep 60"))._replace(session_time=1_000_000)
    with world.store.transaction() as tx:
        row, live = submit(tx, wanted)
        running.worker.add(open_attempt(tx, live, row, Snapshot({}, world.state_dir), {}, ""))
    running.run(lambda: True)
    assert len(running.worker.tries) == 2


def test_the_end_of_a_task_and_the_start_of_the_next_one_are_one_turn(bench):
    """Also when tasks wait for a slot: each turn is a transaction."""
    running = bench(1)
    attempt = running.add(crowd(7, '"true"'))
    running.run()
    assert attempt.row.version == 1 + 1 + 7  # its tasks were made, the first one was claimed, and seven ended


def test_who_ends_while_it_waits_for_a_slot_keeps_nobody_from_one(bench, world):
    running = bench(1)
    first = running.add(crowd(3, '"true"'))
    wanted = world.submission(crowd(1, '"true"'))._replace(session_time=1_000_000)
    with world.store.transaction() as tx:
        row, live = submit(tx, wanted)
        waiting = open_attempt(tx, live, row, Snapshot({}, world.state_dir), {}, "")
    running.worker.add(waiting)
    running.run(lambda: waiting.id in running.worker.hungry.ids)
    running.worker.reports.append(Report(waiting, Canceled("no")))
    running.run()
    assert [first.row.state, waiting.row.state] == ["success", "canceled"]


def test_each_try_is_recorded_with_how_it_ended(bench):
    running = bench()
    attempt = running.add("_parallel: true\n+good:\n  sh>: echo hello\n+bad:\n  sh>: exit 3\n+said:\n  echo>: word")
    running.run()
    ends = {(idx, number): (outcome, code) for idx, number, outcome, code in running.outcomes(attempt)}
    assert (ends[1, 1], ends[2, 1], ends[3, 1]) == (("success", 0), ("failed", 3), ("success", None))
    assert "hello\n" in running.diary.printed and "word\n" in running.diary.printed


def test_half_of_a_pair_of_utf_16_is_stored_as_it_is(bench, world):
    running = bench()
    attempt = running.add('+a:\n  sh>: |\n    printf \'{"x":"\\\\ud800 é"}\' > $DAGRUN_OUT\n+b:\n  echo>: ${x.length}')
    running.run()
    assert running.diary.printed == ["", "3\n"]
    with world.store.reading() as tx:
        row = tx.load_tasks(attempt.id)[1]
    assert row.stored is not None and decode(row.stored) == {"x": "\ud800 é"}


def test_a_retried_task_has_a_record_and_a_log_for_each_try(bench, world):
    running = bench()
    attempt = running.add("+a:\n  sh>: echo try; exit 5\n  _retry: {limit: 2, interval: 0}")
    running.run()
    assert [end[1:] for end in running.outcomes(attempt) if end[0] == 1] == [
        (1, "failed", 5), (2, "failed", 5), (3, "failed", 5),
    ]  # fmt: skip
    logs = [name for name in os.listdir(f"{world.state_dir}/logs/{attempt.id}") if "+a" in name]
    assert len(logs) == 3


def test_a_cancel_from_another_process_is_noticed(bench, world):
    running = bench()
    attempt = running.add(crowd(2, "sleep 60"))
    running.run(lambda: len(running.worker.tries) == 2)
    take_turn(world.open_another(), world.same(attempt.live), [Canceled("elsewhere")])
    running.run()
    assert running.alive() == []
    assert [end[2] for end in running.outcomes(attempt)] == ["killed", "killed"]
    assert set(world.states(attempt.id).values()) == {"canceled"}


@pytest.mark.parametrize("politely_first", [True, False])
def test_in_a_hurry_there_is_no_grace(bench, world, politely_first):
    running = bench()
    attempt = running.add(STUBBORN)
    running.run(lambda: bool(running.alive()))
    running.worker.reports.append(Report(attempt, Canceled("enough")))
    if politely_first:
        running.run(lambda: True)
        assert running.worker.tries and world.states(attempt.id)["+wf+a"] == "stopping"
    running.worker.hurry()
    running.run()
    assert running.alive() == []
    assert [end[2] for end in running.outcomes(attempt)] == ["killed"]


def test_workspaces_are_gone_when_the_attempt_is_done(bench):
    running = bench()
    running.add(crowd(3, "echo x > new.txt"))
    running.run()
    assert os.listdir(running.workspaces.work) == []


@pytest.mark.parametrize("problem", [UserError("the store is gone"), sqlite3.OperationalError("a bug")])
def test_when_it_can_not_go_on_nothing_that_it_started_is_alive(bench, monkeypatch, problem):
    running = bench()
    running.add(
        f"_parallel: true\n+quick:\n  sh>: \"true\"\n+a:\n  sh>: trap '' TERM; {HANG}\n  _kill_grace: 0.2\n+b:\n  sh>: {HANG}"
    )
    running.run(lambda: len(running.alive()) >= 2)

    def fails(*_, **__):
        raise problem

    monkeypatch.setattr(engine, "take_turns", fails)
    with pytest.raises(type(problem), match=str(problem)):
        running.run()
    assert running.alive() == []


def test_a_full_disk_is_tried_again_when_what_the_tries_left_is_gone(bench, monkeypatch, world):
    running = bench()
    attempt = running.add("+a:\n  sh>: echo big > big.txt; exit 1")
    seen: list[list[str]] = []

    def full_while_the_file_is_there(store, asked, **more):
        files = [name for _, _, names in os.walk(running.workspaces.work) for name in names if name == "big.txt"]
        seen.append(files)
        if files and asked[0].events:
            asked[0].live.tree = None
            raise LimitExceeded("the disk is full")
        return take_turns(store, asked, **more)

    monkeypatch.setattr(engine, "take_turns", full_while_the_file_is_there)
    running.run()
    assert ["big.txt"] in seen and seen[seen.index(["big.txt"]) + 1] == []
    assert world.states(attempt.id)["+wf+a"] == "error"
    assert [end for end in running.outcomes(attempt) if end[0] == 1] == [(1, 1, "failed", 1)]
    assert ("+wf+a", "error") in running.diary.moves


def test_a_disk_that_stays_full_is_not_tried_for_ever(bench, monkeypatch):
    running = bench()
    running.add('+a:\n  sh>: "true"')
    calls: list[int] = []

    def full(*_, **__):
        calls.append(1)
        raise LimitExceeded("the disk is full")

    monkeypatch.setattr(engine, "take_turns", full)
    with pytest.raises(LimitExceeded):
        running.run()
    assert len(calls) == 2


def test_a_second_command_that_cannot_be_started_has_not_the_end_of_the_first(bench, monkeypatch):
    monkeypatch.setattr(Sh, "ended", lambda *_: Command(["no-such-program"]))
    running = bench()
    attempt = running.add('+a: {sh>: "true"}')
    running.run()
    assert running.outcomes(attempt)[0] == (1, 1, "failed", None)
