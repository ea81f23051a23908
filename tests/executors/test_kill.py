"""Kill means dead: whatever a task left behind is gone at the end of the grace period."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dagrun.executors import marks
from dagrun.executors.process import sweep

# Nothing here runs for ever: where the tests themselves are killed, nobody is left to end it.
LOOP = "for i in $(seq 20); do sleep 1; done"
FAST_LOOP = "for i in $(seq 200); do sleep 0.1; done"
STUBBORN = f"trap '' TERM; (trap '' TERM; {LOOP}) & echo ready; {LOOP}"


def stop(bench, handle, grace, number=signal.SIGTERM):
    started = time.monotonic()
    bench.executor.stop(handle, grace, number)
    assert time.monotonic() - started < 0.2, "stop must return at once"
    end = bench.end(handle)
    return end.exit_code, time.monotonic() - started


def test_a_willing_task_ends_at_once(bench):
    handle = bench.start("sleep 20")
    code, seconds = stop(bench, handle, grace=20)
    assert code == 143 and seconds < 5


def test_it_may_clean_up_and_choose_its_exit_code(bench):
    handle = bench.start(f"trap 'echo bye; exit 5' TERM; echo ready; {FAST_LOOP}")
    bench.await_line("ready")
    assert stop(bench, handle, grace=20)[0] == 5
    assert "bye" in bench.log()


def test_the_task_may_choose_the_signal(bench):
    handle = bench.start(f"trap 'exit 9' INT; trap '' TERM; echo ready; {FAST_LOOP}")
    bench.await_line("ready")
    assert stop(bench, handle, 20, signal.SIGINT)[0] == 9


def test_one_that_ignores_TERM_and_has_forked_is_gone_after_the_grace_period(bench):
    handle = bench.start(STUBBORN)
    bench.await_line("ready")
    code, seconds = stop(bench, handle, grace=0.3)
    assert code == 137 and 0.3 <= seconds < 5
    assert bench.alive() == []


def test_a_second_stop_may_be_harder(bench):
    handle = bench.start(STUBBORN)
    bench.await_line("ready")
    bench.executor.stop(handle, 1000)
    bench.executor.tick(time.monotonic())
    assert stop(bench, handle, grace=0)[0] == 137


def test_nothing_is_due_until_the_grace_period_is_over(own):
    handle = own.start(STUBBORN)
    own.await_line("ready")
    own.executor.stop(handle, 1000)
    assert own.executor.tick(time.monotonic()) > 900
    assert stop(own, handle, grace=0)[0] == 137


def test_a_stubborn_child_of_a_willing_task_is_gone_after_the_grace_period(bench):
    handle = bench.start(f"(trap '' TERM; echo ready; {LOOP}) & wait")
    bench.await_line("ready")
    turns = []
    bench.executor.stop(handle, 0.5)
    assert bench.end(handle, lambda: turns.append(1)).exit_code == 143
    assert bench.alive() == []
    assert len(turns) < 50, "the loop must not spin on a descriptor that stays readable"


def test_a_grandchild_that_left_the_session_gets_the_signal_too(bench):
    handle = bench.start(f"setsid sh -c 'trap \"echo bye; exit\" TERM; echo ready; {FAST_LOOP}' & wait")
    bench.await_line("ready")
    _, seconds = stop(bench, handle, grace=20)
    assert seconds < 10 and "bye" in bench.log()
    assert bench.alive() == []


def test_a_stubborn_grandchild_that_left_the_session_is_found(bench):
    handle = bench.start("setsid sh -c \"trap '' TERM; echo ready; sleep 20\" & wait")
    bench.await_line("ready")
    stop(bench, handle, grace=0.3)
    assert bench.alive() == []


def test_a_process_of_the_session_without_the_mark_is_found(bench):
    script = "set -m; env -i sh -c \"trap '' TERM; echo \\$\\$ > pid; echo ready; exec /bin/sleep 20\" & wait"
    handle = bench.start(script)
    bench.await_line("ready")
    stop(bench, handle, grace=0.3)
    with open(f"{bench.directory}/pid") as file:
        assert not marks.is_alive(int(file.read()))


def test_one_that_forks_while_it_is_hunted_is_caught(bench):
    hydra = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n    if os.fork():\n        time.sleep(0.005)\n        os._exit(0)\n    os.setsid()\n"
    )
    handle = bench.start(f'{sys.executable} -c "{hydra}" & sleep 20')
    bench.await_line("ready")
    stop(bench, handle, grace=0.1)
    assert bench.alive() == []


def test_who_waits_for_one_that_is_killed_does_not_go_on(bench):
    """Neither in its own session, nor in many others."""
    escaped = "setsid sh -c 'trap : TERM; while :; do sleep 20 & wait; sleep 20; echo went on; done' &"
    for _ in range(5):
        handle = bench.start(f"{escaped * 10} trap : TERM; echo ready; sleep 20; sleep 20; sleep 20; echo went on")
        bench.await_line("ready")
        stop(bench, handle, grace=0.1)
        assert bench.alive() == []
        assert "went on" not in bench.log()


def test_processes_of_other_tries_live_on(bench):
    other = bench.start("sleep 20")
    stop(bench, bench.start("sleep 20"), grace=20)
    assert bench.executor.poll(other) is None
    stop(bench, other, grace=0)


def test_a_stopped_try_with_secrets_keeps_what_it_printed(bench):
    handle = bench.start(f"(trap '' TERM; {LOOP}) & printf 'x\\nend'; wait", mask=["x"])
    bench.await_line("*")
    stop(bench, handle, grace=0.3)
    assert bench.log() == "*\nend"


class TestSweep:
    def test_ends_what_a_dead_dagrun_left_and_names_it(self, bench):
        handle = bench.start(STUBBORN)
        bench.await_line("ready")
        escaped = bench.start("setsid sleep 20 & echo ready; wait")
        bench.await_line("ready")
        found = sweep(bench.mark)
        assert {handle["pid"], escaped["pid"]} < set(found) and len(found) >= 4
        assert bench.alive() == []
        assert bench.end(handle).exit_code == 137
        assert bench.end(escaped).exit_code == 143

    def test_finds_nothing_in_no_time(self, bench):
        started = time.monotonic()
        assert sweep(bench.mark) == []
        assert time.monotonic() - started < 1

    def test_spares_others_and_the_caller(self, bench):
        handle = bench.start("sleep 20", name="other" + bench.mark)
        script = f"from dagrun.executors.marks import sweep; print(sweep({bench.mark!r}))"
        environment = {**os.environ, "DAGRUN_TRY": bench.mark + "self"}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert run.stdout == "[]\n"
        assert bench.executor.poll(handle) is None
        stop(bench, handle, grace=0)


def test_the_start_time_is_read_from_behind_any_name_of_a_program(tmp_path):
    program = tmp_path / "a) R 1 (b"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "20"])
    try:
        ticks = os.sysconf("SC_CLK_TCK")
        with open("/proc/uptime") as uptime:
            assert marks.start_ticks(process.pid) / ticks == pytest.approx(float(uptime.read().split()[0]), abs=5)
    finally:
        process.kill()
        process.wait()
