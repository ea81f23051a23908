"""Runs one call of a third-party operator in a process of its own: JSON in, JSON out.

    command(…) -> Command      the engine runs it like that of any task: with its limits, its log and its kill
    answer(…)  -> Answer       what the operator returned, or how it failed, once that command has ended

    python -P -m dagrun.plugins.host request.json result.json      in the task's working directory

So a plug-in can neither block the engine nor take it down, and what it prints is the task's output. The
process has no way to the store: the request holds all that the operator may know, including the secrets that
it may ask for. The engine chooses these, and masks them all in the output; the file is deleted as soon as it
has been read. `call>` and `require>` need the engine and aren't there for plug-ins.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NoReturn

from dagrun.errors import PluginError
from dagrun.light import NamedTuple
from dagrun.plugins import registry
from dagrun.plugins.operator import (
    Command,
    Ended,
    Operator,
    OperatorFactory,
    Params,
    Result,
    Succeeded,
    TaskContext,
    TaskFailed,
    TryFile,
)
from dagrun.plugins.registry import Origin
from dagrun.plugins.results import LARGEST, Answer, Nonsense, decode, encode, encode_failure

REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
METHODS = ("run", "ended", "cancel")
LAST_SECONDS = 2  # so long the process may live on after its result: for threads, and for what runs at exit
UNITS = ("GiB", 30), ("MiB", 20), ("KiB", 10)


class Hosted(NamedTuple):
    """A third-party operator. `memory`: so many bytes of data a call may have, 0 for any number."""

    name: str
    origin: Origin
    memory: int = 0

    def __str__(self) -> str:
        return f"Operator {self.name}> of {self.origin}"

    def mend(self) -> str:
        package = self.origin.package
        return f"tell its author, or pip install --upgrade {package}" if package else f"mend {self.origin}"


# -- the engine's side


def command(
    operator: Hosted, method: str, task: TaskContext, *, secrets: Mapping[str, str], end: Ended | None = None
) -> Command:
    """The command that calls `run`, `ended` (with `end`) or `cancel` of the operator."""
    return Command(
        argv=[sys.executable, "-P", "-m", __spec__.name, TryFile(REQUEST_FILE), TryFile(RESULT_FILE)],
        files={REQUEST_FILE: encode_request(operator, method, task, secrets=secrets, end=end)},
        secrets=tuple(secrets.values()),
    )


def encode_request(
    operator: Hosted, method: str, task: TaskContext, *, secrets: Mapping[str, str], end: Ended | None = None
) -> str:
    """The request as JSON. It holds secrets: the file must be readable by its owner only."""
    known = {
        "name": task.name, "params": dict(task.params), "local": dict(task.local), "memo": dict(task.memo),
        "now": task.now, "task_limit": task.task_limit, "workdir": task.workdir, "secrets": dict(secrets),
    }  # fmt: skip
    return json.dumps({"operator": operator, "method": method, "task": known, "end": end._asdict() if end else None})


def answer(operator: Hosted, end: Ended) -> Answer:
    """Read what the process left. One that left nothing crashed, and the task failed."""
    try:
        return decode(read_result(os.path.join(end.directory, RESULT_FILE)))
    except FileNotFoundError:
        return Answer(failure=crash(operator, end.exit_code))
    except OSError as problem:
        return Answer(failure=bad_result(operator, f"it can't be read: {problem.strerror}"))
    except ValueError as problem:  # also Nonsense, and what is no UTF-8
        return Answer(failure=bad_result(operator, str(problem)))


def read_result(path: str) -> str:
    """The text of the file. Whatever the plug-in may have put in its place, the engine doesn't wait for it."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, encoding="utf-8") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Nonsense("it is no file")
        check_size(status.st_size)
        return file.read()


def check_size(size: int) -> None:
    if size > LARGEST:
        raise Nonsense(
            f"it has {size:,} bytes, and may have {LARGEST:,}; write large data to a file or a table, and return its name"
        )


