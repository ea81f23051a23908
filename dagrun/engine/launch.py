"""From a command to a running try: its workspace, its own directory, its environment, its executor.

prepare   a workspace, filled, and the try's own directory beside it
start     the command's files and environment, handed to the executor
clean_up  both directories gone, unless they are to be kept; what an own workspace would lose is remembered
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagrun.core.config import Params
from dagrun.core.events import Failure, Outcome
from dagrun.core.tree import Task
from dagrun.engine.attempt import Attempt
from dagrun.engine.task import Call, Limits
from dagrun.engine.workspace import Workspace, Workspaces, inside
from dagrun.errors import TaskFailed
from dagrun.executors.gate import Gate, script_of
from dagrun.executors.marks import MARK, marked, send
from dagrun.light import Protocol
from dagrun.plugins.executor import Exit, Launch
from dagrun.plugins.operator import Command, TryFile

if TYPE_CHECKING:
    from dagrun.core.files import Output
    from dagrun.files.store import FileStore, Stopped

FORMS = ("own", "shared", "project")
KEEP = ("never", "on_failure", "always")
MOST_NAMED = 5  # files and tasks in the warning


class ProcessLike(Protocol):
    """The executor as the worker drives it: one thread, which waits for all of them at once (executors/process.py)."""

    def start(self, launch: Launch) -> Mapping[str, Any]: ...
    def hold(self, launch: Launch, gate: Callable[[], Gate]) -> None: ...
    def drop(self, launch: Launch) -> None: ...
    def adopt(self, launch: Launch) -> Mapping[str, Any]: ...
    def close(self) -> None: ...
    def fileno(self, handle: Mapping[str, Any]) -> int | None: ...
    def poll(self, handle: Mapping[str, Any]) -> Exit | None: ...
    def stop(self, handle: Mapping[str, Any], grace: float, number: int = ...) -> None: ...
    def tick(self, now: float) -> float | None: ...
    def forget(self, handle: Mapping[str, Any]) -> None: ...


@dataclass(slots=True, eq=False, repr=False)
class Prepared:
    """Where one try works. `io` is its own directory, `directory` its working directory."""

    workspace: Workspace
    attempt: Attempt
    task_name: str
    name: str
    io: str
    directory: str
    keep: str
    written: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)  # files of other tasks, and for them, from the working directory
    has_secrets: bool = False
    process: int | None = None  # the leader of its process group
    commands: int = 0  # that were started so far
    hosted: bool = False  # by an operator that may leave nothing at work
    laid_out: Launch | None = None  # its next command, if its files are there already

    @property
    def command_name(self) -> str:
        """What the executor knows its newest command by: the try's name, with a number if it had others before."""
        return self.name if self.commands <= 1 else f"{self.name}+{self.commands - 1}"

    @property
    def next_name(self) -> str:
        return self.name if self.commands == 0 else f"{self.name}+{self.commands}"


class Files:
    """The store of files, opened when it is first used."""

    def __init__(self, open_store: Callable[[], FileStore]) -> None:
        self._open = open_store
        self._store: FileStore | None = None
        self._lock = threading.Lock()

    @property
    def store(self) -> FileStore:
        with self._lock:
            if self._store is None:
                self._store = self._open()
            return self._store


