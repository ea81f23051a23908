"""Call one Python object as a task: `runner.py CALLABLE input.json output.json`.

One file with nothing but the standard library, Python 3.8 or later: it is copied beside its input and run by
the interpreter that the task asks for, in the working directory of the task. It finds the callable, fills its
parameters by name from the variables, calls it, and writes in one piece what the code stored, exported and
generated, or its error.

User code sees the module `digdag` with `env` (`dagrun` is another name for it) and the module `digdag_env`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any


def main(path: str, input_file: str, output_file: str) -> int:
    output_file = os.path.abspath(output_file)
    with open(input_file, encoding="utf-8") as file:
        env = Env(json.load(file)["params"])
    prepare_imports(env)
    status, result = outcome(path, env)
    write(result, output_file)
    return status


def outcome(path: str, env: Env) -> tuple[int, dict[str, Any]]:
    """Call it; the exit status and the contents of the result file."""
    try:
        try:
            finish(call(find(path, env.params), env.params))
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
        return 0, env.result()
    except BaseException as error:
        sys.stdout.flush()
        trace = trace_of(error)
        sys.stderr.write("".join(trace))
        status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        return status & 0xFF or 1, {
            "error": {"class": type(error).__name__, "message": message_of(error), "backtrace": trace}
        }


def write(result: Mapping[str, Any], output_file: str) -> None:
    """Nobody ever sees half a result."""
    with open(output_file + ".part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(output_file + ".part", output_file)


# -- what user code sees


class Env:
    """`digdag.env`: the variables, and what the code gives back."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.store_params: dict[str, Any] = {}
        self.export_params: dict[str, Any] = {}
        self.state_params: dict[str, Any] = {}  # accepted and never kept, as in Digdag
        self.subtask_config: OrderedDict[str, Any] = OrderedDict()
        self._subtasks = 0

    def store(self, params: Mapping[str, Any] | None = None, /, **kwds: Any) -> None:
        """Give values to all tasks that come after this one."""
        self.store_params.update(params or {}, **kwds)

    def export(self, params: Mapping[str, Any] | None = None, /, **kwds: Any) -> None:
        """Give values to the tasks that this one generates."""
        self.export_params.update(params or {}, **kwds)

    def set_state(self, params: Mapping[str, Any] | None = None, /, **kwds: Any) -> None:
        self.state_params.update(params or {}, **kwds)

    def add_subtask(self, task: Any = None, /, **params: Any) -> None:
        """Generate a task: a function or method with its parameters, or a task's map."""
        if task is None or isinstance(task, Mapping):
            config = {**(task or {}), **params}
        else:
            config = {"py>": path_of(task), **params}
        try:
            json.dumps(config, allow_nan=False)
        except Exception as error:
            raise TypeError(f"Parameters must be serializable using JSON: {error}") from error
        self.subtask_config[f"+subtask{self._subtasks}"] = config
        self._subtasks += 1

    def result(self) -> dict[str, Any]:
        """All that the code gives back. Raises TypeError, naming the value, when JSON can't hold it."""
        parts = {
            "store_params": self.store_params,
            "export_params": self.export_params,
            "subtask_config": self.subtask_config,
        }
        for part, values in parts.items():
            for key, value in values.items():
                try:
                    json.dumps({key: value}, allow_nan=False)
                except (TypeError, ValueError, RecursionError) as error:
                    raise TypeError(f"{part}: the value of {key!r} is not JSON serializable: {error}") from None
        return parts


def path_of(task: Callable[..., Any]) -> str:
    """The path by which the callable can be found again in another process."""
    module, name = getattr(task, "__module__", None), getattr(task, "__qualname__", None)
    if not module or not name or "<" in name:
        raise TypeError(f"{task!r} can't be a subtask: it must be a function, method or class of a module")
    return f"{module}.{name}"


