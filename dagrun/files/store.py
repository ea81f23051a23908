"""A store of files, named by the SHA-256 of their contents. A file is there whole, or not at all; it is checked when it is read.

    files.store = "s3://bucket/prefix"        gs://, az://, file:///…; without the setting, `<state>/files`

Below it each store of attempts has a folder of its own, so that each can forget what none of its attempts names.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagrun.core.files import Output
from dagrun.errors import TaskFailed, UserError
from dagrun.light import Protocol

CHUNK_BYTES = 1 << 20
UNNAMED_SECONDS = (
    86_400  # so long a file may lie there before an attempt names it: a task puts all of its files there first
)
EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}

Stopped = Callable[[], bool]  # asked between chunks: whether the task was told to end


class TransferStopped(Exception):
    """The task was told to end while its files were copied."""


class FileStore(Protocol):
    def put(self, source: str, path: str, stopped: Stopped) -> Output:
        """The file is in the store, and will survive a loss of power. Raises TaskFailed (platform), TransferStopped."""

    def get(self, file: Output, target: str, stopped: Stopped) -> None:
        """A copy of the file is at `target`, where nothing was. Raises TaskFailed, TransferStopped."""

    def sweep(self, named: set[str], before: int, *, dry_run: bool) -> tuple[int, int]:
        """Files that are not named and were put before that time (microseconds) are gone; how many, and their bytes."""


def open_files(url: str | None, state_dir: str, store_id: str) -> FileStore:
    """Raises UserError for a URL that can't be used."""
    from dagrun.files.local import LocalFiles

    if not url:
        return LocalFiles(os.path.join(state_dir, "files", store_id))
    scheme, found, rest = url.partition("://")
    if not found or scheme == "file":
        directory = rest if found else url
        if not os.path.isabs(directory):
            raise UserError(
                f"files.store in the settings: {url} must be an absolute path, or a URL such as s3://bucket/prefix"
            )
        return LocalFiles(os.path.join(directory, store_id))
    if not rest.strip("/"):
        raise UserError(f"files.store in the settings: {url} names no bucket; write {scheme}://bucket/prefix")
    try:
        from dagrun.files.remote import RemoteFiles

        return RemoteFiles(f"{url.rstrip('/')}/{store_id}")
    except ImportError as problem:
        extra = EXTRAS.get(scheme)
        remedy = f"pip install 'dagrun[{extra}]'" if extra else f"install what fsspec needs for {scheme}://"
        raise UserError(
            f"files.store in the settings: {url} needs a package that isn't here ({problem.name or problem})\n  {remedy}"
        ) from None
    except ValueError as problem:
        raise UserError(f"files.store in the settings: {url} can't be used: {problem}") from None


def permissions(status: os.stat_result) -> int:
    """Who may read, write and start it; not whose rights it has when it is started."""
    return status.st_mode & 0o777


@contextmanager
def whole(target: str) -> Iterator[io.FileIO]:
    """A new file, which is gone again if it doesn't become whole."""
    with open(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b", buffering=0) as to:
        try:
            yield to
        except BaseException:
            os.unlink(target)
            raise


def damaged(file: Output, where: str) -> TaskFailed:
    return TaskFailed(
        f"the file {file.path} is damaged in the store: its contents are not those that were put there\n"
        f"  remove {where}, and run the task again that made it (dagrun retry last --from +task)",
        "file_damaged",
        "runtime",
    )


def missing(file: Output, where: str) -> TaskFailed:
    return TaskFailed(
        f"the file {file.path} is not in the store any more ({where})\n"
        "  run the task again that made it (dagrun retry last --from +task)",
        "file_missing",
        "runtime",
    )


def unavailable(what: str, problem: object) -> TaskFailed:
    """Of the disk, or of the network: not the task's fault."""
    return TaskFailed(f"the store of files {what}: {problem}", "files_unavailable", "runtime", platform=True)
