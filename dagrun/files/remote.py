"""Files on S3, GCS, Azure and the like, by way of fsspec. Credentials come from where the packages of these services look for them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import fsspec

from dagrun.core.files import Output
from dagrun.errors import TaskFailed
from dagrun.files.store import (
    CHUNK_BYTES,
    UNNAMED_SECONDS,
    Stopped,
    TransferStopped,
    damaged,
    missing,
    permissions,
    unavailable,
    whole,
)

_PART_BYTES = 16 << 20  # of an upload; S3 takes 10,000 of them


class RemoteFiles:
    """Raises ImportError when the package for the URL's scheme isn't there, ValueError for an unknown one."""

    def __init__(self, url: str) -> None:
        self.url = url
        # What others put and remove there counts, and not what was listed a while ago.
        self.fs, self.root = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)

    def put(self, source: str, path: str, stopped: Stopped) -> Output:
        digest = hashed(source, stopped)
        status = os.stat(source)
        key = self._key(digest)
        with self._speaking(), open(source, "rb") as from_:
            if not self._keeps(key, status.st_size):
                self._upload(from_, key, digest, stopped)
        return Output(path, digest, status.st_size, permissions(status))

    def _keeps(self, key: str, size: int) -> bool:
        """It has the object, and nobody will sweep it before an attempt names it."""
        try:
            known = self.fs.info(key)
        except FileNotFoundError:
            return False
        young = int((time.time() - UNNAMED_SECONDS / 2) * 1_000_000)
        return known.get("size") == size and changed_at(known) > young

    def _upload(self, from_: Any, key: str, digest: str, stopped: Stopped) -> None:
        """The service shows the object when all of it is there; an upload that is given up leaves nothing to be seen."""
        to = self.fs.open(key, "wb", block_size=_PART_BYTES)
        hashing = hashlib.sha256()
        try:
            while chunk := from_.read(CHUNK_BYTES):
                if stopped():
                    raise TransferStopped
                hashing.update(chunk)
                to.write(chunk)
            if hashing.hexdigest() != digest:
                raise changing(from_.name)
        except BaseException:
            to.discard()
            to.closed = True
            raise
        to.close()

    def get(self, file: Output, target: str, stopped: Stopped) -> None:
        key = self._key(file.sha256)
        hashing = hashlib.sha256()
        with self._speaking():
            try:
                from_ = self.fs.open(key, "rb", block_size=_PART_BYTES, cache_type="readahead")
            except FileNotFoundError:
                raise missing(file, f"{self.url}: {key}") from None
            with from_, whole(target) as to:
                while chunk := from_.read(CHUNK_BYTES):
                    if stopped():
                        raise TransferStopped
                    hashing.update(chunk)
                    write_all(to.fileno(), chunk)
                os.fchmod(to.fileno(), file.mode)
                if hashing.hexdigest() != file.sha256:
                    raise damaged(file, f"{self.url}: {key}")

    def sweep(self, named: set[str], before: int, *, dry_run: bool) -> tuple[int, int]:
        count = size = 0
        with self._speaking():
            if not self.fs.exists(self.root):
                return 0, 0
            for key, known in self.fs.find(self.root, detail=True).items():
                digest = "".join(key.split("/")[-2:])
                if len(digest) == 64 and digest not in named and changed_at(known) < before:
                    count += 1
                    size += known.get("size") or 0
                    if not dry_run:
                        self._remove(key, before)
        return count, size

    def _remove(self, key: str, before: int) -> None:
        """Unless a task has put it there anew, since it was listed."""
        with suppress(FileNotFoundError):  # another process sweeps, too
            if changed_at(self.fs.info(key)) < before:
                self.fs.rm_file(key)

    def _key(self, digest: str) -> str:
        return f"{self.root.rstrip('/')}/{digest[:2]}/{digest[2:]}"

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Raises TaskFailed (platform) for whatever the service, or the network, has against it."""
        try:
            yield
        except (TransferStopped, TaskFailed):
            raise
        except Exception as problem:  # each service has exceptions of its own
            raise unavailable(f"{self.url} can't be used", f"{type(problem).__name__}: {problem}") from problem


def hashed(path: str, stopped: Stopped) -> str:
    hashing = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if stopped():
                raise TransferStopped
            hashing.update(chunk)
    return hashing.hexdigest()


def changing(source: str) -> TaskFailed:
    return TaskFailed(
        f"_outputs: {source} was written to while it was put into the store: something that the task started lives on",
        "file_changing",
        "runtime",
    )


def write_all(fd: int, data: bytes) -> None:
    """On a disk that is almost full a part of it may be taken before the rest is refused."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def changed_at(known: dict[str, Any]) -> int:
    """When an object was put, microseconds; the services call it differently. Unknown: now, so that it stays."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = known.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1_000_000)
        if isinstance(value, int | float):
            return int(value * 1_000_000)
    return 1 << 62
