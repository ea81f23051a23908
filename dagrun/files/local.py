"""Files in a folder: `ab/cdef…` by their SHA-256. Shared by all attempts of a store, and by processes at the same time.

A new one is written under a name of its own, put on the disk, and renamed. What a dead process left half-written is swept with
the rest. A second file of the same contents takes the place of the first, which is young then, and whole again if it wasn't.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dagrun.core.files import Output
from dagrun.files.store import CHUNK_BYTES, Stopped, TransferStopped, damaged, missing, permissions, unavailable, whole

_NEW = "new."
_FICLONE = 0x40049409  # linux/fs.h


class LocalFiles:
    def __init__(self, directory: str) -> None:
        self.directory = directory

    def put(self, source: str, path: str, stopped: Stopped) -> Output:
        with open(source, "rb", buffering=0) as from_:
            status = os.fstat(from_.fileno())
            with writing("has no room, or can't be written to"):
                os.makedirs(self.directory, exist_ok=True)
                fd, new = tempfile.mkstemp(prefix=_NEW, dir=self.directory)
                try:
                    with open(fd, "w+b", buffering=0) as to:
                        digest, size = copied(from_, to, stopped)
                        os.fchmod(fd, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
                        os.fsync(fd)
                    self._name(new, digest)
                except BaseException:
                    with suppress(FileNotFoundError):
                        os.unlink(new)
                    raise
        return Output(path, digest, size, permissions(status))

    def get(self, file: Output, target: str, stopped: Stopped) -> None:
        place = self._place(file.sha256)
        try:
            from_ = open(place, "rb", buffering=0)  # noqa: SIM115
        except FileNotFoundError:
            raise missing(file, place) from None
        with from_, writing("can't be read, or the workspace has no room"), whole(target) as to:
            digest, _ = copied(from_, to, stopped)
            os.fchmod(to.fileno(), file.mode)
            if digest != file.sha256:
                raise damaged(file, place)

    def sweep(self, named: set[str], before: int, *, dry_run: bool) -> tuple[int, int]:
        count = size = 0
        for digest, path in self._all():
            with suppress(FileNotFoundError), opened(os.path.dirname(path)) as fd:  # another process sweeps, too
                lock(fd, fcntl.LOCK_EX)
                status = os.stat(path)
                if digest not in named and status.st_mtime_ns // 1000 < before:
                    count += digest != ""
                    size += status.st_size
                    if not dry_run:
                        os.unlink(path)
        return count, size

    def _all(self) -> Iterator[tuple[str, str]]:
        """Digest and path; what is half-written has no digest."""
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(self.directory)):
                if entry.name.startswith(_NEW):
                    yield "", entry.path
                elif entry.is_dir():
                    for file in list(os.scandir(entry.path)):
                        yield entry.name + file.name, file.path

    def _place(self, digest: str) -> str:
        return os.path.join(self.directory, digest[:2], digest[2:])

    def _name(self, new: str, digest: str) -> None:
        """The new file has its name, on the disk; one that was there, and may be damaged by now, gives way."""
        place = self._place(digest)
        folder = os.path.dirname(place)
        os.makedirs(folder, exist_ok=True)
        with opened(folder) as fd:
            lock(fd, fcntl.LOCK_SH)
            os.rename(new, place)
            os.fsync(fd)
        with opened(self.directory) as fd:
            os.fsync(fd)


@contextmanager
def opened(directory: str) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def lock(fd: int, how: int) -> None:
    """Who puts a file and who sweeps old ones don't meet in a directory, where the file system can see to that."""
    with suppress(OSError):
        fcntl.flock(fd, how)


def copied(from_: object, to: object, stopped: Stopped) -> tuple[str, int]:
    """Copy, clone where the file system can, and hash what arrives; digest and size. The target is open for reading, too.

    A source that is still written to can't lead to a digest of anything but the copy.
    """
    hashing = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    source, target = from_.fileno(), to.fileno()  # type: ignore[attr-defined]
    cloned = sys.platform == "linux" and clone(source, target)
    source = target if cloned else source
    size = 0
    while count := os.readv(source, [buffer]):
        if stopped():
            raise TransferStopped
        part = buffer[:count]
        hashing.update(part)
        size += count
        while part and not cloned:
            part = part[os.write(target, part) :]
    return hashing.hexdigest(), size


def clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


@contextmanager
def writing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "has no room (the disk is full)"
        raise unavailable(what, problem) from problem
