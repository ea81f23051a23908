"""Files that tasks hand on (features F79): what a task declares, and how another one names it.

    _outputs: [report.csv, "parts/*.gz", logs/]      files, patterns, directories with all below them; from the working directory
    _inputs: {+extract: raw/}                        all outputs of a task, or of the tasks of a group, in that directory
    ${+extract.file("report.csv")}                   the path of one of them, outside of the workspace

Who names a task in one of the latter waits for it, as with `_needs`. Paths are relative, with `/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from dagrun.core.config import Template
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple

OUTPUTS, INPUTS = "_outputs", "_inputs"
_REFERENCE = r"""\s*(\+[^\s()'"${}]+)\.file\(\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\)\s*\Z"""


class Output(NamedTuple):
    """A file as the store has it. `path` as its task knew it; `mode` the permission bits."""

    path: str
    sha256: str
    size: int
    mode: int


def patterns(value: Any) -> list[str]:
    """`_outputs` as a list. Raises TaskFailed."""
    if value is None:
        return []
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one for one in found):
        raise bad(OUTPUTS, f'{OUTPUTS} must be a list of paths, like [report.csv, "parts/*.gz"]')
    for one in found:
        refuse_outside(OUTPUTS, one)
    return found


def targets(value: Any) -> dict[str, str]:
    """`_inputs`: the name of a task → the directory for its files. Raises TaskFailed."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not value:
        raise bad(INPUTS, f"{INPUTS} must be a map of tasks and directories, like {{+extract: raw/}}")
    for name, directory in value.items():
        if not name.startswith("+"):
            raise bad(INPUTS, f"{INPUTS}: {name!r} is no name of a task; names start with +")
        if not isinstance(directory, str) or not directory:
            raise bad(INPUTS, f"{INPUTS}: {name} needs a directory, such as raw/ or . for the working directory")
        refuse_outside(INPUTS, directory)
    return dict(value)


def refuse_outside(key: str, path: str) -> None:
    if isinstance(path, Template):  # looked at again when it is known
        return
    if path.startswith("/") or "\0" in path or posixpath.normpath(path).split("/")[0] == "..":
        raise TaskFailed(
            f"{key}: {path!r} leaves the workspace; paths are relative to the working directory",
            "outside_project",
            "config",
        )


def bad(key: str, message: str) -> TaskFailed:
    return TaskFailed(message, f"bad_type ({key})", "config")


def reference(source: str) -> tuple[str, str] | None:
    """Task and path of `+task.file("path")`, None for any other expression. A sign before a call of no known name would be
    an error in JavaScript, too: nothing is taken away from anybody."""
    found = re.match(_REFERENCE, source)  # compiled when it is first needed: most files have none
    return (found[1], found[2] if found[2] is not None else found[3]) if found else None
