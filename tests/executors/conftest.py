from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator

import pytest

from dagrun.executors import children, marks
from dagrun.executors.process import ProcessExecutor
from dagrun.plugins.executor import Exit, Launch

LIMIT_SECONDS = 30


class Censor:
    """A filter that is easy to follow: x becomes *, the last byte is kept back."""

    def __init__(self, secrets) -> None:
        self.kept = b""

    def feed(self, chunk: bytes) -> bytes:
        data = (self.kept + chunk).replace(b"x", b"*")
        self.kept = data[-1:]
        return data[:-1]

    def flush(self) -> bytes:
        return self.kept


class Bench:
    """Starts shell scripts and drives the executor as the engine's loop does."""

    def __init__(self, executor: ProcessExecutor, directory: str) -> None:
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


@pytest.fixture(params=["pidfd", "thread"])
def bench(request, tmp_path, monkeypatch) -> Iterator[Bench]:
    if request.param == "thread":
        monkeypatch.setattr(children, "PidfdChild", children.WaitedChild)
    bench = Bench(ProcessExecutor(Censor), str(tmp_path))
    yield bench
    marks.sweep(bench.mark)
