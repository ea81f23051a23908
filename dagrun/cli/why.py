"""`dagrun why`: what keeps a workflow, an attempt or a task from going on."""

from __future__ import annotations

import time

import click

from dagrun.cli.opened import Opened, find_attempt, json_option, open_here, print_json, project_options
from dagrun.cli.pools import name_of
from dagrun.cli.running import gates_of, revision_of
from dagrun.cli.scheduled import Found, find
from dagrun.cli.times import short
from dagrun.core.decide import seconds
from dagrun.core.schedule import END
from dagrun.core.session import format_time
from dagrun.core.tree import Task, TaskTree
from dagrun.core.uses import LOCK, WHOLE, takers, use_of
from dagrun.core.why import chain
from dagrun.engine.gates import Gates
from dagrun.engine.owners import daemon_is_alive, describe, is_alive, is_of_daemon
from dagrun.engine.rows import decode, load_tree
from dagrun.engine.waiting_room import KEY, busy_word, is_queued
from dagrun.errors import NotFound, TaskFailed
from dagrun.store.base import AttemptRow, QueueRow, Tx


@click.command("why", short_help="Say why something doesn't run.")
@click.argument("what", metavar="WF|ATTEMPT")
@click.argument("task", required=False, metavar="[+TASK]")
@project_options
@json_option
def command(what: str, task: str | None, project: str | None, database: str | None, as_json: bool) -> None:
    """Say in a sentence why the workflow, the attempt or its task isn't running, and what it waits for."""
    opened = open_here(project, database)
    with opened.existing_store.reading() as tx:
        if what.isdecimal() or what == "last" or "@" in what:
            found = of_attempt(tx, opened, find_attempt(tx, what), task)
        else:
            found = [line for one in find(tx, what) for line in of_schedule(tx, opened, one)]
    if as_json:
        print_json(found)
        return
    for depth, line in enumerate(found):
        click.echo(f"{'  ' * depth}{line}" if task or len(found) > 1 else line)


# -- a schedule


def of_schedule(tx: Tx, opened: Opened, one: Found) -> list[str]:
    row = one.row
    name = f"{one.name} ({one.text})"
    if row.disabled_at is not None:
        until = f" until {short(row.disabled_until)}" if row.disabled_until else "; dagrun enable starts it again"
        return [f"{name}: disabled since {short(row.disabled_at)}{until}"]
    if row.next_session == END:
        return [f"{name}: the schedule is over"]
    if not daemon_is_alive(opened.state_dir):
        return [f"{name}: no daemon runs here; dagrun schedule starts one"]
    paused = pause_of(tx, 0)
    if paused:
        return [f"{name}: {paused}"]
    session = format_time(row.next_session, one.place)
    if row.note:
        return [f"{name}: session {session} is put off until {short(row.next_run)}: {row.note}"]
    found = [f"{name}: the next session is {session}, at {short(row.next_run)}"]
    skips = tx.list_skips(row.project_id, row.workflow, 1)
    if skips and (row.last_session is None or skips[0].session_time > row.last_session):
        found.append(f"session {format_time(skips[0].session_time, one.place)} was skipped: {skips[0].reason}")
    live = tx.live_attempts_of(row.project_id, row.workflow)
    return [*found, *(f"attempt {one.id} is {busy_word(one)}: dagrun why {one.id}" for one in live[:3])]


def pause_of(tx: Tx, *numbers: int) -> str | None:
    for pause in tx.list_pauses():
        if pause.attempt_id == 0 or pause.attempt_id in numbers:
            what = "everything" if pause.attempt_id == 0 else f"attempt {pause.attempt_id}"
            option = "--all" if pause.attempt_id == 0 else str(pause.attempt_id)
            reason = f" ({pause.reason})" if pause.reason else ""
            return f"{what} is paused since {short(pause.at)}{reason}; dagrun unpause {option} lets it go on"
    return None


# -- an attempt


