"""A program that is started before its time, and waits at a gate for its script.

A shell opens its script and reads it before it does anything else. Until its time a pipe lies in the script's place: the shell
waits there, and all that its start costs is behind it. If we die first, the pipe ends, and the shell has read an empty script.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from dagrun.plugins.operator import TryFile

SHELLS = ("/bin/sh",)  # of which that is known
LONGEST = select.PIPE_BUF  # bytes: so much goes into a pipe at once, or not at all
_PATIENCE = 20  # looks for a shell that has not come to its gate yet; one on a machine so busy is started anew
_LOOK_AGAIN_SECONDS = 0.0001


def script_of(argv: Sequence[str | TryFile], files: Mapping[str, str | bytes]) -> tuple[str, bytes] | None:
    """The name and the text of the script that the program waits for, if it is one that can be held at a gate."""
    if sys.platform != "linux" or len(argv) != 2 or argv[0] not in SHELLS or not isinstance(argv[1], TryFile):
        return None
    text = files.get(argv[1].name, b"")
    data = text if isinstance(text, bytes) else text.encode()
    return (argv[1].name, data) if 0 < len(data) <= LONGEST else None


class Gate:
    """In the place of a script, which is there already and is put aside. Raises OSError; everything is as it was then."""

    def __init__(self, path: str, script: bytes) -> None:
        self.path = path
        self.script = script
        os.rename(path, self.aside)
        try:
            os.mkfifo(path, 0o600)
            end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without a reader there is no writing end
            try:
                self.pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            finally:
                os.close(end)
        except OSError:
            os.rename(self.aside, path)
            raise

    @property
    def aside(self) -> str:
        return f"{self.path}~"

    def lift(self) -> bool:
        """The shell has its script, and who looks at the path from now on finds the file. False if it didn't come to the gate,
        which stays closed then.
        """
        if not self.is_waited_at():
            return False
        os.rename(self.aside, self.path)  # now that the shell can't take it for the pipe
        with suppress(BrokenPipeError):  # killed in this moment, which its end tells
            os.write(self.pipe, self.script)
        os.close(self.pipe)
        return True

    def is_waited_at(self) -> bool:
        """The shell has opened the pipe, now or soon."""
        looks = select.poll()
        looks.register(self.pipe, 0)
        for _ in range(_PATIENCE):
            if not looks.poll(0):  # what is told without being asked for is that nobody reads
                return True
            time.sleep(_LOOK_AGAIN_SECONDS)
        return False

    def remove(self) -> None:
        """The shell is dead: the script lies in its place again."""
        os.close(self.pipe)
        with suppress(OSError):  # somebody has removed it all
            os.rename(self.aside, self.path)
