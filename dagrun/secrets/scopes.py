"""Local secrets: where they are looked up, and where they are kept.

Order: `secrets.KEY` of the settings (which hold DAGRUN_CONFIG, DIGDAG_CONFIG and the files), then a file
`secrets/KEY` in the first configuration directory that has one. The value is the file's content as it is. The
files aren't encrypted: mode 0600 in a directory of mode 0700 is all that keeps others out. Sources: spec/cli
7.2, spec/language T20, spec/operators 1.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dagrun.errors import TaskFailed, UserError
from dagrun.light import pattern

_SEGMENT = r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_KEY = pattern(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_LONGEST_KEY = 255
_LARGEST_VALUE_BYTES = 16 * 1024


class LocalSecrets:
    """`settings` are the merged settings, flat: "secrets.KEY" → value. `environment` is that of the process."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._directories = [os.path.join(home, "secrets") for home in config_homes(environment)]

    def get(self, key: str) -> str | None:
        """The value, or None. A key that can't exist has none. Raises UserError for a file that can't be read."""
        if not is_key(key):
            return None
        if (value := self._settings.get(f"secrets.{key}")) is not None:
            return str(value)
        for directory in self._directories:
            if (value := _read(os.path.join(directory, key))) is not None:
                return value
        return None

    def set(self, key: str, value: str) -> None:
        """The value is in dagrun's own directory, whole or not at all. Raises UserError for what can't be a secret."""
        data = _checked(key, value)
        directory = self._directories[0]
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.chmod(directory, 0o700)
        import tempfile

        fd, temporary = tempfile.mkstemp(dir=directory, prefix=".")  # mkstemp's mode is 0600
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.rename(temporary, os.path.join(directory, key))
        except BaseException:
            os.unlink(temporary)
            raise

    def delete(self, key: str) -> bool:
        """No file holds the key any more; False when none did. Settings aren't touched."""
        found = False
        for directory in self._directories if is_key(key) else ():
            try:
                os.unlink(os.path.join(directory, key))
                found = True
            except FileNotFoundError:
                pass
        return found

    def keys(self) -> list[str]:
        """All keys that have a value, sorted."""
        found = {name.removeprefix("secrets.") for name in self._settings if name.startswith("secrets.")}
        for directory in self._directories:
            found.update(_names(directory))
        return sorted(filter(is_key, found))


def config_homes(environment: Mapping[str, str]) -> list[str]:
    """The configuration directories, the first being the one to write to.

    A named directory replaces the usual ones; among the usual ones dagrun's own stands before Digdag's.
    """
    named = [environment[name] for name in ("DAGRUN_CONFIG_HOME", "DIGDAG_CONFIG_HOME") if environment.get(name)]
    if named:
        return named
    home = environment.get("HOME") or os.path.expanduser("~")
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [os.path.join(base, "dagrun"), os.path.join(base, "digdag")]


def is_key(key: str) -> bool:
    return len(key) <= _LONGEST_KEY and _KEY.fullmatch(key) is not None


def redirect(mounts: Mapping[str, Any], key: str) -> str:
    """The key to look up for a key that a task asked for, after its `_secrets` (spec/operators 1.5).

    `{pg: {main: warehouse}}` sends `pg.main.password` to `warehouse.password`; `true` is an old way to say
    "as it is". Raises TaskFailed(`bad_option`) for any other form.
    """
    segments = key.split(".")
    node: Any = mounts
    for depth, segment in enumerate(segments, 1):
        if segment not in node:
            return key
        node = _mount(node[segment], ".".join(("_secrets", *segments[:depth])))
        if node is True:
            return key
        if isinstance(node, str):
            return ".".join((node, *segments[depth:]))
    return key


def _mount(node: Any, path: str) -> Any:
    if isinstance(node, Mapping) or node is True or (isinstance(node, str) and node):
        return node
    raise TaskFailed(f"{path} must be the name of a secret, or a map, not {node!r}", "bad_option", "config")


def _checked(key: str, value: str) -> bytes:
    if not is_key(key):
        raise UserError(
            f"'{key}' can't be the key of a secret\n"
            "  Use letters, digits, '_' and '-', in parts joined by dots; a part begins with a letter and ends with "
            f"a letter or digit; {_LONGEST_KEY} characters at most."
        )
    data = value.encode("utf-8", "surrogateescape")
    if len(data) > _LARGEST_VALUE_BYTES:
        raise UserError(f"the secret '{key}' has {len(data):,} bytes; {_LARGEST_VALUE_BYTES:,} are allowed")
    return data


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"the secret in {path} can't be read: {error.strerror}") from error


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"the secrets in {directory} can't be listed: {error.strerror}") from error
