"""Starts a process: a session of its own, in a directory, with nothing of ours open but the three standard streams.

By posix_spawn, which takes 0.1 ms less than subprocess.Popen: a tenth of what the shortest task costs. It knows no working
directory, so ours is changed for the moment of the call: only one thread may start processes, and no other one may use
relative paths.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache

# Python ignores these; a program expects them as they are at the start of a process.
_RESTORED = [number for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if (number := getattr(signal, name, None))]


def spawn(argv: Sequence[str], environment: Mapping[str, str], directory: str, output: int) -> int:
    """The pid of the program, which is found by the PATH of its own environment; both its streams go to `output`.

    Raises OSError, with the name of the program or of the directory; ValueError for a NUL in an argument.
    """
    nothing = _nothing()
    home = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(directory)
        return os.posix_spawn(
            find(argv[0], environment),
            list(argv),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigdef=_RESTORED,
        )
    finally:
        os.fchdir(home)
        os.close(home)


def find(program: str, environment: Mapping[str, str]) -> str:
    """The path of a program. Raises FileNotFoundError or PermissionError, as starting it would."""
    if "/" in program:
        return program
    problem = errno.ENOENT
    for directory in (environment.get("PATH") or os.defpath).split(os.pathsep):
        path = os.path.join(directory, program)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
        if os.path.isfile(path):
            problem = errno.EACCES
    raise OSError(problem, os.strerror(problem), program)


@cache
def _nothing() -> int:
    """/dev/null, opened once; from then on what we inherited is not handed on to any program."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            with suppress(OSError):  # the listing's own, closed by now
                os.set_inheritable(int(name), False)
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
