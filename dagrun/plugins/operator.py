"""What an operator is: it says what a task does, and never how or where it is run.

    Operator.run(task)         -> Succeeded | Again | Command, or raises TaskFailed
    Operator.ended(task, end)  -> Succeeded | Again, or raises TaskFailed      (after a Command ended)
    Operator.cancel(task)                                                      (optional: end remote work)

An operator sees a `TaskContext` and never the store. A command is handed to the executor that the task asks
for, so the same operator runs in a process, a container or a cluster job, and can be tested without doing
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from dagrun.core.config import Params, mark_templates
from dagrun.core.kinds import Option, json_text
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple, Protocol

__all__ = [
    "Again", "Child", "Command", "Ended", "Operator", "OperatorFactory", "Option", "Params", "Result", "Subtask",
    "Subtasks", "Succeeded", "TaskContext", "TaskFailed", "TryFile", "docker_options", "json_text", "mark_templates",
]  # fmt: skip


NOTHING: Mapping[str, Any] = MappingProxyType({})


class Subtask(NamedTuple):
    """One generated task.

    `config` is a task's map as in a file: its texts are templates. `data` are variables that it and its
    descendants see, as they are: plain values, never evaluated.
    """

    name: str  # with its sign: "+loop-0"
    config: Mapping[str, Any]
    data: Mapping[str, Any] = NOTHING


class Subtasks(NamedTuple):
    """Generated tasks, which become the group `^sub` below the task that made them.

    Either `config`, a map as in a file (a group or a single operator task), or `items`, in order. `options`
    are keys of the group itself (`_parallel`, …) when `items` are given.
    """

    config: Mapping[str, Any] | None = None
    items: Sequence[Subtask] = ()
    options: Mapping[str, Any] = NOTHING


class Succeeded(NamedTuple):
    """The task did its work. `reason` is set when there was nothing to do: the task shows as skipped."""

    stored: Mapping[str, Any] = NOTHING  # seen by all tasks ordered after this one
    exported: Mapping[str, Any] = NOTHING  # seen by generated tasks only
    reset: Sequence[str] = ()  # dotted names removed before `stored` is applied
    subtasks: Subtasks | None = None
    reason: str | None = None


class Again(NamedTuple):
    """Call `run` again after so many seconds, with this memo. The task waits and holds no slot meanwhile.

    `wake_on` names an attempt whose end cuts the wait short.
    """

    after: float
    memo: Mapping[str, Any]
    wake_on: int | None = None


class TryFile(NamedTuple):
    """A file of the try's own directory, which lies outside the workspace.

    It stands in a Command for the path that the file has where the command runs; only the engine knows that
    path. A type and not a mark in a text, so that no script or parameter can be taken for one.
    """

    name: str


class Command(NamedTuple):
    """A process to run.

    `files` are written into the try's own directory before the start, readable by their owner only, and
    deleted after the try (name → text, or bytes). `environment` comes on top of that of dagrun itself;
    `secrets` are values to mask in everything that the process prints.
    """

    argv: Sequence[str | TryFile]
    environment: Mapping[str, str | TryFile] = NOTHING
    files: Mapping[str, str | bytes] = NOTHING
    secrets: Sequence[str] = ()
    image: Mapping[str, Any] | None = None
    workdir_on_path: bool = False  # the working directory is the last entry of PATH


class Ended(NamedTuple):
    """How a command ended. `exit_code` is 128 + N for signal N, as shells say it."""

    exit_code: int
    directory: str  # the try's own directory, with the files that the process left in it


Result = Succeeded | Again


class Child(NamedTuple):
    """An attempt that `require>` started or found; with `waits`, one that comes before it."""

    attempt_id: int
    session_id: int
    started: bool  # by this call
    done: bool
    success: bool
    waits: str = ""  # why it can't be started yet


class TaskContext(Protocol):
    """What an operator may know and ask for."""

    name: str  # full name, "+wf+group+task"
    params: Params  # all variables and options that the task sees, evaluated
    local: Mapping[str, Any]  # the keys written at the task itself, evaluated; nulls are left out
    memo: Mapping[str, Any]  # what the last `Again` asked to be remembered
    now: float  # seconds since 1970 UTC
    task_limit: int  # the largest number of tasks of an attempt
    workdir: str  # `_workdir`, relative to the project; "" is its top

    def secret(self, key: str, *, direct: bool = False) -> str:
        """The value of a secret, masked in all output from then on. Raises TaskFailed("secret_not_found").

        `_secrets` of the task says where the key leads, unless the look-up is `direct`.
        """

    def print(self, text: str) -> None:
        """Write a line to the task's output."""

    def warn(self, text: str) -> None:
        """Warn the person who runs the workflow."""

    def notify(self, text: str) -> None:
        """Tell the people whom the settings name (`notify.to`); without any, warn."""

    def read(self, path: str) -> str:
        """A project file as text; relative to the working directory. Raises TaskFailed: missing, outside."""

    def workflow(self, path: str) -> Mapping[str, Any]:
        """The body of another workflow file for `call>`: checked, with `_workdir`. Raises TaskFailed."""

    def require(
        self, workflow: str, *, session_time: str | None, params: Mapping[str, Any], retry_name: str | None,
        project: str | int | None = None,
    ) -> Child:  # fmt: skip
        """Start an attempt of that workflow's session, or find the one that is there. Raises TaskFailed."""

    def find(self, program: str) -> str | None:
        """The path of a program where the command will run, or None.

        A bare name is looked up on PATH; a name with a slash is relative to the top of the project.
        """


