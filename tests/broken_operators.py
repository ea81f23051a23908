"""Operators of a project that do harm, each in its own way, and what is to become of the task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SETTINGS = '[operators]\nproject = true\nmemory = "300 MiB"\n'


class Harm(NamedTuple):
    body: str  # of `run`; or the whole file, if it isn't indented
    kind: str | None  # of the failure, None for a success
    message: str = ""  # a pattern
    options: str = ""  # more lines of the task


def own(name: str) -> str:
    return rf"Operator {name}> of operators/{name}\.py"


HARMS: Mapping[str, Harm] = {
    "raises": Harm(
        "    return 1 / 0", "operator_error",
        rf"{own('raises')} failed with ZeroDivisionError: division by zero \(raises\.py:7\); the task's log shows its trace; "
        r"mend operators/raises\.py \(runtime\)",
    ),
    "exits": Harm(
        "    os._exit(3)", "operator_crashed",
        rf"{own('exits')} ended its process with code 3 and gave no result; .*; mend operators/exits\.py",
    ),
    "faults": Harm(
        "    ctypes.string_at(0)", "operator_crashed", rf"{own('faults')} was killed by SIGSEGV and gave no result; "
    ),
    "is_killed": Harm(
        "    os.kill(os.getpid(), 9)", "operator_crashed",
        rf"{own('is_killed')} was killed by SIGKILL and gave no result; .*; the machine may have run out of memory",
    ),
    "leaks": Harm(
        "    while True: KEPT.append(bytearray(1_000_000))", "oom",
        rf"{own('leaks')} needed more memory than a call may have, 300 MiB; raise operators\.memory in the settings",
    ),
    "loops": Harm(
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: pass", "timed_out",
        rf"{own('loops')} did not end within its _timeout of 1 s", "_timeout: 1s\n  _kill_grace: 0.2",
    ),
    "prints": Harm("    for _ in range(50_000): print('x' * 99)\n    return Succeeded()", None),
    "returns": Harm(
        "    return 42", "bad_result",
        rf"{own('returns')} gave a bad result: it returned 42; it must return Succeeded, Again or Command; mend operators/",
    ),
    "is_large": Harm(
        "    return Succeeded(stored={'x': 'x' * 11_000_000})", "bad_result",
        rf"{own('is_large')} gave a bad result: it has 11,000,\d\d\d bytes, and may have 10,000,000; write large data to a file",
    ),
    "waits_for_ever": Harm("    return Again(1e300, {})", "bad_result", "after must be a number of seconds, at most a year"),
    "is_deep": Harm(
        "    deep = []\n    for _ in range(150): deep = [deep]\n    return Succeeded(stored={'x': deep})", "bad_result",
        "its result has more than 100 levels of maps and lists",
    ),
    "breaks_out": Harm(
        "    return Command(['true'], files={'../../escaped': 'x'})", "bad_result",
        r"'\.\./\.\./escaped' can't be the name of a file of the try",
    ),
    "writes_rubbish": Harm(
        "    open(sys.argv[2], 'w').write('{'); os._exit(0)", "bad_result",
        rf"{own('writes_rubbish')} gave a bad result: its result is not JSON",
    ),
    "leaves_a_pipe": Harm("    os.mkfifo(sys.argv[2]); os._exit(0)", "bad_result", "gave a bad result: it is no file"),
    "removes_all": Harm(
        "    shutil.rmtree(os.path.dirname(sys.argv[2]))\n    return Succeeded()", "operator_crashed",
        "ended its process with code 1",
    ),
    "leaves_a_thread": Harm("    threading.Thread(target=time.sleep, args=(60,)).start()\n    return Succeeded()", None),
    "leaves_a_child": Harm(
        "    child = subprocess.Popen(['sleep', '60'])\n    return Succeeded(stored={'child': child.pid})", None
    ),
    "has_no_library": Harm(
        "import no_such_library\n", "plugin_error",
        rf"{own('has_no_library')} can't be loaded: ModuleNotFoundError: No module named 'no_such_library' "
        r"\(has_no_library\.py:1\); mend operators/",
    ),
    "is_no_python": Harm(
        "class\n", "plugin_error", rf"{own('is_no_python')} can't be loaded: SyntaxError: .* \(is_no_python\.py:1\); mend"
    ),
    "leaves_at_once": Harm("exit('bye')\n", "plugin_error", rf"{own('leaves_at_once')} can't be loaded: SystemExit: bye"),
    "is_empty": Harm(
        "x = 1\n", "plugin_error",
        rf"{own('is_empty')} can't be loaded: no class in it derives from dagrun\.plugins\.operator\.Operator; write one",
    ),
    "is_two": Harm(
        "from dagrun.plugins.operator import Operator\nclass A(Operator): pass\nclass B(Operator): pass\n", "plugin_error",
        rf"{own('is_two')} can't be loaded: A and B are operators; leave one in it",
    ),
}  # fmt: skip
HEAD = """
import ctypes, os, shutil, signal, subprocess, sys, threading, time
from dagrun.plugins.operator import Again, Command, Operator, Succeeded
KEPT = []
class Harm(Operator):
    def run(self, task):
"""


def text_of(harm: Harm) -> str:
    if not harm.body.startswith(" "):
        return harm.body
    return HEAD + "".join(f"    {line}\n" for line in harm.body.splitlines())


def write_harms(directory: Path) -> str:
    """The files below `operators/`; returns the tasks, one an operator, all side by side."""
    (directory / "operators").mkdir(exist_ok=True)
    lines = ["_parallel: true"]
    for name, harm in HARMS.items():
        (directory / "operators" / f"{name}.py").write_text(text_of(harm))
        lines += [f"+{name}:", f"  {name}>:", *(f"  {line.strip()}" for line in harm.options.splitlines())]
    return "\n".join(lines) + "\n"


def write_settings(home: Path, text: str = SETTINGS) -> None:
    folder = home / ".config" / "dagrun"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)
