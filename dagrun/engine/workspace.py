"""Where a try works (features F78). Paths of one try, below `<state>/work/<attempt>.<index>.<try>/`:

    project/   an own workspace, filled from the revision; gone after the try
    io/        the try's own files: its script, its parameters, what it stores
    io/tmp/    $DAGRUN_TMP

What `_keep` asks for is moved to `<state>/kept/` under the same name.

A directory that a try left exactly as it found it, and in which nothing of the try lives on, is not removed and filled again
but renamed for the next one: on common file systems a new file in a new directory costs as much as a whole process.

`shared`: one directory for all tries below a group, gone at the end of the attempt. `project`: the project directory itself.
Files are cloned where the file system can (reflink), else copied; never hard links, so that no task can change a revision.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.light import Protocol
from dagrun.project.archive import object_path

FICLONE = 0x40049409  # linux/fs.h
CHUNK = 1 << 30
MOST_POOLED = 32
FILES = "files"  # below the try's own directory: those of other tasks, that templates ask for


# Of a file: its size, and when its contents, then anything of it, last changed. Nothing can turn the last one back.
Status = tuple[int, int, int]
DIRECTORY: Status = (-1, 0, 0)


@dataclass(slots=True, eq=False, repr=False)
class Workspace:
    """One try's directories. `filled` tells what stands in its own project directory; None if the try doesn't own it."""

    project: str
    top: str  # of the try
    filled: dict[str, Status] | None = None
    pool: Pool | None = None
    filled_from: Mapping[str, Any] | None = None  # the manifest of the revision
    found: dict[str, Status] | None = None  # what stood in it when it was last looked at
    kept: set[str] = field(default_factory=set)  # files in `io` of an earlier try, to be written over or removed

    @property
    def io(self) -> str:
        return f"{self.top}/io"

    @property
    def tmp(self) -> str:
        return f"{self.top}/io/tmp"

    def leftovers(self) -> list[str]:
        """Files that the try wrote into its own workspace: new ones, and changed ones."""
        if self.filled is None:
            return []
        found = self.found = entries_below(self.project)
        if found == self.filled:
            return []
        return sorted(
            path
            for path, status in found.items()
            if status[0] >= 0 and not is_cache(path) and self.filled.get(path, DIRECTORY)[:2] != status[:2]
        )

    def remove(self) -> None:
        remove_tree(self.top)

    def keep(self, state_dir: str) -> str:
        """For its reader, out of the way of what is swept; returns where it is now."""
        kept = os.path.join(state_dir, "kept", os.path.basename(self.top))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        call = 1
        while os.path.lexists(kept):  # a try that asked to be called again
            call += 1
            kept = os.path.join(state_dir, "kept", f"{os.path.basename(self.top)}.call{call}")
        os.rename(self.top, kept)
        return kept

    def give_back(self, ours: set[str]) -> None:
        """For the next try, if this one changed nothing; else removed. `ours` are files in `io` without secrets."""
        try:
            if self.is_as_filled() and empty_io(self.io, ours):
                self.found, self.kept = None, ours
                assert self.pool is not None
                self.pool.ready.append(self)
                return
        except OSError:
            pass
        self.remove()

    def is_as_filled(self) -> bool:
        if self.pool is None or self.pool.filled_from is not self.filled_from or len(self.pool.ready) >= MOST_POOLED:
            return False
        return self.filled == (self.found or entries_below(self.project))


@dataclass(slots=True, eq=False, repr=False)
class Pool:
    """Workspaces that are ready to be used again, all filled from the same revision."""

    filled_from: Mapping[str, Any] | None = None
    ready: list[Workspace] = field(default_factory=list)

    def has_ready(self, manifest: Mapping[str, Any]) -> bool:
        return bool(self.ready) and self.filled_from is manifest

    def take(self, top: str) -> Workspace | None:
        """The newest one; but the one that lies at that path already, since no other one could."""
        if not self.ready:
            return None
        return self.ready.pop(next((place for place, one in enumerate(self.ready) if one.top == top), -1))

    def empty(self) -> None:
        while self.ready:
            self.ready.pop().remove()


def empty_io(io: str, ours: set[str]) -> bool:
    """Only files of ours are left in the try's own directory, and an empty `tmp`. Raises OSError."""
    with os.scandir(io) as entries:
        for entry in entries:
            if entry.name == "tmp":
                with os.scandir(entry.path) as inside:
                    if next(inside, None) is not None:
                        return False
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != FILES:
                    return False
                remove_plainly(entry.path)
            elif entry.name not in ours or not entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                ours.discard(entry.name)
    return True


