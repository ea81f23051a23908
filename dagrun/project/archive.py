"""Revisions: immutable snapshots of a project directory, as files by content below `<state>/objects`.

    snapshot(directory, state_dir) -> (digest, manifest)     every file of the project is among the objects then
    Directory(path), Snapshot(manifest, objects)             the files of either, read in the same way
    sweep(state_dir, named, before)                          objects that nothing names any more are gone

A manifest tells for each path, with `/`, what is there: `["file", sha256, mode]`, `["link", target]`, or `["tree", ""]`
for a directory that stays outside and is only linked to (`.git`, `.venv`, `node_modules`). An index remembers size and
times of each file, so that an unchanged project costs one stat a file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from threading import get_ident
from typing import Any

from dagrun.errors import NotFound, UserError
from dagrun.light import NamedTuple

LINKED = frozenset({".git", ".venv", "node_modules"})
LEFT_OUT = frozenset({".dagrun", ".digdag", "__pycache__"})
IGNORE_FILES = (".dagrunignore", ".digdagignore")

Manifest = dict[str, list[Any]]
Ignored = Callable[[str], bool]


# -- reading files


class Directory(NamedTuple):
    """The files of a directory, as they are now."""

    path: str

    def read(self, path: str) -> bytes:
        with open(os.path.join(self.path, path), "rb") as file:
            return file.read()

    def paths(self) -> list[str]:
        return [path for path, _ in walk(self.path, ignored_in(self.path))]


class Snapshot(NamedTuple):
    """The files of a revision."""

    manifest: Mapping[str, Any]
    objects: str

    def read(self, path: str) -> bytes:
        """Links inside the project are followed. Raises FileNotFoundError; NotFound when the archive has lost it."""
        for _ in range(40):
            entry = self.manifest.get(path)
            if entry is not None and entry[0] == "file":
                return self._object(path, entry[1])
            if entry is not None and entry[0] == "tree":
                raise IsADirectoryError(path)
            path = self._behind_link(path)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def _object(self, path: str, digest: str) -> bytes:
        try:
            with open(object_path(self.objects, digest), "rb") as file:
                return file.read()
        except FileNotFoundError:
            hint = f"{self.objects} doesn't hold it: run the command in the project that made the attempt, or name --project"
            raise NotFound("file of the revision", path, hint=hint) from None

    def _behind_link(self, path: str) -> str:
        """The path with its first link replaced by what it points to. Raises FileNotFoundError."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            link = "/".join(parts[:count])
            entry = self.manifest.get(link)
            if entry is not None and entry[0] == "link":
                return os.path.normpath(os.path.join(os.path.dirname(link), entry[1], *parts[count:]))
        raise FileNotFoundError(path)

    def paths(self) -> list[str]:
        return [path for path, entry in self.manifest.items() if entry[0] == "file"]

    def digest(self, path: str) -> str | None:
        entry = self.manifest.get(path)
        return entry[1] if entry and entry[0] == "file" else None


def object_path(objects: str, digest: str) -> str:
    return os.path.join(objects, digest[:2], digest[2:])


# -- walking a project


