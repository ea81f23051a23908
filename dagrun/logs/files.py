"""The logs of tries, as files: one a try, written by the process itself or by the engine for it.

Owns where a log lies and how it is read while it grows. It doesn't know what is in it; masking is done
before.
"""

from __future__ import annotations

import os
import re

_LONGEST_NAME_BYTES = 200  # file systems allow 255; the rest is for who adds an ending
_SHOWN_BYTES = 80  # of each end of a name that is too long
_SAFE_LETTERS = r"A-Za-z0-9+^_.=@,\-\[\]"
_SAFE = re.compile(rf"[{_SAFE_LETTERS}]*\Z")
_UNSAFE = re.compile(f"[^{_SAFE_LETTERS}]".encode())


def log_path(state_dir: str, attempt_id: int | str, task: str, number: int) -> str:
    """The log of one try: `logs/12/+wf+load~1.log`. A long name keeps both its ends and gets a hash between them.

    Digdag can't run a task whose log would have too long a name (spec/language, defect 35).
    """
    name = task
    if not _SAFE.match(task):
        name = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], task.encode("utf-8", "surrogateescape")).decode()
    if len(name) > _LONGEST_NAME_BYTES:
        import hashlib

        digest = hashlib.sha256(task.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        name = f"{name[:_SHOWN_BYTES]}~{digest}~{name[-_SHOWN_BYTES:]}"
    return f"{log_directory(state_dir, attempt_id)}/{name}~{number}.log"


def log_directory(state_dir: str, attempt_id: int | str) -> str:
    """Where all logs of an attempt lie."""
    return f"{state_dir}/logs/{attempt_id}"


def open_log(path: str) -> int:
    """A descriptor that appends; the file and its directories are there. The caller closes it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def append_text(path: str, text: str) -> None:
    """The text is at the end of the log, in one piece."""
    fd = open_log(path)
    try:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    """All of the log; nothing when the try has printed nothing."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def tail(path: str, lines: int = 20, max_bytes: int = 4096) -> str:
    """The last lines, without a half one at the beginning unless it is the only one."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - max_bytes)
            file.seek(max(0, start - 1))
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        return ""
    if start:
        data = _without_half_line(data)
    return b"".join(data.splitlines(keepends=True)[-lines:]).decode("utf-8", "replace")


def _without_half_line(data: bytes) -> bytes:
    """`data` begins one byte early: with a line feed there, its first line is whole."""
    _, found, rest = data.partition(b"\n")
    if found and rest:
        return rest
    return data[1:].lstrip(bytes(range(0x80, 0xC0)))  # what is left of a character


class Follower:
    """Reads what is appended to a log from one look to the next. The log needn't be there yet."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> bytes:
        """The bytes that came since the last look. A log that was cut is read from its beginning."""
        try:
            size = os.stat(self._path).st_size
            if size == self._offset:
                return b""
            with open(self._path, "rb", buffering=0) as file:
                if size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                return self._advance(file.readall())
        except FileNotFoundError:
            return b""

    def lines(self) -> bytes:
        """The whole lines that came since the last look; what follows them is left for the next one."""
        data = self.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset -= len(data) - len(whole)
        return whole

    def _advance(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data
