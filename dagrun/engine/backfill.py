"""Sessions of the past, made on request (spec/scheduling 10; features F65)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagrun.core.schedule import END, Schedule
from dagrun.core.session import format_time
from dagrun.core.state import FAILED, SUCCESS
from dagrun.core.workflow import Workflow
from dagrun.engine.rows import decode
from dagrun.engine.submit import Submission
from dagrun.engine.waiting_room import BACKFILL, queue
from dagrun.errors import Conflict, LimitExceeded, UserError
from dagrun.light import NamedTuple
from dagrun.store.base import AttemptRow, RevisionRow, Tx

LAST_EXECUTED = "last_executed_session_time"
ONLY = ("all", "missing", "failed")


class Wish(NamedTuple):
    """What to make. `parallel` sessions are at work at once; with 1 each waits for the one before."""

    name: str
    parallel: int = 1
    newest_first: bool = False
    only: str = "all"
    stop_after: int | None = None  # failures
    most: int | None = None  # attempts in the store that aren't done


def sessions(schedule: Schedule, start: int, before: int, count: int | None) -> list[int]:
    """The session times from the first run at or after `start`, up to but without `before`.

    Raises UserError when `count` are wanted and there are fewer.
    """
    found: list[int] = []
    slot = schedule.first_at(start)
    while slot.session_time < before and slot.session_time != END and (count is None or len(found) < count):
        found.append(slot.session_time)
        slot = schedule.next_after(slot.session_time)
    if count is not None and len(found) < count:
        raise UserError(
            f"count is set to {count} but there are only {len(found)} attempts until the next schedule time"
        )
    return found


def chosen(tx: Tx, project_id: int, workflow: str, times: Sequence[int], wish: Wish) -> list[int]:
    """Of these sessions those that the wish means, in the order in which they run."""
    found = []
    for at in times:
        session = tx.find_session(project_id, workflow, at)
        newest = tx.newest_attempt_of_session(session.id) if session else None
        done = newest is not None and newest.state == SUCCESS
        failed = newest is not None and newest.finished_at is not None and not done
        if wish.only == "all" or (wish.only == "missing" and newest is None) or (wish.only == "failed" and failed):
            found.append(at)
    return found[::-1] if wish.newest_first else found


def check_name(tx: Tx, project_id: int, workflow: str, times: Sequence[int], name: str) -> None:
    """Raises UserError for no name, Conflict when one of the sessions has an attempt of that name."""
    if not name.strip() or len(name) > 255:
        raise UserError(f"a backfill needs a name of 1 to 255 characters; it is {name!r}")
    for at in times:
        session = tx.find_session(project_id, workflow, at)
        if session and tx.find_attempt(session.id, name):
            raise Conflict(f"the backfill {name!r} has been started already; give this one another name")


def start(
    tx: Tx,
    workflow: Workflow,
    revision: RevisionRow,
    times: Sequence[int],
    wish: Wish,
    params: Callable[[int], Mapping[str, Any]],
    owner: Mapping[str, Any],
    place: Any,
    commit: Mapping[str, Any] | None = None,
) -> list[AttemptRow]:
    """The attempts, waiting for their turn; of a `commit` if the revision is one. Raises LimitExceeded; then none is made."""
    project_id = revision.project_id
    live = tx.count_live()
    if wish.most is not None and live + len(times) > wish.most:
        raise LimitExceeded(
            f"Too many attempts running. Limit: {wish.most}, Current: {min(live + len(times), wish.most)}"
        )
    made: list[AttemptRow] = []
    executed = last_executed(tx, project_id, workflow.name, times)
    for at in times:
        given = dict(params(at))
        if executed is not None:
            given[LAST_EXECUTED] = format_time(executed, place)
        wanted = Submission(
            workflow=workflow,
            project_id=project_id,
            revision=revision,
            session_time=at,
            params=given,
            retry_name=wish.name,
            options={BACKFILL: wish.name, "stop_after": wish.stop_after, **({"commit": commit} if commit else {})},
        )
        after = made[-1].session_id if made and wish.parallel == 1 else None
        most = 0 if wish.parallel == 1 else wish.parallel
        made.append(
            queue(
                tx,
                wanted,
                owner,
                most=most,
                key=f"backfill {wish.name}",
                after_session=after,
                why="its turn in the backfill",
            )
        )
        executed = at
    return made


def last_executed(tx: Tx, project_id: int, workflow: str, times: Sequence[int]) -> int | None:
    if not times:
        return None
    before = tx.previous_session(project_id, workflow, min(times))
    return before.session_time if before else None


def backfill_is_over(tx: Tx, row: AttemptRow, workflow: str) -> str | None:
    """Why no more of its backfill starts: `--stop-after` so many failures."""
    options = decode(row.options)
    most = options.get("stop_after")
    if most is None:
        return None
    states = tx.list_attempts(project_id=tx.get_session(row.session_id).project_id, workflow=workflow, limit=10_000)
    failed = [one for one in states if one.attempt.retry_name == row.retry_name and one.attempt.state in FAILED]
    return f"{len(failed)} of the backfill {row.retry_name} failed" if len(failed) >= most else None
