"""Files for an engine that doesn't see ours: they go into the container as a tar stream, and come back as one.

The workspace and the try's own directory have the same paths inside as outside.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dagrun.errors import TaskFailed
from dagrun.executors.docker.engine import Engine, Gone
from dagrun.plugins.executor import Launch

if TYPE_CHECKING:
    import tarfile
else:
    try:
        from backports import tarfile  # where that of the standard library has no filters
    except ImportError:
        import tarfile

_EVERYBODY = 0o666
_ENTER = 0o777
_PASS = 0o111


class Archives:
    def __init__(self, engine: Engine, container: str, launch: Launch) -> None:
        self.engine = engine
        self.container = container
        self.launch = launch

    def send(self) -> None:
        """Both directories are in the container, open to whatever user it runs as."""
        with tempfile.TemporaryFile(dir=self.launch.io) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for directory in (self.launch.workspace, self.launch.io):
                    add_parents(tar, directory)
                    tar.add(directory, directory.lstrip("/"), filter=opened)
            file.seek(0)
            self.engine.put(self.container, "/", file)

    def fetch(self) -> None:
        """What the container left in both directories is in ours; what it deleted stays.

        Raises TaskFailed for a link that leads out of them.
        """
        for directory in (self.launch.io, self.launch.workspace):
            try:
                with tarfile.open(fileobj=Stream(self.engine.get(self.container, directory)), mode="r|") as tar:
                    tar.extractall(os.path.dirname(directory), filter=changed)
            except Gone:
                raise TaskFailed(
                    f"the container is gone, and with it the files of {directory}", "lost", platform=True
                ) from None
            except tarfile.FilterError as problem:
                raise TaskFailed(
                    f"the container left something in {directory} that can't be taken over: {problem}",
                    "outside_project",
                    "runtime",
                ) from None


def add_parents(tar: tarfile.TarFile, directory: str) -> None:
    """With the modes that they have here: those that the engine makes itself can be entered by root only."""
    for parent in reversed(list(Path(directory).parents)[:-1]):
        entry = tarfile.TarInfo(str(parent).lstrip("/"))
        entry.type, entry.mode = tarfile.DIRTYPE, stat.S_IMODE(os.stat(parent).st_mode) | _PASS
        tar.addfile(entry)


def opened(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    if not (entry.issym() or entry.islnk()):
        entry.mode |= _ENTER if entry.isdir() or entry.mode & 0o100 else _EVERYBODY
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
    return entry


def changed(entry: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
    """Only what differs from ours (the engine's times have no fractions). Raises FilterError for what leads out."""
    path = os.path.join(destination, entry.name)
    with suppress(OSError):
        ours = os.lstat(path)
        if entry.issym() and stat.S_ISLNK(ours.st_mode) and os.readlink(path) == entry.linkname:
            return None
        same = entry.size == ours.st_size and int(entry.mtime) == int(ours.st_mtime)
        if entry.isfile() and stat.S_ISREG(ours.st_mode) and same:
            return None
    return tarfile.data_filter(entry, destination)


class Stream(io.RawIOBase):
    """Chunks as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
