"""A third-party operator in a process of its own."""

from __future__ import annotations

import os
import subprocess

import pytest

from dagrun.plugins import host
from dagrun.plugins.operator import Again, Command, Ended, Subtask, Subtasks, Succeeded, TryFile
from dagrun.plugins.registry import Origin
from dagrun.plugins.results import Reader, decode_command, encode_command
from dagrun.plugins.testing import context

DEMO = host.Hosted("demo", Origin("dagrun-demo", "1.0"))
SELF = "Operator demo> of dagrun-demo 1.0"
PLUGIN = """
import os, signal, sys, threading, time
from dagrun.plugins.operator import *


class Demo(Operator):
    retries = False

    def run(self, task):
        return getattr(self, task.params.text("_command"))(task)

    def stores(self, task):
        task.print("hello")
        task.warn("careful")
        return Succeeded(stored={"name": task.name, "memo": task.memo, "local": task.local}, reset=["a.b"], reason="r")

    def waits(self, task):
        return Again(2.5, {"n": task.memo.get("n", 0) + 1}, wake_on=3)

    def generates(self, task):
        item = Subtask("+a", {"echo>": "${i}"}, {"i": 1})
        return Succeeded(exported={"e": 1}, subtasks=Subtasks(items=[item], options={"_parallel": True}))

    def starts(self, task):
        return Command(
            ["cat", TryFile("f")], {"A": "b", "F": TryFile("f")}, {"f": b"\\xff\\x00", "g": "text"}, ["s"],
            {"image": "img"}, workdir_on_path=True,
        )

    def ended(self, task, end):
        return Succeeded(stored={"code": end.exit_code, "directory": end.directory})

    def cancel(self, task):
        print("canceled", task.memo["job"])

    def fails(self, task):
        raise TaskFailed("no", "my_kind", "runtime", facts={"stored": {"x": 1}})

    def raises(self, task):
        return 1 / 0

    def leaves(self, task):
        sys.exit("bye")

    def interrupts(self, task):
        raise KeyboardInterrupt

    def dies(self, task):
        os._exit(3)

    def crashes(self, task):
        os.kill(os.getpid(), signal.SIGSEGV)

    def is_killed(self, task):
        os.kill(os.getpid(), signal.SIGKILL)

    def leaks(self, task):
        kept = []
        while True:
            kept.append(bytearray(1_000_000))

    def leaves_a_thread(self, task):
        threading.Thread(target=time.sleep, args=(60,), name="sleeper").start()
        return Succeeded(reason="r")

    def hangs_at_exit(self, task):
        import atexit
        atexit.register(time.sleep, 60)
        return Succeeded(reason="r")

    def closes_everything(self, task):
        os.closerange(0, 20)
        return Succeeded(reason="r")

    def stores_too_much(self, task):
        return Succeeded(stored={"x": "x" * 11_000_000})

    def tells_too_much(self, task):
        raise TaskFailed("x" * 11_000_000)

    def fails_oddly(self, task):
        raise TaskFailed("no", facts={"x": object()})

    def nothing(self, task):
        pass

    def nan(self, task):
        return Succeeded(stored={"x": float("nan")})

    def object(self, task):
        return Succeeded(stored={"x": object()})

    def secret(self, task):
        return Succeeded(stored={"a": task.secret("a")})

    def no_secret(self, task):
        task.secret("b")

    def reads(self, task):
        return Succeeded(stored={"text": task.read("f.txt"), "top": task.read("../top.txt")})

    def escapes(self, task):
        task.read("../../secret.txt")

    def missing(self, task):
        task.read("nope.txt")

    def finds(self, task):
        return Succeeded(stored={"own": task.find("bin/tool"), "sh": task.find("sh"), "no": task.find("bin/no")})

    def calls(self, task):
        task.workflow("x")

    def requires(self, task):
        task.require("x", session_time=None, params={}, retry_name=None)

    def request(self, task):
        return Succeeded(stored={"there": os.path.exists(sys.argv[1])})
"""


