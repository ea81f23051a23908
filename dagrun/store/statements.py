"""The statements, once for both databases, with SQLAlchemy.

`generate.py` compiles them into `compiled.py`; at run time only that text is used. Parameters are positional,
in the order in which they stand in the text, so that a row is its own parameters. To add a statement: write
it here, run `make generate`, call it in `sql.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import BindParameter, Column, Select, Table, Update, and_, bindparam, case, func, select
from sqlalchemy.sql.expression import ClauseElement

from dagrun.store import base
from dagrun.store.noticed import NoticeRow
from dagrun.store.tables import (
    INT,
    attempts,
    holds,
    meta,
    moves,
    notices,
    pauses,
    pools,
    projects,
    queue,
    revisions,
    schedules,
    sessions,
    skips,
    starts,
    tasks,
    tries,
)

# Each dialect has its own: SQLAlchemy's common one knows no `on_conflict_do_nothing`.
Insert: TypeAlias = Callable[[Table], Any]

ROWS: dict[Table, Any] = {
    projects: base.ProjectRow,
    revisions: base.RevisionRow,
    sessions: base.SessionRow,
    attempts: base.AttemptRow,
    tasks: base.TaskRow,
    tries: base.TryRow,
    moves: base.MoveRow,
    schedules: base.ScheduleRow,
    skips: base.SkipRow,
    queue: base.QueueRow,
    pauses: base.PauseRow,
    notices: NoticeRow,
    pools: base.PoolRow,
    holds: base.HoldRow,
}


def statements(insert: Insert) -> dict[str, ClauseElement]:
    """Every statement by its name; what stands in groups below has no order of its own."""
    return {
        **_names(insert),
        **_sessions(insert),
        **_attempts(insert),
        **_attempt_lists(),
        **_tasks(insert),
        **_planned(insert),
        **_noticed(insert),
        **_pruned(),
        **_pools(insert),
    }


def fragments() -> dict[str, tuple[ClauseElement, ClauseElement]]:
    """Ends of statements, each as (the whole, its beginning): the text is what the whole has more."""
    every = _summaries()
    # Without an OFFSET of our own SQLAlchemy adds one for SQLite, as a value outside a named parameter.
    whole = (
        every.order_by(attempts.c.id.desc()).limit(bindparam("limit", type_=INT)).offset(bindparam("offset", type_=INT))
    )
    return {"list_attempts_end": (whole, every)}


def _names(insert: Insert) -> dict[str, ClauseElement]:
    low: BindParameter[str] = bindparam("low")
    high: BindParameter[str] = bindparam("high")
    return {
        "insert_store_id": insert(meta).on_conflict_do_nothing(),
        "find_project": _rows(projects).where(_is(projects.c.name)),
        "get_project": _rows(projects).where(_is(projects.c.id)),
        # not against who only refers to it: rows of sessions and attempts are inserted meanwhile
        "lock_project": _rows(projects).where(_is(projects.c.id)).with_for_update(key_share=True),
        "insert_project": _add(insert, projects),
        "find_revision": _rows(revisions).where(_is(revisions.c.project_id), _is(revisions.c.name)),
        "match_revisions": _rows(revisions)
        .where(_is(revisions.c.project_id), revisions.c.name >= low, revisions.c.name < high)
        .order_by(revisions.c.name),
        "get_revision": _rows(revisions).where(_is(revisions.c.id)),
        "latest_revision": _newest(revisions, revisions.c.project_id),
        "insert_revision": _add(insert, revisions),
    }


def _sessions(insert: Insert) -> dict[str, ClauseElement]:
    key = [_is(sessions.c.project_id), _is(sessions.c.workflow), _is(sessions.c.session_time)]
    return {
        "find_session": _rows(sessions).where(*key),
        "claim_session": _rows(sessions).where(*key).with_for_update(),
        "get_session": _rows(sessions).where(_is(sessions.c.id)),
        "lock_session": _rows(sessions).where(_is(sessions.c.id)).with_for_update(),
        "insert_session": _add(insert, sessions).returning(sessions.c.id),
    }


def _attempts(insert: Insert) -> dict[str, ClauseElement]:
    of_session = _is(attempts.c.session_id)
    changing = ["state", "version", "cancel_requested", "owner", "error", "finished_at"]
    return {
        "insert_attempt": _add(insert, attempts).returning(attempts.c.id),
        "highest_number": select(func.max(attempts.c.number)).where(of_session),
        "get_attempt": _rows(attempts).where(_is(attempts.c.id)),
        "lock_attempt": _rows(attempts).where(_is(attempts.c.id)).with_for_update(),
        "find_attempt": _rows(attempts).where(of_session, _is(attempts.c.retry_name)),
        "newest_attempt": _newest(attempts),
        "newest_attempt_of_session": _newest(attempts, attempts.c.session_id),
        "newest_attempt_of_workflow": _newest(attempts, attempts.c.project_id, attempts.c.workflow),
        "save_version": _change(attempts, ["version"]).where(_is(attempts.c.id)),
        "save_attempt": _change(attempts, changing).where(_is(attempts.c.id)),
        "live_attempts": _rows(attempts).where(attempts.c.finished_at.is_(None)).order_by(attempts.c.id),
    }


def _attempt_lists() -> dict[str, ClauseElement]:
    return {
        "list_attempts": _summaries(),
        "where_project": _is(attempts.c.project_id),
        "where_workflow": _is(attempts.c.workflow),
        "where_session": _is(attempts.c.session_id),
        "where_state": _is(attempts.c.state),
        "where_version": _is(attempts.c.version),
        "where_version_above": attempts.c.version > bindparam("after_version"),
        "where_before": attempts.c.id < bindparam("before_id"),
    }


def _tasks(insert: Insert) -> dict[str, ClauseElement]:
    fields = base.TaskRow._fields
    changing = list(fields[fields.index("state") :])
    of_attempt = {table: _is(table.c.attempt_id) for table in (tasks, tries, moves)}
    tries_in_order = _rows(tries).order_by(tries.c.idx, tries.c.try_number)
    return {
        "insert_task": insert(tasks),
        "save_task": _change(tasks, changing).where(of_attempt[tasks], _is(tasks.c.idx)),
        "load_tasks": _rows(tasks)
        .where(of_attempt[tasks], tasks.c.version > bindparam("after_version"))
        .order_by(tasks.c.idx),
        "insert_try": insert(tries),
        "load_tries": tries_in_order.where(of_attempt[tries]),
        "load_tries_of_task": tries_in_order.where(of_attempt[tries], _is(tries.c.idx)),
        "insert_move": insert(moves),
        "load_moves": _rows(moves).where(of_attempt[moves], moves.c.seq > bindparam("after_seq")).order_by(moves.c.seq),
    }


def _planned(insert: Insert) -> dict[str, ClauseElement]:
    """Schedules, and attempts that wait for their turn."""
    fields = base.ScheduleRow._fields
    changing = list(fields[fields.index("revision_id") :])
    enabled = schedules.c.disabled_at.is_(None)
    in_order = _rows(schedules).order_by(schedules.c.project_id, schedules.c.workflow, schedules.c.position)
    live = attempts.c.finished_at.is_(None)
    of_workflow = {table: (_is(table.c.project_id), _is(table.c.workflow)) for table in (attempts, sessions, skips)}
    before = bindparam("before", type_=INT)
    earlier = select(func.max(sessions.c.session_time)).where(*of_workflow[sessions], sessions.c.session_time < before)
    return {
        "insert_schedule": _add(insert, schedules),
        "save_schedule": _change(schedules, changing).where(_is(schedules.c.id)),
        "delete_schedule": schedules.delete().where(_is(schedules.c.id)),
        "list_schedules": in_order,
        "list_schedules_of": in_order.where(_is(schedules.c.project_id)),
        "due_schedules": _rows(schedules)
        .where(_is(schedules.c.project_id), enabled, schedules.c.next_run <= bindparam("now", type_=INT))
        .order_by(schedules.c.next_run, schedules.c.id)
        .limit(bindparam("limit", type_=INT))
        .offset(bindparam("offset", type_=INT))
        .with_for_update(skip_locked=True),
        "next_due_schedule": select(func.min(schedules.c.next_run)).where(_is(schedules.c.project_id), enabled),
        "ended_pauses": _rows(schedules).where(schedules.c.disabled_until <= bindparam("now", type_=INT)),
        "lock_schedule": _rows(schedules).where(_is(schedules.c.id)).with_for_update(),
        "insert_skip": insert(skips).on_conflict_do_nothing(),
        "list_skips": _rows(skips).where(*of_workflow[skips]).order_by(skips.c.session_time.desc()),
        "insert_queued": insert(queue),
        "delete_queued": queue.delete().where(_is(queue.c.attempt_id)),
        "list_queued": _rows(queue).order_by(queue.c.due_at, queue.c.attempt_id),
        "live_attempts_of": _rows(attempts).where(live, *of_workflow[attempts]).order_by(attempts.c.id),
        "count_live": select(func.count()).select_from(attempts).where(live),
        "previous_session": _rows(sessions).where(
            *of_workflow[sessions], sessions.c.session_time == earlier.scalar_subquery()
        ),
        "insert_pause": insert(pauses).on_conflict_do_nothing(),
        "delete_pause": pauses.delete().where(_is(pauses.c.attempt_id)),
        "list_pauses": _rows(pauses).order_by(pauses.c.attempt_id),
    }


def _pools(insert: Insert) -> dict[str, ClauseElement]:
    """Named pools and rates."""
    after, before = bindparam("after", type_=INT), bindparam("before", type_=INT)
    of_rate = _is(starts.c.rate)
    return {
        "insert_pool": insert(pools).on_conflict_do_nothing(),
        "save_pool": _change(pools, ["size"]).where(_is(pools.c.name)),
        "delete_pool": pools.delete().where(_is(pools.c.name)),
        "list_pools": _rows(pools).order_by(pools.c.name),
        "find_pool": _rows(pools).where(_is(pools.c.name)),
        "insert_hold": insert(holds).on_conflict_do_nothing(),
        "delete_holds": holds.delete().where(_is(holds.c.attempt_id), _is(holds.c.idx)),
        "list_holds": _rows(holds).order_by(holds.c.since, holds.c.attempt_id),
        "list_holds_of": _rows(holds).where(_is(holds.c.pool)).order_by(holds.c.since, holds.c.attempt_id),
        "count_starts": select(func.count(), func.min(starts.c.at)).where(of_rate, starts.c.at > after),
        "insert_start": insert(starts).values(rate=bindparam("rate"), at=bindparam("at")),
        "delete_starts": starts.delete().where(of_rate, starts.c.at <= before),
    }


def _pruned() -> dict[str, ClauseElement]:
    """What is old: found, counted and deleted."""
    before = bindparam("before", type_=INT)
    of_attempt = {table: _is(table.c.attempt_id) for table in (tasks, tries, moves)}
    counts = [select(func.count()).where(rule).scalar_subquery() for rule in of_attempt.values()]
    is_resumed = attempts.c.resumed_from.is_not(None)
    of_session = select(attempts.c.id).where(attempts.c.session_id == sessions.c.id).exists()
    over = notices.c.created_at < before, notices.c.state != bindparam("waiting")
    by_attempt = select(attempts.c.id).where(attempts.c.revision_id == revisions.c.id).exists()
    by_schedule = select(schedules.c.id).where(schedules.c.revision_id == revisions.c.id).exists()
    return {
        "list_past": select(*(attempts.c[name] for name in base.PastRow._fields)).order_by(attempts.c.id),
        "list_outputs": select(tasks.c.attempt_id, tasks.c.outputs).where(tasks.c.outputs.is_not(None)),
        "list_reuses": select(tasks.c.attempt_id, tasks.c.reused_from)
        .distinct()
        .select_from(attempts.join(tasks, tasks.c.attempt_id == attempts.c.id))
        .where(is_resumed, tasks.c.reused_from.is_not(None)),
        "resumed_after": select(attempts.c.resumed_from).where(
            attempts.c.id > bindparam("after", type_=INT), is_resumed
        ),
        "count_rows": select(*counts),
        "delete_tasks": tasks.delete().where(of_attempt[tasks]),
        "delete_tries": tries.delete().where(of_attempt[tries]),
        "delete_moves": moves.delete().where(of_attempt[moves]),
        "delete_attempt": attempts.delete().where(_is(attempts.c.id), attempts.c.finished_at.is_not(None)),
        "list_empty_sessions": select(sessions.c.id)
        .where(sessions.c.created_at < before, ~of_session)
        .order_by(sessions.c.id),
        "lock_free_session": select(sessions.c.id).where(_is(sessions.c.id)).with_for_update(skip_locked=True),
        "delete_empty_session": sessions.delete().where(_is(sessions.c.id), ~of_session),
        "count_old_skips": select(func.count()).select_from(skips).where(skips.c.at < before),
        "list_old_skips": _rows(skips)
        .where(skips.c.at < before)
        .limit(bindparam("limit", type_=INT))
        .offset(bindparam("offset", type_=INT)),
        "delete_skip": skips.delete().where(_is(skips.c.project_id), _is(skips.c.workflow), _is(skips.c.session_time)),
        "count_old_notices": select(func.count()).select_from(notices).where(*over),
        "list_old_notices": select(notices.c.id)
        .where(*over)
        .limit(bindparam("limit", type_=INT))
        .offset(bindparam("offset", type_=INT)),
        "delete_notice": notices.delete().where(_is(notices.c.id)),
        "list_revision_ages": select(*(revisions.c[name] for name in base.RevisionAge._fields)).order_by(
            revisions.c.id
        ),
        "lock_free_revision": select(revisions.c.id).where(_is(revisions.c.id)).with_for_update(skip_locked=True),
        "delete_unnamed_revision": revisions.delete().where(_is(revisions.c.id), ~by_attempt, ~by_schedule),
    }


def _noticed(insert: Insert) -> dict[str, ClauseElement]:
    """A statement can hold no value, so the state of those that wait is a parameter, too."""
    of_project = (_is(notices.c.project_id), _is(notices.c.state))
    limit = bindparam("limit", type_=INT)
    newest = _rows(notices).order_by(notices.c.id.desc()).limit(limit).offset(bindparam("offset", type_=INT))
    return {
        "insert_notice": _add(insert, notices),
        "due_notices": _rows(notices)
        .where(*of_project, notices.c.due_at <= bindparam("now", type_=INT))
        .order_by(notices.c.due_at, notices.c.id),
        "next_due_notice": select(func.min(notices.c.due_at)).where(*of_project),
        "claim_notice": _change(notices, ["tries", "due_at"]).where(
            _is(notices.c.id), _is(notices.c.state), notices.c.tries == bindparam("tries_before", type_=INT)
        ),
        "save_notice": _change(notices, ["due_at", "tries", "state", "error"]).where(
            _is(notices.c.id), _is(notices.c.state)
        ),
        "waiting_notices_of": _rows(notices)
        .where(_is(notices.c.attempt_id), _is(notices.c.state))
        .order_by(notices.c.id),
        "list_notices": newest,
        "delete_notices_of": notices.delete().where(_is(notices.c.attempt_id)),
    }


def _is(key: Column[Any]) -> Any:
    return key == bindparam(f"the_{key.name}")


def _columns(table: Table) -> list[Column[Any]]:
    return [table.c[name] for name in ROWS[table]._fields]


def _rows(table: Table) -> Select[Any]:
    return select(*_columns(table))


def _add(insert: Insert, table: Table) -> Any:
    """The row unless one of its keys is taken; its id comes from the database."""
    names = [column.name for column in table.c if column.name != "id"]
    return insert(table).values({name: bindparam(name) for name in names}).on_conflict_do_nothing()


def _newest(table: Table, *keys: Column[Any]) -> Select[Any]:
    newest = select(func.max(table.c.id)).where(*map(_is, keys))
    return _rows(table).where(table.c.id == newest.scalar_subquery())


def _change(table: Table, names: list[str]) -> Update:
    return table.update().values({name: bindparam(name) for name in names})


def _summaries() -> Select[Any]:
    """With the start of the root; of one that was taken over, the attempt's own."""
    parts = (*_columns(attempts), *_columns(sessions), projects.c.name, revisions.c.name)
    created, begun = attempts.c.created_at, tasks.c.started_at
    return select(*parts, case((begun < created, created), else_=begun).label("begun")).select_from(
        attempts.join(sessions, sessions.c.id == attempts.c.session_id)
        .join(projects, projects.c.id == attempts.c.project_id)
        .join(revisions, revisions.c.id == attempts.c.revision_id)
        .outerjoin(tasks, and_(tasks.c.attempt_id == attempts.c.id, tasks.c.idx == bindparam("root", type_=INT)))
    )