class Operator:
    """Base of all operators. One instance a call; keep nothing in it between calls.

    The docstring of an operator is what `dagrun operators NAME` shows: its first line says what it does, and what is
    indented below a line `Example:` how it is written.
    """

    runs_in: ClassVar[str] = "process"  # "engine" only for built-ins that neither block nor compute
    # Its `run` reads nothing but the task and only describes a command, so that it may be called early, and in vain.
    describes: ClassVar[bool] = False
    retries: ClassVar[bool] = True  # the task's own `_retry` covers a failure of `run` (spec/language X18)
    options: ClassVar[tuple[Option, ...]] = ()  # what it reads; `dagrun check` and `dagrun operators` go by it
    namespaces: ClassVar[tuple[str, ...]] = ()  # maps with defaults of the options (spec/operators 1.3)

    def run(self, task: TaskContext) -> Result | Command:
        raise NotImplementedError

    def ended(self, task: TaskContext, end: Ended) -> Result:  # noqa: ARG002 (for those who override it)
        """Called after the command that `run` returned has ended. By default exit code 0 is success."""
        if end.exit_code:
            raise TaskFailed(f"Command failed with code {end.exit_code}", "command_failed", "runtime")
        return Succeeded()

    def files(self, command: Any, config: Mapping[str, Any], project: Container[str]) -> list[str]:  # noqa: ARG002
        """The project files whose contents decide what the task does, of those that `project` holds.

        From the task's own keys, unevaluated. A retry runs the task again when one of them has changed.
        """
        return []

    def cancel(self, task: TaskContext) -> None:
        """End remote work that the memo names."""


def docker_options(params: Params) -> dict[str, Any] | None:
    """The container that a task asks for: `_docker` (features F80) or `docker` (spec/operators 4.3), None without one.

    `_docker: IMAGE` is short for `_docker: {image: IMAGE}`, and `_docker: {}` asks for none. An empty `docker` does, as in
    Digdag: what is meant for a container never runs here because its image is missing.
    """
    own = params.get("_docker")
    if own is not None:
        return ({"image": own} if isinstance(own, str) else params.map_("_docker")) or None
    return params.map_("docker") if params.get("docker") is not None else None


OperatorFactory = Callable[[], Operator]
