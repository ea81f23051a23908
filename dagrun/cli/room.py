"""`concurrency` for `run` and `retry`: the command itself waits until its workflow has room (features F54)."""

from __future__ import annotations

from collections.abc import Callable

from dagrun.core.concurrency import FAIL, SKIP, START, admit
from dagrun.core.decide import Active
from dagrun.core.events import Canceled
from dagrun.engine.rows import decode
from dagrun.engine.submit import TASK_LIMIT, Submission
from dagrun.engine.turn import Live, take_turn
from dagrun.engine.waiting_room import KEY, end_queued, is_queued
from dagrun.errors import Conflict
from dagrun.store.base import AttemptRow, Store, Tx

LOOK_SECONDS = 1.0


def wait_for_room(store: Store, wanted: Submission, guard: Callable[[Tx], None], say: Callable[[str], None]) -> bool:
    """True when it may start, False when it is skipped. Raises Conflict where the file says `when_full: fail`.

    Two commands that wait may see the same room; the limit is then passed by one for a moment. The daemon's own attempts
    never do that.
    """
    rule = wanted.workflow.concurrency
    assert rule is not None
    told = False
    while True:
        with store.reading() as tx:
            guard(tx)
            rows = tx.live_attempts_of(wanted.project_id, wanted.workflow.name)
        same = [row for row in rows if decode(row.options).get(KEY, "") == wanted.options[KEY]]
        verdict, ends = admit(rule, [Active(row.id, bool(row.cancel_requested), False, is_queued(row)) for row in same])
        if verdict == START:
            return True
        full = f"attempt {same[0].id} of {wanted.workflow.name} is at work, and its concurrency is {rule.limit}"
        if verdict == SKIP:
            say(f"skipped: {full}")
            return False
        if verdict == FAIL:
            raise Conflict(f"{full} with when_full: fail")
        for row in same:
            if row.id in ends:
                end(store, wanted, row)
        if not told:
            told = True
            say(f"{full}: waiting for it")
        store.wait(LOOK_SECONDS)


def end(store: Store, wanted: Submission, row: AttemptRow) -> None:
    """It makes room: its own process ends its tasks."""
    reason = "a newer attempt takes its place"
    with store.transaction() as tx:
        now = tx.lock_attempt(row.id)
        if is_queued(now):
            end_queued(tx, now, reason)
            return
    take_turn(store, Live(row.id, wanted.workflow, TASK_LIMIT), [Canceled(reason)])
