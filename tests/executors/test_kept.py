"""What a kept try promises beyond what every executor does (test_process.py and test_kill.py run with it, too).

Everything here is real: keepers, clients that are killed, tasks that outlive them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from dagrun.executors import marks
from dagrun.executors.kept import KeptExecutor
from dagrun.executors.wire import dial
from tests.executors.conftest import CENSOR, await_true
from tests.executors.keepers import Client, another, await_readable, is_lost, kill_keeper, the_keeper

ESCAPED = "setsid sh -c \"trap '' TERM; echo ready; sleep 20\" & wait"


class TestAfterTheClientWasKilled:
    def test_the_next_one_learns_the_end_of_what_has_ended_meanwhile(self, kept, state):
        client = Client(state, kept.launch("exit 7")).go()
        [handle] = client.handles()
        client.kill()
        await_true(lambda: not marks.is_alive(handle["pid"]))
        assert kept.end(handle).exit_code == 7

    def test_the_next_one_learns_the_end_of_what_ends_later(self, kept, state):
        client = Client(state, kept.launch("echo ready; until test -e go; do sleep 0.01; done; echo x; exit 7"))
        [handle] = client.go().handles()
        client.kill()
        kept.await_line("ready")
        assert kept.executor.poll(handle) is None
        Path(kept.directory, "go").touch()
        assert kept.end(handle).exit_code == 7

    def test_secrets_are_masked_further_on(self, kept, state):
        script = "echo ready; until test -e go; do sleep 0.01; done; echo a x"
        client = Client(state, kept.launch(script, mask=["x"]))
        [handle] = client.go().handles()
        client.kill()
        Path(kept.directory, "go").touch()
        kept.end(handle)
        assert kept.log() == "ready\na *\n"

    def test_the_next_one_can_stop_it_with_all_that_is_left_of_it(self, kept, state):
        client = Client(state, kept.launch(ESCAPED))
        [handle] = client.go().handles()
        kept.await_line("ready")
        client.kill()
        kept.executor.stop(handle, 0.1)
        assert kept.end(handle).exit_code == 143
        assert kept.alive() == []

    def test_it_ends_it_though_nobody_is_left_who_waits(self, kept, state):
        """The grace period is the keeper's business."""
        handle = kept.start(ESCAPED)
        kept.await_line("ready")
        kept.executor.stop(handle, 0.1)
        kept.executor.close()
        await_true(lambda: kept.alive() == [])


class TestAnEnd:
    def test_is_told_until_it_is_forgotten(self, kept):
        handle = kept.start("exit 7")
        assert kept.executor.names() == [handle["try"]]
        assert kept.end(handle).exit_code == 7
        assert kept.executor.names() == [handle["try"]]
        assert kept.executor.poll(handle).exit_code == 7
        kept.executor.forget(handle)
        assert kept.executor.names() == []
        assert is_lost(kept.executor, handle)

    def test_outlives_the_keeper(self, kept, state):
        handle = kept.start("exit 7")
        end = kept.end(handle)
        kill_keeper(state)
        assert another(state).names() == [handle["try"]]
        assert another(state).poll(handle) == end
        fresh = another(state)
        await_readable(fresh, handle)
        assert fresh.poll(handle) == end

    def test_that_the_disk_did_not_take_is_written_later(self, kept, state):
        handle = kept.start("until test -e go; do sleep 0.01; done; exit 7")
        Path(state, "ends").write_text("in the way")
        Path(kept.directory, "go").touch()
        assert kept.end(handle).exit_code == 7
        assert kept.executor.names() == [handle["try"]]
        assert kept.executor.poll(handle).exit_code == 7
        os.unlink(f"{state}/ends")
        await_true(lambda: os.path.isdir(f"{state}/ends") and len(os.listdir(f"{state}/ends")) == 1)

    def test_is_told_to_everyone_who_watches(self, kept, state):
        handle = kept.start("until test -e go; do sleep 0.01; done; exit 7")
        others = [another(state) for _ in range(3)]
        assert [other.poll(handle) for other in others] == [None] * 3
        Path(kept.directory, "go").touch()
        for other in others:
            await_readable(other, handle)
            assert other.poll(handle).exit_code == 7


class TestANameIsStartedOnce:
    SCRIPT = "echo ready; until test -e go; do sleep 0.01; done; exit 7"

    def test_while_it_runs(self, kept, state):
        launch = kept.launch(self.SCRIPT)
        handle = kept.executor.start(launch)
        fd = kept.executor.fileno(handle)
        assert kept.executor.start(launch) == handle
        assert kept.executor.fileno(handle) == fd, "the loop has it registered"
        other = another(state)
        assert other.start(launch) == handle
        Path(kept.directory, "go").touch()
        assert kept.end(handle).exit_code == 7
        await_readable(other, handle)
        assert other.poll(handle).exit_code == 7
        assert kept.log() == "ready\n"

    def test_when_it_has_ended(self, kept, state):
        launch = kept.launch("echo once; exit 7")
        handle = kept.executor.start(launch)
        kept.end(handle)
        assert kept.executor.start(launch) == handle
        assert kept.end(handle).exit_code == 7
        kill_keeper(state)
        assert another(state).start(launch) == handle
        assert kept.log() == "once\n"

    def test_and_not_at_all_when_its_client_gave_up_waiting(self, kept, state):
        kept.run("true")
        keeper = the_keeper(state)
        os.kill(keeper, signal.SIGSTOP)
        launch = kept.launch("sleep 20")
        wire = dial(state)
        wire.send({"do": "start", **launch._asdict()})
        wire.close()
        os.kill(keeper, signal.SIGCONT)
        assert launch.name not in kept.executor.names()
        assert kept.alive() == []


class TestAfterTheKeeperWasKilled:
    def test_its_tries_are_lost_and_nothing_of_them_is_alive(self, kept, state):
        handles = [kept.start(script) for script in (ESCAPED, "echo ready; sleep 20")]
        kept.await_line("ready")
        os.kill(the_keeper(state), signal.SIGKILL)
        for handle in handles:
            await_readable(kept.executor, handle)
            assert is_lost(kept.executor, handle)
        assert kept.alive() == []

    def test_so_they_are_for_another_client(self, kept, state):
        handle = kept.start(ESCAPED)
        kept.await_line("ready")
        os.kill(the_keeper(state), signal.SIGKILL)
        other = another(state)
        await_readable(other, handle)
        assert is_lost(other, handle)
        assert kept.alive() == []

    def test_a_new_one_takes_over(self, kept, state):
        handle = kept.start("sleep 20")
        kill_keeper(state)
        assert kept.run("exit 7").exit_code == 7
        assert is_lost(kept.executor, handle)
        assert kept.executor.names() == [f"{kept.mark}1.2"]


def test_a_name_that_no_keeper_has_heard_of_is_lost_and_its_neighbours_live_on(kept):
    handle = kept.start("sleep 20", name=f"{kept.mark}1.10")
    assert is_lost(kept.executor, {**handle, "try": f"{kept.mark}1.1"})
    assert kept.executor.poll(handle) is None
    assert is_lost(KeptExecutor(f"{kept.directory}/other", CENSOR), {**handle, "try": f"{kept.mark}1.1"})
    assert kept.executor.poll(handle) is None


def test_a_handle_of_another_boot_ends_nobody(kept):
    handle = kept.start("sleep 20")
    assert is_lost(KeptExecutor(f"{kept.directory}/other", CENSOR), {**handle, "boot": "another"})
    assert kept.executor.poll(handle) is None
