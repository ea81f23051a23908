"""py>: what the runner calls and how, with real interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagrun.plugins.operator import Subtasks, Succeeded, TryFile
from dagrun.plugins.testing import context
from dagrun_operators.py import Py

TASKS = """
import abc, asyncio, dataclasses, digdag, functools, os, sys

def f(a, b="dflt"): print("f", a, b)
def kw(**kw): print(sorted(kw))
def ko(a, *, b="x", c): print("ko", a, b, c)
def po(a, b=2, /, c=3): print("po", a, b, c)
def star(a, *args): print("star", a, args)

class C:
    def __init__(self, a): self.a = a
    def m(self, b=2): print("C.m", self.a, b)
    def run(self): print("C.run", self.a)
    @staticmethod
    def s(a): print("C.s", a)
    @classmethod
    def c(cls, a): print("C.c", cls.__name__, a)
    class Inner:
        def m(self): print("Inner.m")
    async def am(self): print("C.am", self.a)

class Sub(C): pass
class K(abc.ABC):
    def run(self): print("K.run")

@dataclasses.dataclass
class D:
    a: int
    b: int = 5
    def run(self): print("D.run", self.a, self.b)

def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        function(*args, **kwargs)
        function(*args, **kwargs)
    return wrapper
@twice
def decorated(a): print("decorated", a)

class Callable:
    def __call__(self, a): print("called", a)
obj = Callable()
part = functools.partial(f, b="part")

async def co(a):
    await asyncio.sleep(0)
    print("co", a)

def st(): digdag.env.store({"x": 1, "d": {"p": 1}}); digdag.env.store(d={"q": 2}, l=[1])
def ex(): digdag.env.export(e="E"); digdag.env.store(b=None)
def gen():
    digdag.env.add_subtask({"echo>": "sub ${e}"})
    digdag.env.add_subtask(f, a="A")
    digdag.env.add_subtask(C.m, a=7)
    digdag.env.add_subtask({"echo>": "a"}, v=1)
    digdag.env.add_subtask(**{"echo>": "b"})
    digdag.env.subtask_config["_parallel"] = True
def lam(): digdag.env.add_subtask(lambda: 1)
def badsub(): digdag.env.add_subtask(f, a=object())
def boom(): digdag.env.store(z=1); raise ValueError("bad thing")
def chained():
    try: boom()
    except ValueError as error: raise KeyError("worse") from error
def ret(): return {"x": 5}
def ex0(): digdag.env.store(x=1); sys.exit(0)
def exnone(): sys.exit()
def ex3(): sys.exit(3)
def extext(): sys.exit("no more")
def crash(): os._exit(7)
def vanish(): os._exit(0)
def bad(): digdag.env.store(x=object())
def nan(): digdag.env.store(x=float("nan"))
def state(): digdag.env.set_state(k=1)
def late(): import no_such_dependency
def numbers(): digdag.env.store(i=12345678901234567890, f=1.5, g=2.0, u="ü\\u3042")
def out(): open(os.environ["DAGRUN_OUT"], "w").write('{"x": "file", "y": 1}'); digdag.env.store(x="api")
def env(): print(os.environ.get("AA"))
def path(): print(sys.path[0] == os.getcwd(), any("/tries/" in entry for entry in sys.path))
def modules():
    import dagrun, digdag_env
    print(dagrun.env is digdag.env, digdag_env.params is digdag.env.params, digdag_env.subtask_config == {})
def plugins():
    import dagrun.plugins.operator
    print(dagrun.env is digdag.env, dagrun.__version__ != "")
