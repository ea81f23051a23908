"""How kept tries ended: a file each, from their end until the engine has recorded it.

The keeper writes them, so that they outlive the keeper and its clients; clients read and remove them. Power loss is no
matter: it ends every process, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_FOLDER = "ends"
_SUFFIX = ".json"
_UNFINISHED = ".new"  # one name is enough: one keeper, one thread

End = Mapping[str, Any]  # the message that tells the end, with the try's pid


def write(state_dir: str, name: str, end: End) -> None:
    """The file is there, whole."""
    new = f"{state_dir}/{_FOLDER}/{_UNFINISHED}"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        os.mkdir(f"{state_dir}/{_FOLDER}", 0o700)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(json.dumps(end))
    os.rename(new, _path(state_dir, name))


def read(state_dir: str, name: str) -> End | None:
    """None if there is none, or if a crash of the machine has left half of it."""
    try:
        with open(_path(state_dir, name), encoding="utf-8") as file:
            end: End = json.load(file)
            return end
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def remove(state_dir: str, name: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(_path(state_dir, name))


def names(state_dir: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.listdir(f"{state_dir}/{_FOLDER}")
        return [_plain(file.removesuffix(_SUFFIX)) for file in found if file.endswith(_SUFFIX)]
    return []


def _path(state_dir: str, name: str) -> str:
    return f"{state_dir}/{_FOLDER}/{name.replace('%', '%25').replace('/', '%2F')}{_SUFFIX}"


def _plain(file: str) -> str:
    return file.replace("%2F", "/").replace("%25", "%")