def bad_result(operator: Hosted, reason: str) -> TaskFailed:
    return TaskFailed(f"{operator} gave a bad result: {reason}; {operator.mend()}", "bad_result", "runtime")


def crash(operator: Hosted, exit_code: int) -> TaskFailed:
    how, remedy = f"ended its process with code {exit_code}", operator.mend()
    if exit_code > 128:
        with suppress(ValueError):
            how = f"was killed by {signal.Signals(exit_code - 128).name}"
    if exit_code == 128 + signal.SIGKILL:
        remedy = "the machine may have run out of memory"
    text = f"{operator} {how} and gave no result; the task's log shows what it printed before; {remedy}"
    return TaskFailed(text, "operator_crashed", "runtime")


# -- the operator's side


@dataclass(slots=True, eq=False, repr=False)
class HostedTask:
    """The TaskContext that a plug-in sees."""

    name: str
    params: Params
    local: Mapping[str, Any]
    memo: Mapping[str, Any]
    now: float
    task_limit: int
    workdir: str
    secrets: Mapping[str, str]
    warnings: list[str] = field(default_factory=list)

    def secret(self, key: str, *, direct: bool = False) -> str:  # noqa: ARG002
        if key not in self.secrets:
            raise TaskFailed(f"Secret not found for key: '{key}'", "secret_not_found", "secret not found")
        return self.secrets[key]

    def print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def notify(self, text: str) -> None:
        self.warn(text)

    def read(self, path: str) -> str:
        place = os.path.realpath(path)
        if os.path.commonpath([place, self.top()]) != self.top():
            raise TaskFailed(f"{path} is outside of the project", "outside_project", "config")
        try:
            with open(place, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            raise TaskFailed(f"File not found: {path}", "file_not_found", "config") from None
        except (OSError, UnicodeDecodeError) as error:
            raise TaskFailed(f"{path} can't be read: {error}", "file_not_readable", "config") from None

    def find(self, program: str) -> str | None:
        return shutil.which(os.path.join(self.top(), program) if "/" in program else program)

    def workflow(self, path: str) -> NoReturn:
        raise TaskFailed(f"{path}: only call> can load a workflow", "not_supported", "config")

    def require(self, workflow: str, **_: Any) -> NoReturn:
        raise TaskFailed(f"{workflow}: only require> can start a workflow", "not_supported", "config")

    def top(self) -> str:
        """The top of the project; the process was started in the working directory."""
        return os.path.realpath(os.path.relpath(".", self.workdir or "."))


def main(request_file: str, result_file: str) -> None:
    """Make one call and write how it went. The process ends with code 0 then, also when the task failed.

    Threads that the plug-in leaves behind, and what it does at exit, don't keep the task at work: the alarm ends them.
    """
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    os.unlink(request_file)
    name, origin, memory = request["operator"]
    end = Ended(**request["end"]) if request["end"] else None
    task = HostedTask(**request["task"] | {"params": Params(request["task"]["params"])})
    text = make_call(Hosted(name, Origin(*origin), memory), request["method"], task, end)
    with open(f"{result_file}.part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{result_file}.part", result_file)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.alarm(LAST_SECONDS)
    with suppress(Exception):  # the plug-in may have closed it
        sys.stdout.flush()


def make_call(operator: Hosted, method: str, task: HostedTask, end: Ended | None) -> str:
    """The result file's contents, whatever the operator does."""
    retries = True
    try:
        with limited(operator.memory):
            made = load(operator, task.top())()
            retries = bool(made.retries)
            outcome = encode(call(made, method, task, end))
        task.warnings += left_threads(operator)
        return result_text(outcome, task, retries)
    except BaseException as problem:
        failure = failure_of(operator, problem)
    try:
        return result_text(encode_failure(failure), task, retries)
    except Exception as problem:  # of the operator's own TaskFailed: facts that are no JSON, a message without end
        task.warnings = []
        return result_text(encode_failure(bad_result(operator, str(problem))), task, retries)


def result_text(outcome: Mapping[str, Any], task: HostedTask, retries: bool) -> str:
    warnings = [str(text) for text in task.warnings]
    text = json.dumps({**outcome, "retries": retries, "warnings": warnings}, allow_nan=False)
    check_size(len(text))  # it is ASCII
    return text


@contextmanager
def limited(memory: int) -> Iterator[None]:
    """Meanwhile this process, and each that it starts, may have so many bytes of data. Linux alone keeps to it."""
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if memory and (hard == resource.RLIM_INFINITY or memory < hard):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def load(operator: Hosted, top: str) -> OperatorFactory:
    """What makes the operator. Raises PluginError for whatever is wrong with its file or package."""
    try:
        if operator.origin.module:
            return the_class(operator.origin.module)
        if operator.origin.file:
            from dagrun.plugins.local import load_file

            return load_file(operator.name, os.path.join(top, operator.origin.file))
    except MemoryError:
        raise
    except PluginError as problem:
        raise PluginError(f"{operator} can't be loaded: {problem}") from None
    except (Exception, SystemExit) as problem:  # whatever a module does when it is imported
        raise PluginError(f"{operator} can't be loaded: {described(problem)}\n  {operator.mend()}") from problem
    return registry.OPERATORS.load(operator.name)


def the_class(place: str) -> OperatorFactory:
    module, _, name = place.partition(":")
    found: OperatorFactory = getattr(import_module(module), name)
    return found


def failure_of(operator: Hosted, problem: BaseException) -> TaskFailed:
    """Any error as the task's failure. What is no failure on purpose leaves its trace in the log."""
    if isinstance(problem, TaskFailed):
        return problem
    if isinstance(problem, Nonsense):
        return bad_result(operator, str(problem))
    if isinstance(problem, PluginError):
        if problem.__cause__:
            traceback.print_exception(problem.__cause__)
        return TaskFailed(str(problem).replace("\n  ", "; "), "plugin_error", "config")
    traceback.print_exception(problem)
    if operator.memory and is_out_of_memory(problem):
        text = f"{operator} needed more memory than a call may have, {size_text(operator.memory)}"
        remedy = "raise operators.memory in the settings, or let it hold less at once"
        return TaskFailed(f"{text}; {remedy}", "oom", "runtime")
    text = f"{operator} failed with {described(problem)}; the task's log shows its trace; {operator.mend()}"
    return TaskFailed(text, "operator_error", "runtime")


def is_out_of_memory(problem: BaseException) -> bool:
    return isinstance(problem, MemoryError) or (isinstance(problem, OSError) and problem.errno == errno.ENOMEM)


def described(problem: BaseException) -> str:
    """`ValueError: text (slack.py:12)`: with the line of the plug-in, or of a library that it called."""
    here = os.path.dirname(__file__)
    trace = traceback.extract_tb(problem.__traceback__)
    frames = [frame for frame in trace if not frame.filename.startswith(("<frozen", here))]
    if isinstance(problem, SyntaxError):
        place = f" ({os.path.basename(problem.filename or '')}:{problem.lineno})"
        return f"{type(problem).__name__}: {problem.msg}{place}"
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = str(problem)
    return f"{type(problem).__name__}{': ' if text else ''}{text}{place}"


def left_threads(operator: Hosted) -> list[str]:
    """What to say of threads that are still at work and would keep the process alive."""
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    main_thread = threading.main_thread()
    names = [one.name for one in threading.enumerate() if one is not main_thread and not one.daemon]
    if not names:
        return []
    return [f"{operator} left threads behind, which are ended {LAST_SECONDS} s after its result: {', '.join(names)}"]


def size_text(size: int) -> str:
    """`2 GiB`."""
    for unit, bits in UNITS:
        if size >= 1 << bits:
            return f"{size / (1 << bits):.4g} {unit}"
    return f"{size} bytes"


def call(operator: Operator, method: str, task: HostedTask, end: Ended | None) -> Result | Command:
    if method == "run":
        return operator.run(task)
    if method == "ended" and end is not None:
        return operator.ended(task, end)
    operator.cancel(task)
    return Succeeded()


if __name__ == "__main__":
    main(*sys.argv[1:])
