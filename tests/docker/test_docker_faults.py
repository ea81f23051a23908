"""`kill -9` of dagrun while its tasks run in containers: each effect once, and no container left."""

from __future__ import annotations

import os
import random

import pytest

from tests import containers
from tests.broken_operators import write_settings
from tests.docker.yard import Yard
from tests.faults.test_kill9 import survives


@pytest.mark.parametrize("seed", range(3))
def test_whenever_it_is_killed_no_container_is_left_and_nothing_is_repeated(yard: Yard, seed: int):
    survives(yard, 1000 + seed)
    assert yard.is_clean()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(30))
def test_whenever_it_is_killed_many_times_over_with_containers(yard: Yard, seed: int):
    survives(yard, 2000 + seed)
    assert yard.is_clean()


def test_a_dead_run_leaves_a_container_which_the_next_one_ends_first(yard: Yard):
    yard.tasks('+a:\n  do: begin a; mkdir "$PLACE/first" && hang; finish')
    process = yard.run()
    yard.told("hangs", "a")
    yard.kill9(process)
    assert len(yard.containers()) == 1
    printed = yard.call("retry", "1")
    assert "1 of its processes were still there" in printed
    assert [len(yard.notes("start", "a")), yard.notes("overlap")] == [2, []]
    assert yard.is_clean()


def test_a_daemon_that_is_killed_finds_its_containers_again(yard: Yard):
    """Several times within the same command: its output is whole, and it has run once."""
    yard.workflow(
        "w",
        "{daily>: 00:00:00}",
        "do: begin a; for i in $(seq 40); do echo line-$i; sleep 0.1; done; finish",
        more=yard.docker,
    )
    yard.schedule()
    yard.call("backfill", "w", "--from", "2026-01-01", "--count", "1")
    yard.told("start", "a")
    chance = random.Random(5)
    for _ in range(3):
        yard.die()
        yard.schedule()
        yard.until(lambda: bool(yard.notes("end", "a")) or chance.random() < 0.02)
    (seen,) = yard.ended()
    assert seen.attempt.state == "success"
    assert [len(yard.notes("start", "a")), len(yard.notes("end", "a"))] == [1, 1]
    (log,) = (yard.state / "logs" / str(seen.attempt.id)).glob("*+t1*")
    assert log.read_text().split() == [f"line-{i}" for i in range(1, 41)]
    yard.until(yard.is_clean)


def test_what_ended_without_a_daemon_counts(yard: Yard):
    yard.workflow(
        "w",
        "{daily>: 00:00:00}",
        "do: begin a; finish; until [ -e $PLACE/go ]; do sleep 0.02; done; exit 7",
        more=yard.docker,
    )
    yard.schedule()
    yard.call("backfill", "w", "--from", "2026-01-01", "--count", "1")
    yard.told("end", "a")
    yard.die()
    (yard.place / "go").touch()
    (name,) = yard.containers()
    containers.docker("wait", name)
    yard.schedule()
    (seen,) = yard.ended()
    assert yard.tries(seen.attempt.id) == [("failed", 7)]
    assert len(yard.notes("start", "a")) == 1
    yard.until(yard.is_clean)


def test_a_container_that_somebody_removed_is_a_failure_of_the_platform(yard: Yard):
    yard.tasks('+a:\n  do: begin a; mkdir "$PLACE/first" && hang; finish')
    process = yard.run()
    yard.told("hangs", "a")
    (name,) = yard.containers()
    containers.docker("rm", "-f", name)
    yard.end(process, 0)
    assert len(yard.notes("start", "a")) == 2
    assert yard.is_clean()


def test_a_container_that_somebody_killed_failed(yard: Yard):
    yard.tasks("+a:\n  do: begin a; hang")
    process = yard.run()
    yard.told("hangs", "a")
    (name,) = yard.containers()
    containers.docker("kill", name)
    yard.end(process, 1)
    assert "137" in yard.rows()["+wf+a"]["error"]["message"]
    assert yard.is_clean()


def test_a_second_ctrl_c_leaves_no_grace(yard: Yard):
    yard.tasks("+a:\n  do: begin a; stubborn\n  _kill_grace: 1h")
    process = yard.run()
    yard.told("hangs", "a")
    process.terminate()
    yard.until(lambda: "stopping" in yard.states().values())
    process.terminate()
    yard.end(process, 6)
    assert os.listdir(yard.state / "containers") == []
    assert yard.is_clean()


BOX = """
from dagrun.plugins.operator import Command, Operator, Succeeded

class Box(Operator):
    def run(self, task):
        script = 'echo "it is $TOKEN"; . "$PLACE/lib.sh"; gate a; echo "still $TOKEN"'
        token = task.secret("token")
        return Command(["/bin/sh", "-c", script], environment={"TOKEN": token}, secrets=[token])

    def ended(self, task, end):
        assert end.exit_code == 0
        return Succeeded(stored={"boxed": True})
"""


@pytest.mark.parametrize("remote", [False, True])
def test_what_an_operator_of_the_project_asked_for_is_found_again_with_its_secrets(yard: Yard, remote: bool):
    write_settings(yard.place / "home")
    (yard.directory / "operators").mkdir()
    (yard.directory / "operators" / "box.py").write_text(BOX)
    yard.call("secrets", "--local", "--set", "token=s3cr3t-value", code=0)
    yard.host = containers.remote() if remote else yard.host
    yard.workflow("w", "{seconds_interval>: 1, overlap: skip}", "box>: x\n_secrets: {token: true}", more=yard.docker)
    yard.schedule()
    yard.told("start", "a")
    yard.die()
    yard.schedule()
    (yard.place / "a.open").touch()
    seen = yard.ended()[0]
    assert seen.attempt.state == "success"
    (log,) = (yard.state / "logs" / str(seen.attempt.id)).glob("*+t1*")
    assert log.read_text() == "it is ***\nstill ***\n"
