"""From a working directory into the store, and out of it. Runs in a thread; blocks as long as the bytes take.

Nothing is read from outside of the workspace, and nothing is written there, whatever links a task has made.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from dagrun.core.files import Output
from dagrun.errors import TaskFailed
from dagrun.files.found import Area, found_files, is_below
from dagrun.files.store import FileStore, Stopped, TransferStopped
from dagrun.light import NamedTuple

# A file that must survive a loss of power, or goes over the network, is waited for: eight at once take a sixth of the time of one
# after the other, measured with small files on ext4; more of them gain little.
AT_ONCE = 8

T = TypeVar("T")
R = TypeVar("R")


class Delivery(NamedTuple):
    """A file and where it is to be put: below the working directory, else below the try's own directory."""

    file: Output
    path: str
    in_workspace: bool


def collect(store: FileStore, where: Area, patterns: Sequence[str], stopped: Stopped) -> list[Output]:
    """What matches the patterns is in the store. Raises TaskFailed (see found.py), TransferStopped."""
    found = found_files(where, patterns, stopped)
    return each(lambda one: store.put(one[1], one[0], stopped), found.items())


def deliver(
    store: FileStore, deliveries: Sequence[Delivery], top: str, directory: str, own: str, stopped: Stopped
) -> None:
    """All files are where they are wanted. `own` is the try's own directory. Raises TaskFailed, TransferStopped."""

    def put(numbered: tuple[int, Delivery]) -> None:
        number, one = numbered
        base, limit = (directory, top) if one.in_workspace else (own, own)
        target = os.path.join(base, one.path)
        make_room(target, limit, one)
        new = os.path.join(own, f"new.{number}")
        store.get(one.file, new, stopped)
        if stopped():
            raise TransferStopped  # perhaps long ago: the workspace may be another try's by now
        move(new, target, one)

    each(put, enumerate(deliveries))


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results, in order. The first problem in this order is raised; then what hasn't begun never does."""
    todo = list(items)
    if len(todo) < 2:
        return [work(one) for one in todo]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(AT_ONCE, "dagrun-file") as pool:
        try:
            return list(pool.map(work, todo))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def make_room(target: str, limit: str, one: Delivery) -> None:
    """The directory of the path is there, and is no other one's. `limit` is what it must not leave."""
    folder = os.path.dirname(target)
    real = os.path.realpath(folder)
    if not is_below(os.path.realpath(limit), real):
        raise TaskFailed(f"_inputs: {one.path} would leave the workspace, to {real}", "outside_project", "config")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise no_place(one, problem) from None


def move(new: str, target: str, one: Delivery) -> None:
    """The whole file is at its path, in place of what was there. Who looks meanwhile sees the one or the other."""
    try:
        try:
            os.replace(new, target)
        except OSError as problem:
            if problem.errno != errno.EXDEV or os.path.isdir(target):
                raise
            # The project directory may lie on another file system than the state.
            if os.path.lexists(target):
                os.unlink(target)
            shutil.move(new, target)
    except OSError as problem:
        raise no_place(one, problem) from None


def no_place(one: Delivery, problem: OSError) -> TaskFailed:
    return TaskFailed(
        f"_inputs: {one.path} can't be put into the workspace: {problem.strerror} ({problem.filename2 or problem.filename})",
        "bad_option",
        "runtime",
    )
