"""Where a try works (features F78). Paths of one try, below `<state>/work/<attempt>.<index>.<try>/`:

    project/   an own workspace, filled from the revision; gone after the try
    io/        the try's own files: its script, its parameters, what it stores
    io/tmp/    $DAGRUN_TMP

`shared`: one directory for all tries below a group, gone at the end of the attempt. `project`: the project directory itself.
Files are cloned where the file system can (reflink), else copied; never hard links, so that no task can change a revision.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.project.archive import object_path

FICLONE = 0x40049409  # linux/fs.h
CHUNK = 1 << 30


@dataclass(slots=True)
class Workspace:
    """One try's directories. `filled` tells what `fill` made: path → (size, mtime in ns); None if the try doesn't own it."""

    project: str
    top: str  # of the try
    filled: dict[str, tuple[int, int]] | None = None

    @property
    def io(self) -> str:
        return os.path.join(self.top, "io")

    @property
    def tmp(self) -> str:
        return os.path.join(self.top, "io", "tmp")

    def leftovers(self) -> list[str]:
        """Files that the try wrote into its own workspace: new ones, and changed ones."""
        if self.filled is None:
            return []
        return sorted(path for path, status in files_below(self.project) if self.filled.get(path) != status)

    def remove(self) -> None:
        remove_tree(self.top)


def files_below(directory: str, prefix: str = "") -> list[tuple[str, tuple[int, int]]]:
    """Each file with its status; those of a directory that a task has closed to us aren't known."""
    found = []
    with os.scandir(os.path.join(directory, prefix) if prefix else directory) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    with suppress(PermissionError):
                        found += files_below(directory, f"{path}/")
            elif not entry.is_symlink() and not entry.name.endswith(".pyc"):
                status = entry.stat(follow_symlinks=False)
                found.append((path, (status.st_size, status.st_mtime_ns)))
    return found


@dataclass(slots=True)
class Workspaces:
    """Makes workspaces. `project_dir` is the real project, `state_dir` where all the rest lies."""

    project_dir: str
    state_dir: str
    shared: dict[tuple[int, int], str] = field(default_factory=dict)
    can_clone: bool = True

    @property
    def work(self) -> str:
        return os.path.join(self.state_dir, "work")

    def open(self, form: str, attempt: int, index: int, key: str, manifest: Mapping[str, Any]) -> Workspace:
        """The workspace of a try, filled. `index` is where `_workspace` stands; `key` is the try's. Raises OSError."""
        top = os.path.join(self.work, key)
        self.make(top)
        try:
            if form == "own":
                project = os.path.join(top, "project")
                os.mkdir(project)
                return Workspace(project, top, self.fill(project, manifest))
            if form == "shared":
                return Workspace(self.open_shared(attempt, index, manifest), top)
            return Workspace(self.project_dir, top)
        except BaseException:
            remove_tree(top)
            raise

    def make(self, top: str) -> None:
        try:
            os.mkdir(top)
        except FileNotFoundError:
            os.makedirs(top)
        except FileExistsError:  # a try that asked to be called again
            remove_tree(top)
            os.mkdir(top)
        os.mkdir(os.path.join(top, "io"), 0o700)
        os.mkdir(os.path.join(top, "io", "tmp"))

    def open_shared(self, attempt: int, index: int, manifest: Mapping[str, Any]) -> str:
        directory = self.shared.get((attempt, index))
        if directory is None:
            directory = os.path.join(self.work, f"{attempt}.{index}.shared")
            os.mkdir(directory)
            try:
                self.fill(directory, manifest)
            except BaseException:
                remove_tree(directory)
                raise
            self.shared[attempt, index] = directory
        return directory

    def close_attempt(self, attempt: int) -> None:
        for key in [key for key in self.shared if key[0] == attempt]:
            remove_tree(self.shared.pop(key))

    def fill(self, target: str, manifest: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
        """The files of the revision are in `target`."""
        objects = os.path.join(self.state_dir, "objects")
        made = {""}
        filled: dict[str, tuple[int, int]] = {}
        for path, entry in manifest.items():
            directory = path.rpartition("/")[0]
            if directory not in made:
                os.makedirs(os.path.join(target, directory), exist_ok=True)
                made.add(directory)
            place = os.path.join(target, path)
            if entry[0] == "file":
                filled[path] = self.copy(object_path(objects, entry[1]), place, entry[2])
            else:
                os.symlink(entry[1] if entry[0] == "link" else os.path.join(self.project_dir, path), place)
        return filled

    def copy(self, source: str, target: str, mode: int) -> tuple[int, int]:
        from_ = os.open(source, os.O_RDONLY)
        try:
            to = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | stat.S_IWUSR)
            try:
                if not (self.can_clone and self.clone(from_, to)):
                    while os.sendfile(to, from_, None, CHUNK):
                        pass
                status = os.fstat(to)
                if stat.S_IMODE(status.st_mode) != mode:  # the umask, or a file that nobody may write
                    os.fchmod(to, mode)
                return status.st_size, status.st_mtime_ns
            finally:
                os.close(to)
        finally:
            os.close(from_)

    def clone(self, source: int, target: int) -> bool:
        try:
            fcntl.ioctl(target, FICLONE, source)
            return True
        except OSError:
            self.can_clone = False  # this file system can't
            return False


def inside(project: str, workdir: str) -> str:
    """The working directory of a task. Raises TaskFailed when `_workdir` leaves the project, also by a link."""
    if not workdir:
        return project
    if "\0" in workdir:
        raise TaskFailed(f"_workdir {workdir!r} is no directory of the project", "file_not_found", "config")
    directory = os.path.realpath(os.path.join(project, workdir))
    top = os.path.realpath(project)
    if directory != top and not directory.startswith(top + os.sep):
        raise TaskFailed(f"_workdir {workdir!r} is outside of the project", "outside_project", "config")
    if not os.path.isdir(directory):
        raise TaskFailed(f"_workdir {workdir!r} is no directory of the project", "file_not_found", "config")
    return directory


def sweep_work(state_dir: str, attempt: int) -> None:
    """Remove what a dead process left of an attempt's workspaces."""
    work = os.path.join(state_dir, "work")
    with suppress(FileNotFoundError):
        for name in os.listdir(work):
            if name.partition(".")[0] == str(attempt):
                remove_tree(os.path.join(work, name))


def remove_tree(path: str) -> None:
    """Nothing is at the path any more, also where a task took away its own right to write; links are never followed."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            remove_plainly(path)
        else:  # the task has put something else in its place
            os.unlink(path)
    except OSError:
        remove_stubbornly(path)


def remove_plainly(path: str) -> None:
    """Several times as fast as shutil.rmtree, which matters once a task."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_plainly(entry.path)
            else:
                os.unlink(entry.path)
    os.rmdir(path)


def remove_stubbornly(path: str) -> None:
    """Every directory is opened to us first, from the top down; what still can't be removed stays."""
    if os.path.islink(path):
        return
    permit(path)
    for directory, names, _ in os.walk(path):
        for name in names:
            permit(os.path.join(directory, name))
    shutil.rmtree(path, ignore_errors=True)


def permit(directory: str) -> None:
    if not os.path.islink(directory):
        with suppress(OSError):
            os.chmod(directory, stat.S_IRWXU)