class Launcher:
    """Starts and ends the commands of this process's tries."""

    def __init__(
        self, store_id: str, state_dir: str, executor: ProcessLike, workspaces: Workspaces, files: Files | None = None
    ) -> None:
        self.store_id = store_id
        self.state_dir = state_dir
        self.executor = executor
        self.workspaces = workspaces
        self.files = files or Files(lambda: local_files(state_dir, store_id))
        self.own_environment = dict(os.environ)
        self.left: dict[int, dict[str, list[str]]] = {}  # attempt → task → files that its own workspace would lose

    def prepare(self, attempt: Attempt, task: Task, number: int, call: Call) -> Prepared:
        """Make and fill the workspace. Raises TaskFailed: outside_project, bad_option; OSError when the disk is full."""
        form, index = workspace_of(attempt, task)
        keep = one_of(call.context.params, call.context.local, "_keep", KEEP)
        key = f"{attempt.id}.{task.index}.{number}"
        place = task.index if form == "own" else index
        workspace = self.workspaces.open(form, attempt.id, place, key, attempt)
        try:
            directory = inside(workspace.project, call.context.workdir)
        except TaskFailed:
            workspace.remove()
            raise
        name = f"{self.store_id}/{key}"
        hosted = call.hosted is not None
        return Prepared(workspace, attempt, task.full_name, name, workspace.io, directory, keep, hosted=hosted)

    def prepare_ahead(self, attempt: Attempt, task: Task, number: int, call: Call) -> Prepared | None:
        """Before the try is claimed: only in a workspace of its own, and only in one that is filled already."""
        if (
            call.context.workdir
            or workspace_of(attempt, task)[0] != "own"
            or not self.workspaces.pool.has_ready(attempt.manifest)
        ):
            return None
        return self.prepare(attempt, task, number, call)

    def reopen(self, attempt: Attempt, task: Task, number: int, call: Call) -> Prepared | None:
        """The workspace of a try that an earlier process started. None when its directory is gone."""
        form, index = workspace_of(attempt, task)
        keep = one_of(call.context.params, call.context.local, "_keep", KEEP)
        key = f"{attempt.id}.{task.index}.{number}"
        workspace = self.workspaces.reopen(form, attempt.id, task.index if form == "own" else index, key, attempt)
        if workspace is None:
            return None
        directory = inside(workspace.project, call.context.workdir)
        return Prepared(workspace, attempt, task.full_name, f"{self.store_id}/{key}", workspace.io, directory, keep)

    def own_directory(self, attempt: Attempt, index: int, number: int) -> str:
        """Of the try; it is known before it is made."""
        return f"{self.workspaces.work}/{attempt.id}.{index}.{number}/io"

    def delivering(self, prepared: Prepared, call: Call) -> Callable[[Stopped], None]:
        """What puts the files in place that the task asks for. To be called in a thread."""
        from dagrun.files.handover import deliver

        top, directory, own = prepared.workspace.project, prepared.directory, prepared.io
        prepared.given.update(one.path for one in call.deliveries if one.in_workspace)
        return lambda stopped: deliver(self.files.store, call.deliveries, top, directory, own, stopped)

    def collecting(self, prepared: Prepared, call: Call) -> Callable[[Stopped], Sequence[Output]]:
        """What puts the files into the store that the task hands on. To be called in a thread."""
        from dagrun.files.found import area
        from dagrun.files.handover import collect

        where = area(prepared.directory, prepared.workspace.project, self.state_dir)

        def collected(stopped: Stopped) -> Sequence[Output]:
            found = collect(self.files.store, where, call.outputs, stopped)
            prepared.given.update(one.path for one in found)
            return found

        return collected

    def forget(self, prepared: Prepared) -> None:
        """How its commands ended is recorded."""
        for number in range(prepared.commands):
            self.executor.forget({"try": prepared.name if number == 0 else f"{prepared.name}+{number}"})

    def start(self, prepared: Prepared, command: Command, log: str, masked: Sequence[str]) -> Mapping[str, Any]:
        """Raises TaskFailed when it can't be started."""
        launch = prepared.laid_out or self.lay_out(prepared, command, log, masked)
        prepared.laid_out = None
        handle = self.executor.start(launch)
        prepared.process = handle.get("pid")
        return handle

    def lay_out(self, prepared: Prepared, command: Command, log: str, masked: Sequence[str]) -> Launch:
        """The command's files are there; what its executor starts. Raises OSError."""
        for name in prepared.workspace.kept.difference(command.files):
            os.unlink(f"{prepared.io}/{name}")
        prepared.workspace.kept.clear()
        for name, content in command.files.items():
            write_private(f"{prepared.io}/{name}", content)
            prepared.written.add(name)
        prepared.has_secrets = prepared.has_secrets or bool(command.secrets or masked)
        prepared.commands += 1
        prepared.laid_out = self.launch_of(prepared, command, log, masked)
        return prepared.laid_out

    def start_ahead(self, prepared: Prepared, command: Command, log: str) -> None:
        """Its files are there, and if it can be held before it does anything, it waits for its `start`. Raises OSError or TaskFailed."""
        launch = self.lay_out(prepared, command, log, ())
        script = script_of(command.argv, command.files)
        if script is not None:
            name, text = script
            self.executor.hold(launch, lambda: Gate(f"{prepared.io}/{name}", text))

    def drop(self, prepared: Prepared) -> None:
        """What was prepared ahead won't be started."""
        if prepared.laid_out is not None:
            self.executor.drop(prepared.laid_out)
        prepared.workspace.give_back(prepared.written)

    def adopt(self, prepared: Prepared, command: Command, log: str, masked: Sequence[str]) -> Mapping[str, Any]:
        """The newest command of the try was started by an earlier process.

        It may be in a container even if the command here has no image: what an operator of another package asked for isn't
        known any more.
        """
        launch = self.launch_of(prepared, command, log, masked)
        project = prepared.workspace.project
        return self.executor.adopt(launch._replace(workspace=project, io=prepared.io, task=prepared.task_name))

    def launch_of(self, prepared: Prepared, command: Command, log: str, masked: Sequence[str]) -> Launch:
        launch = Launch(
            name=prepared.command_name,
            argv=[place(word, prepared.io) for word in command.argv],
            environment=self.environment(prepared, command),
            directory=prepared.directory,
            log=log,
            durable=False,  # who finds a dead owner's tries looks for their mark (owners.py)
            mask=tuple(dict.fromkeys((*command.secrets, *masked))),
        )
        if command.image is None:
            return launch
        attempt, project = prepared.attempt, prepared.workspace.project
        linked = [path for path, entry in attempt.manifest.items() if entry[0] not in ("file", "link")]
        return launch._replace(
            image=command.image,
            workspace=project,
            io=prepared.io,
            links=() if project == attempt.project_dir else [f"{attempt.project_dir}/{path}" for path in linked],
            task=prepared.task_name,
            project_id=attempt.session.project_id,
        )

    def environment(self, prepared: Prepared, command: Command) -> dict[str, str]:
        """Dagrun's own, the command's on top; a container has one of its own."""
        environment = {MARK: prepared.command_name} if command.image is not None else self.own_environment.copy()
        for name, word in command.environment.items():
            environment[name] = word if word.__class__ is str else place(word, prepared.io)
        environment["DAGRUN_TMP"] = prepared.workspace.tmp
        if command.workdir_on_path and command.image is None:
            environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{prepared.directory}"
        return environment

    def stop(self, handle: Mapping[str, Any], limits: Limits) -> None:
        self.executor.stop(handle, limits.grace, getattr(signal, f"SIG{limits.signal}"))

    def clean_up(self, prepared: Prepared, *, failed: bool) -> str | None:
        """Remove what the try had for itself, or say where it is kept. Secrets in its files go in any case."""
        if prepared.hosted and prepared.process is not None and not group_is_gone(prepared.process):
            send(marked(lambda mark: mark == prepared.command_name), signal.SIGKILL)
        if prepared.keep == "always" or (prepared.keep == "on_failure" and failed):
            for name in prepared.written:
                with suppress(FileNotFoundError):  # a task may remove them itself
                    os.unlink(f"{prepared.io}/{name}")
            return f"kept the directory of {prepared.task_name}: {prepared.workspace.keep(self.state_dir)}"
        left = prepared.workspace.leftovers()
        if left and prepared.given:
            below = os.path.relpath(os.path.realpath(prepared.directory), os.path.realpath(prepared.workspace.project))
            given = {os.path.normpath(f"{below}/{path}") for path in prepared.given}
            left = [path for path in left if path not in given]
        if left:
            self.left.setdefault(prepared.attempt.id, {})[prepared.task_name] = left
        if prepared.process is not None and group_is_gone(prepared.process):
            prepared.workspace.give_back(set() if prepared.has_secrets else prepared.written)
        else:
            prepared.workspace.remove()
        return None

    def attempt_ended(self, attempt_id: int) -> str | None:
        """Remove what the attempt shared; returns the warning about files that were lost, if any (features F78)."""
        self.workspaces.close_attempt(attempt_id)
        left = self.left.pop(attempt_id, None)
        if not left:
            return None
        named = [f"  {task}: {shortened(files)}" for task, files in list(left.items())[:MOST_NAMED]]
        if len(left) > MOST_NAMED:
            named.append(f"  … and {len(left) - MOST_NAMED} tasks more")
        return "\n".join(
            [
                "tasks wrote files into their own workspace, which is removed after each try:",
                *named,
                "  to hand files on: _outputs at this task and _inputs at the next one; or _workspace: shared on a group around",
                "  the tasks, or _workspace: project, or dagrun run --in-place",
            ]
        )

    def relative(self, log: str) -> str:
        return log.removeprefix(f"{self.state_dir}/")


