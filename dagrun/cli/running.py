"""What `run` and `retry` share: opening the pieces, running an attempt to its end, and its exit code.

A composition root: here the engine meets its store, executor, secrets and terminal.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dagrun.cli.hosting import hosting_of
from dagrun.cli.noticing import AtEnd, noticing_of
from dagrun.cli.objects import print_attempt
from dagrun.cli.opened import Opened, retry_command
from dagrun.cli.output import Output
from dagrun.cli.times import schedule_params
from dagrun.core.state import CANCELED, SUCCESS
from dagrun.core.workflow import Workflow
from dagrun.engine.attempt import Attempt
from dagrun.engine.launch import Files, Launcher
from dagrun.engine.local import Local, Revision
from dagrun.engine.owners import daemon_is_alive, end_dead, is_alive, leftovers, place_of, sweep_stale
from dagrun.engine.submit import TASK_LIMIT, Submission
from dagrun.engine.tries import try_log
from dagrun.engine.workspace import Workspaces
from dagrun.errors import TaskFailed, UserError
from dagrun.executors.choice import KNOWN, MISSING, TRAVEL, Executors, Processes, reap, sweep
from dagrun.executors.process import ProcessExecutor
from dagrun.project.archive import Snapshot, snapshot
from dagrun.project.loader import compile_file, workflow_file
from dagrun.secrets.scopes import LocalSecrets
from dagrun.store.base import AttemptRow, RevisionRow, Store, Tx

if TYPE_CHECKING:
    from dagrun.engine.gates import Gates
    from dagrun.files.store import FileStore

SLOTS_PER_CORE = 8
KILLED = 6
DEAD_RUN_SECONDS = 5.0  # so late at most is found that a run has died


@dataclass(eq=False, repr=False)
class Runner:
    """Everything that running an attempt of one project needs."""

    opened: Opened
    revision: Revision
    project_id: int
    output: Output
    local: Local
    notices: AtEnd
    dead: DeadRuns

    def beat(self) -> float:
        """What else is to be done while it runs, or waits until it may."""
        return min(self.notices.beat(), self.dead.poll(time.monotonic()))


def current_revision(opened: Opened) -> tuple[str, dict[str, Any]]:
    return snapshot(opened.project_dir, opened.state_dir)


def store_revision(tx: Tx, opened: Opened, digest: str, manifest: Mapping[str, Any]) -> RevisionRow:
    project = tx.ensure_project(opened.project_name)
    return tx.ensure_revision(project.id, digest, manifest_text(manifest))


def manifest_text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=False)


def revision_of(opened: Opened, row: RevisionRow, attempt: AttemptRow | None = None) -> Revision:
    """A stored revision with its files. Its workflows are compiled when they are asked for.

    Several directories may share a store: the files lie where the `attempt` was made, if one is given.
    """
    manifest = json.loads(row.manifest)
    state_dir = place_of(attempt, opened.state_dir) if attempt else opened.state_dir
    files = Snapshot(manifest, os.path.join(state_dir, "objects"))

    def workflow(name: str) -> Workflow:
        return compile_file(files, workflow_file(files, name))

    return Revision(row, files, manifest, opened.project_dir, workflow)


def make_runner(opened: Opened, revision: Revision, project_id: int, *, slots: int | None) -> Runner:
    output = Output(out_is_terminal=os.isatty(1), err_is_terminal=os.isatty(2))
    store = opened.store
    launcher = Launcher(
        store.id,
        opened.state_dir,
        executors_of(opened, ProcessExecutor(masker), output.said),
        Workspaces(opened.state_dir),
        files_of(opened),
    )
    secrets = LocalSecrets(opened.settings.values, os.environ)
    noticing = noticing_of(opened.settings)
    local = Local(
        store,
        opened.state_dir,
        launcher,
        output,
        slots=slots_of(slots),
        secret_value=secrets.get,
        schedule_params=schedule_params,
        gates=gates_of(opened),
        noticing=noticing,
        hosting=hosting_of(opened.settings, daemon=False),
    )
    dead = DeadRuns(opened, local, output.said, time.monotonic() + DEAD_RUN_SECONDS)
    return Runner(opened, revision, project_id, output, local, AtEnd(opened, noticing, project_id, output.said), dead)


def files_of(opened: Opened) -> Files:
    """The store of files that tasks hand on, opened with the first one."""

    def open_store() -> FileStore:
        from dagrun.files.store import open_files

        return open_files(opened.settings.values.get("files.store"), opened.state_dir, opened.store.id)

    return Files(open_store)


def executors_of(opened: Opened, processes: Processes, say: Callable[[str], None]) -> Executors:
    """Processes, and containers of the engine that DOCKER_HOST names."""
    travel = opened.settings.values.get("docker.files", "auto")
    if travel not in TRAVEL:
        raise UserError(f"docker.files in the settings can't be {travel!r}; use {', '.join(TRAVEL)}")
    return Executors(
        processes, opened.state_dir, masker=masker, say=say, travel=travel, configured=configured_executor(opened)
    )


def configured_executor(opened: Opened) -> str:
    """The one that the settings ask for. Raises UserError when neither dagrun nor Digdag knows it."""
    name = str(opened.settings.values.get("agent.command_executor.type", "docker"))
    if name not in (*KNOWN, *MISSING):
        raise UserError(f"agent.command_executor.type in the settings can't be {name!r}; use {' or '.join(KNOWN)}")
    return name


def gates_of(opened: Opened) -> Gates:
    """The pools and rates of the settings."""
    from dagrun.engine.gates import Gates

    values = opened.settings.values
    pools: dict[str, float] = {}
    for key, value in values.items():
        if key.startswith("pools."):
            try:
                pools[key.removeprefix("pools.")] = float(value)
            except (TypeError, ValueError):
                raise UserError(f"{key} in the settings must be a number, not {value!r}") from None
    rates = {key.removeprefix("rates."): str(value) for key, value in values.items() if key.startswith("rates.")}
    return Gates(pools, rates)


def slots_of(wanted: int | None) -> int:
    """How many tasks are at work at once."""
    if wanted is None:
        return SLOTS_PER_CORE * (os.cpu_count() or 1)
    return wanted or TASK_LIMIT


def masker(secrets: Sequence[str]) -> Any:
    """The filter of a try that has secrets; its tables are loaded for the first one."""
    from dagrun.secrets.mask import Masker

    return Masker(secrets)


def run_to_end(
    runner: Runner,
    wanted: Submission,
    guard: Callable[[Tx], None],
    first_line: Callable[[Attempt], str],
    *,
    as_json: bool,
) -> int:
    """Submit, run, and say how it ended; returns the exit code. JSON on standard output takes the place of the tasks' own."""
    runner.output.closed = as_json
    attempt = submitted(runner, wanted, guard)
    if attempt is None:
        return 0
    runner.output.said(first_line(attempt))
    with stopped_by_signals(runner.local):
        runner.local.run(runner.beat)
        runner.local.worker.launcher.executor.close()
    runner.output.close()
    tree = attempt.tree
    state_dir = runner.opened.state_dir

    def log_of(task: Any) -> str | None:
        path = try_log(state_dir, attempt.id, task, task.tries)
        return path if os.path.exists(path) else None

    runner.output.summary(attempt, tree, log_of, retry_command(runner.opened, attempt.id))
    runner.notices.finish()
    if as_json:
        print_attempt(runner.opened.store, attempt.id)
    if tree.root.state == SUCCESS:
        return 0
    return KILLED if tree.root.state == CANCELED else 1


