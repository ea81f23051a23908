"""The works that are measured, one function each, and how much each may cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from benchmarks.measure import DAGRUN, Figure, Place, in_turn

PYTHON = sys.executable
LOOP = 'import subprocess\nfor _ in range(1000):\n    subprocess.run(["sh", "-c", "true"])\n'
IMPORTS = "import click, yaml, sqlite3, subprocess"


def sequential(place: Place) -> Figure:
    """1,000 `sh>: "true"`, one after the other"""
    text = "".join(f'+t{number}:\n  sh>: "true"\n' for number in range(1000))
    bare, ours = in_turn(3, lambda: loop(place), lambda: run(place, text))
    return Figure(summary(sequential), "a Python loop of `subprocess.run`", bare, ours, ours / bare, 1.8)


def independent(place: Place) -> Figure:
    """1,000 independent `sh>: "true"`, 2 at once"""
    text = "_parallel: true\n" + "".join(f'+t{number}:\n  sh>: "true"\n' for number in range(1000))
    xargs = ["sh", "-c", "seq 1000 | xargs -P2 -I{} sh -c true"]
    bare, ours = in_turn(3, lambda: place.run(xargs), lambda: run(place, text, "--max-task-threads", "2"))
    return Figure(summary(independent), "`xargs -P2`", bare, ours, ours / bare, 2.0)


def layers(place: Place) -> Figure:
    """20 layers of 50 tasks, each waiting for all of the layer before"""
    lines = ["_parallel: true\n"]
    for layer in range(20):
        needs = ", ".join(f"+t{layer - 1}-{number}" for number in range(50)) if layer else ""
        lines += [f'+t{layer}-{number}:\n  _needs: [{needs}]\n  sh>: "true"\n' for number in range(50)]
    bare, ours = in_turn(3, lambda: loop(place), lambda: run(place, "".join(lines)))
    return Figure(summary(layers), "a Python loop of `subprocess.run`", bare, ours, ours / bare, 2.0)


def crowd(place: Place) -> Figure:
    """cost of a task in an attempt of 50,000 `echo>` tasks, in ms"""

    def echoes(number: int) -> str:
        return "".join(f"+t{index}:\n  echo>: x\n" for index in range(number))

    one, thousand, many = in_turn(
        1, lambda: run(place, echoes(1)), lambda: run(place, echoes(1000)), lambda: run(place, echoes(50_000))
    )
    bare, ours = (thousand - one) / 1000 * 1000, (many - one) / 50_000 * 1000
    return Figure(summary(crowd), "a task in an attempt of 1,000", bare, ours, ours / bare, 1.2, "ms")


def cold(place: Place) -> Figure:
    """`dagrun run` of one `echo>` task, cold"""
    bare, ours = in_turn(15, lambda: place.run([PYTHON, "-c", IMPORTS]), lambda: run(place, "+a:\n  echo>: hello\n"))
    return Figure(summary(cold), f'`python -c "{IMPORTS}"`', bare, ours, ours / bare, 2.0)


def help_text(place: Place) -> Figure:
    """`dagrun --help`"""
    place.fill({})
    bare, ours = in_turn(15, lambda: place.run([PYTHON, "-c", "import click"]), lambda: place.run([DAGRUN, "--help"]))
    return Figure(summary(help_text), '`python -c "import click"`', bare, ours, ours / bare, 1.5)


def retry(place: Place) -> Figure:
    """start of task 500 in a retry, when it had failed in a run of 1,000"""
    tasks = [f'+t{number}:\n  sh>: "true"\n' for number in range(1000)]
    tasks[500] = f"+t500:\n  sh>: date +%s.%N > {place.top}/started; exit 1\n"
    cold_start = in_turn(15, lambda: run(place, "+a:\n  echo>: hello\n"))[0]
    run(place, "".join(tasks), code=1)

    def again() -> float:
        began = time.time()
        place.run([DAGRUN, "retry", "last"], code=1)
        return float((place.top / "started").read_text()) - began

    ours = in_turn(7, again)[0]
    return Figure(summary(retry), "a cold `dagrun run`", cold_start, ours, ours / cold_start, 3.0)


def memory(place: Place) -> Figure:
    """memory of `dagrun run` with 1,000 tasks"""
    place.fill({"w.dig": "".join(f'+t{number}:\n  sh>: "true"\n' for number in range(1000))})
    ours = place.peak_memory([DAGRUN, "run", "w.dig"])
    return Figure(summary(memory), "", None, ours, ours, 60, "MB")


WORKS: dict[str, Callable[[Place], Figure]] = {
    work.__name__: work for work in (sequential, independent, layers, crowd, cold, help_text, retry, memory)
}


def run(place: Place, workflow: str, *options: str, code: int = 0) -> float:
    place.fill({"w.dig": workflow})
    return place.run([DAGRUN, "run", "w.dig", *options], code=code)


def loop(place: Place) -> float:
    place.fill({"loop.py": LOOP})
    return place.run([PYTHON, "loop.py"])


def summary(work: Callable[[Place], Figure]) -> str:
    return (work.__doc__ or "").strip()
