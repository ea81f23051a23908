"""An attempt is there as a whole or not at all, and its session and name are its own."""

from __future__ import annotations

import json
import os
import re
import threading

import pytest

from dagrun.engine.submit import new_uuid, submit
from dagrun.errors import Conflict, LimitExceeded

TWO = "+a:\n  echo>: x\n+group:\n  +b:\n    echo>: x\n"


def everything(world) -> tuple[int, list[str]]:
    """The number of attempts, and the names of all tasks."""
    with world.store.reading() as tx:
        found = tx.list_attempts(limit=100)
        return len(found), [row.name for one in found for row in tx.load_tasks(one.attempt.id)]


def test_session_attempt_tasks_and_first_moves_are_one_transaction(world):
    row, live = world.submit(TWO, params={"p": 1}, options={"workspace": "project"})
    assert world.row(row.id) == row and (row.number, row.state, row.version) == (1, "running", 1)
    assert json.loads(row.params) == {"p": 1} and json.loads(row.options) == {"workspace": "project"}
    assert world.states(row.id) == {
        "+wf": "planned",
        "+wf+a": "ready",
        "+wf+group": "blocked",
        "+wf+group+b": "blocked",
    }
    with world.store.reading() as tx:
        assert [(move.idx, move.after) for move in tx.load_moves(row.id)] == [(0, "planned"), (1, "ready")]
    assert live.tree.version == row.version


def test_what_fails_later_in_the_transaction_leaves_no_trace(world):
    wanted = world.submission(TWO)
    with pytest.raises(ZeroDivisionError), world.store.transaction() as tx:
        submit(tx, wanted)
        raise ZeroDivisionError
    assert everything(world) == (0, [])
    with world.store.reading() as tx:
        assert tx.find_session(wanted.project_id, "wf", 0) is None


def test_a_session_has_one_attempt_of_a_name(world):
    first, _ = world.submit(TWO)
    with pytest.raises(Conflict):
        world.submit(TWO)
    assert everything(world)[0] == 1
    second, _ = world.submit(TWO, retry_name="again")
    assert (second.session_id, second.number) == (first.session_id, 2)
    with pytest.raises(Conflict):
        world.submit(TWO, retry_name="again")


def test_another_time_is_another_session(world):
    first, _ = world.submit(TWO)
    wanted = world.submission(TWO)._replace(session_time=3600 * 1_000_000)
    with world.store.transaction() as tx:
        second, _ = submit(tx, wanted)
    assert second.session_id != first.session_id and second.number == 1
    with world.store.reading() as tx:
        assert tx.get_session(first.session_id).uuid != tx.get_session(second.session_id).uuid


def test_of_many_at_once_one_gets_the_session(world):
    wanted, results = world.submission(TWO), []

    def one() -> None:
        try:
            with world.open_another().transaction() as tx:
                results.append(submit(tx, wanted)[0].number)
        except Conflict:
            results.append("conflict")

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, results)) == ["1"] + ["conflict"] * 7
    assert everything(world) == (1, ["+wf", "+wf+a", "+wf+group", "+wf+group+b"])


def test_too_many_tasks_are_refused_before_anything_is_written(world):
    with pytest.raises(LimitExceeded, match="Limit: 3"):
        world.submit(TWO, options={"task_limit": 3})
    assert everything(world) == (0, [])
    world.submit(TWO, options={"task_limit": 4})


def test_its_owner_is_this_process_in_its_directory(world):
    row, _ = world.submit(TWO)
    owner = {"host": os.uname().nodename, "pid": os.getpid(), "state_dir": world.state_dir}
    assert json.loads(row.owner) == owner


def test_uuids_are_random_ones_of_version_4():
    found = {new_uuid() for _ in range(1000)}
    assert len(found) == 1000
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in found
    )
