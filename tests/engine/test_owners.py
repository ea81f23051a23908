"""Who runs an attempt is told by a lock that any sort of death lets go of."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count

import pytest

from dagrun.core.events import Finished, Success
from dagrun.engine.owners import Ownership, describe, end_dead, is_alive, lock_path
from dagrun.engine.turn import take_turn
from dagrun.errors import Conflict

CHAIN = "+a:\n  echo>: x\n+b:\n  echo>: x\n+c:\n  echo>: x\n"
HOLD = """
import sys
from dagrun.engine.owners import Ownership
held = Ownership(sys.argv[1], int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def row(world):
    return world.submit(CHAIN)[0]


@pytest.fixture
def owner(world, row) -> Iterator[subprocess.Popen]:
    """Another process that owns the attempt."""
    command = [sys.executable, "-c", HOLD, world.state_dir, str(row.id)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_nobody_runs_an_attempt_that_nobody_has_locked(world, row):
    assert not is_alive(world.state_dir, row)


def test_an_owner_is_alive_until_it_lets_go(world, row):
    held = Ownership(world.state_dir, row.id)
    assert is_alive(world.state_dir, row)
    held.release()
    assert not is_alive(world.state_dir, row)
    assert os.listdir(os.path.dirname(lock_path(world.state_dir, row.id))) == []


def test_there_is_one_owner(world, row):
    held = Ownership(world.state_dir, row.id)
    with pytest.raises(Conflict, match=f"attempt {row.id} is run by another process"):
        Ownership(world.state_dir, row.id)
    held.release()
    Ownership(world.state_dir, row.id).release()


def test_who_opens_the_lock_before_another_lets_go_of_it_has_the_one_that_is_seen(world, row, monkeypatch):
    first = [Ownership(world.state_dir, row.id)]

    def late(fd: int, how: int, flock=fcntl.flock) -> None:
        if first:
            first.pop().release()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    held = Ownership(world.state_dir, row.id)
    assert is_alive(world.state_dir, row)
    held.release()
    assert os.listdir(os.path.dirname(lock_path(world.state_dir, row.id))) == []


def test_attempts_are_locked_one_by_one(world, row):
    held = Ownership(world.state_dir, row.id)
    Ownership(world.state_dir, row.id + 1).release()
    held.release()


def test_death_lets_go_of_the_lock(world, row, owner):
    assert is_alive(world.state_dir, row)
    owner.kill()
    owner.wait()
    assert not is_alive(world.state_dir, row)
    Ownership(world.state_dir, row.id).release()


def test_no_child_inherits_the_lock(world, row):
    held = Ownership(world.state_dir, row.id)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    try:
        os.close(held.fd)
        assert not is_alive(world.state_dir, row)
    finally:
        child.communicate()


def test_who_looks_at_the_lock_of_a_dead_one_is_not_taken_for_its_owner(world, row):
    Ownership(world.state_dir, row.id).release()
    path = lock_path(world.state_dir, row.id)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_SH)  # as it is looked at
    assert not is_alive(world.state_dir, row)
    os.close(fd)


def test_nobody_here_can_tell_about_another_machine(world, row):
    assert is_alive(world.state_dir, row._replace(owner=json.dumps({"host": "elsewhere", "pid": 1})))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["its directory can't be seen", "its lock can't be opened"])
def test_nobody_here_can_tell_about_another_person(row, tmp_path, mode):
    with tempfile.TemporaryDirectory() as place:
        held = Ownership(place, row.id)
        os.chmod(place, mode)
        os.seteuid(65534)
        try:
            alive = is_alive(
                str(tmp_path), row._replace(owner=json.dumps({**json.loads(row.owner), "state_dir": place}))
            )
        finally:
            os.seteuid(0)
        held.release()
    assert alive


def test_the_lock_is_looked_for_where_the_owner_has_it(world, row, tmp_path):
    held = Ownership(world.state_dir, row.id)
    assert is_alive(str(tmp_path / "another"), row)
    held.release()
    assert not is_alive(str(tmp_path / "another"), row)


def test_a_project_that_was_moved_is_looked_at_where_it_is_now(world, row, tmp_path):
    Ownership(world.state_dir, row.id).release()
    os.rename(world.state_dir, tmp_path / "moved")
    held = Ownership(str(tmp_path / "moved"), row.id)
    assert is_alive(str(tmp_path / "moved"), row)
    held.release()


def test_people_are_told_process_and_machine(row):
    assert describe(row) == f"process {os.getpid()} on {os.uname().nodename}"


# -- ending what a dead one left


class Broom:
    """Notes what is swept, and what the store says at that moment."""

    def __init__(self, world, attempt_id: int) -> None:
        self.world, self.attempt_id = world, attempt_id
        self.swept: list[str] = []
        self.state_when_swept = ""

    def sweep(self, prefix: str) -> list[int]:
        self.swept.append(prefix)
        self.state_when_swept = self.world.row(self.attempt_id).state
        return [11, 12]


def directories(world) -> list[str]:
    return os.listdir(os.path.join(world.state_dir, "work"))


def end(world, row, live, broom: Broom) -> int | None:
    return end_dead(world.store, world.state_dir, row, live.workflow, 1000, broom.sweep)


@pytest.fixture
def at_work(world):
    """An attempt with one task done and one running."""
    row, live = world.submit(CHAIN)
    numbers = count()
    give = lambda: f"lease-{next(numbers)}"  # noqa: E731
    first = take_turn(world.store, live, claim=1, lease=give)
    take_turn(world.store, live, [Finished(1, first.tree[1].lease, Success())], claim=1, lease=give)
    return row, live


def test_first_the_processes_then_the_rows(world, at_work):
    row, live = at_work
    for attempt in (row.id, row.id + 1):
        os.makedirs(f"{world.state_dir}/work/{attempt}.1.1/project")
    broom = Broom(world, row.id)
    assert end(world, row, live, broom) == 2
    assert broom.swept == [f"{world.store.id}/{row.id}."]
    assert broom.state_when_swept == "running"
    assert directories(world) == [f"{row.id + 1}.1.1"]
    states = world.states(row.id)
    assert states["+wf+a"] == "success" and states["+wf+b"] == "error"
    assert world.row(row.id).finished_at is not None
    with world.store.reading() as tx:
        (lost,) = [task for task in tx.load_tasks(row.id) if task.state == "error"]
    assert json.loads(lost.error)["kind"] == "lost" and lost.lease is None


def test_one_that_lives_is_left_alone(world, at_work):
    row, live = at_work
    held = Ownership(world.state_dir, row.id)
    os.makedirs(f"{world.state_dir}/work/1.1.1")
    broom = Broom(world, row.id)
    assert end(world, row, live, broom) is None
    assert broom.swept == [] and directories(world) == ["1.1.1"]
    assert world.row(row.id).finished_at is None
    held.release()


def test_it_may_be_ended_twice(world, at_work):
    row, live = at_work
    end(world, row, live, Broom(world, row.id))
    before = world.row(row.id)
    broom = Broom(world, row.id)
    assert end(world, row, live, broom) is None, "somebody was faster"
    assert broom.swept == []
    assert world.row(row.id) == before


def test_the_lock_is_free_again_when_the_sweep_fails(world, at_work):
    row, live = at_work

    def fails(prefix: str) -> list[int]:
        raise OSError("no /proc")

    with pytest.raises(OSError, match="no /proc"):
        end_dead(world.store, world.state_dir, row, live.workflow, 1000, fails)
    Ownership(world.state_dir, row.id).release()
    assert world.row(row.id).finished_at is None
