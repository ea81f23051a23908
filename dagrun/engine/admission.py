"""`concurrency` (features F54): whether one more attempt of a workflow has room, and what becomes of it.

Who starts an attempt looks, and takes the place, in one transaction that has locked the project first: of two that see the same
place, one takes it. The daemon's scheduler does so with its own transaction; for `run` and `retry` it is done here, and the
command itself waits, and a task that requires a workflow is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dagrun.core.concurrency import FAIL, QUEUE, SKIP, START, admit
from dagrun.core.decide import Active
from dagrun.core.events import Canceled
from dagrun.core.state import FAILED
from dagrun.engine.attempt import Attempt
from dagrun.engine.local import Local, Revision
from dagrun.engine.owners import workflow_of
from dagrun.engine.pauses import PARENT
from dagrun.engine.rows import decode
from dagrun.engine.submit import TASK_LIMIT, Submission
from dagrun.engine.turn import Live, take_turn
from dagrun.engine.waiting_room import KEY, busy_word, end_queued, is_queued, last_failed
from dagrun.errors import Conflict, NotFound, TaskFailed
from dagrun.light import NamedTuple
from dagrun.plugins.operator import Child
from dagrun.store.base import AttemptRow, Tx

LOOK_SECONDS = 1.0
STOPPED = "stopped"  # a verdict beside those of the rule: one before it failed, and the order is strict
REPLACED = "a newer attempt takes its place"
CAUGHT_UP = "missed"  # in an attempt's options: it was started late


class Room(NamedTuple):
    """What becomes of one more attempt. `same` are those of its key that aren't done, `ends` those whose place it takes, `failed`
    is the one at which the line stops.
    """

    verdict: str
    same: Sequence[AttemptRow]
    ends: Sequence[AttemptRow] = ()
    failed: AttemptRow | None = None


def look(tx: Tx, wanted: Submission) -> Room:
    """It holds as long as the transaction does, if that has locked the project."""
    rule, key = wanted.workflow.concurrency, wanted.options[KEY]
    assert rule is not None
    rows = tx.live_attempts_of(wanted.project_id, wanted.workflow.name)
    same = [row for row in rows if decode(row.options).get(KEY, "") == key]
    if requires_it(tx, wanted, same):
        return Room(START, same)
    failed = last_failed(tx, wanted.project_id, wanted.workflow.name, key) if rule.strict else None
    if failed is not None and mends(tx, wanted, failed):
        same, failed = [row for row in same if not is_queued(row)], None  # what waits, waits for it
    verdict, ends = admit(rule, [active_of(row) for row in same])
    if failed is not None and verdict in (START, QUEUE):
        verdict = STOPPED
    return Room(verdict, same, [row for row in same if row.id in ends], failed)


def requires_it(tx: Tx, wanted: Submission, same: Sequence[AttemptRow]) -> bool:
    """Whether one of them waits for the end of the new one (`require>`): it lends its place, or both would wait for ever."""
    ids = {row.id for row in same}
    parent = wanted.options.get(PARENT)
    while parent and parent not in ids:
        try:
            parent = decode(tx.get_attempt(parent).options).get(PARENT)
        except NotFound:  # long done, and pruned
            return False
    return bool(parent)


def mends(tx: Tx, wanted: Submission, failed: AttemptRow) -> bool:
    """What failed is tried again: so a line goes on that has stopped."""
    if wanted.resumed_from is not None and tx.get_attempt(wanted.resumed_from).state in FAILED:
        return True
    return tx.get_session(failed.session_id).session_time == wanted.session_time


def why(wanted: Submission, room: Room) -> str:
    """Why it doesn't start now, for people."""
    name, rule = wanted.workflow.name, wanted.workflow.concurrency
    assert rule is not None
    if room.verdict == STOPPED and room.failed is not None:
        return f"attempt {room.failed.id} of {name} failed, and its concurrency has order: strict"
    first = room.same[0]
    return f"attempt {first.id} of {name} is {busy_word(first)}, and its concurrency is {rule.limit}"


def active_of(row: AttemptRow) -> Active:
    return Active(row.id, bool(row.cancel_requested), bool(decode(row.options).get(CAUGHT_UP)), is_queued(row))


def submit_in_turn(
    local: Local,
    wanted: Submission,
    revision: Revision,
    guard: Callable[[Tx], None],
    say: Callable[[str], None],
    beat: Callable[[], float],
) -> Attempt | None:
    """The attempt, as soon as there is room for it; None when it is skipped. Raises Conflict where the file says
    `when_full: fail`, or where one before it failed and the order is strict; `guard` may refuse, too. `beat` is called while it
    waits, and says when it is due again.
    """
    store, told = local.store, False
    wanted = local.filled(wanted)
    while True:
        with store.reading() as tx:
            guard(tx)
            room = look(tx, wanted)
        if room.verdict == START:
            attempt = take_place(local, wanted, revision, guard)
            if attempt is not None:
                return attempt
            continue  # somebody was faster
        full = why(wanted, room)
        if room.verdict == SKIP:
            say(f"skipped: {full}")
            return None
        if room.verdict == FAIL:
            raise Conflict(f"{full} with when_full: fail")
        if room.verdict == STOPPED and room.failed is not None:
            raise Conflict(f"{full}\n  nothing else starts before it has succeeded: dagrun retry {room.failed.id}")
        for row in room.ends:
            end(local, row)
        if not told:
            told = True
            say(f"{full}: waiting for it")
        store.wait(min(LOOK_SECONDS, beat()))


def take_place(local: Local, wanted: Submission, revision: Revision, guard: Callable[[Tx], None]) -> Attempt | None:
    """None when there is no room any more."""
    with local.store.transaction() as tx:
        tx.lock_project(wanted.project_id)
        guard(tx)
        if look(tx, wanted).verdict != START:
            return None
        return local.submit_in(tx, wanted, revision)


def held_up(local: Local, wanted: Submission, room: Room) -> Child:
    """What a task is told that requires it. Raises TaskFailed where the file doesn't let it wait: then it won't have run."""
    full = why(wanted, room)
    if room.verdict in (SKIP, FAIL):
        raise TaskFailed(f"{full} with when_full: {room.verdict}", "no_room")
    for row in room.ends:
        end(local, row)
    before = room.failed or room.same[0]
    return Child(before.id, before.session_id, started=False, done=False, success=False, waits=full)


def end(local: Local, row: AttemptRow, reason: str = REPLACED) -> None:
    """It makes room: its own process ends its tasks. Raises UserError when its workflow can't be read any more."""
    if row.id in local.worker.attempts:
        local.cancel_one(row.id, reason)
        return
    with local.store.transaction() as tx:
        now = tx.lock_attempt(row.id)
        if now.finished_at is not None:
            return
        if is_queued(now):
            end_queued(tx, now, reason)
            return
        workflow = workflow_of(tx, now, local.state_dir)
    take_turn(local.store, Live(row.id, workflow, TASK_LIMIT), [Canceled(reason)])