def local_files(state_dir: str, store_id: str) -> FileStore:
    from dagrun.files.store import open_files

    return open_files(None, state_dir, store_id)


def workspace_of(attempt: Attempt, task: Task) -> tuple[str, int]:
    """`_workspace` of the task or the nearest group around it, and the index of where it stands."""
    tree = attempt.tree
    for around in (task, *tree.ancestors(task)):
        form = around.spec.config.get("_workspace")
        if form is not None:
            if form not in FORMS:
                raise TaskFailed(f"_workspace can't be {form!r}; use own, shared or project", "bad_option", "config")
            return str(form), around.index
    return str(attempt.options.get("workspace", "own")), 0


def one_of(params: Params, local: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    if local.get(key) is None:
        return allowed[0]
    value = params.text(key)
    if value not in allowed:
        raise TaskFailed(f"{key} can't be {value!r}; use {', '.join(allowed)}", "bad_option", "config")
    return value


def if_full_says_so(result: Command | Outcome, directory: str) -> Command | Outcome:
    """A command that failed on a full disk can't say why: its log lies on the same disk."""
    if isinstance(result, Failure) and is_full(directory):
        message = f"{result.error['message']}; the disk is full on which its workspace lies"
        return result._replace(error={**result.error, "message": message})
    return result


def is_full(directory: str) -> bool:
    try:
        status = os.statvfs(directory)
    except OSError:
        return False
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)


def group_is_gone(leader: int) -> bool:
    """Nothing of the try lives on in the background."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def place(word: str | TryFile, io: str) -> str:
    return f"{io}/{word.name}" if isinstance(word, TryFile) else word


def write_private(path: str, content: str | bytes) -> None:
    """A file for its owner only: it may hold secrets.

    An older one is written over and then cut: emptied first, ext4 would write it out at once, for safety that isn't needed. If a
    task has put a pipe in its place, nobody waits for a reader.
    """
    data = content.encode() if isinstance(content, str) else content
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def shortened(files: Sequence[str]) -> str:
    shown = ", ".join(files[:MOST_NAMED])
    return shown if len(files) <= MOST_NAMED else f"{shown} and {len(files) - MOST_NAMED} more"