@pytest.fixture
def call(tmp_path):
    """Make one call of the plug-in `demo>`, in the sub-directory `sub` of a project."""
    site, project, io = tmp_path / "site", tmp_path / "project", tmp_path / "io"
    (site / "dagrun_demo-1.0.dist-info").mkdir(parents=True)
    (site / "dagrun_demo-1.0.dist-info" / "METADATA").write_text("Name: dagrun-demo\nVersion: 1.0\n")
    points = "[dagrun.operators]\ndemo = dagrun_demo:Demo\nbroken = dagrun_nowhere:X\n"
    (site / "dagrun_demo-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / "dagrun_demo.py").write_text(PLUGIN)
    (project / "sub").mkdir(parents=True)
    (project / "bin").mkdir()
    (project / "sub" / "f.txt").write_text("text")
    (project / "sub" / "json.py").write_text("raise SystemExit('a project must not shadow the library')")
    (project / "top.txt").write_text("top")
    (project / "bin" / "tool").write_text("#!/bin/sh\n")
    (project / "bin" / "tool").chmod(0o755)
    (tmp_path / "secret.txt").write_text("secret")
    io.mkdir()

    def make(command, method="run", *, name="demo", end=None, secrets=None, memory=0, **more):
        task = context({"_command": command}, workdir="sub", **more)
        operator = host.Hosted(name, Origin("dagrun-demo", "1.0"), memory)
        described = host.command(operator, method, task, secrets=secrets or {}, end=end)
        for file, text in described.files.items():
            (io / file).write_text(text)
        argv = [str(io / word.name) if isinstance(word, TryFile) else word for word in described.argv]
        process = subprocess.run(
            argv, cwd=project / "sub", env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        make.output, make.errors = process.stdout, process.stderr
        code = process.returncode
        return host.answer(operator, Ended(128 - code if code < 0 else code, str(io)))

    make.project = project
    return make


def test_what_an_operator_stores_and_says(call):
    answer = call("stores", memo={"k": 1})
    stored = {"name": "+w+t", "memo": {"k": 1}, "local": {"_command": "stores"}}
    assert answer.result == Succeeded(stored=stored, reset=("a.b",), reason="r")
    assert answer.warnings == ("careful",)
    assert not answer.retries
    assert call.output == "hello\n"


def test_again(call):
    assert call("waits", memo={"n": 1}).result == Again(2.5, {"n": 2}, wake_on=3)


def test_generated_tasks(call):
    items = (Subtask("+a", {"echo>": "${i}"}, {"i": 1}),)
    subtasks = Subtasks(items=items, options={"_parallel": True})
    assert call("generates").result == Succeeded(exported={"e": 1}, subtasks=subtasks)


def test_a_command_and_its_end(call):
    assert call("starts").result == Command(
        argv=("cat", TryFile("f")),
        environment={"A": "b", "F": TryFile("f")},
        files={"f": b"\xff\x00", "g": "text"},
        secrets=("s",),
        image={"image": "img"},
        workdir_on_path=True,
    )
    ended = call("starts", "ended", end=Ended(4, "/d"))
    assert ended.result == Succeeded(stored={"code": 4, "directory": "/d"})


def test_cancel(call):
    assert call("", "cancel", memo={"job": 5}).result == Succeeded()
    assert call.output == "canceled 5\n"


@pytest.mark.parametrize(
    ("command", "kind", "category", "message"),
    [
        ("fails", "my_kind", "runtime", "no"),
        (
            "raises",
            "operator_error",
            "runtime",
            f"{SELF} failed with ZeroDivisionError: division by zero (dagrun_demo.py:",
        ),
        ("leaves", "operator_error", "runtime", f"{SELF} failed with SystemExit: bye (dagrun_demo.py:"),
        ("interrupts", "operator_error", "runtime", f"{SELF} failed with KeyboardInterrupt (dagrun_demo.py:"),
        ("dies", "operator_crashed", "runtime", f"{SELF} ended its process with code 3 and gave no result"),
        ("crashes", "operator_crashed", "runtime", f"{SELF} was killed by SIGSEGV and gave no result"),
        ("is_killed", "operator_crashed", "runtime", f"{SELF} was killed by SIGKILL and gave no result"),
        ("nothing", "bad_result", "runtime", f"{SELF} gave a bad result: it returned None; it must return Succeeded"),
        ("nan", "operator_error", "runtime", f"{SELF} failed with ValueError: "),
        ("object", "operator_error", "runtime", f"{SELF} failed with TypeError: "),
        ("fails_oddly", "bad_result", "runtime", f"{SELF} gave a bad result: Object of type object is not JSON"),
        ("tells_too_much", "bad_result", "runtime", f"{SELF} gave a bad result: it has 11,0"),
        ("stores_too_much", "bad_result", "runtime", f"{SELF} gave a bad result: it has 11,0"),
        ("no_secret", "secret_not_found", "secret not found", "Secret not found for key: 'b'"),
        ("escapes", "outside_project", "config", "../../secret.txt is outside of the project"),
        ("missing", "file_not_found", "config", "File not found: nope.txt"),
        ("calls", "not_supported", "config", "x: only call> can load a workflow"),
        ("requires", "not_supported", "config", "x: only require> can start a workflow"),
    ],
)
def test_a_failure(command, kind, category, message, call):
    failure = call(command).failure
    assert (failure.kind, failure.category) == (kind, category)
    assert failure.message.startswith(message)


def test_a_failure_keeps_its_facts_and_a_bug_its_trace(call):
    assert call("fails").failure.facts == {"stored": {"x": 1}}
    call("raises")
    assert "ZeroDivisionError" in call.errors


def test_what_needs_too_much_memory_is_told_of_the_setting(call):
    failure = call("leaks", memory=200 << 20).failure
    assert failure.kind == "oom"
    assert failure.message.startswith(
        f"{SELF} needed more memory than a call may have, 200 MiB; raise operators.memory"
    )


@pytest.mark.parametrize("command", ["leaves_a_thread", "hangs_at_exit"])
def test_what_is_left_behind_does_not_keep_the_process_alive(command, call):
    answer = call(command)
    assert answer.result == Succeeded(reason="r")
    left = f"{SELF} left threads behind, which are ended 2 s after its result: sleeper"
    assert answer.warnings == ((left,) if command == "leaves_a_thread" else ())


def test_a_plug_in_that_closes_its_descriptors_gives_its_result(call):
    assert call("closes_everything").result == Succeeded(reason="r")


def test_a_broken_plug_in_fails_the_task(call):
    failure = call("", name="broken").failure
    assert (failure.kind, failure.category) == ("plugin_error", "config")
    assert "dagrun-demo" in failure.message


def test_secrets_are_those_that_the_engine_grants(call):
    assert call("secret", secrets={"a": "S"}).result == Succeeded(stored={"a": "S"})
    assert host.command(DEMO, "run", context(), secrets={"a": "S"}).secrets == ("S",)


def test_the_request_is_gone_while_the_operator_runs(call):
    assert call("request", secrets={"a": "S"}).result == Succeeded(stored={"there": False})


def test_files_and_programs_of_the_project(call):
    assert call("reads").result == Succeeded(stored={"text": "text", "top": "top"})
    stored = call("finds").result.stored
    assert stored["own"] == str(call.project / "bin" / "tool")
    assert stored["sh"].endswith("/sh")
    assert stored["no"] is None


def test_a_command_survives_the_way_there_and_back():
    command = Command(("a", TryFile("b")), files={"x": b"\x00"})
    assert decode_command(Reader("", encode_command(command))) == command
