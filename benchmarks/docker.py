"""The works that measure containers, beside the client program alone, on the same engine: that of DOCKER_HOST, else one of
their own, for which they need root and Debian's docker.io and busybox-static.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import statistics
import subprocess
import time

from benchmarks.daemon import running, state
from benchmarks.measure import DAGRUN, Figure, Place

CHAIN = 40  # tasks one after the other
CROWD = 200  # tasks at once,
SLOTS = 4  # so many at work
IMAGE = "busybox"
COMMAND = ("/bin/sh", "-c", "true")


def container_task(place: Place) -> Figure:
    """docker: task in a running daemon, image present"""
    use_engine(place)
    tasks = "".join(f"+t{number}: {{sh>: 'true'}}\n" for number in range(CHAIN))
    place.fill({"w.dig": f"schedule: {{daily>: 00:00:00}}\n_docker: {IMAGE}\n{tasks}"})
    bare = [client_run(place) for _ in range(CHAIN // 2)]
    with running(place) as daemon:
        place.run([DAGRUN, "backfill", "w", "--from", "2026-01-01", "--count", "1"])
        daemon.wait_for_attempts(1)
    bare += [client_run(place) for _ in range(CHAIN // 2)]
    starts = [at for (at,) in sqlite3.connect(state(place)).execute("SELECT started_at FROM tries ORDER BY started_at")]
    ours = statistics.median(later - earlier for earlier, later in itertools.pairwise(starts)) / 1000
    alone = statistics.median(bare) * 1000
    name = f"{container_task.__doc__}, above `docker run`"
    return Figure(
        name,
        f"`docker run --rm {IMAGE}` takes {alone:.0f} ms, the task {ours:.0f} ms",
        None,
        ours - alone,
        ours - alone,
        40,
        "ms",
    )


def container_crowd(place: Place) -> Figure:
    """200 tasks in containers, 4 at once"""
    use_engine(place)
    tasks = "".join(f"  +t{number}: {{sh>: 'true'}}\n" for number in range(CROWD))
    place.fill({"w.dig": f"_docker: {IMAGE}\n+all:\n  _parallel: true\n{tasks}"})
    words = " ".join(f"'{word}'" for word in COMMAND)
    loop = f"seq {CROWD} | xargs -P{SLOTS} -I@ docker run --rm {IMAGE} {words}"
    bare = place.run(["sh", "-c", loop])
    ours = place.run([DAGRUN, "run", "w.dig", "--max-task-threads", str(SLOTS)])
    bare = (bare + place.run(["sh", "-c", loop])) / 2
    return Figure(str(container_crowd.__doc__), f"`xargs -P{SLOTS} docker run --rm`", bare, ours, ours / bare, 1.15)


WORKS = {work.__name__: work for work in (container_task, container_crowd)}


def use_engine(place: Place) -> None:
    host = os.environ.get("DOCKER_HOST")
    if host is None:
        from tests import containers

        host = containers.engine()
    place.environment = {**place.environment, "DOCKER_HOST": host}


def client_run(place: Place) -> float:
    began = time.perf_counter()
    subprocess.run(
        ["docker", "run", "--rm", IMAGE, *COMMAND], env=place.environment, check=True, stdin=subprocess.DEVNULL
    )
    return time.perf_counter() - began