def walk(
    directory: str, ignored: Ignored, enter: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file, link and linked-to directory of a project, by path in order. `enter` is told of each directory before it
    is read. Raises UserError for a closed directory.
    """
    todo = [""]
    found: list[tuple[str, os.stat_result]] = []
    while todo:
        prefix = todo.pop()
        try:
            enter(os.path.join(directory, prefix))
            scan = os.scandir(os.path.join(directory, prefix) if prefix else directory)
        except PermissionError as problem:
            raise _unreadable(prefix or directory, problem) from problem
        with scan as entries:
            for entry in entries:
                path = f"{prefix}{entry.name}"
                if entry.name in LEFT_OUT or entry.name.endswith(".pyc") or ignored(path):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and ignored(f"{path}/"):
                    continue
                if stat.S_ISDIR(status.st_mode) and entry.name not in LINKED:
                    todo.append(f"{path}/")
                elif status.st_mode & 0o170000 in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
                    found.append((path, status))
    found.sort(key=lambda item: item[0])
    yield from found


def _unreadable(path: str, problem: OSError) -> UserError:
    return UserError(f"{path} can't be read: {problem.strerror}; mend it, or name it in .dagrunignore")


def ignored_in(directory: str) -> Ignored:
    """What the project's ignore file leaves out: gitignore syntax, in the project's top directory only.

    Raises UserError for a pattern that is none.
    """
    for name in IGNORE_FILES:
        place = os.path.join(directory, name)
        with suppress(FileNotFoundError), open(place, encoding="utf-8", errors="surrogateescape") as file:
            from pathspec import GitIgnoreSpec

            try:
                return GitIgnoreSpec.from_lines(file).match_file
            except ValueError as problem:
                raise UserError(f"{name}: {problem}; mend the pattern or remove it") from problem
    return lambda _: False


# -- snapshots


def snapshot(directory: str, state_dir: str, index_name: str = "index") -> tuple[str, Manifest]:
    """The project as it is now. Each project of a state directory has an index of its own. Raises UserError for a file
    that can't be read.
    """
    objects = os.path.join(state_dir, "objects")
    index_path = os.path.join(state_dir, f"{index_name}.json")
    index = read_index(index_path)
    fresh: dict[str, list[Any]] = {}
    manifest: Manifest = {}
    for path, status in walk(directory, ignored_in(directory)):
        full = os.path.join(directory, path)
        if stat.S_ISLNK(status.st_mode):
            manifest[path] = ["link", link_target(directory, full)]
        elif stat.S_ISDIR(status.st_mode):
            manifest[path] = ["tree", ""]
        else:
            known = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            old = index.get(path)
            if old is not None and old[:4] == known and os.path.exists(object_path(objects, old[4])):
                digest = old[4]
            else:
                digest = keep(full, path, objects)
            fresh[path] = [*known, digest]
            manifest[path] = ["file", digest, status.st_mode & 0o777]
    if fresh != index:
        write_index(index_path, fresh)
    text = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), manifest


def stamp(directory: str, enter: Callable[[str], None] = lambda _: None) -> int:
    """Another number when a file of the project has changed, by names, sizes and times."""
    return hash(
        tuple(
            (path, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            if not stat.S_ISDIR(status.st_mode)
            else path
            for path, status in walk(directory, ignored_in(directory), enter)
        )
    )


def link_target(directory: str, full: str) -> str:
    """Where a link points to; relative if that is inside the project, so that a copy doesn't lead back to it."""
    target = os.readlink(full)
    top = os.path.abspath(directory)
    if os.path.isabs(target) and f"{target}/".startswith(f"{top}/"):
        return os.path.relpath(target, os.path.dirname(os.path.abspath(full)))
    return target


def keep(full: str, path: str, objects: str) -> str:
    """The file's content is among the objects; returns its digest."""
    try:
        with open(full, "rb") as file:
            data = file.read()
    except OSError as problem:
        raise _unreadable(path, problem) from problem
    digest = hashlib.sha256(data).hexdigest()
    target = object_path(objects, digest)
    if not is_renewed(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = f"{target}.{os.getpid()}.{get_ident()}"
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, target)
    return digest


def is_renewed(target: str) -> bool:
    """The object is there, and as young as a new one: a sweep at this moment leaves it alone."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return os.path.exists(target)
    return True


def read_index(path: str) -> dict[str, list[Any]]:
    """What is known of the files. A file as young as the index may have changed since without showing it: left out."""
    try:
        written = os.stat(path).st_mtime_ns
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found: dict[str, list[Any]] = json.load(file)
    except (OSError, ValueError):
        return {}
    try:
        return {name: entry for name, entry in found.items() if max(entry[1], entry[2]) < written - 10_000_000}
    except (AttributeError, IndexError, TypeError):  # JSON, but not an index
        return {}


def write_index(path: str, index: Mapping[str, list[Any]]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.{os.getpid()}.{get_ident()}"
    with open(part, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(index, file, ensure_ascii=False)
    os.replace(part, path)


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`A path`, `D path` and `M path` (contents, mode or kind) of two manifests, by path."""
    found = []
    for path in sorted({*old, *new}):
        if path not in old:
            found.append(f"A {path}")
        elif path not in new:
            found.append(f"D {path}")
        elif list(old[path]) != list(new[path]):
            found.append(f"M {path}")
    return found


# -- sweeping


def named_now(state_dir: str) -> set[str]:
    """The objects that the projects' directories consist of as they are now, by the indexes of their last snapshots."""
    found: set[str] = set()
    with suppress(FileNotFoundError):
        for name in os.listdir(state_dir):
            if name.startswith("index") and name.endswith(".json"):
                found |= digests_of_index(os.path.join(state_dir, name))
    return found


def digests_of_index(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return {str(entry[4]) for entry in json.load(file).values()}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):  # no index; the next snapshot makes a new one
        return set()


def digests(manifest: Mapping[str, Any]) -> set[str]:
    return {entry[1] for entry in manifest.values() if entry[0] == "file"}


def sweep(state_dir: str, named: Collection[str], before: int, *, dry_run: bool = False) -> tuple[int, int]:
    """No object that isn't named is left but those made or used since `before` (microseconds): how many, and their bytes.

    Whoever makes a snapshot meanwhile finds each object that it counts on, or makes it again. With `dry_run` nothing is removed.
    """
    objects = os.path.join(state_dir, "objects")
    count = size = 0
    for path, digest in stored_files(objects):
        if digest in named:
            continue
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if status.st_mtime_ns // 1000 < before and (dry_run or is_removed(path, before)):
                count, size = count + 1, size + status.st_size
    return count, size


def stored_files(objects: str) -> Iterator[tuple[str, str]]:
    """Each file below the objects, with the digest that its name begins with: also what a killed process left half written."""
    with suppress(FileNotFoundError):
        for folder in sorted(os.listdir(objects)):
            with suppress(NotADirectoryError):
                for name in os.listdir(os.path.join(objects, folder)):
                    whole = "." not in name
                    yield os.path.join(objects, folder, name), folder + name if whole else ""


def is_removed(path: str, before: int) -> bool:
    """The object is gone, unless somebody renewed it just before.

    It is moved aside first: who renews it after that finds none and writes it again, who did before has left a younger time.
    """
    aside = f"{path.removesuffix('.old')}.old"
    os.rename(path, aside)
    if os.stat(aside).st_mtime_ns // 1000 >= before:
        os.rename(aside, path)
        return False
    os.unlink(aside)
    return True
