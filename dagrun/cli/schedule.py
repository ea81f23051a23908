"""`dagrun schedule`: the daemon that runs the schedules of a directory or of git repositories.

A composition root: the engine's loop meets its store, keeper, projects and signals.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from dagrun.cli.hosting import hosting_of
from dagrun.cli.noticing import deadman_of, notices_of, noticing_of
from dagrun.cli.opened import Opened, project_options
from dagrun.cli.running import DeadRuns, executors_of, files_of, gates_of, slots_of
from dagrun.core.events import Move
from dagrun.core.state import DONE, FAILED, SUCCESS
from dagrun.core.tree import Task
from dagrun.core.workflow import Workflow
from dagrun.engine.attempt import Attempt
from dagrun.engine.catalog import Candidate, Catalog, read
from dagrun.engine.daemon import Daemon, Lock
from dagrun.engine.launch import Launcher
from dagrun.engine.local import Local
from dagrun.engine.noticing import Noticing
from dagrun.engine.scheduler import Scheduler
from dagrun.engine.submit import TASK_LIMIT
from dagrun.engine.workspace import Workspaces
from dagrun.errors import NotFound
from dagrun.executors.kept import KeptExecutor
from dagrun.project.listed import Listed
from dagrun.project.sources import LIST, Folder, Place, Several, Tokens, git_source, name_of_url, read_list
from dagrun.schedules.definition import neighbours
from dagrun.secrets.scopes import LocalSecrets

MASKER = "dagrun.secrets.mask:Masker"
GRACE = "10m"
NOTICE_SECONDS = 5.0  # so long the last notices may take when it stops; the next start sends the rest


@click.command("schedule", short_help="Run the schedules of a directory or a git repository.")
@click.argument("directory", default=".", metavar="[DIR]")
@click.option("--git", "url", metavar="URL", help="A git repository instead of the files of DIR.")
@click.option("--branch", metavar="B", help="Its branch; by default the one that its HEAD names.")
@click.option("--path", default="", metavar="P", help="The project's directory inside of the repository.")
@click.option("--every", default="60s", metavar="TIME", show_default=True, help="How often it is fetched.")
@click.option("--grace", default=GRACE, metavar="TIME", show_default=True, help="How long tasks may go on after TERM.")
@click.option("--max-task-threads", type=click.IntRange(0), help="Tasks at once; by default 8 a core, 0: any number.")
@click.option("-c", "--config", metavar="FILE", help="Settings, instead of ~/.config/dagrun/config.toml.")
@project_options
def command(directory: str, project: str | None, database: str | None, config: str | None, **options: Any) -> int:
    """Run the schedules of the projects in DIR: of DIR itself if it holds workflows, else of each folder that does.

    Changed files are taken over within two seconds, when the whole project is valid. TERM and Ctrl-C stop it gracefully;
    tasks outlive it, and the next start takes them up. Repositories may also be listed in DIR/projects.yaml.
    """
    top = project or directory
    if not os.path.isdir(top):
        raise NotFound("directory", top)
    opened = Opened(os.path.abspath(top), database, config)
    lock = Lock(opened.state_dir)
    try:
        return run(opened, options)
    finally:
        lock.release()


def run(opened: Opened, options: dict[str, Any]) -> int:
    diary = Diary()
    noticing = noticing_of(opened.settings)
    daemon = make_daemon(opened, diary, options, noticing)
    notices = notices_of(opened, noticing, daemon.catalog.ids, diary.said, durable=True)
    deadman = deadman_of(opened.settings, diary.said)
    dead = DeadRuns(opened, daemon.local, diary.said)
    daemon.beats = [notices.poll, dead.poll, *([deadman.poll] if deadman else [])]
    try:
        with stopped_by_signals(daemon):
            daemon.open()
            count = len(daemon.catalog.ids())
            diary.said(f"{count} project{'s' if count != 1 else ''} in {opened.project_dir}, process {os.getpid()}")
            daemon.run()
        notices.finish(NOTICE_SECONDS)
        daemon.local.worker.launcher.executor.close()
    finally:
        daemon.source.close()
    diary.said("stopped")
    return 0


def make_daemon(opened: Opened, diary: Diary, options: dict[str, Any], noticing: Noticing) -> Any:
    store = opened.durable_store
    kept = KeptExecutor(opened.state_dir, MASKER)
    executors = executors_of(opened, kept, diary.said)
    launcher = Launcher(store.id, opened.state_dir, executors, Workspaces(opened.state_dir), files_of(opened))
    secrets = LocalSecrets(opened.settings.values, os.environ)
    catalog = Catalog(store, opened.state_dir, {"task_limit": TASK_LIMIT})
    local = Local(
        store,
        opened.state_dir,
        launcher,
        diary,
        slots=slots_of(options["max_task_threads"]),
        secret_value=secrets.get,
        schedule_params=lambda workflow, at: neighbours(catalog.schedules(workflow), at, workflow.timezone),
        daemon=True,
        gates=gates_of(opened),
        noticing=noticing,
        hosting=hosting_of(opened.settings, daemon=True),
    )
    scheduler = Scheduler(store, local, catalog, diary.said, opened_at=local.worker.now())
    return Daemon(
        store,
        local,
        catalog,
        scheduler,
        make_source(opened, options),
        read=lambda place: read_checked(place, opened.state_dir, diary, catalog.candidate(place.name)),
        say=diary.said,
        known_commands=lambda: [*kept.names(), *executors.claims(store.id)],
        grace=duration(options["grace"], "--grace"),
    )


def make_source(opened: Opened, options: dict[str, Any]) -> Several | Listed:
    top = opened.project_dir
    tokens = Tokens(LocalSecrets(opened.settings.values, os.environ).get, opened.settings.values)
    if options["url"]:
        name = name_of_url(options["url"])
        every = duration(options["every"], "--every")
        return Several([
            git_source(
                name, options["url"], opened.state_dir, branch=options["branch"], path=options["path"], every=every,
                token=tokens.get(name),
            )
        ])  # fmt: skip
    if options["branch"] or options["path"]:
        raise click.UsageError("--branch and --path go with --git")
    path = os.path.join(top, LIST)

    def read() -> Several:
        listed = os.path.exists(path)
        return read_list(path, opened.state_dir, tokens) if listed else Several([Folder(top, opened.project_name)])

    return Listed(path, read)


def duration(text: str, option: str) -> float:
    from dagrun.core.kinds import to_seconds

    try:
        return to_seconds(text)
    except (ValueError, TypeError):
        raise click.UsageError(f"{option} {text!r} is no length of time; write, for example, 30s or 10m") from None


def read_checked(place: Place, state_dir: str, diary: Diary, before: Candidate | None) -> Candidate:
    """Errors of `dagrun check` refuse a project, its warnings are told once."""
    from dagrun.cli.checking import operators
    from dagrun.core import check as checks

    def check(paths: frozenset[str], workflow: Workflow) -> list[str]:
        found = checks.check(workflow, operators(paths), paths)
        for finding in found:
            if finding.level != checks.ERROR:
                diary.warned_once(str(finding))
        return [str(finding) for finding in found if finding.level == checks.ERROR]

    return read(place, state_dir, check, before)


class Diary:
    """Tells on standard error what happens, one line an event. What tasks print stays in their logs."""

    def __init__(self) -> None:
        self.warnings: set[str] = set()

    def said(self, text: str) -> None:
        now = time.localtime(time.time())  # the clock that strftime reads by itself is late by up to a tick
        click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S', now)} {text}", err=True)

    def warned(self, text: str) -> None:
        self.said(f"warning: {text}")

    def warned_once(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.add(text)
            self.said(text)

    def moved(self, attempt: Attempt, task: Task, move: Move) -> None:
        from dagrun.core.session import format_time
        from dagrun.core.zone import zone

        name = f"{attempt.session.workflow}@{format_time(attempt.session.session_time, zone(attempt.timezone))}"
        if move.after in FAILED and task.error:
            self.said(f"attempt {attempt.id} {name}: {task.full_name} failed: {task.error['message'].splitlines()[0]}")
        if task.parent is None and move.after in DONE:
            word = "succeeded" if move.after == SUCCESS else f"ended: {move.after}"
            self.said(f"attempt {attempt.id} {name} {word}")

    def logging(self, task: Task, path: str) -> None:
        pass

    def logged(self, task: Task, path: str) -> None:
        pass

    def tick(self) -> float:
        return 60.0


@contextmanager
def stopped_by_signals(daemon: Daemon) -> Iterator[None]:
    """TERM and Ctrl-C stop it gracefully, a second one at once."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        os.set_blocking(fd, False)
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    daemon.local.worker.poller.add(reader)

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        with suppress(BlockingIOError):
            os.read(reader, 100)
        daemon.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        daemon.local.worker.poller.remove(reader)
        os.close(reader)
        os.close(writer)
