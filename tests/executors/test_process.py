"""Commands as processes: how they start, what they see, how their end is told."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors.process import ProcessExecutor


@pytest.mark.parametrize(
    ("script", "code"), [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_the_exit_code_is_that_of_the_program_or_128_plus_the_signal(bench, script, code):
    assert bench.run(script).exit_code == code


def test_both_streams_reach_the_log_in_the_order_of_writing(bench):
    bench.run("for i in 1 2 3; do echo out$i; echo err$i >&2; done; printf end")
    assert bench.log() == "out1\nerr1\nout2\nerr2\nout3\nerr3\nend"


def test_the_log_is_appended_to(bench):
    launch = bench.launch("echo second")
    with open(launch.log, "w") as log:
        log.write("first\n")
    bench.end(bench.executor.start(launch))
    assert bench.log() == "first\nsecond\n"


def test_a_large_output_arrives_whole(bench):
    bench.run("head -c 20000000 /dev/zero | tr '\\0' a")
    assert os.path.getsize(f"{bench.directory}/1.log") == 20_000_000


def test_it_sees_exactly_the_environment_given_and_its_mark(bench):
    bench.run(["/usr/bin/env"], environment={"A": "1 2", "B": "ü"})
    assert sorted(bench.log().splitlines()) == ["A=1 2", "B=ü", f"DAGRUN_TRY={bench.mark}1.1"]


def test_programs_are_looked_up_on_the_path_of_their_own_environment(bench):
    with open(f"{bench.directory}/mine", "w") as program:
        program.write("#!/bin/sh\necho found\n")
    os.chmod(f"{bench.directory}/mine", 0o755)
    bench.run(["mine"], environment={"PATH": bench.directory})
    assert bench.log() == "found\n"


def test_reading_the_standard_input_gives_nothing_at_once(bench):
    bench.run("cat; echo over")
    assert bench.log() == "over\n"


def test_it_works_in_its_directory(bench):
    bench.run("pwd -P")
    assert bench.log().strip() == os.path.realpath(bench.directory)


def test_a_background_process_does_not_hold_back_the_end_and_is_left_alone(bench):
    assert bench.run("sleep 20 >/dev/null 2>&1 & echo started").exit_code == 0
    assert len(bench.alive()) == 1


@pytest.mark.parametrize("argv", [["no-such-program"], ["/etc/passwd"], ["/"]])
def test_a_program_that_is_not_there_is_the_fault_of_the_task(bench, argv):
    with pytest.raises(TaskFailed) as caught:
        bench.start(argv)
    assert (caught.value.kind, caught.value.category, caught.value.platform) == (
        "command_failed", "runtime", False,
    )  # fmt: skip


def test_the_message_names_program_directory_and_reason(bench):
    with pytest.raises(TaskFailed) as caught:
        bench.start(["no-such-program"])
    text = f'Cannot run program "no-such-program" (in directory "{bench.directory}"): error=2, '
    assert caught.value.message == text + "No such file or directory"


def test_a_missing_directory_is_the_fault_of_the_task(bench):
    with pytest.raises(TaskFailed, match=r'"/no/such".*error=2') as caught:
        bench.start("true", directory="/no/such")
    assert not caught.value.platform


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_machine_without_room_is_not_the_fault_of_the_task(own, monkeypatch, number):
    def posix_spawn(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_spawn", posix_spawn)
    with pytest.raises(TaskFailed) as caught:
        own.start("true")
    assert (caught.value.kind, caught.value.platform) == ("spawn_failed", True)


def test_a_log_that_can_not_be_written_fails_the_start(bench):
    with pytest.raises(TaskFailed) as caught:
        bench.start("true", log=f"{bench.directory}/no/such.log")
    assert caught.value.platform


def test_an_argument_with_a_nul_fails_the_task(bench):
    with pytest.raises(TaskFailed, match="null byte"):
        bench.start(["/bin/echo", "a\0b"])


def test_peak_memory_and_time_are_measured(bench):
    script = "import time\nx = b'x' * (400 << 20)\nt = time.process_time()\nwhile time.process_time() - t < .2: pass"
    Path("/proc/self/clear_refs").write_text("5")  # what this process needed for other tests is forgotten
    end = bench.run([sys.executable, "-c", script])
    assert 400 << 20 <= end.peak_memory < 600 << 20
    assert 0.2 <= end.cpu_seconds < 10


def test_a_peak_that_can_not_be_told_from_our_own_is_unknown(bench):
    ballast = bytearray(50 << 20)
    assert bench.run("true").peak_memory is None
    assert len(ballast) == 50 << 20


def test_nothing_stays_open_after_many_starts(bench):
    bench.run("true")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        mask = ["x"] if number % 10 == 0 else []
        assert bench.run(["/bin/true"], mask=mask).exit_code == 0
    for _ in range(20):
        with pytest.raises(TaskFailed):
            bench.start(["no-such-program"], mask=["x"])
    assert len(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "mask" in t.name]


def test_many_at_once_are_told_apart(bench):
    handles = [bench.start(f"exit {number}") for number in range(50)]
    assert [bench.end(handle).exit_code for handle in reversed(handles)] == list(range(49, -1, -1))


def test_no_descriptor_of_ours_reaches_the_process(bench):
    with open("/dev/null"):
        bench.run("ls /proc/self/fd")
    assert len(bench.log().split()) <= 4  # 0, 1, 2 and the one that ls reads


class TestMasking:
    def test_what_reaches_the_log_is_masked_also_across_writes(self, bench):
        bench.run("printf 'axb'; printf x >&2; printf 'c\\n'", mask=["x"])
        assert bench.log() == "a*b*c\n"

    def test_a_large_output_arrives_whole(self, bench):
        bench.run("head -c 5000000 /dev/zero | tr '\\0' x", mask=["x"])
        assert bench.log() == "*" * 5_000_000

    def test_a_background_process_that_keeps_the_pipe_does_not_hold_back_the_end(self, bench):
        assert bench.run("sleep 20 & echo done", mask=["x"]).exit_code == 0
        assert bench.log() == "done\n"

    def test_a_background_process_that_never_stops_writing_does_not_either(self, bench):
        assert bench.run("yes x & echo done", mask=["x"]).exit_code == 0
        assert "done\n" in bench.log() and "x" not in bench.log()


class TestAnotherDagrun:
    """A handle outlives the process that made it; an exit code doesn't."""

    def test_sees_that_it_runs_and_can_stop_it(self, own):
        handle = own.start("trap 'echo bye; exit 3' TERM; echo ready; for i in $(seq 20); do sleep 1; done")
        own.await_line("ready")
        own.executor, first = ProcessExecutor(own.executor._masker), own.executor
        assert own.executor.poll(handle) is None
        own.executor.stop(handle, 20)
        own.executor, second = first, own.executor
        assert own.end(handle).exit_code == 3
        with pytest.raises(TaskFailed) as caught:
            while second.poll(handle) is None:
                second.tick(0)
        assert (caught.value.kind, caught.value.platform) == ("lost", True)

    def test_is_not_fooled_by_a_pid_that_was_given_again(self, own):
        handle = own.start("sleep 20")
        other = ProcessExecutor(own.executor._masker)
        with pytest.raises(TaskFailed, match="gone"):
            other.poll({**handle, "start": handle["start"] + 1})
        with pytest.raises(TaskFailed, match="gone"):
            other.poll({**handle, "boot": "another"})
        os.killpg(handle["pid"], signal.SIGKILL)
        own.end(handle)