"""


@pytest.fixture
def py(run):
    """Run one callable of the project; what it printed is the result."""
    run.write({"tasks.py": TASKS})

    def call(name, **params):
        run(Py(), {"_command": name, "python": sys.executable, **params})
        return run.output

    return call


@pytest.mark.parametrize(
    ("name", "params", "printed"),
    [
        ("tasks.f", {"a": 1, "b": [2]}, "f 1 [2]"),
        ("tasks.f", {"a": 1}, "f 1 dflt"),
        ("tasks:f", {"a": 1}, "f 1 dflt"),
        ("tasks.kw", {"x-y": 1}, "['_command', 'python', 'x-y']"),
        ("tasks.ko", {"a": 1, "c": 2}, "ko 1 x 2"),
        ("tasks.po", {"a": 1, "c": 4}, "po 1 2 4"),
        ("tasks.star", {"a": 1, "args": 2}, "star 1 ()"),
        ("tasks.C", {"a": 5}, "C.run 5"),
        ("tasks.C.m", {"a": 5}, "C.m 5 2"),
        ("tasks.C.c", {"a": 5}, "C.c C 5"),
        ("tasks.Sub.c", {"a": 5}, "C.c Sub 5"),
        ("tasks.C.s", {"a": 5}, "C.s 5"),
        ("tasks.Sub.s", {"a": 5}, "C.s 5"),
        ("tasks.C.am", {"a": 5}, "C.am 5"),
        ("tasks:C.Inner.m", {}, "Inner.m"),
        ("tasks.C.Inner.m", {}, "Inner.m"),
        ("tasks.K", {}, "K.run"),
        ("tasks.K.run", {}, "K.run"),
        ("tasks.D", {"a": 1}, "D.run 1 5"),
        ("tasks.decorated", {"a": 1, "z": 2}, "decorated 1\ndecorated 1"),
        ("tasks.obj", {"a": 1}, "called 1"),
        ("tasks.part", {"a": 1}, "f 1 part"),
        ("tasks.co", {"a": 1}, "co 1"),
        ("tasks.path", {}, "True False"),
    ],
)
def test_the_callable_is_found_and_gets_its_parameters(name, params, printed, py):
    assert py(name, **params) == printed + "\n"


def test_a_module_of_a_package(py, run):
    run.write({"pkg/__init__.py": "", "pkg/mod.py": 'class K:\n    def m(self): print("m")\n'})
    assert py("pkg.mod.K.m") == "m\n"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("tasks.f", 1, "f() needs 'a', and there is no variable of that name (TypeError)"),
        ("tasks.nope", 1, "module 'tasks' has no attribute 'nope' (AttributeError)"),
        ("tasks.C.nope", 1, "type object 'C' has no attribute 'nope' (AttributeError)"),
        ("tasks:C.Inner", 1, "class Inner has no method 'run' (AttributeError)"),
        ("my_method", 1, "'my_method' names no module: write module.function (ValueError)"),
        ("nowhere.f", 1, "No module named 'nowhere'. The interpreter is "),
        ("tasks.late", 1, "No module named 'no_such_dependency'. The interpreter is "),
        ("broken.f", 1, "No module named 'no_such_dependency'. The interpreter is "),
        ("bpkg.mod.f", 1, "No module named 'no_such_dependency'. The interpreter is "),
        ("tasks.boom", 1, "bad thing (ValueError)"),
        ("tasks.ex3", 3, "sys.exit(3) (SystemExit)"),
        ("tasks.extext", 1, "no more (SystemExit)"),
        ("tasks.bad", 1, "store_params: the value of 'x' is not JSON serializable"),
        ("tasks.nan", 1, "store_params: the value of 'x' is not JSON serializable"),
        ("tasks.badsub", 1, "Parameters must be serializable using JSON"),
        ("tasks.lam", 1, "can't be a subtask"),
    ],
)
def test_a_failure_names_its_reason(name, code, message, py, run, fails):
    run.write(
        {"broken.py": "import no_such_dependency", "bpkg/__init__.py": "", "bpkg/mod.py": "import no_such_dependency"}
    )
    with fails("command_failed", "runtime") as caught:
        py(name)
    assert caught.value.message.startswith(f"Python command failed with code {code}: ")
    assert message in caught.value.message
    reported = caught.value.message.splitlines()[1:]
    assert "\n".join(reported) in run.output  # the trace goes to the output as well
    assert reported != []
    assert "runner.py" not in caught.value.message


def test_the_trace_is_part_of_the_message_with_its_causes(py, run, fails):
    with fails("command_failed", "runtime") as caught:
        py("tasks.chained")
    assert "'worse' (KeyError)" in caught.value.message
    for text in (caught.value.message, run.output):
        assert text.count("Traceback (most recent call last)") == 2
        assert "ValueError: bad thing" in text
        assert 'tasks.py", line' in text
    assert caught.value.facts == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [("tasks.crash", "Python command failed with code 7"), ("tasks.vanish", "output.json does not exist")],
)
def test_a_process_that_tells_nothing(name, message, py, fails):
    with fails("command_failed", "runtime") as caught:
        py(name)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("tasks.st", Succeeded(stored={"x": 1, "d": {"q": 2}, "l": [1]})),
        ("tasks.ex", Succeeded(stored={"b": None}, exported={"e": "E"})),
        ("tasks.ret", Succeeded()),
        ("tasks.state", Succeeded()),
        ("tasks.ex0", Succeeded(stored={"x": 1})),
        ("tasks.exnone", Succeeded()),
        ("tasks.numbers", Succeeded(stored={"i": 12345678901234567890, "f": 1.5, "g": 2.0, "u": "üあ"})),
        ("tasks.out", Succeeded(stored={"x": "api", "y": 1})),
    ],
)
def test_what_the_code_gives_back(name, result, py, run):
    assert run(Py(), {"_command": name, "python": sys.executable}) == result


def test_subtasks(py, run):
    config = run(Py(), {"_command": "tasks.gen", "python": sys.executable}).subtasks.config
    assert config == {
        "+subtask0": {"echo>": "sub ${e}"},
        "+subtask1": {"py>": "tasks.f", "a": "A"},
        "+subtask2": {"py>": "tasks.C.m", "a": 7},
        "+subtask3": {"echo>": "a", "v": 1},
        "+subtask4": {"echo>": "b"},
        "_parallel": True,
    }
    assert list(config["+subtask3"]) == ["echo>", "v"]


def test_parameters_are_no_variables_of_the_environment(py):
    assert py("tasks.env", AA=1) == "None\n"
    assert py("tasks.env", _env={"AA": "2"}) == "2\n"


def test_large_parameters(py):
    assert py("tasks.f", a="x" * 300_000) == f"f {'x' * 300_000} dflt\n"


def test_a_project_module_wins_over_an_installed_one(py, run):
    run.write({"yaml.py": 'def f(): print("mine")'})
    assert py("yaml.f") == "mine\n"


def test_where_dagrun_is_installed_it_stays_what_it_is(py):
    assert py("tasks.plugins") == "True True\n"


def test_a_program_in_script(run, fails):
    text = """