def submitted(runner: Runner, wanted: Submission, guard: Callable[[Tx], None]) -> Attempt | None:
    """None when it is skipped."""
    if wanted.workflow.concurrency is None:
        return runner.local.submit(wanted, runner.revision, guard)
    from dagrun.engine.admission import submit_in_turn

    return submit_in_turn(runner.local, wanted, runner.revision, guard, runner.output.said, runner.beat)


class stopped_by_signals:  # noqa: N801  (used as a function)
    """Ctrl-C and TERM cancel all attempts; a second one leaves no more grace."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.before: dict[int, Any] = {}
        self.count = 0

    def __enter__(self) -> None:
        # The loop must wake up: Python's own handler writes into this pipe.
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)
        self.wakeup = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        self.local.worker.poller.add(self.reader)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.before[number] = signal.signal(number, self.stop)

    def stop(self, number: int, frame: object) -> None:  # noqa: ARG002
        with suppress(BlockingIOError):
            os.read(self.reader, 100)
        self.count += 1
        if self.count == 1:
            self.local.cancel("killed by Ctrl-C" if number == signal.SIGINT else f"killed by signal {number}")
        else:
            self.local.hurry()

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.wakeup)
        self.local.worker.poller.remove(self.reader)
        os.close(self.reader)
        os.close(self.writer)


def end_dead_attempts(opened: Opened, say: Callable[[str], None]) -> None:
    """End what processes that died left in this store, before anything new begins."""
    store = opened.store
    end_dead_runs(opened, store, say)
    # A daemon's attempts have no locks, and it cleans up itself.
    if leftovers(opened.state_dir) and not daemon_is_alive(opened.state_dir):
        with store.reading() as tx:
            live, newest = tx.live_attempts(), tx.newest_attempt()
        if newest is not None:

            def end(attempt: int) -> None:
                with suppress(TaskFailed):  # the engine doesn't answer: they stay for the next time
                    reap(opened.state_dir, f"{store.id}/{attempt}.")

            sweep_stale(opened.state_dir, {row.id for row in live}, newest.id, end)


class DeadRuns:
    """Ends what runs left whose process dies while this one is at work, or waits: they would keep their place (`concurrency`),
    their pools and who requires them for ever. What it has to say it says once.
    """

    def __init__(self, opened: Opened, local: Local, say: Callable[[str], None], look_at: float = 0.0) -> None:
        self.opened = opened
        self.local = local
        self.say = say
        self.said: set[str] = set()
        self.look_at = look_at

    def poll(self, now: float) -> float:
        """The seconds until the next look."""
        if now >= self.look_at:
            self.look_at = now + DEAD_RUN_SECONDS
            if end_dead_runs(self.opened, self.local.store, self.say_once):
                self.local.others_ended()
        return self.look_at - now

    def say_once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.say(text)


def end_dead_runs(opened: Opened, store: Store, say: Callable[[str], None]) -> int:
    """Attempts whose process has died; how many were ended."""
    with store.reading() as tx:
        live = tx.live_attempts()
    return sum(end_one(opened, store, row, say) for row in live if not is_alive(opened.state_dir, row))


def end_one(opened: Opened, store: Store, row: AttemptRow, say: Callable[[str], None]) -> bool:
    """Whether it was this process that ended it."""
    with store.reading() as tx:
        session = tx.get_session(row.session_id)
        revision = revision_of(opened, tx.get_revision(row.revision_id), row)
    try:
        workflow = revision.workflow(session.workflow)
    except UserError as problem:  # it isn't there, or can't be read any more
        say(
            f"attempt {row.id} of {session.workflow} was left by a process that died, and can't be ended here: {problem}"
        )
        return False
    witness = noticing_of(opened.settings).witness(workflow, revision.files)
    try:
        end = partial(sweep, place_of(row, opened.state_dir))
        found = end_dead(store, opened.state_dir, row, workflow, TASK_LIMIT, end, witness)
    except TaskFailed as problem:
        say(
            f"attempt {row.id} of {session.workflow} was left by a process that died, and what is left of it can't be ended: {problem}"
        )
        return False
    if found is None:
        return False
    left = f", {found} of its processes were still there" if found else ""
    say(f"attempt {row.id} of {session.workflow} was left by a process that died: ended it{left}")
    return True
