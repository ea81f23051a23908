"""What an operator sees of its task and may ask of the engine: the TaskContext of `plugins/operator.py`."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagrun.core.compiler import called_body, check_workflow_name
from dagrun.core.config import Params
from dagrun.errors import TaskFailed, UserError, WorkflowError
from dagrun.plugins.operator import Child
from dagrun.project.loader import load_config
from dagrun.secrets.scopes import redirect

if TYPE_CHECKING:
    from dagrun.engine.asked import Services


@dataclass(slots=True, eq=False, repr=False)
class Context:
    """One call of one operator. `services` is what it may reach of the process that runs it."""

    name: str
    params: Params
    local: Mapping[str, Any]
    memo: Mapping[str, Any]
    now: float
    task_limit: int
    workdir: str
    services: Services
    redirects: Mapping[str, Any]

    def secret(self, key: str, *, direct: bool = False) -> str:
        value = self.services.secret(key if direct else redirect(self.redirects, key))
        if value is None:
            raise TaskFailed(
                f"Secret not found for key: '{key}'; set it with: dagrun secrets --local --set {key}",
                "secret_not_found",
                "secret not found",
            )
        return value

    def print(self, text: str) -> None:
        self.services.write(f"{text}\n")

    def warn(self, text: str) -> None:
        self.services.warn(text)

    def notify(self, text: str) -> None:
        if not self.services.notify(text):
            self.services.warn(text)

    def read(self, path: str) -> str:
        try:
            return str(self.services.files().read(self.inside(path)), "utf-8")
        except FileNotFoundError:
            raise TaskFailed(f"File not found: {path}", "file_not_found", "config") from None
        except (OSError, UnicodeDecodeError) as problem:
            raise TaskFailed(f"{path} can't be read: {problem}", "file_not_readable", "config") from None

    def inside(self, path: str, category: str = "config") -> str:
        """The path relative to the project. Raises TaskFailed, of this category, when it leaves it."""
        full = posixpath.normpath(posixpath.join(self.workdir, path))
        if full.startswith(("../", "/")) or full == "..":
            raise TaskFailed(
                f"Given path '{path}' is outside of project directory '{self.services.project_dir}'",
                "outside_project",
                category,
            )
        return full

    def workflow(self, path: str) -> Mapping[str, Any]:
        """The body of a called file; its directory becomes the working directory of its tasks (spec/language G5)."""
        full = self.inside(path if path.endswith(".dig") else f"{path}.dig", "illegal argument")
        try:
            config = load_config(self.services.files(), full)
            body = called_body(config, posixpath.dirname(full))
        except FileNotFoundError:
            raise TaskFailed(f"File not found: {full}", "file_not_found", "config") from None
        except WorkflowError as problem:
            raise TaskFailed(str(problem), problem.kind, "config") from None
        except UserError as problem:
            raise TaskFailed(str(problem), "file_not_found", "config") from None
        try:
            check_workflow_name(full.removesuffix(".dig"), config)  # with its directory, as in Digdag
        except WorkflowError as problem:
            raise TaskFailed(str(problem), problem.kind, "runtime") from None
        return body

    def require(self, workflow: str, **wanted: Any) -> Child:
        return self.services.require(workflow, **wanted)

    def find(self, program: str) -> str | None:
        from shutil import which

        return which(os.path.join(self.services.project_dir, program) if "/" in program else program)