import json, sys
params = json.load(open(sys.argv[1]))["params"]
json.dump({"store_params": {"y": params["v"]}, "other": 1}, open(sys.argv[2], "w"))
"""
    assert run(Py(), {"script": text, "v": "V", "python": sys.executable}) == Succeeded(stored={"y": "V"})
    with fails("command_failed", "runtime") as caught:
        run(Py(), {"_command": "", "script": "print(1)", "python": sys.executable})
    assert "output.json" in caught.value.message


@pytest.mark.parametrize("text", ["{", "[]", '{"store_params": 1}', '{"store_params": {"x": NaN}}'])
def test_a_result_that_is_none_fails_the_task(text, run, fails):
    script = f"import sys; open(sys.argv[2], 'w').write({text!r})"
    with fails("command_failed", "runtime") as caught:
        run(Py(), {"script": script, "python": sys.executable})
    assert "output.json" in caught.value.message


@pytest.mark.parametrize(("params", "kind"), [({}, "missing (_command)"), ({"_command": ["f"]}, "bad_type (_command)")])
def test_it_needs_something_to_run(params, kind, fails):
    with fails(kind):
        Py().run(context(params))


def test_in_a_container_the_image_decides():
    command = Py().run(context({"_command": "t.f", "docker": {"image": "img"}, "_env": {"K": "v"}, "vv": 1}))
    files = [TryFile(name) for name in ("runner.py", "input.json", "output.json")]
    assert command.argv == ["python", files[0], "t.f", *files[1:]]
    assert command.image == {"image": "img"}
    assert command.environment["K"] == "v"
    assert "vv" not in command.environment


def old_interpreters():
    """Other Python versions of this machine, 3.8 or later."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = [path for root in roots if root.is_dir() for path in sorted(root.glob("3.*/bin/python"))]
    paths = sorted((int(path.parent.parent.name.split(".")[1]), str(path)) for path in found)
    return [path for minor, path in paths if minor >= 8]


def some_of(paths):
    """The oldest and the newest one at once, the others in `make soak`."""
    return [paths[0], paths[-1], *(pytest.param(path, marks=pytest.mark.soak) for path in paths[1:-1])] if paths else []


@pytest.mark.parametrize("python", some_of(old_interpreters()))
def test_the_runner_works_with_every_supported_python(python, py, run, fails):
    assert py("tasks.C.s", a=5, python=python) == "C.s 5\n"
    assert py("tasks.D", a=1, python=python) == "D.run 1 5\n"
    assert py("tasks.co", a=1, python=python) == "co 1\n"
    has_dagrun = not subprocess.run([python, "-c", "import dagrun"], capture_output=True, check=False).returncode
    assert has_dagrun or py("tasks.modules", python=python) == "True True True\n"
    assert run(Py(), {"_command": "tasks.gen", "python": python}).subtasks != Subtasks()
    with fails("command_failed", "runtime") as caught:
        py("tasks.late", python=python)
    assert python in caught.value.message
