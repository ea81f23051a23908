"""An engine that goes away or falls silent while tasks are at work: nothing is lost, doubled or left running."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors.docker import container as life
from dagrun.executors.docker import engine as engines
from dagrun.executors.docker.executor import DockerExecutor
from dagrun.plugins.executor import Launch
from tests import containers
from tests.docker.wire import Wire
from tests.docker.yard import Yard

SAY = "for i in $(seq 1 2000); do echo {}-$i; done"
TALK = (
    f"+a:\n  do: begin a; {SAY.format('before')}; note said; until [ -e $PLACE/go ]; do sleep 0.02; done;"
    f" {SAY.format('after')}; printf end; finish"
)
WHOLE = "".join(f"{word}-{i}\n" for word in ("before", "after") for i in range(1, 2001)) + "end"


@pytest.fixture(params=["here", pytest.param("there", marks=pytest.mark.soak)])
def wire(request: pytest.FixtureRequest, yard: Yard) -> Iterator[Wire]:
    with Wire(yard.host if request.param == "here" else containers.remote(), yard.place) as wire:
        yard.host = wire.host
        yield wire


def log_of(yard: Yard) -> str:
    """Of all tries."""
    return "".join(log.read_text() for log in sorted((yard.state / "logs" / "1").glob("*+a*")))


def test_an_engine_that_is_away_for_a_while_finds_us_waiting(yard: Yard, wire: Wire):
    yard.tasks(TALK)
    process = yard.run()
    yard.told("said", "a")
    yard.until(lambda: "before-2000" in log_of(yard))
    wire.cut()
    (yard.place / "go").touch()
    yard.told("end", "a")
    (name,) = yard.containers()
    containers.docker("wait", name)
    wire.join()
    yard.end(process, 0)
    assert log_of(yard) == WHOLE
    assert yard.rows()["+wf+a"]["tries"] == 1
    assert yard.is_clean()


def test_a_connection_that_breaks_again_and_again_costs_no_output(yard: Yard, wire: Wire):
    yard.tasks(TALK)
    process = yard.run()
    yard.told("said", "a")
    yard.until(lambda: "before-2000" in log_of(yard))
    for _ in range(3):
        wire.cut()
        wire.join()
        wire.accepted.acquire(timeout=5)
    (yard.place / "go").touch()
    wire.cut()
    wire.join()
    yard.end(process, 0)
    assert log_of(yard) == WHOLE
    assert yard.rows()["+wf+a"]["tries"] == 1
    assert yard.is_clean()


def test_output_that_breaks_off_is_read_again(yard: Yard, wire: Wire):
    yard.tasks(f"+a:\n  do: {SAY.format('before')}; {SAY.format('after')}; printf end")
    wire.loses, wire.spares = b"follow=0", 30_000
    yard.end(yard.run(), 0)
    assert wire.loses is None
    assert log_of(yard) == WHOLE


def test_a_command_is_not_started_again_when_the_answer_to_its_start_is_lost(yard: Yard, wire: Wire):
    wire.loses = b"/start"
    yard.tasks("+a:\n  do: begin a; echo once; finish")
    yard.end(yard.run(), 0)
    assert wire.loses is None
    assert log_of(yard) == "once\n"
    assert [len(yard.notes("start", "a")), yard.rows()["+wf+a"]["tries"]] == [1, 1]
    assert yard.is_clean()


def test_an_engine_that_ends_its_containers_is_a_failure_of_the_platform(yard: Yard, wire: Wire):
    yard.tasks('+a:\n  do: begin a; mkdir "$PLACE/first" && echo hanging && hang; finish')
    process = yard.run()
    yard.told("hangs", "a")
    yard.until(lambda: "hanging" in log_of(yard))
    (name,) = yard.containers()
    wire.cut()
    containers.docker("kill", name)
    wire.join()
    printed = yard.end(process, 0)
    assert "the engine was stopped, or restarted, and ended the container with code 137" in printed
    assert yard.is_clean()


def test_what_could_not_be_removed_is_removed_later(yard: Yard):
    with Wire(yard.host, yard.place) as wire:
        yard.host = wire.host
        yard.workflow("w", "{daily>: 00:00:00}", "do: gate a", more=yard.docker)
        yard.schedule()
        yard.call("backfill", "w", "--from", "2026-01-01", "--count", "1")
        yard.told("start", "a")
        wire.silence()
        (yard.place / "a.open").touch()
        yard.told("end", "a")
        wire.cut()
        wire.join()
        yard.ended()
        yard.until(yard.is_clean)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_ANSWER_SECONDS", 1)
    monkeypatch.setattr(life, "_HOPELESS_SECONDS", 0.2)
    monkeypatch.setattr(life, "_CLIENT_SECONDS", 0.2)
    monkeypatch.setattr(life, "_LOOK_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
def test_what_was_told_to_end_does_not_wait_for_an_engine_that_is_silent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, when: str
):
    """It is over; what the engine makes of it later is removed."""
    with Wire(yard.host, yard.place) as wire:
        monkeypatch.setenv("DOCKER_HOST", wire.host)
        executor = DockerExecutor(str(yard.state), lambda _: pytest.fail("nothing is secret"), print)
        if when == "before it starts":
            assert executor._around.engine.takes_connections
            monkeypatch.setattr(executor._around.images, "ready", lambda *_: ("busybox", ""))
            wire.silence()
        handle = executor.start(launch(yard))
        container = executor._running[handle["try"]]
        log = yard.place / "log"
        if when == "while it runs":
            yard.until(lambda: log.exists() and "runs" in log.read_text())
            wire.silence()
        executor.stop(handle, 0.1, signal.SIGTERM)
        yard.until(container.over.is_set)
        with pytest.raises(TaskFailed, match="doesn't answer"):
            executor.poll(handle)
        executor.forget(handle)
        wire.join()
        yard.until(lambda: not yard.containers() and not list((yard.state / "containers").iterdir()))


def launch(yard: Yard) -> Launch:
    io = yard.state / "work" / "1.1.1" / "io"
    io.mkdir(parents=True)
    return Launch(
        name="store/1.1.1",
        argv=["sh", "-c", "echo runs; sleep 50"],
        environment={},
        directory=str(yard.directory),
        log=str(yard.place / "log"),
        image={"image": "busybox"},
        workspace=str(yard.directory),
        io=str(io),
    )
