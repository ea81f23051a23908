"""`dagrun notify`: the notices that were made, and a test whether the targets can be reached."""

from __future__ import annotations

from typing import Any

import click

from dagrun.cli.noticing import post_of, settings_rules
from dagrun.cli.opened import Opened, json_option, limit_option, open_here, print_json, project_options
from dagrun.errors import DeliveryFailed, UserError
from dagrun.store.noticed import NoticeRow


@click.group("notify", short_help="List notices, or send one as a test.")
def command() -> None:
    """Notices tell people that an attempt failed, is late, or has recovered.

    Who is told is said by `notify:` in a workflow's file, or by [notify] in the settings.
    """


@command.command("list")
@limit_option
@project_options
@json_option
def list_(limit: int, project: str | None, database: str | None, as_json: bool) -> None:
    """List the notices, newest first: whether they have arrived, after how many tries, and if not, why."""
    from dagrun.cli.table import print_table

    opened = open_here(project, database)
    with opened.existing_store.reading() as tx:
        rows = tx.list_notices(limit)
    if as_json:
        print_json([notice_object(row) for row in rows])
        return
    columns = ("id", "made", "kind", "session", "attempt", "target", "state", "tries", "error")
    print_table(columns, [cells(row) for row in rows])


def notice_object(row: NoticeRow) -> dict[str, Any]:
    from dagrun.cli.times import iso
    from dagrun.engine.noticing import notice_of
    from dagrun.notices.target import without_secrets
    from dagrun.store.noticed import WAITING

    notice, _ = notice_of(row.body)
    return {
        "id": row.id,
        "kind": row.kind,
        "workflow": row.workflow,
        "session_time": notice.session_time,
        "attempt_id": row.attempt_id,
        "target": without_secrets(row.target),
        "title": notice.title,
        "text": notice.text,
        "state": row.state,
        "tries": row.tries,
        "error": row.error,
        "created_at": iso(row.created_at),
        "due_at": iso(row.due_at) if row.state == WAITING else None,
    }


def cells(row: NoticeRow) -> tuple[str, ...]:
    from dagrun.cli.times import short

    shown = notice_object(row)
    session = f"{row.workflow}@{shown['session_time']}"
    attempt = "" if row.attempt_id is None else str(row.attempt_id)
    tries = str(row.tries)
    return (
        str(row.id), short(row.created_at), row.kind, session, attempt, shown["target"], row.state, tries,
        row.error or "",
    )  # fmt: skip


@command.command("test")
@click.argument("target", required=False)
@click.option("-c", "--config", metavar="FILE", help="Settings, instead of ~/.config/dagrun/config.toml.")
@project_options
@json_option
def test(target: str | None, config: str | None, project: str | None, database: str | None, as_json: bool) -> int:
    """Send a notice to TARGET, or to all targets of the settings, and say for each how it went."""
    opened = open_here(project, database, config)
    results = [(one, try_once(opened, one)) for one in targets_of(opened, target)]
    if as_json:
        print_json([{"target": shown(one), "delivered": problem is None, "error": problem} for one, problem in results])
    else:
        for one, problem in results:
            click.echo(f"{shown(one)}: delivered" if problem is None else f"failed: {problem}")
    return 1 if any(problem is not None for _, problem in results) else 0


def targets_of(opened: Opened, target: str | None) -> list[str]:
    """Raises UserError for a target that is none, or when there are none."""
    from dagrun.engine.noticing import check_target

    if target is not None:
        check_target(target)
        return [target]
    found = [to for rule in settings_rules(opened.settings) for to in rule.to]
    if not found:
        raise UserError(
            "the settings name no target for notices\n"
            '  write into config.toml:  [notify]  to = "slack:#ops"   – or name one: dagrun notify test slack:#ops'
        )
    return list(dict.fromkeys(found))


def try_once(opened: Opened, target: str) -> str | None:
    """Why it did not arrive; None if it did."""
    import os

    from dagrun.notices.notice import Notice

    text = f"Sent by dagrun notify test on {os.uname().nodename}. Nothing has happened."
    notice = Notice("test", opened.project_name, "", None, "A test of dagrun's notices", text)
    try:
        post_of(opened).send(target, notice, None)
    except DeliveryFailed as problem:
        return str(problem)
    return None


def shown(target: str) -> str:
    from dagrun.notices.target import without_secrets

    return without_secrets(target)
