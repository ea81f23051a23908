"""Who runs an attempt on this machine: a lock file that its process holds as long as it lives.

Who can take the lock knows that the owner is dead, with no lease to wait for. The kernel lets go of the lock at any sort
of death. `end_dead` then ends what the dead process left: its commands, its directories, and the attempt itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dagrun.core.events import Abandoned
from dagrun.core.workflow import Workflow
from dagrun.engine.rows import decode
from dagrun.engine.turn import Live, take_turn
from dagrun.engine.workspace import sweep_work, working
from dagrun.errors import Conflict
from dagrun.executors.choice import claimed
from dagrun.project.archive import Snapshot
from dagrun.project.loader import compile_file, workflow_file
from dagrun.store.base import AttemptRow, PastRow, Store, Tx

if TYPE_CHECKING:
    from dagrun.engine.noticing import Witness


class Ownership:
    """The lock of one attempt, held until `release` or death."""

    def __init__(self, state_dir: str, attempt_id: int) -> None:
        self.path = lock_path(state_dir, attempt_id)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        while not self.take(attempt_id):
            os.close(self.fd)

    def take(self, attempt_id: int) -> bool:
        """False when who held it has removed the file since it was opened: the lock of that one is nothing to anybody else."""
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.fd)
            raise Conflict(f"attempt {attempt_id} is run by another process") from None
        return os.fstat(self.fd).st_nlink > 0

    def release(self) -> None:
        os.unlink(self.path)
        os.close(self.fd)


def lock_path(state_dir: str, attempt_id: int) -> str:
    return os.path.join(state_dir, "run", f"{attempt_id}.lock")


def daemon_lock(state_dir: str) -> str:
    """The file that a daemon holds a lock of as long as it lives."""
    return os.path.join(state_dir, "daemon.lock")


def is_of_daemon(row: AttemptRow) -> bool:
    """Its attempts wait for the next daemon when this one dies."""
    return bool(decode(row.owner).get("daemon"))


def daemon_is_alive(state_dir: str) -> bool:
    return is_locked(daemon_lock(state_dir))


def daemon_process(state_dir: str) -> int | None:
    """The id of the daemon's process, None if none is alive."""
    if not daemon_is_alive(state_dir):
        return None
    with open(daemon_lock(state_dir), encoding="ascii") as file:
        text = file.read().strip()
    return int(text) if text.isdecimal() else 0  # it is just writing its id


def is_alive(state_dir: str, row: AttemptRow) -> bool:
    """Whether a process runs the attempt, or will. On another machine, or as another person, nobody here can tell: yes."""
    owner = decode(row.owner)
    if owner.get("host") != os.uname().nodename or is_of_daemon(row):
        return True
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(owner.get("state_dir") or state_dir)  # one that may not be seen is not one that was moved
        return is_locked(lock_path(place_of(row, state_dir), row.id))
    except PermissionError:
        return True


def is_locked(path: str) -> bool:
    """Whether a living process holds the lock."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks isn't taken for an owner
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def sweep_stale(state_dir: str, live: set[int], newest: int, reap: Callable[[int], object] = int) -> None:
    """Remove the directories and locks of attempts that are done: their process died before it could.

    Attempts above `newest`, the last one that was seen in the store, may be about to begin. `reap` removes the containers
    of one.
    """
    for attempt in leftovers(state_dir) - live:
        if attempt <= newest:
            with suppress(Conflict):  # its process is about to remove them itself
                lock = Ownership(state_dir, attempt)
                try:
                    reap(attempt)
                    sweep_work(state_dir, attempt)
                finally:
                    lock.release()


def leftovers(state_dir: str) -> set[int]:
    """The attempts that have directories, containers or a lock."""
    names = [*working(state_dir), *claimed(state_dir)]
    with suppress(FileNotFoundError):  # a daemon's attempts have no locks
        names += os.listdir(os.path.join(state_dir, "run"))
    return {int(number) for number in (name.partition(".")[0] for name in names) if number.isdecimal()}


def place_of(row: AttemptRow | PastRow, state_dir: str) -> str:
    """The state directory of its process: several may share one store. This one if the project has been moved since."""
    recorded = decode(row.owner).get("state_dir")
    return recorded if recorded and os.path.isdir(recorded) else state_dir


def workflow_of(tx: Tx, row: AttemptRow, state_dir: str) -> Workflow:
    """The attempt's, as its tasks were made of it; another version of the file has others. Raises UserError when it isn't there, or
    can't be read any more.
    """
    manifest = decode(tx.get_revision(row.revision_id).manifest)
    files = Snapshot(manifest, os.path.join(place_of(row, state_dir), "objects"))
    return compile_file(files, workflow_file(files, tx.get_session(row.session_id).workflow))


def describe(row: AttemptRow) -> str:
    """The process that runs it, for people."""
    owner = decode(row.owner)
    return f"process {owner.get('pid')} on {owner.get('host')}"


def end_dead(
    store: Store,
    state_dir: str,
    row: AttemptRow,
    workflow: Workflow,
    task_limit: int,
    sweep: Callable[[str], Sequence[object]],
    witness: Witness | None = None,
) -> int | None:
    """End what is left of an attempt whose process is dead; returns the number of processes that were still alive, None if
    there was nothing to end any more.

    First the processes, then the rows: when the attempt is done, nothing of it runs.
    """
    state_dir = place_of(row, state_dir)
    try:
        lock = Ownership(state_dir, row.id)
    except Conflict:
        return None  # somebody else is at it
    try:
        with store.reading() as tx:
            if tx.get_attempt(row.id).finished_at is not None:
                return None  # it ended by itself, or somebody was faster, after the row was read
        found = sweep(f"{store.id}/{row.id}.")
        take_turn(store, Live(row.id, workflow, task_limit, witness=witness), [Abandoned()])
        sweep_work(state_dir, row.id)
        return len(found)
    finally:
        lock.release()
