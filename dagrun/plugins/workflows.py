"""Workflows that an operator gets as a text, from wherever it is: loaded and checked as `call>` does with a file."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from dagrun.core.compiler import called_body
from dagrun.core.yaml import load, resolve_include
from dagrun.errors import WorkflowError
from dagrun.plugins.operator import TaskContext, TaskFailed

__all__ = ["body_of"]


def body_of(text: str, name: str, task: TaskContext) -> Mapping[str, Any]:
    """The body of the workflow, as if it were the file `name` in the working directory. Raises TaskFailed."""

    def include(including: str, path: str) -> tuple[str, str]:
        target = resolve_include(including, path)
        try:
            return target, task.read(posixpath.relpath(target, task.workdir or "."))
        except TaskFailed as problem:
            raise WorkflowError(f"the included file {path}: {problem.message}", kind="include_not_found") from None

    try:
        return called_body(load(text, posixpath.join(task.workdir, name), include), task.workdir)
    except WorkflowError as problem:
        raise TaskFailed(str(problem), problem.kind, "config") from None
