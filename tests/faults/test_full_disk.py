"""A disk that is full: the task fails and says why, the store stays whole, and with space there again a retry goes on.

A real small disk (a tmpfs) where mounting is permitted. Where it isn't, the tests with a limit for the size of files cover
what they can; they run everywhere.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.project import SESSION, Project
from tests.missing import give_up

DISK = "1m"
# It writes until nothing more fits, once.
WORKFLOW = """
+before:
  do: begin before; finish
+fill:
  do: begin fill; if mkdir "$PLACE/first"; then exec dd if=/dev/zero of=big bs=4k; fi; finish
+after:
  do: begin after; finish
"""
IN_PLACE = WORKFLOW.replace("+after:", "  _workspace: project\n+after:")
FULL = "the disk is full"


@contextmanager
def small_disk(project: Project, place: Path) -> Iterator[None]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        refused = os.geteuid() != 0 or "permission denied" in mounted.stderr.lower()
        assert refused, mounted.stderr
        give_up("no small disk: mounting a tmpfs is not permitted here; only limits of file sizes are tested")
    try:
        yield
    finally:
        for process in project.started:
            process.kill()
            process.wait()
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def small(project) -> Iterator[Project]:
    """The project directory is a disk of its own, of a megabyte."""
    with small_disk(project, project.directory):
        yield project


@pytest.fixture
def small_store(project) -> Iterator[Project]:
    """Only the store lies on a disk of a megabyte."""
    disk = project.place / "disk"
    disk.mkdir()
    project.database = f"sqlite:///{disk}/store.db"
    with small_disk(project, disk):
        yield project


def is_whole(project: Project, path: str = "project/.dagrun/state.db") -> bool:
    """SQLite finds nothing wrong with the store."""
    with closing(sqlite3.connect(project.place / path)) as store:
        return store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def fill(directory: Path) -> Path:
    """Not a byte more fits on the disk."""
    with open(directory / "filler", "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return directory / "filler"


def goes_on(project: Project) -> None:
    """What was done is kept, the rest succeeds."""
    project.call("retry", "1")
    assert [len(project.notes("start", task)) for task in ("before", "fill", "after")] == [1, 2, 1]
    assert project.states()["+wf"] == "success"


def test_a_task_that_fills_the_disk_fails_and_says_so(small):
    small.tasks(WORKFLOW)
    printed = small.call("run", "wf.dig", *SESSION, code=1)
    assert "+wf+fill failed: Command failed with code 1" in printed and FULL in printed
    assert FULL in small.rows()["+wf+fill"]["error"]["message"]
    assert {name: state for name, state in small.states().items() if "alert" not in name} == {
        "+wf": "group_error", "+wf+before": "success", "+wf+fill": "error", "+wf+after": "blocked",
    }  # fmt: skip
    assert is_whole(small)
    goes_on(small)


def test_a_full_disk_that_stays_full_ends_the_run_and_leaves_nothing_running(small):
    small.tasks(
        """
_parallel: true
+fill:
  do: task=hang; until grep -q "^hangs hang" "$PLACE/ledger"; do sleep 0.01; done; exec dd if=/dev/zero of=big bs=4k
  _workspace: project
+hang:
  do: begin hang; mkdir "$PLACE/first" && stubborn; finish
  _kill_grace: 0.2
"""
    )
    printed = small.call("run", "wf.dig", *SESSION, code=4)
    assert f"{small.directory}/.dagrun/state.db: {FULL}" in printed and "free some space" in printed
    assert small.is_free("hang") and small.processes() == {}
    (small.directory / "big").unlink()
    assert is_whole(small)
    assert small.attempts()[0]["done"] is False
    small.tasks("+hang:\n  do: begin hang; finish")
    small.call("retry", "1")
    assert small.states()["+wf"] == "success"


def test_after_space_was_made_a_retry_goes_on(small):
    small.tasks(IN_PLACE)
    small.call("run", "wf.dig", *SESSION, code=4)
    (small.directory / "big").unlink()
    goes_on(small)
    assert is_whole(small)


def test_an_output_file_that_does_not_fit_fails_its_task(small):
    small.tasks('+a:\n  do: begin a; yes 12345678 | head -c 5000000 >"$DAGRUN_OUT"; finish')
    small.call("run", "wf.dig", *SESSION, code=1)
    assert FULL in small.rows()["+wf+a"]["error"]["message"]
    assert is_whole(small)


def test_a_store_that_can_not_be_made_leaves_no_trace(small):
    small.tasks("+a:\n  do: begin a; finish")
    filler = fill(small.directory)
    printed = small.call("run", "wf.dig", *SESSION, code=4)
    assert FULL in printed and "free some space" in printed
    assert small.ledger() == []
    filler.unlink()
    assert small.attempts() == []
    small.call("run", "wf.dig", *SESSION)
    assert [attempt["id"] for attempt in small.attempts()] == [1]


def test_a_run_that_can_not_be_recorded_starts_nothing(small_store):
    small_store.tasks("+a:\n  do: begin a; finish")
    small_store.call("run", "wf.dig", *SESSION)
    filler = fill(small_store.place / "disk")
    assert f"disk/store.db: {FULL}" in small_store.call("run", "wf.dig", *SESSION, "--rerun", code=4)
    filler.unlink()
    assert len(small_store.notes("start", "a")) == len(small_store.attempts()) == 1
    assert is_whole(small_store, "disk/store.db")
    small_store.call("run", "wf.dig", *SESSION, "--rerun")
    assert len(small_store.notes("start", "a")) == 2


def test_a_project_whose_files_do_not_fit_into_the_archive_is_refused_clearly(small):
    small.tasks("+a:\n  do: begin a; finish")
    small.call("run", "wf.dig", *SESSION)
    small.write({"new.txt": "x" * 100_000})
    fill(small.directory)
    process = small.start("run", "wf.dig", *SESSION, "--rerun")
    printed, _ = process.communicate(timeout=30)
    assert process.returncode not in (0, 1, 70) and "Traceback" not in printed


# -- everywhere: a limit for the size of files


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_task_that_may_not_write_more_fails_and_a_retry_goes_on(project):
    project.tasks(WORKFLOW)
    process = project.start("run", "wf.dig", *SESSION, preexec_fn=limited(4_000_000))
    printed = project.end(process, 1)
    assert "+wf+fill failed: Command failed with code 153" in printed
    assert is_whole(project)
    goes_on(project)


def test_a_store_that_may_not_grow_leaves_no_trace(project):
    project.tasks(WORKFLOW)
    process = project.start("run", "wf.dig", *SESSION, preexec_fn=limited(50_000))
    printed, _ = process.communicate(timeout=30)
    assert process.returncode not in (0, 1, 70)
    assert "state.db" in printed and "Traceback" not in printed
    assert project.ledger() == []
    project.tasks("+a:\n  do: begin a; finish")
    project.call("run", "wf.dig", *SESSION)
    assert [attempt["state"] for attempt in project.attempts()] == ["success"]


def test_a_full_standard_output_stops_the_copying_and_not_the_attempt(project):
    project.tasks("+a:\n  do: begin a; echo hello; finish\n+b:\n  do: begin b; echo hello; finish")
    with open("/dev/full", "wb") as full:
        process = project.start("run", "wf.dig", *SESSION, stdout=full, stderr=subprocess.PIPE)
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in printed
    assert project.states()["+wf"] == "success"
    assert project.call("log", "1", "+b").splitlines()[-1].endswith("hello")
