"""`dagrun.plugins.testing.run`: the operator as dagrun calls it."""

from __future__ import annotations

import os

import pytest

from dagrun.plugins.operator import Again, Command, Ended, Operator, Succeeded, TaskContext, TaskFailed, TryFile
from dagrun.plugins.testing import run


class Counts(Operator):
    """Count the words of a file with a program."""

    def run(self, task: TaskContext) -> Command:
        task.print(f"counting in {os.getpid()}")
        task.warn("careful")
        script = f"wc -w < {task.params.text('_command')}; echo $KEY; echo 1 > $OUT"
        return Command(["sh", TryFile("s")], {"OUT": TryFile("out"), "KEY": task.secret("key")}, {"s": script})

    def ended(self, task: TaskContext, end: Ended) -> Succeeded:
        with open(os.path.join(end.directory, "out")) as file:
            return Succeeded(stored={"code": end.exit_code, "out": file.read()})


class Waits(Operator):
    def run(self, task: TaskContext) -> Again:
        return Again(1, {"n": task.memo.get("n", 0) + 1})


class Fails(Operator):
    def run(self, task: TaskContext) -> Command:
        return Command(["sh", "-c", "echo broken; exit 3"])


def test_a_command_runs_between_two_calls_in_processes_of_their_own():
    ran = run(Counts, {"_command": "a.txt"}, workdir="sub", files={"sub/a.txt": "one two"}, secrets={"key": "K"})
    assert ran.result == Succeeded(stored={"code": 0, "out": "1\n"})
    first, *rest = ran.output.splitlines()
    assert first.startswith("counting in ") and first != f"counting in {os.getpid()}"
    assert [line.strip() for line in rest] == ["2", "K"]
    assert ran.warnings == ["careful"]


def test_a_wait_is_its_result():
    assert run(Waits, memo={"n": 4}).result == Again(1, {"n": 5})


def test_a_failure_is_raised_with_the_output():
    with pytest.raises(TaskFailed, match="Command failed with code 3") as caught:
        run(Fails)
    assert caught.value.__notes__ == ["broken\n"]


def test_a_class_that_no_other_process_can_import_is_told():
    class Inner(Operator):
        pass

    with pytest.raises(
        ValueError, match="Inner can't be imported by another process; define it at the top of a module"
    ):
        run(Inner)
