"""The keeper as a process: one a directory, hard to end, gone when nobody needs it, and silent about secrets."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.kept import KeptExecutor
from dagrun.executors.wire import dial
from tests.executors.conftest import CENSOR, IDLE_SECONDS, LIMIT_SECONDS, Bench, await_true
from tests.executors.keepers import Client, another, keepers, the_keeper


def test_clients_that_race_for_it_start_one_keeper(kept, state):
    clients = [Client(state, kept.launch("sleep 20")) for _ in range(6)]
    for client in clients:
        client.go()
    handles = [handle for client in clients for handle in client.handles()]
    assert len(keepers(state)) == 1
    assert kept.executor.names() == sorted(handle["try"] for handle in handles)
    for client in clients:
        client.kill()


class TestTheKeeper:
    def test_ends_when_it_is_idle(self, kept, state):
        kept.run("true")
        keeper = the_keeper(state)
        kept.executor.close()
        await_true(lambda: not marks.is_alive(keeper))
        assert not os.path.exists(f"{state}/keeper.sock")
        assert os.path.getsize(f"{state}/keeper.log") == 0

    def test_does_not_end_before_its_tries(self, kept, state):
        handle = kept.start(f"sleep {2 * IDLE_SECONDS}; exit 7")
        keeper = the_keeper(state)
        kept.executor.close()
        await_true(lambda: not marks.is_alive(keeper))
        assert kept.executor.poll(handle).exit_code == 7

    def test_answers_everyone_also_while_it_is_ending(self, kept, state):
        for _ in range(50):
            executor = KeptExecutor(state, CENSOR, idle_seconds=0)
            launch = kept.launch("exit 7")
            handle = executor.start(launch)
            assert Bench(executor, kept.directory).end(handle).exit_code == 7
            executor.close()

    def test_ends_when_its_directory_is_gone_and_nothing_runs(self, kept, state):
        handle = kept.start("until test -e go; do sleep 0.01; done; exit 7")
        keeper = the_keeper(state)
        shutil.rmtree(state)
        Path(kept.directory, "go").touch()
        assert kept.end(handle).exit_code == 7
        await_true(lambda: not marks.is_alive(keeper))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_goes_on_at_a_signal(self, kept, state, number):
        kept.run("true")
        keeper = the_keeper(state)
        os.kill(keeper, number)
        assert kept.run("exit 7").exit_code == 7
        assert the_keeper(state) == keeper

    def test_is_no_child_and_has_a_session_and_a_group_of_its_own(self, kept, state):
        kept.run("true")
        keeper = the_keeper(state)
        assert int(marks.stat_fields(keeper)[1]) != os.getpid()
        assert os.getsid(keeper) != os.getsid(0) and os.getpgid(keeper) != os.getpgid(0)

    def test_works_in_a_directory_whose_path_is_too_long_for_a_socket(self, kept):
        state = f"{kept.directory}/{'long/' * 30}"
        kept.executor = another(state)
        assert kept.run("exit 7").exit_code == 7
        assert len(keepers(state.rstrip("/"))) == 1
        kept.executor.close()

    def test_keeps_no_descriptor(self, kept, state):
        kept.run("true", mask=["x"])
        keeper = the_keeper(state)
        before = len(os.listdir(f"/proc/{keeper}/fd"))
        for number in range(50):
            kept.run("true", mask=["x"] if number % 10 == 0 else [])
            with pytest.raises(TaskFailed):
                kept.start(["no-such-program"])
        kept.executor.names()
        await_true(lambda: len(os.listdir(f"/proc/{keeper}/fd")) <= before)

    def test_without_a_descriptor_left_refuses_and_goes_on(self, kept, state):
        kept.run("true")
        keeper = the_keeper(state)
        _, hard = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, (30, hard))
        handles = []
        problems = []
        while len(problems) < 3:
            try:
                handles.append(kept.start("trap 'exit 7' TERM; while true; do sleep 0.02; done"))
            except TaskFailed as problem:
                problems.append((problem.kind, problem.platform))
        assert problems == [("spawn_failed", True)] * 3
        assert 5 < len(handles) < 30
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, (hard, hard))
        for handle in handles:
            os.killpg(handle["pid"], signal.SIGKILL)
        assert {kept.end(handle).exit_code for handle in handles} == {137}
        assert kept.run("exit 7").exit_code == 7

    @pytest.mark.parametrize(
        "line",
        [b"garbage\n", b"[]\n", b"{}\n", b'{"do":"dance"}\n', b"\xff\n", b'{"do":"start","name":"a"}\n',
         b'{"do":"stop","name":"NAME","grace":"x","signal":15}\n', b'{"do":"stop","name":"NAME","grace":1,"signal":999}\n'],
    )  # fmt: skip
    def test_hangs_up_on_garbage_and_goes_on(self, kept, state, line):
        handle = kept.start("until test -e go; do sleep 0.01; done; exit 7")
        wire = dial(state)
        wire.socket.settimeout(LIMIT_SECONDS)
        wire.socket.sendall(line.replace(b"NAME", handle["try"].encode()))
        with pytest.raises(ConnectionError):
            wire.next()
        Path(kept.directory, "go").touch()
        assert kept.end(handle).exit_code == 7

    def test_answers_nobody_of_another_user(self, kept, state):
        if os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        kept.run("true")
        os.chmod(state, 0o711)
        os.chmod(f"{state}/keeper.sock", 0o666)
        directory = os.open(state, os.O_RDONLY)
        script = (
            "import os, socket\nos.setgid(65534)\nos.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\n"
            f"s.connect('/proc/self/fd/{directory}/keeper.sock')\n"
            'try:\n    s.sendall(b\'{"do":"names"}\\n\')\n    print(s.recv(100))\n'
            "except ConnectionError:\n    print(b'')\n"
        )
        run = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script], pass_fds=[directory], capture_output=True, text=True
        )
        os.close(directory)
        assert run.stdout == "b''\n", run.stderr

    def test_that_can_not_start_fails_the_start_and_names_its_log(self, kept, state, monkeypatch):
        monkeypatch.setattr("dagrun.executors.kept._KEEPER", "/no/such/keeper.py")
        with pytest.raises(TaskFailed, match=r"keeper\.log") as caught:
            kept.start("true")
        assert (caught.value.kind, caught.value.platform) == ("spawn_failed", True)
        assert "/no/such/keeper.py" in Path(state, "keeper.log").read_text()


class TestSecrets:
    SECRET = "x-marks-the-spot"

    def test_are_neither_on_disk_nor_in_what_others_see_of_the_keeper(self, kept, state, monkeypatch):
        monkeypatch.setenv("PASSWORD", self.SECRET)
        handle = kept.start(f"echo {self.SECRET}; sleep 20", mask=[self.SECRET], environment={"A": self.SECRET})
        keeper = the_keeper(state)
        seen = b"".join(marks._read(f"/proc/{keeper}/{name}") for name in ("cmdline", "environ"))
        assert seen and self.SECRET.encode() not in seen
        kept.executor.stop(handle, 0)
        kept.end(handle)
        files = [path for path in Path(kept.directory).rglob("*") if path.is_file()]
        assert len(files) >= 4
        assert not any(self.SECRET.encode() in path.read_bytes() for path in files)

    def test_lie_where_only_their_owner_looks(self, kept, state):
        kept.run("true")
        modes = {name: os.stat(f"{state}/{name}").st_mode & 0o777 for name in os.listdir(state)}
        assert modes == {"ends": 0o700, "keeper.lock": 0o600, "keeper.log": 0o600, "keeper.sock": 0o600}

    def test_a_filter_that_can_not_be_loaded_fails_the_start(self, kept, state):
        kept.executor = KeptExecutor(state, "no.such:Masker", idle_seconds=IDLE_SECONDS)
        with pytest.raises(TaskFailed, match="masked") as caught:
            kept.start("echo x", mask=["x"])
        assert caught.value.platform
        assert kept.run("exit 7").exit_code == 7
        kept.executor.close()

    def test_the_filter_of_dagrun_is_loaded_by_its_name(self, kept, state):
        kept.executor = KeptExecutor(state, "dagrun.secrets.mask:Masker", idle_seconds=IDLE_SECONDS)
        kept.run("echo the hunter2 ran", mask=["hunter2"])
        assert kept.log() == "the *** ran\n"
        kept.executor.close()


def test_a_socket_that_a_dead_keeper_left_is_replaced(kept, state):
    os.makedirs(state)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{state}/keeper.sock")
    assert kept.run("exit 7").exit_code == 7
