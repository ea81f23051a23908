"""The real `dagrun`, many times over, without loading it each time: a process that has it loaded forks for each call.

    code, out, err = zygote.call(["run", "w.dig"], cwd=…, env=…)

What is forked is a process like any other: with a directory, an environment and descriptors of its own, and it ends as `dagrun`
does. Half of the time of a short command is loading; the tests of start-up, of signals and of terminals start it anew.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
# Variables that the interpreter reads when it starts: where they differ, it has to start.
OF_THE_START = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_PRELOAD", "COVERAGE_PROCESS_START")
UTF8 = ("", "C.UTF-8", "en_US.UTF-8")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def call(
    arguments: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    given: str = "",
    seconds: float = 60,
    merged: bool = False,
) -> Ended:
    """What became of `dagrun …`. `merged`: both streams come as one, in `out`."""
    if not can_fork(env):
        return started(arguments, cwd=cwd, env=env, given=given, seconds=seconds, merged=merged)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    stdin, stdin_end = os.pipe()
    try:
        os.write(stdin_end, given.encode())
    finally:
        os.close(stdin_end)
    wire = _zygote()
    request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
    ends = [stdin, out_end, out_end if merged else err_end]
    socket.send_fds(wire, [len(request).to_bytes(4, "big")], ends)
    wire.sendall(request)
    for fd in {stdin, out_end, err_end}:
        os.close(fd)
    pid = int.from_bytes(_read(wire, 4), "big")
    texts = collect({out: b"", err: b""}, pid, seconds)
    code = int.from_bytes(_read(wire, 4), "big", signed=True)
    return Ended(code, texts[out].decode(errors="replace"), texts[err].decode(errors="replace"))


def can_fork(env: Mapping[str, str]) -> bool:
    if sys.platform != "linux" or any(name.startswith("PYTHON") and env[name] != os.environ.get(name) for name in env):
        return False
    return all(env.get(name, "") == os.environ.get(name, "") or env.get(name, "") in UTF8 for name in OF_THE_START)


def started(
    arguments: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    given: str = "",
    seconds: float = 60,
    merged: bool = False,
) -> Ended:
    """The same, by a process that is started anew."""
    done = subprocess.run(
        [sys.executable, "-m", "dagrun.cli", *arguments], cwd=cwd, env=env, input=given, text=True, timeout=seconds, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT if merged else subprocess.PIPE,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr or "")


def collect(texts: dict[int, bytes], pid: int, seconds: float) -> dict[int, bytes]:
    """Until nobody writes any more."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for fd in texts:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(key.fd, 1 << 16)
                texts[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
                    os.close(key.fd)
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
                for fd in list(selector.get_map()):
                    os.close(fd)
                raise TimeoutError(f"dagrun did not end within {seconds} s: {texts}")
    return texts


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
    from importlib import import_module

    from dagrun.cli import COMMANDS

    for command in COMMANDS:
        import_module(f"dagrun.cli.{command}")
    import_module("quickjs")
    wire = socket.socket(fileno=fd)
    while True:
        head, fds, _, _ = socket.recv_fds(wire, 4, 3)
        if not head:
            return
        request = json.loads(_read(wire, int.from_bytes(head, "big")))
        pid = os.fork()
        if pid == 0:
            wire.close()
            become(request, fds)
        for one in fds:
            os.close(one)
        wire.sendall(pid.to_bytes(4, "big"))
        _, status = os.waitpid(pid, 0)
        wire.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))


def become(request: Mapping[str, Any], fds: Sequence[int]) -> None:
    from dagrun.cli import main as dagrun

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
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
