"""Rows to write into a store, and programs that use one in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from dagrun.store.base import AttemptRow, MoveRow, TaskRow, TryRow
from dagrun.store.noticed import NoticeRow

LIMIT_SECONDS = 60
NASTY_TEXT = "tab\t line\n return\r back\\slash \\N \\. 'quote' \"double\" % ? ü 日本 \U0001f600"
TIME = 1_700_000_000_000_000


def attempt_row(session_id: int, revision_id: int, **more: Any) -> AttemptRow:
    row = AttemptRow(
        id=0, number=0, session_id=session_id, retry_name="", revision_id=revision_id, timezone="UTC", state="running",
        version=0, cancel_requested=0, params="{}", options="{}", resumed_from=None, owner="{}", error=None,
        created_at=TIME, finished_at=None,
    )  # fmt: skip
    return row._replace(**more)


def task_row(attempt_id: int, idx: int, **more: Any) -> TaskRow:
    row = TaskRow(
        attempt_id=attempt_id, idx=idx, parent=None, name=f"+wf+t{idx}", source=idx, upstreams=None, definition=None,
        state="blocked", version=0, superseded=0, tries=0, retries=0, platform_retries=0, memo=None, lease=None,
        handle=None, due_at=None, started_at=None, finished_at=None, stored=None, reset=None, exported=None,
        error=None, reason=None, reused_from=None,
    )  # fmt: skip
    return row._replace(**more)


def try_row(attempt_id: int, idx: int, try_number: int, **more: Any) -> TryRow:
    row = TryRow(attempt_id, idx, try_number, TIME, TIME + 5, "success", 0, None, 1 << 40, 17, "a.log")
    return row._replace(**more)


def move_row(attempt_id: int, seq: int, **more: Any) -> MoveRow:
    return MoveRow(attempt_id, seq, 0, "ready", "running", TIME, None)._replace(**more)


def notice_row(project_id: int, **more: Any) -> NoticeRow:
    row = NoticeRow(
        id=0, project_id=project_id, workflow="wf", session_time=0, attempt_id=7, kind="failed", target="slack:#ops",
        body="{}", once_key=None, created_at=TIME, due_at=TIME, tries=0, state="waiting", error=None,
    )  # fmt: skip
    return row._replace(**more)


def make_attempt(tx: Any, workflow: str = "wf", session_time: int = 0, **more: Any) -> AttemptRow:
    """An attempt, with the project `p`, its revision and the session made if they aren't there."""
    project = tx.ensure_project("p")
    revision = tx.ensure_revision(project.id, "abc", "{}")
    session = tx.ensure_session(project.id, workflow, session_time, f"uuid of {workflow} {session_time}")
    return tx.insert_attempt(attempt_row(session.id, revision.id, **more))


@contextmanager
def programs(script: str, argument_lists: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """The script runs once for each list of arguments; none of them outlives the block."""
    command = [sys.executable, "-c", script]
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([*command, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        for arguments in argument_lists
    ]
    try:
        yield running
    finally:
        for program in running:
            program.kill()
            program.communicate()


def outputs(script: str, argument_lists: Sequence[Sequence[str]]) -> list[str]:
    """What each of them printed; all have ended well."""
    with programs(script, argument_lists) as running:
        ends = [program.communicate(timeout=LIMIT_SECONDS) for program in running]
        assert [program.returncode for program in running] == [0] * len(running), [problem for _, problem in ends]
    return [printed for printed, _ in ends]


def in_threads(count: int, work):
    """What `work(number)` gave in each thread; all begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(number: int):
        barrier.wait(LIMIT_SECONDS)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))
