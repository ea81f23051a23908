"""The work that measures files between tasks, beside copying and hashing the same bytes twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from statistics import median

from benchmarks.measure import DAGRUN, Figure, Place

BYTES = 1 << 30
CHUNK = 1 << 20


def files(place: Place) -> list[Figure]:
    """1 GB file from one task to another, local store"""
    place.fill({})
    make(place.top / "data", BYTES)
    by_hand = "cp data one; sha256sum one >sums; cp one two; sha256sum two >>sums"
    bare, ours = [], []
    for _ in range(3):
        place.directory = place.top
        bare.append(place.run(["sh", "-c", by_hand]))
        place.fill({"w.dig": workflow(place.top / "data")})
        ours.append(place.run([DAGRUN, "run", "w.dig"]))
        shutil.rmtree(place.directory / ".dagrun")
    place.fill({"w.dig": workflow(place.top / "data")})
    peak = place.peak_memory([DAGRUN, "run", "w.dig"])
    shutil.rmtree(place.directory / ".dagrun")
    name = str(files.__doc__)
    return [
        Figure(name, "two `cp` and two `sha256sum`", median(bare), median(ours), median(ours) / median(bare), 1.5),
        Figure(f"memory with a {name}", "", None, peak, peak, 60, "MB"),
    ]


WORKS = {"files": files}


def workflow(data: Path) -> str:
    """The first task has the file in its workspace at no cost."""
    return f"+make:\n  sh>: ln {data} big\n  _outputs: [big]\n+use:\n  sh>: test -s in/big\n  _inputs: {{+make: in}}\n"


def make(path: Path, size: int) -> None:
    """Bytes that are not zero: a file system must not leave them out."""
    chunk = os.urandom(CHUNK)
    with path.open("wb") as file:
        for _ in range(size // CHUNK):
            file.write(chunk)
