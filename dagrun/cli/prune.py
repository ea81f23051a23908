"""`dagrun prune`: remove attempts, logs and revisions that are old (features F96)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import click

from dagrun.cli.opened import Opened, json_option, open_here, print_json, project_options
from dagrun.cli.running import files_of
from dagrun.cli.table import print_table
from dagrun.core.retention import Retention
from dagrun.engine.prune import Removed, prune
from dagrun.errors import UserError

YEARS = re.compile(r"\s*(\d{1,4})y\s*")
MICROSECONDS = 1_000_000


@click.command("prune", short_help="Remove attempts and logs that are old.")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
@click.option("--runs", metavar="TIME", help="How long successful attempts stay; by default 90d.")
@click.option("--failed", metavar="TIME", help="How long failed and killed attempts stay; by default 1y.")
@click.option("--logs", metavar="TIME", help="How long the logs of attempts that stay are kept; by default 30d.")
@click.option(
    "--keep-last", metavar="N", help="So many of the newest attempts of each workflow stay whole; by default 10."
)
@project_options
@click.option("-c", "--config", metavar="FILE", help="Settings, instead of ~/.config/dagrun/config.toml.")
@json_option
def command(
    dry_run: bool,
    runs: str | None,
    failed: str | None,
    logs: str | None,
    keep_last: str | None,
    project: str | None,
    database: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Remove attempts that ended long ago, with their tasks, logs and kept directories, and what nothing names any more.

    Attempts that run or wait stay, and those that an attempt that stays was resumed from. A daemon may be at work meanwhile. Other
    defaults stand in config.toml: retention.runs, retention.failed, retention.logs, retention.keep_last.
    """
    opened = open_here(project, database, config)
    given = {"runs": runs, "failed": failed, "logs": logs, "keep_last": keep_last}
    retention = read_retention(opened.settings.values, given)
    store = opened.existing_store
    with store.reading() as tx:
        now = tx.now
    alone = is_only_store(opened)
    if not alone:
        click.echo(f"{opened.state_dir}/objects also serve state.db beside them; they stay", err=True)
    files = files_of(opened)
    removed = prune(store, opened.state_dir, retention, now, dry_run=dry_run, objects=alone, files=lambda: files.store)
    if as_json:
        print_json(removed_object(removed, retention, dry_run=dry_run))
    else:
        print_removed(removed, dry_run=dry_run)


def is_only_store(opened: Opened) -> bool:
    """Whether the objects of the state directory can only be named by this store."""
    return opened.database is None or not os.path.exists(os.path.join(opened.state_dir, "state.db"))


# -- how long


def read_retention(settings: Mapping[str, Any], given: Mapping[str, str | None]) -> Retention:
    """The options, else the settings `retention.*`, else the defaults. Raises UserError."""
    values: dict[str, int] = {}
    for name, option in given.items():
        key = f"retention.{name}"
        source = f"--{name.replace('_', '-')}" if option is not None else key
        value = option if option is not None else settings.get(key)
        if value is not None:
            values[name] = to_count(value, source) if name == "keep_last" else to_lifetime(value, source)
    return Retention(**values)


def to_lifetime(value: Any, source: str) -> int:
    """Microseconds."""
    from dagrun.core.kinds import to_seconds

    years = YEARS.fullmatch(value) if isinstance(value, str) else None
    try:
        seconds = int(years[1]) * 365 * 86400 if years else to_seconds(value)
    except (ValueError, TypeError):
        raise UserError(f"{source} {value!r} is no length of time\n  write, for example, 12h, 30d or 1y") from None
    return int(seconds * MICROSECONDS)


def to_count(value: Any, source: str) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\s*\d{1,9}\s*", str(value)):
        raise UserError(f"{source} {value!r} is no number of attempts\n  write 0 or more, for example 10")
    return int(value)


# -- what went


def print_removed(removed: Removed, *, dry_run: bool) -> None:
    rows = [
        ("attempts", removed.attempts, None),
        ("tasks", removed.tasks, None),
        ("tries", removed.tries, None),
        ("moves", removed.moves, None),
        ("sessions", removed.sessions, None),
        ("skips", removed.skips, None),
        ("notices", removed.notices, None),
        ("revisions", removed.revisions, None),
        ("log directories", removed.log_directories, removed.log_bytes),
        ("kept directories", removed.kept_directories, removed.kept_bytes),
        ("objects", removed.objects, removed.object_bytes),
        ("files", removed.files, removed.file_bytes),
    ]
    found = [(what, str(count), "" if size is None else bytes_text(size)) for what, count, size in rows if count]
    if not found:
        click.echo("nothing is old enough")
        return
    print_table(("would go" if dry_run else "removed", "count", "bytes"), found)


def bytes_text(size: int) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >> bits:
            return f"{size / (1 << bits):.1f} {unit}"
    return str(size)


def removed_object(removed: Removed, retention: Retention, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "runs_seconds": retention.runs / MICROSECONDS,
        "failed_seconds": retention.failed / MICROSECONDS,
        "logs_seconds": retention.logs / MICROSECONDS,
        "keep_last": retention.keep_last,
        "attempts": removed.attempts,
        "tasks": removed.tasks,
        "tries": removed.tries,
        "moves": removed.moves,
        "sessions": removed.sessions,
        "skips": removed.skips,
        "notices": removed.notices,
        "revisions": removed.revisions,
        "log_directories": removed.log_directories,
        "log_bytes": removed.log_bytes,
        "kept_directories": removed.kept_directories,
        "kept_bytes": removed.kept_bytes,
        "objects": removed.objects,
        "object_bytes": removed.object_bytes,
        "files": removed.files,
        "file_bytes": removed.file_bytes,
    }
