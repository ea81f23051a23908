"""The stamp of a project, without a look at each of its files each time: Linux tells which directories something happened in.

Where it can't tell (another system, a network's file system, no watches left) every stamp is made by looking. Now and then it
is in any case: a file that has a second name elsewhere may be changed by that one. One thread calls it.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from dagrun.light import NamedTuple
from dagrun.project.archive import stamp

LOOK_ANYWAY_SECONDS = 30.0
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "f2fs", "tmpfs", "zfs", "overlay"})  # nobody else changes their files
MOUNTS = "/proc/self/mountinfo"

# inotify(7): modify, attrib, moved from and to, create, delete, delete self, move self; only directories
EVENTS = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x01000000
GONE = 0x8000  # the watch is no more
LOST = 0x4000  # events were lost
EVENT = struct.Struct("iIII")

Call = Callable[..., int]


class Known(NamedTuple):
    stamp: int
    made_at: float
    place: tuple[int, int]  # what the path led to: a link of the path may have been put elsewhere since


class Watch:
    """The stamps of directories; see `archive.stamp`, which gives the same numbers."""

    def __init__(self) -> None:
        self.fd, self.add, self.remove = inotify()
        self.close = weakref.finalize(self, os.close, self.fd) if self.fd >= 0 else lambda: None
        self.devices = local_devices() if self.fd >= 0 else frozenset[int]()
        self.known: dict[str, Known] = {}  # by directory, until something happens
        self.watched: dict[str, set[int]] = {}  # by directory: the watches of all directories in it

    def stamp(self, directory: str) -> int:
        self.forget_changed()
        if self.fd < 0:
            return stamp(directory)
        known, now, place = self.known.pop(directory, None), time.monotonic(), os.stat(directory)
        if known and (place.st_dev, place.st_ino) == known.place and now - known.made_at < LOOK_ANYWAY_SECONDS:
            self.known[directory] = known
            return known.stamp
        before, watches, failed = self.watched.pop(directory, set()), set[int](), []

        def enter(path: str) -> None:
            """Watched before it is read, so that nothing gets lost in between."""
            watch = self.add(self.fd, os.fsencode(path), EVENTS) if os.stat(path).st_dev in self.devices else -1
            if watch < 0:
                failed.append(path)
            else:
                watches.add(watch)

        try:
            enter(directory)  # before its ignore file is read
            found = stamp(directory, enter)
        finally:
            self.watched[directory] = watches
            for watch in before.difference(*self.watched.values()):
                self.remove(self.fd, watch)
        if not failed:
            self.known[directory] = Known(found, now, (place.st_dev, place.st_ino))
        return found

    def forget_changed(self) -> None:
        """What is known of directories in which something has happened."""
        if self.fd < 0:
            return
        with suppress(BlockingIOError):
            while data := os.read(self.fd, 65536):
                at = 0
                while at < len(data):
                    watch, mask, _, length = EVENT.unpack_from(data, at)
                    at += EVENT.size + length
                    self.happened(watch, mask)

    def happened(self, watch: int, mask: int) -> None:
        if mask & LOST:
            self.known.clear()
        for directory, watches in self.watched.items():
            if watch in watches:
                self.known.pop(directory, None)
                if mask & GONE:
                    watches.discard(watch)


def inotify() -> tuple[int, Call, Call]:
    """A descriptor to read events from, and how watches are added and removed. -1 where there is none."""

    def nothing(*_: object) -> int:
        return -1

    try:
        library = ctypes.CDLL(None)
        fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return fd, library.inotify_add_watch, library.inotify_rm_watch
    except (AttributeError, OSError):
        return -1, nothing, nothing


def local_devices() -> frozenset[int]:
    """The devices of file systems whose changes this machine sees all."""
    found = set()
    with suppress(OSError), open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.partition(" ")[0] in LOCAL:
                major, _, minor = before.split(" ")[2].partition(":")
                found.add(os.makedev(int(major), int(minor)))
    return frozenset(found)
