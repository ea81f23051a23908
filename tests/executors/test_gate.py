"""Shells that are started before their time, and wait at a gate for their scripts."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors import gate
from dagrun.executors.gate import Gate, script_of
from dagrun.plugins.operator import TryFile
from tests.executors.conftest import Bench, await_true


class Held:
    """A script that waits in `<directory>/script`."""

    def __init__(self, bench: Bench, script: str, **more) -> None:
        self.bench, self.script, self.path = bench, script, f"{bench.directory}/script"
        with open(self.path, "w") as file:
            file.write(script)
        self.launch = bench.launch(["/bin/sh", self.path], **more)
        bench.executor.hold(self.launch, lambda: Gate(self.path, script.encode()))

    def await_shell(self) -> None:
        """It has become its program, and has opened the pipe."""
        await_true(lambda: any(self.path in opened_by(pid) for pid in self.bench.alive()))

    def run(self):
        return self.bench.end(self.bench.executor.start(self.launch))


def opened_by(pid: int) -> list[str]:
    directory = f"/proc/{pid}/fd"
    return [os.path.realpath(f"{directory}/{number}") for number in os.listdir(directory)]


def is_file(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)


def test_it_does_nothing_before_its_start_and_all_after_it(own):
    held = Held(own, "echo ran >> out; echo told; exit 3")
    held.await_shell()
    assert not os.path.exists(f"{own.directory}/out")
    assert held.run().exit_code == 3
    assert own.log() == "told\n"
    with open(f"{own.directory}/out") as file:
        assert file.read() == "ran\n"


@pytest.mark.parametrize("waits", [True, False], ids=["at its gate", "still on its way"])
def test_a_script_finds_itself_as_a_file(own, waits):
    script = 'test -f "$0" && cat "$0"\n'
    held = Held(own, script)
    if waits:
        held.await_shell()
    assert held.run().exit_code == 0
    assert own.log() == script
    assert sorted(os.listdir(own.directory)) == ["1.log", "script"]


def test_it_sees_what_one_sees_that_is_started_at_its_time(own):
    script = "env; pwd -P; echo $0; ls /proc/$$/fd; cat; umask"
    held = Held(own, script)
    held.await_shell()
    held.run()
    early = own.log()
    own.run(held.launch.argv)
    assert own.log().replace("7.1.2", "7.1.1") == early


def test_one_that_is_dropped_is_gone_and_so_is_its_log(own):
    held = Held(own, "echo ran > out")
    held.await_shell()
    own.executor.drop(held.launch)
    assert not own.alive()
    assert os.listdir(own.directory) == ["script"]
    assert is_file(held.path)
    own.executor.drop(held.launch)  # it isn't held any more


def test_one_that_was_killed_while_it_waited_is_started_at_its_time(own):
    held = Held(own, "echo ran")
    held.await_shell()
    (pid,) = own.alive()
    os.kill(pid, signal.SIGKILL)
    await_true(lambda: not own.alive())
    assert held.run().exit_code == 0
    assert own.log() == "ran\n"


def test_one_that_never_came_to_its_gate_is_started_once(own, monkeypatch):
    monkeypatch.setattr(Gate, "is_waited_at", lambda _: False)
    held = Held(own, "echo ran")
    assert held.run().exit_code == 0
    assert own.log() == "ran\n"


def test_no_gate_is_lifted_before_somebody_waits_at_it(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "_PATIENCE", 1)
    script = tmp_path / "script"
    script.write_text("true")
    closed = Gate(str(script), b"true")
    assert not closed.lift()
    assert not is_file(str(script))
    closed.remove()
    assert script.read_text() == "true"
    assert os.listdir(tmp_path) == ["script"]


DIES = """
import os, sys
from dagrun.executors.gate import Gate
from dagrun.executors.process import ProcessExecutor
from dagrun.plugins.executor import Launch

script, mark = sys.argv[1:]
launch = Launch(mark, ["/bin/sh", script], {"PATH": os.environ["PATH"]}, os.path.dirname(script), script + ".log")
executor = ProcessExecutor(None)
executor.hold(launch, lambda: Gate(script, b"echo ran > out"))
assert executor._held[mark][1].is_waited_at()
os.kill(os.getpid(), 9)
"""


def test_if_we_die_it_ends_and_has_done_nothing(own):
    script = f"{own.directory}/script"
    with open(script, "w") as file:
        file.write("echo ran > out")
    assert subprocess.run([sys.executable, "-c", DIES, script, f"{own.mark}1.1"], check=False).returncode == -9
    await_true(lambda: not own.alive())
    assert not os.path.exists(f"{own.directory}/out")


def test_one_that_cannot_be_started_leaves_everything_as_it_was(own):
    with pytest.raises(TaskFailed):
        Held(own, "true", directory=f"{own.directory}/missing")
    assert os.listdir(own.directory) == ["script"]
    assert is_file(f"{own.directory}/script")


def test_where_no_pipe_can_be_the_script_stays(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "mkfifo", refused)
    (tmp_path / "script").write_text("true")
    with pytest.raises(PermissionError):
        Gate(str(tmp_path / "script"), b"true")
    assert os.listdir(tmp_path) == ["script"]


SCRIPT = TryFile("runner.sh")


@pytest.mark.parametrize(
    ("argv", "text", "held"),
    [
        (["/bin/sh", SCRIPT], "true", b"true"),
        (["/bin/sh", SCRIPT], "ü" * (select.PIPE_BUF // 2), "ü".encode() * (select.PIPE_BUF // 2)),
        (["/bin/sh", SCRIPT], "ü" * (select.PIPE_BUF // 2) + "x", None),
        (["/bin/sh", SCRIPT], "", None),
        (["/bin/sh", "runner.sh"], "true", None),
        (["/bin/sh", "-e", SCRIPT], "true", None),
        (["python3", SCRIPT], "true", None),
    ],
)
def test_only_a_plain_shell_with_a_short_script_is_held(argv, text, held):
    found = script_of(argv, {"runner.sh": text, "params.json": "{}"})
    assert found == (None if held is None else ("runner.sh", held))
