from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator

import pytest

from dagrun.executors import children, marks
from dagrun.executors.kept import KeptExecutor
from dagrun.executors.process import ProcessExecutor
from dagrun.plugins.executor import Exit, Launch
from tests.executors.censor import Censor

LIMIT_SECONDS = 30
IDLE_SECONDS = 0.2  # so soon a keeper ends after its test
CENSOR = "tests.executors.censor:Censor"


class Bench:
    """Starts shell scripts and drives the executor as the engine's loop does."""

    def __init__(self, executor: ProcessExecutor | KeptExecutor, directory: str) -> None:
        self.executor = executor
        self.directory = directory
        self.mark = f"{directory}/7."
        self.count = 0

    def launch(self, script: str | list[str], **more) -> Launch:
        self.count += 1
        argv = script if isinstance(script, list) else ["/bin/sh", "-c", script]
        defaults = {
            "name": f"{self.mark}1.{self.count}",
            "environment": {"PATH": os.environ["PATH"]},
            "directory": self.directory,
            "log": f"{self.directory}/{self.count}.log",
        }
        return Launch(**{**defaults, "argv": argv, **more})

    def start(self, script: str | list[str], **more):
        return self.executor.start(self.launch(script, **more))

    def end(self, handle, after_each_turn: Callable[[], None] = lambda: None) -> Exit:
        deadline = time.monotonic() + LIMIT_SECONDS
        while (end := self.executor.poll(handle)) is None:
            assert time.monotonic() < deadline, "it does not end"
            delay = self.executor.tick(time.monotonic())
            fd = self.executor.fileno(handle)
            select.select([fd], [], [], LIMIT_SECONDS if delay is None else delay)
            after_each_turn()
        return end

    def run(self, script: str | list[str], **more) -> Exit:
        return self.end(self.start(script, **more))

    def log(self) -> str:
        with open(f"{self.directory}/{self.count}.log", encoding="utf-8") as log:
            return log.read()

    def await_line(self, text: str) -> None:
        """The newest try has printed this line."""
        await_true(lambda: text in self.log().splitlines())

    def alive(self) -> list[int]:
        return marks.marked(lambda mark: mark.startswith(self.mark))


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.fixture(params=["pidfd", "thread", "keeper"])
def bench(request, tmp_path, monkeypatch) -> Iterator[Bench]:
    """Every executor of this machine's processes."""
    if request.param == "keeper":
        yield from kept_bench(str(tmp_path))
    else:
        yield from own_bench(request, tmp_path, monkeypatch)


@pytest.fixture(params=["pidfd", "thread"])
def own(request, tmp_path, monkeypatch) -> Iterator[Bench]:
    """The executor whose processes are our own children."""
    yield from own_bench(request, tmp_path, monkeypatch)


@pytest.fixture
def kept(tmp_path) -> Iterator[Bench]:
    """The executor whose processes outlive us."""
    yield from kept_bench(str(tmp_path))


@pytest.fixture
def state(kept) -> str:
    """The directory of its keeper."""
    return f"{kept.directory}/state"


def own_bench(request, tmp_path, monkeypatch) -> Iterator[Bench]:
    if request.param == "thread":
        monkeypatch.setattr(children, "PidfdChild", children.WaitedChild)
    bench = Bench(ProcessExecutor(Censor), str(tmp_path))
    yield bench
    marks.sweep(bench.mark)


def kept_bench(directory: str) -> Iterator[Bench]:
    executor = KeptExecutor(f"{directory}/state", CENSOR, idle_seconds=IDLE_SECONDS)
    bench = Bench(executor, directory)
    yield bench
    executor.close()
    marks.sweep(bench.mark)
