"""Which files of a working directory `_outputs` means. Blocks as long as it takes to read directories; `handover.py` calls it.

Links are followed inside of the workspace, never out of it and never in circles. The state directory is nobody's output, also
where a task works in the project directory, which holds it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from dagrun.core.kinds import is_unicode
from dagrun.errors import TaskFailed
from dagrun.files.store import Stopped, TransferStopped
from dagrun.light import NamedTuple


class Area(NamedTuple):
    """Where a task's files may lie. Real paths, but for `directory`, the working directory."""

    directory: str
    top: str  # the workspace
    hidden: str | None  # in it, the state directory

    def real(self, path: str) -> str | None:
        """What the path leads to, None if that is hidden. Raises TaskFailed when it leads out of the workspace."""
        found = os.path.realpath(os.path.join(self.directory, path))
        if not is_below(self.top, found):
            raise TaskFailed(f"_outputs: {path} leads out of the workspace, to {found}", "outside_project", "runtime")
        return None if self.hidden is not None and is_below(self.hidden, found) else found


def area(directory: str, top: str, state_dir: str) -> Area:
    """An own or shared workspace lies in the state directory, and hides nothing."""
    top, hidden = os.path.realpath(top), os.path.realpath(state_dir)
    return Area(directory, top, hidden if is_below(top, hidden) else None)


def found_files(where: Area, patterns: Sequence[str], stopped: Stopped) -> dict[str, str]:
    """Paths from the working directory, in order → the real files.

    Raises TaskFailed: nothing matches a pattern, something leads out of the workspace or is no file. TransferStopped.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        before = len(found)
        known = False
        for path in matching(where, os.path.normpath(pattern)):
            if stopped():
                raise TransferStopped
            known = known or path in found
            real = None if path in found else checked(where, path)
            if real is not None:
                found[path] = real
        if len(found) == before and not known:
            raise TaskFailed(
                f"_outputs: the task has written nothing that matches {pattern} (in its working directory)",
                "output_missing",
                "runtime",
            )
    return found


def matching(where: Area, pattern: str) -> Iterator[str]:
    """Paths of files: what is called exactly so, whatever its characters, else what the pattern matches, in order."""
    if os.path.lexists(os.path.join(where.directory, pattern)):
        paths = [pattern]
    else:
        try:
            paths = sorted(str(path.relative_to(where.directory)) for path in Path(where.directory).glob(pattern))
        except ValueError as problem:
            raise TaskFailed(f"_outputs: {pattern} is no pattern: {problem}", "bad_option", "config") from None
    for path in paths:
        yield from files_at(where, path)


def files_at(where: Area, path: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The path itself, or all files below it. `above` are the real directories that led here."""
    full = os.path.join(where.directory, path)
    if not os.path.isdir(full):
        yield path
        return
    real = where.real(path)
    if real is None:
        return
    if real in above:
        raise TaskFailed(f"_outputs: {path} is a link to a directory around it: remove it", "bad_option", "runtime")
    try:
        names = sorted(os.listdir(full))
    except OSError as problem:
        raise unreadable(path, problem.strerror) from None
    for name in names:
        yield from files_at(where, os.path.normpath(os.path.join(path, name)), (*above, real))


def checked(where: Area, path: str) -> str | None:
    """The real file, None if it is hidden. Raises TaskFailed when it isn't one, or can't be read or named."""
    real = where.real(path)
    if real is None:
        return None
    if not is_unicode(path):
        raise TaskFailed(
            f"_outputs: {path!a} has a name that isn't UTF-8: give it another one", "bad_option", "runtime"
        )
    try:
        mode = os.stat(real).st_mode
    except OSError as problem:
        raise unreadable(path, problem.strerror) from None
    if not stat.S_ISREG(mode):
        raise TaskFailed(f"_outputs: {path} is no file", "output_missing", "runtime")
    if not os.access(real, os.R_OK):
        raise unreadable(path, "permission denied")
    return real


def unreadable(path: str, why: str | None) -> TaskFailed:
    return TaskFailed(f"_outputs: {path} can't be read: {why}", "output_missing", "runtime")


def is_below(top: str, path: str) -> bool:
    """Both are real paths."""
    return path == top or path.startswith(top + os.sep)
