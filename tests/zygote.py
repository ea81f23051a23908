"""The real `dagrun`, many times over, without loading it each time: a process that has it loaded forks for each call.

    ended = zygote.call(["run", "w.dig"], cwd=…, env=…)       its exit code and what it printed
    process = zygote.start(["schedule"], cwd=…, env=…)         a Popen, at work

What is forked is a process like any other: with a directory, an environment and descriptors of its own, and it ends as `dagrun`
does. Half of the time of a short command is loading; the tests of start-up, of services and of terminals start it anew.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
# Variables that the interpreter reads when it starts: where they differ, it has to start.
OF_THE_START = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_PRELOAD", "COVERAGE_PROCESS_START")
UTF8 = ("", "C.UTF-8", "en_US.UTF-8")
# What dagrun loads when it needs it, and most tests do. All of it would make each fork slower.
LATE = (
    "croniter",
    "dagrun.engine.notices",
    "dagrun.executors.docker.executor",
    "dagrun.schedules.advice",
    "dagrun.schedules.cron",
    "dagrun.store.planned",
    "dagrun.store.pruned",
    "dagrun.store.sql",
    "dagrun.store.sqlite",
    "dagrun_operators.echo",
    "dagrun_operators.sh",
    "quickjs",
)
HIGHEST_DESCRIPTOR = 1 << 10


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def start(
    arguments: Sequence[str], *, env: Mapping[str, str], anew: bool = False, **options: Any
) -> subprocess.Popen[Any]:
    """`dagrun …`, at work; with the options of Popen. `anew`: loaded by itself."""
    command = [sys.executable, "-m", "dagrun.cli", *arguments]
    if anew or "preexec_fn" in options or not can_fork(env):
        return subprocess.Popen(command, env=env, **options)
    return Forked(command, env=env, **options)


def call(
    arguments: Sequence[str],
    *,
    given: str = "",
    seconds: float = 60,
    merged: bool = False,
    **options: Any,
) -> Ended:
    """What became of `dagrun …`. `merged`: both streams come as one, in `out`."""
    pipe = subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": subprocess.STDOUT if merged else pipe}
    with start(arguments, **streams, **options) as process:
        try:
            out, err = process.communicate(given.encode(), timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, out.decode(errors="replace"), (err or b"").decode(errors="replace"))


def can_fork(env: Mapping[str, str]) -> bool:
    if sys.platform != "linux" or any(name.startswith("PYTHON") and env[name] != os.environ.get(name) for name in env):
        return False
    return all(env.get(name, "") == os.environ.get(name, "") or env.get(name, "") in UTF8 for name in OF_THE_START)


class Forked(subprocess.Popen[Any]):
    """Started by the process that forks, which also tells its end."""

    def _execute_child(self, *given: Any) -> None:
        options = inspect.signature(subprocess.Popen._execute_child).bind(self, *given).arguments
        report, told = socket.socketpair()
        ends = {number: options[name] for number, name in enumerate(("p2cread", "c2pwrite", "errwrite"))}
        request = {
            "arguments": options["args"][3:],
            "cwd": os.fspath(options["cwd"] or "."),
            "env": dict(options["env"]),
            "streams": [number for number, fd in ends.items() if fd != -1],
        }
        data = json.dumps(request).encode()
        wire = _zygote()
        fds = [told.fileno(), *(fd for fd in ends.values() if fd != -1)]
        socket.send_fds(wire, [len(data).to_bytes(4, "big")], fds)
        wire.sendall(data)
        told.close()
        self._report = report
        self.pid = int.from_bytes(_read(report, 4), "big")
        self._child_created = True
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(options[name] for name in names))

    def _internal_poll(self, **_: Any) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = int.from_bytes(_read(self._report, 4), "big", signed=True)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._report.close()
        return self.returncode


@cache
def _zygote() -> socket.socket:
    ours, theirs = socket.socketpair()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAGRUN_", "DIGDAG_", "XDG_", "COLUMNS"))
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.zygote", str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=ROOT, env=kept
    )
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _read(wire: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = wire.recv(count - len(data))
        if not chunk:
            raise EOFError("the process that forks is gone")
        data += chunk
    return data


# -- the process that forks


def main(fd: int) -> None:
    from dagrun.cli import COMMANDS

    for name in (*(f"dagrun.cli.{command}" for command in COMMANDS), *LATE):
        import_module(name)
    gc.collect()
    gc.freeze()  # what is loaded stays shared with those that are forked
    wire = socket.socket(fileno=fd)
    with selectors.DefaultSelector() as selector:
        selector.register(wire, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not wire:
                    selector.unregister(key.fd)
                    bury(key.fd, *key.data)
                    continue
                head, fds, _, _ = socket.recv_fds(wire, 4, 4)
                if not head:
                    return
                request = json.loads(_read(wire, int.from_bytes(head, "big")))
                pid = os.fork()
                if pid == 0:
                    become(request, fds[1:])
                for one in fds[1:]:
                    os.close(one)
                report = socket.socket(fileno=fds[0])
                report.sendall(pid.to_bytes(4, "big"))
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def bury(fd: int, pid: int, report: socket.socket) -> None:
    """It is dead, which its starter hears, if that still lives."""
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    with suppress(OSError):
        report.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    report.close()


def become(request: Mapping[str, Any], fds: Sequence[int]) -> None:
    from dagrun.cli import main as dagrun

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, fd in zip(request["streams"], fds, strict=True):
        os.dup2(fd, number)
    os.closerange(3, HIGHEST_DESCRIPTOR)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["dagrun", *request["arguments"]]
    try:
        dagrun()
    finally:
        os._exit(70)


if __name__ == "__main__":
    main(int(sys.argv[1]))