def prepare_imports(env: Env) -> None:
    """The working directory comes first on the path, and the directory of this file isn't on it at all."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    installed = importlib.util.find_spec("dagrun") is not None
    sys.path.insert(0, os.getcwd())

    digdag_env = types.ModuleType("digdag_env", "The dictionaries of digdag.env.")
    for name in ("params", "store_params", "export_params", "state_params", "subtask_config"):
        setattr(digdag_env, name, getattr(env, name))
    sys.modules["digdag_env"] = digdag_env
    sys.modules["digdag"] = module_with_env("digdag", env)
    if installed:
        # This interpreter has dagrun itself; it stays what it is and only gets `env` on top.
        importlib.import_module("dagrun").env = env  # type: ignore[attr-defined]
    elif importlib.util.find_spec("dagrun") is None:  # and the project has no module of that name
        sys.modules["dagrun"] = module_with_env("dagrun", env)


def module_with_env(name: str, env: Env) -> types.ModuleType:
    module = types.ModuleType(name, "What a task sees of the workflow: see `env`.")
    module.env = env  # type: ignore[attr-defined]
    return module


# -- finding


def find(path: str, params: Mapping[str, Any]) -> Callable[..., Any]:
    """The callable of `module.function`, `module.Class.method`, `module.Class` (its `run`), `module:A.B.c`.

    An instance that is needed for a method is made with its own parameters.
    """
    owner, names = start_of(path)
    target = owner
    for name in names:
        owner, target = target, getattr(target, name)
    if inspect.isclass(target):
        return method(target, "run", params)
    if inspect.isclass(owner):
        return method(owner, names[-1], params)
    return target  # type: ignore[no-any-return]


def start_of(path: str) -> tuple[Any, list[str]]:
    """The module and the names within it. The longest part of a dotted path that can be imported counts."""
    if ":" in path:
        module, _, rest = path.partition(":")
        return importlib.import_module(module), rest.split(".")
    parts = path.split(".")
    if len(parts) < 2 or not all(parts):
        raise ValueError(f"{path!r} names no module: write module.function")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            return importlib.import_module(name), parts[length:]
        except ModuleNotFoundError as error:
            # Only when it is this very module that isn't there. If it is there and one of *its* imports is
            # missing, that is the error which the user has to see.
            missing = error.name or ""
            if not (name == missing or name.startswith(missing + ".")) or length == 1:
                raise
    raise AssertionError("unreachable")


def method(owner: Any, name: str, params: Mapping[str, Any]) -> Callable[..., Any]:
    """The method, bound to the class or to a new instance, as it needs."""
    if isinstance(inspect.getattr_static(owner, name, None), (staticmethod, classmethod)):
        return getattr(owner, name)  # type: ignore[no-any-return]
    if not hasattr(owner, name):
        raise AttributeError(f"class {owner.__name__} has no method {name!r}")
    return getattr(call(owner, params), name)  # type: ignore[no-any-return]


# -- calling


def call(target: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    positional, keywords = arguments(target, params)
    return target(*positional, **keywords)


def finish(value: Any) -> None:
    """Run a coroutine to its end. Any other return value is ignored."""
    if inspect.isawaitable(value):
        import asyncio

        async def wait() -> None:
            await value

        asyncio.run(wait())


def arguments(target: Callable[..., Any], params: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The variables as arguments, by name. Raises TypeError: names all parameters that have none."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # some callables written in C don't tell
        return [], {}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    missing = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            keywords = {**params, **keywords}
        elif parameter.name not in params and parameter.default is parameter.empty:
            missing.append(repr(parameter.name))
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(params.get(parameter.name, parameter.default))
        elif parameter.name in params:
            keywords[parameter.name] = params[parameter.name]
    if missing:
        name = getattr(target, "__qualname__", None) or type(target).__qualname__
        raise TypeError(f"{name}() needs {', '.join(missing)}, and there is no variable of that name")
    return positional, keywords


# -- errors


def message_of(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code})" if isinstance(error.code, int) else str(error.code)
    text = str(error)
    if isinstance(error, ModuleNotFoundError):
        version = ".".join(str(number) for number in sys.version_info[:3])
        text += (
            f". The interpreter is {sys.executable} (Python {version}); another one is chosen by `python:` at"
            ' the task ("3.12", a path, venv:DIR, uv:requirements.txt), by `py: {python: …}` in an _export, by'
            " a .venv in the project, or by $VIRTUAL_ENV"
        )
    return text


def trace_of(error: BaseException) -> list[str]:
    """The trace as Python prints it, with its causes and without the frames of this file."""
    trace = traceback.TracebackException(type(error), error, error.__traceback__)
    todo: list[traceback.TracebackException | None] = [trace]
    while todo:
        part = todo.pop()
        if part is not None:
            part.stack[:] = [frame for frame in part.stack if frame.filename != __file__]
            todo += [part.__cause__, part.__context__]
    return list(trace.format())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
