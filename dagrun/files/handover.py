"""From a working directory into the store, and out of it. Runs in a thread; blocks as long as the bytes take.

Nothing is read from outside of the workspace, and nothing is written there, whatever links a task has made.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dagrun.core.files import Output
from dagrun.errors import TaskFailed
from dagrun.files.store import FileStore, Stopped


class Delivery(NamedTuple):
    """A file and where it is to be put: below the working directory, else below the try's own directory."""

    file: Output
    path: str
    in_workspace: bool


def collect(store: FileStore, top: str, directory: str, patterns: Sequence[str], stopped: Stopped) -> list[Output]:
    """What matches the patterns is in the store. `top` is the workspace, `directory` the working directory in it.

    Raises TaskFailed: nothing matches, something leads out of the workspace or is no file.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        paths = list(matching(directory, pattern))
        if not paths:
            raise TaskFailed(
                f"_outputs: the task has written nothing that matches {pattern} (in its working directory)",
                "output_missing",
                "runtime",
            )
        found.update(dict.fromkeys(paths))
    return [store.put(checked(top, directory, path), path, stopped) for path in found]


def matching(directory: str, pattern: str) -> Iterator[str]:
    """Paths of files, in order; a directory stands for all that is below it."""
    for path in sorted(glob.glob(pattern.rstrip("/"), root_dir=directory, recursive=True, include_hidden=True)):
        full = os.path.join(directory, path)
        if not os.path.isdir(full):
            yield path
            continue
        for folder, folders, files in os.walk(full):
            folders.sort()
            for name in sorted(files):
                yield os.path.relpath(os.path.join(folder, name), directory)


def checked(top: str, directory: str, path: str) -> str:
    """The real file. Raises TaskFailed when it isn't one of the workspace."""
    full = os.path.join(directory, path)
    real = os.path.realpath(full)
    if not is_below(top, real):
        raise TaskFailed(f"_outputs: {path} leads out of the workspace, to {real}", "outside_project", "runtime")
    try:
        mode = os.stat(real).st_mode
    except OSError as problem:
        raise TaskFailed(f"_outputs: {path} can't be read: {problem.strerror}", "output_missing", "runtime") from None
    if not stat.S_ISREG(mode):
        raise TaskFailed(f"_outputs: {path} is no file", "output_missing", "runtime")
    if not os.access(real, os.R_OK):
        raise TaskFailed(f"_outputs: {path} can't be read: permission denied", "output_missing", "runtime")
    return real


def deliver(
    store: FileStore, deliveries: Sequence[Delivery], top: str, directory: str, own: str, stopped: Stopped
) -> None:
    """All files are where they are wanted. `own` is the try's own directory. Raises TaskFailed."""
    for one in deliveries:
        base, limit = (directory, top) if one.in_workspace else (own, own)
        target = os.path.join(base, one.path)
        folder = os.path.dirname(target)
        real = os.path.realpath(folder)
        if not is_below(limit, real):
            raise TaskFailed(f"_inputs: {one.path} would leave the workspace, to {real}", "outside_project", "config")
        make_room(target, folder, one)
        store.get(one.file, target, stopped)


def make_room(target: str, folder: str, one: Delivery) -> None:
    """Nothing is at the path; its directory is there."""
    try:
        os.makedirs(folder, exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
    except OSError as problem:
        raise TaskFailed(
            f"_inputs: {one.path} can't be put into the workspace: {problem.strerror} ({problem.filename})",
            "bad_option",
            "runtime",
        ) from None


def is_below(top: str, path: str) -> bool:
    top = os.path.realpath(top)
    return path == top or path.startswith(top + os.sep)