def entries_below(directory: str, prefix: str = "") -> dict[str, Status]:
    """Everything below a directory; what is in one that a task has closed to us isn't known."""
    found: dict[str, Status] = {}
    with os.scandir(f"{directory}/{prefix}" if prefix else directory) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                found[path] = DIRECTORY
                with suppress(PermissionError):
                    found.update(entries_below(directory, f"{path}/"))
            else:
                status = entry.stat(follow_symlinks=False)
                size = status.st_size if stat.S_ISREG(status.st_mode) else -2
                found[path] = (size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def is_cache(path: str) -> bool:
    return path.endswith(".pyc") or "__pycache__/" in path


class Source(Protocol):
    """What a workspace is filled from: a revision, and the real project."""

    @property
    def manifest(self) -> Mapping[str, Any]: ...
    @property
    def project_dir(self) -> str: ...


@dataclass(slots=True, eq=False, repr=False)
class Workspaces:
    """Makes workspaces below `state_dir`."""

    state_dir: str
    shared: dict[tuple[int, int], str] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)
    can_clone: bool = True

    @property
    def work(self) -> str:
        return f"{self.state_dir}/work"

    def open(self, form: str, attempt: int, index: int, key: str, source: Source) -> Workspace:
        """The workspace of a try, filled. `index` is where `_workspace` stands; `key` is the try's. Raises OSError."""
        top = f"{self.work}/{key}"
        if form == "own":
            pooled = self.from_pool(top, source.manifest)
            if pooled is not None:
                return pooled
        self.make(top)
        try:
            if form == "own":
                project = os.path.join(top, "project")
                os.mkdir(project)
                self.fill(project, source)
                return Workspace(project, top, entries_below(project), self.pool, source.manifest)
            if form == "shared":
                return Workspace(self.open_shared(attempt, index, source), top)
            return Workspace(source.project_dir, top)
        except BaseException:
            remove_tree(top)
            raise

    def from_pool(self, top: str, manifest: Mapping[str, Any]) -> Workspace | None:
        """One that is filled already, under a path of its own."""
        if self.pool.filled_from is not manifest:
            self.pool.empty()
            self.pool.filled_from = manifest
        found = self.pool.take(top)
        if found is None:
            return None
        try:
            os.rename(found.top, top)
        except OSError:  # the path of a try that asked to be called again is taken
            found.remove()
            return None
        found.top, found.project = top, f"{top}/project"
        return found

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

    def open_shared(self, attempt: int, index: int, source: Source) -> str:
        directory = self.shared.get((attempt, index))
        if directory is None:
            directory = os.path.join(self.work, f"{attempt}.{index}.shared")
            if not os.path.isdir(directory):  # else an earlier process of ours has made it
                self.make_shared(directory, source)
            self.shared[attempt, index] = directory
        return directory

    def make_shared(self, directory: str, source: Source) -> None:
        """It is there whole, or not at all."""
        filling = f"{directory}.new"
        remove_tree(filling)
        os.mkdir(filling)
        try:
            self.fill(filling, source)
            os.rename(filling, directory)
        except BaseException:
            remove_tree(filling)
            raise

    def reopen(self, form: str, attempt: int, index: int, key: str, source: Source) -> Workspace | None:
        """That of a try which an earlier process started; what the try changed in it isn't known."""
        top = os.path.join(self.work, key)
        if not os.path.isdir(os.path.join(top, "io")):
            return None
        if form == "own":
            return Workspace(os.path.join(top, "project"), top)
        if form == "shared":
            return Workspace(self.open_shared(attempt, index, source), top)
        return Workspace(source.project_dir, top)

    def close_attempt(self, attempt: int) -> None:
        self.pool.empty()
        for key in [key for key in self.shared if key[0] == attempt]:
            remove_tree(self.shared.pop(key))

    def fill(self, target: str, source: Source) -> None:
        """The files of the revision are in `target`."""
        objects = os.path.join(self.state_dir, "objects")
        made = {""}
        for path, entry in source.manifest.items():
            directory = path.rpartition("/")[0]
            if directory not in made:
                os.makedirs(os.path.join(target, directory), exist_ok=True)
                made.add(directory)
            place = os.path.join(target, path)
            if entry[0] == "file":
                self.copy(object_path(objects, entry[1]), place, entry[2])
            else:
                os.symlink(entry[1] if entry[0] == "link" else os.path.join(source.project_dir, path), place)

    def copy(self, source: str, target: str, mode: int) -> None:
        from_ = os.open(source, os.O_RDONLY)
        try:
            to = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | stat.S_IWUSR)
            try:
                if not (self.can_clone and self.clone(from_, to)):
                    copy_bytes(from_, to)
                if stat.S_IMODE(os.fstat(to).st_mode) != mode:  # the umask, or a file that nobody may write
                    os.fchmod(to, mode)
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


def copy_bytes(source: int, target: int) -> None:
    if sys.platform == "linux":
        while os.sendfile(target, source, None, CHUNK):
            pass
        return
    import shutil

    with os.fdopen(source, "rb", closefd=False) as from_, os.fdopen(target, "wb", closefd=False) as to:
        shutil.copyfileobj(from_, to)


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
    for name in working(state_dir):
        if name.partition(".")[0] == str(attempt):
            remove_tree(os.path.join(state_dir, "work", name))


def working(state_dir: str) -> list[str]:
    """The names of all directories of tries, `<attempt>.…`."""
    with suppress(FileNotFoundError):
        return os.listdir(os.path.join(state_dir, "work"))
    return []


def kept_directories(state_dir: str) -> dict[int, list[str]]:
    """The directories that were kept for people, by attempt."""
    found: dict[int, list[str]] = {}
    kept = os.path.join(state_dir, "kept")
    with suppress(FileNotFoundError):
        for name in os.listdir(kept):
            attempt = name.partition(".")[0]
            if attempt.isdecimal():
                found.setdefault(int(attempt), []).append(os.path.join(kept, name))
    return found


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
    import shutil  # only here: starting up must not pay for it

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