def of_attempt(tx: Tx, opened: Opened, row: AttemptRow, task: str | None) -> list[str]:
    name = f"attempt {row.id}"
    if row.finished_at is not None and task is None:
        error = f": {decode(row.error)['message']}" if row.error else ""
        return [f"{name} is done since {short(row.finished_at)} ({row.state}){error}"]
    if is_queued(row):
        return queued(tx, row, opened)
    if row.finished_at is None:
        if not is_alive(opened.state_dir, row):
            return [f"{name}: its process ({describe(row)}) is dead; dagrun retry {row.id} goes on with it"]
        if is_of_daemon(row) and not daemon_is_alive(opened.state_dir):
            return [f"{name}: its daemon isn't running; dagrun schedule takes it up"]
    session = tx.get_session(row.session_id)
    workflow = revision_of(opened, tx.get_revision(row.revision_id), row).workflow(session.workflow)
    tree = load_tree(workflow, tx.load_tasks(row.id), row.version)
    start = tree.root
    if task is not None:
        found = [one for one in tree.tasks if one.full_name.endswith(task) and not one.superseded]
        if not found:
            raise NotFound("task", task, [one.full_name for one in tree.tasks])
        start = next((one for one in found if one.full_name in (task, f"+{session.workflow}{task}")), found[0])
    parent = decode(row.options).get("parent", 0)
    gates = gates_of(opened)

    def gate(task: Task) -> str | None:
        try:
            return gate_of(tx, gates, row, session.workflow, tree, task)
        except TaskFailed:  # a pool or a rate of other settings than ours
            return None

    return chain(tree, start, time.time_ns() // 1000, pause_of(tx, row.id, parent), gate)


def gate_of(tx: Tx, gates: Gates, row: AttemptRow, workflow: str, tree: TaskTree, task: Task) -> str | None:
    """The pool without room for the task, or the rate that it waits for."""
    for one in takers(tree, task):
        for name, amount in (use.pools if (use := use_of(one.spec.config)) else {}).items():
            held = [hold for hold in tx.list_holds(name) if (hold.attempt_id, hold.idx) != (row.id, one.index)]
            used, size = sum(hold.amount for hold in held), gates.size(tx, name)
            if used + amount > size:
                holders = ", ".join(name_of(tx, hold) for hold in held)
                kind = "lock" if name.startswith(LOCK) else "pool"
                return f"waits for the {kind} {name} ({used / WHOLE:g}/{size / WHOLE:g} held by {holders})"
    due = gates.due(tx, gates.rates_of(tree, task, workflow), tx.now, {})
    return f"waits for its _rate, {seconds(max(0, due - tx.now))} more" if due is not None else None


def queued(tx: Tx, row: AttemptRow, opened: Opened) -> list[str]:
    """It has no tasks yet: what it waits for."""
    paused = pause_of(tx, row.id)
    if paused:
        return [paused]
    entries = [entry for entry in tx.list_queued() if entry.attempt_id == row.id]
    if not entries:
        return [f"attempt {row.id} is about to start"]
    (entry,) = entries
    found = [f"attempt {row.id} has been queued for {seconds(max(0, tx.now - row.created_at))}: {entry.why}"]
    found += [f"attempt {other.id} is not done: dagrun why {other.id}" for other in blockers(tx, entry, row)]
    if not daemon_is_alive(opened.state_dir):
        found.append("no daemon runs here; dagrun schedule starts one")
    return found


def blockers(tx: Tx, entry: QueueRow, row: AttemptRow) -> list[AttemptRow]:
    if entry.after_session is not None:
        newest = tx.newest_attempt_of_session(entry.after_session)
        return [newest] if newest is not None and newest.finished_at is None else []
    live = tx.live_attempts_of(entry.project_id, entry.workflow)
    same = [one for one in live if decode(one.options).get(KEY, "") == entry.key and one.id != row.id]
    return [one for one in same if not is_queued(one)][: max(1, entry.most)]
