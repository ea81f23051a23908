"""From a command line's words and a project's files to the map of a workflow file; every error names the file.

A project is `--project`, else the current directory if the named file lies directly in it, else the file's directory. A
`.dig` file in its top directory is a workflow; a `.yml` or `.yaml` file is one if it is named, or has a top-level key that
starts with `+` (architecture 7, spec/language 1.1).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable

from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.workflow import Workflow
from dagrun.core.yaml import decode, load, resolve_include
from dagrun.errors import NotFound, UserError, WorkflowError
from dagrun.light import Protocol

SUFFIXES = (".dig", ".yml", ".yaml")
LARGEST_FILE = 10_000_000  # bytes


class Files(Protocol):
    def read(self, path: str) -> bytes: ...
    def paths(self) -> list[str]: ...


def find_project(named: str, project: str | None, cwd: str) -> tuple[str, str]:
    """The project directory and the workflow file in it. Raises NotFound, UserError."""
    if project is not None:
        directory = os.path.abspath(os.path.join(cwd, project))
        if not os.path.isdir(directory):
            raise NotFound("directory", project)
        inside = os.path.relpath(os.path.join(directory, named), directory)
    else:
        path = os.path.abspath(os.path.join(cwd, named))
        directory, inside = os.path.split(path)
    return directory, existing_file(directory, inside, named)


def existing_file(directory: str, inside: str, named: str) -> str:
    if inside == ".." or inside.startswith("../"):
        raise UserError(f"{named} is outside of the project directory {directory}; name another with --project")
    if inside.endswith(SUFFIXES):
        if os.path.isfile(os.path.join(directory, inside)):
            refuse_twin(directory, inside)
            return inside
    else:
        for suffix in SUFFIXES:
            if os.path.isfile(os.path.join(directory, inside + suffix)):
                refuse_twin(directory, inside + suffix)
                return inside + suffix
    raise NotFound(
        "workflow",
        named,
        candidates(os.path.join(directory, os.path.dirname(inside)), named),
        hint="go to its directory, or name the project with --project",
    )


def candidates(directory: str, named: str) -> list[str]:
    """The workflow files of the directory, written like the name that found none: as a path, with or without suffix."""
    try:
        found = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIXES))
    except (OSError, ValueError):
        return []
    names = found if named.endswith(SUFFIXES) else list(dict.fromkeys(map(name_of, found)))
    return [os.path.join(os.path.dirname(named), name) for name in names]


def refuse_twin(directory: str, file: str) -> None:
    """A file of parameters of the same name is none."""
    stem = file.rpartition(".")[0]
    twins = [name for suffix in SUFFIXES if (name := stem + suffix) == file or is_twin(os.path.join(directory, name))]
    if len(twins) > 1:
        raise UserError(f"{' and '.join(twins)} would be one workflow; rename or delete one of them")


def is_twin(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return path.endswith(".dig") or holds_tasks(file.read())
    except OSError:
        return False


def name_of(file: str) -> str:
    """The workflow's name: the file's, without its suffix."""
    base = posixpath.basename(file)
    for suffix in SUFFIXES:
        if base.endswith(suffix):
            return base.removesuffix(suffix)
    return base


def workflow_files(files: Files) -> list[str]:
    """The `.dig` files in the project's top directory, and those of YAML that hold tasks (spec/language L1, L4)."""
    found = []
    for path in files.paths():
        if "/" in path or path.startswith("."):
            continue
        if path.endswith(".dig") or (path.endswith(SUFFIXES) and holds_tasks(files.read(path))):
            found.append(path)
    return found


def holds_tasks(text: bytes) -> bool:
    return any(line.startswith((b"+", b'"+', b"'+")) for line in text.splitlines())


def workflow_file(files: Files, name: str) -> str:
    """The file of the workflow of that name. Raises NotFound."""
    paths = files.paths()
    for suffix in SUFFIXES:
        if f"{name}{suffix}" in paths:
            return f"{name}{suffix}"
    raise NotFound("workflow", name, [name_of(path) for path in paths if path.endswith(".dig") and "/" not in path])


def compile_file(files: Files, path: str) -> Workflow:
    """One workflow of a project. Raises WorkflowError, FileNotFoundError."""
    return compile_workflow(name_of(path), load_config(files, path))


def load_config(files: Files, path: str) -> Map:
    """The map of a workflow file with all that it includes; a file below the top gets its `_workdir` (L24).

    Raises WorkflowError, FileNotFoundError.
    """
    return load(read_text(files, path), path, include_reader(files))


def include_reader(files: Files) -> Callable[[str, str], tuple[str, str]]:
    """What `core.yaml.load` asks for an included file."""

    def include(including: str, path: str) -> tuple[str, str]:
        target = resolve_include(including, path)
        try:
            return target, read_text(files, target)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise WorkflowError(
                f"the included file {path} isn't there",
                kind="include_not_found",
                hint=f"its path is relative to {posixpath.dirname(including) or 'the project directory'}",
            ) from None

    return include


def read_text(files: Files, path: str) -> str:
    try:
        data = files.read(path)
    except PermissionError:
        raise WorkflowError(
            "the file can't be read: permission denied", kind="not_readable", file=path, hint=f"chmod u+r {path}"
        ) from None
    except IsADirectoryError:
        raise WorkflowError("this is a directory, not a workflow file", kind="not_readable", file=path) from None
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as problem:  # a link to itself, a name that is too long, a disk that fails
        raise WorkflowError(f"the file can't be read: {problem.strerror}", kind="not_readable", file=path) from problem
    if len(data) > LARGEST_FILE:
        raise WorkflowError(
            f"the file has {len(data):,} bytes; at most {LARGEST_FILE:,} are read",
            kind="file_too_large",
            file=path,
            hint="split it: call> runs another file",
        )
    return decode(data, path)
