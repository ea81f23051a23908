"""Removing what is old: attempts with all that belongs to them, logs, and what nothing names any more (features F96).

Which attempts go is decided in `core/retention.py`. A daemon or a run may be at work meanwhile, and this may be killed at any
moment: files go before the rows that name them, rows go a few at a time, and the next call finds what is left.

A dry run walks the same way and counts the same things.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagrun.core.retention import Retention, choose, unnamed, with_needs
from dagrun.engine.owners import place_of
from dagrun.engine.workspace import kept_directories, remove_tree
from dagrun.logs.files import log_directory
from dagrun.project.archive import digests, named_now, sweep
from dagrun.store.base import PastRow, RevisionAge, Store, Tx

if TYPE_CHECKING:
    from dagrun.files.store import FileStore

# A writing transaction keeps a daemon from its own: it deletes so many attempts at most, and about so many rows below them.
MOST_ATTEMPTS = 100
MOST_ROWS = 20_000
MOST_SMALL = 1_000  # rows that nothing belongs to
MOST_REVISIONS = 10  # each is looked for in all attempts
FRESH = 3_600_000_000  # microseconds in which a run or a daemon stores what it has made or found


@dataclass
class Removed:
    """What is gone, or would be."""

    attempts: int = 0
    tasks: int = 0
    tries: int = 0
    moves: int = 0
    sessions: int = 0
    skips: int = 0
    notices: int = 0
    revisions: int = 0
    log_directories: int = 0
    log_bytes: int = 0
    kept_directories: int = 0
    kept_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    files: int = 0
    file_bytes: int = 0


def prune(
    store: Store,
    state_dir: str,
    retention: Retention,
    now: int,
    *,
    dry_run: bool = False,
    objects: bool = True,
    files: Callable[[], FileStore] | None = None,
) -> Removed:
    """What is older than `retention` at `now` (microseconds) is gone. `objects`: those of the state directory are this
    store's alone. `files` opens the store of files.
    """
    return Pruning(store, state_dir, retention, now, dry_run=dry_run, files=files).run(objects=objects)


class Pruning:
    """One go. `past` are the attempts as they were at its beginning."""

    def __init__(
        self,
        store: Store,
        state_dir: str,
        retention: Retention,
        now: int,
        *,
        dry_run: bool,
        files: Callable[[], FileStore] | None = None,
    ) -> None:
        self.store = store
        self.files = files
        self.state_dir = state_dir
        self.retention = retention
        self.now = now
        self.dry_run = dry_run
        self.removed = Removed()
        self.kept: dict[str, dict[int, list[str]]] = {}  # state directory → attempt → directories
        with store.reading() as tx:
            self.past = {row.id: row for row in tx.list_past()}
            self.needs = needs_of(self.past.values(), tx.list_reuses())

    def run(self, *, objects: bool) -> Removed:
        choice = choose(self.past.values(), self.needs, self.retention, self.now)
        self.remove_attempts(choice.removed)
        for attempt in choice.without_logs:
            self.remove_logs(attempt)
        leaving = set(choice.removed)
        staying = [row for row in self.past.values() if row.id not in leaving]
        self.remove_sessions(choice.removed, {row.session_id for row in staying})
        self.remove_skips(self.now - self.retention.runs)
        self.remove_notices(self.now - max(self.retention.runs, self.retention.failed))
        gone = self.remove_revisions({row.revision_id for row in staying})
        if objects:
            self.remove_objects(gone)
        if self.files is not None:
            self.remove_files(self.files(), [row.id for row in staying])
        return self.removed

    # -- attempts

    def remove_attempts(self, attempts: Sequence[int]) -> None:
        newest = max(self.past, default=0)
        for batch in self.batches(attempts):
            for attempt in batch:
                self.remove_logs(attempt)
                self.remove_kept(attempt)
            if self.dry_run:
                self.removed.attempts += len(batch)
                continue
            with self.store.transaction() as tx:
                # Somebody may have gone on with one of them just now.
                wanted = with_needs(tx.resumed_after(newest), self.needs)
                self.removed.attempts += tx.delete_attempts([attempt for attempt in batch if attempt not in wanted])

    def batches(self, attempts: Sequence[int]) -> Iterator[list[int]]:
        """Parts that are small enough for one transaction. Counts their rows on the way."""
        for part in parts(attempts, MOST_ATTEMPTS):
            with self.store.reading() as tx:
                counts = [(attempt, self.count(tx, attempt)) for attempt in part]
            batch: list[int] = []
            rows = 0
            for attempt, count in counts:
                if batch and rows + count > MOST_ROWS:
                    yield batch
                    batch, rows = [], 0
                batch.append(attempt)
                rows += count
            yield batch

    def count(self, tx: Tx, attempt: int) -> int:
        tasks, tries, moves = tx.count_rows(attempt)
        self.removed.tasks += tasks
        self.removed.tries += tries
        self.removed.moves += moves
        return tasks + tries + moves

    def remove_logs(self, attempt: int) -> None:
        path = log_directory(self.place(attempt), attempt)
        if os.path.isdir(path):
            self.removed.log_directories += 1
            self.removed.log_bytes += self.remove(path)

    def remove_kept(self, attempt: int) -> None:
        place = self.place(attempt)
        if place not in self.kept:
            self.kept[place] = kept_directories(place)
        for path in self.kept[place].get(attempt, ()):
            self.removed.kept_directories += 1
            self.removed.kept_bytes += self.remove(path)

    def place(self, attempt: int) -> str:
        return place_of(self.past[attempt], self.state_dir)

    def remove(self, path: str) -> int:
        """The directory is gone; the bytes that were in it."""
        size = bytes_below(path)
        if not self.dry_run:
            remove_tree(path)
        return size

    # -- what attempts leave behind

    def remove_sessions(self, attempts: Sequence[int], staying: set[int]) -> None:
        with self.store.reading() as tx:
            empty = tx.list_empty_sessions(self.now - FRESH)
        found = {*empty, *(self.past[attempt].session_id for attempt in attempts)} - staying
        self.removed.sessions = self.in_parts(
            sorted(found), MOST_ATTEMPTS, lambda tx, ids: tx.delete_empty_sessions(ids)
        )

    def remove_skips(self, before: int) -> None:
        with self.store.reading() as tx:
            self.removed.skips = tx.count_old_skips(before)
        self.until_done(lambda tx: tx.delete_old_skips(before, MOST_SMALL))

    def remove_notices(self, before: int) -> None:
        """Each remembers that it was sent, so that they stay as long as anything does."""
        with self.store.reading() as tx:
            self.removed.notices = tx.count_old_notices(before)
        self.until_done(lambda tx: tx.delete_old_notices(before, MOST_SMALL))

    def remove_revisions(self, named: set[int]) -> set[int]:
        """Returns those that are gone, or would be."""
        with self.store.reading() as tx:
            ages = tx.list_revision_ages()
            named = named | {row.revision_id for row in tx.list_schedules()}
            found = unnamed(ages, named, self.now - FRESH)
            current = named_now(self.state_dir)
            found = [one for one in found if not self.digests(tx, one) <= current]
        deleted = self.in_parts(found, MOST_REVISIONS, lambda tx, ids: tx.delete_unnamed_revisions(ids))
        self.removed.revisions = deleted
        return set(found)

    def digests(self, tx: Tx, revision: int) -> set[str]:
        return digests(json.loads(tx.get_revision(revision).manifest))

    def remove_objects(self, gone: set[int]) -> None:
        """What a snapshot that is being made names is young, or belongs to the projects as they are now."""
        with self.store.reading() as tx:
            named = named_now(self.state_dir)
            for one in self.revisions_that_stay(tx, gone):
                named |= self.digests(tx, one.id)
        before = self.now - FRESH
        self.removed.objects, self.removed.object_bytes = sweep(self.state_dir, named, before, dry_run=self.dry_run)

    def remove_files(self, files: FileStore, staying: Sequence[int]) -> None:
        """Those that no task hands on any more. What a task has just put there, and not recorded yet, is young.

        Where attempts are about to be made, those that they take files over from are among the staying ones.
        """
        from dagrun.files.store import UNNAMED_SECONDS

        leaving = self.past.keys() - staying if self.dry_run else set()
        with self.store.reading() as tx:
            named = {
                one[1]
                for attempt, outputs in tx.list_outputs()
                if attempt not in leaving
                for one in json.loads(outputs)
            }
        before = self.now - UNNAMED_SECONDS * 1_000_000
        self.removed.files, self.removed.file_bytes = files.sweep(named, before, dry_run=self.dry_run)

    def revisions_that_stay(self, tx: Tx, gone: set[int]) -> list[RevisionAge]:
        return [one for one in tx.list_revision_ages() if not self.dry_run or one.id not in gone]

    def until_done(self, delete: Callable[[Tx], int]) -> None:
        """Nothing is left to be deleted."""
        count = 0 if self.dry_run else MOST_SMALL
        while count == MOST_SMALL:
            with self.store.transaction() as tx:
                count = delete(tx)

    def in_parts(self, ids: Sequence[int], most: int, delete: Callable[[Tx, Sequence[int]], int]) -> int:
        """How many of them were deleted, or would be."""
        if self.dry_run:
            return len(ids)
        count = 0
        for part in parts(ids, most):
            with self.store.transaction() as tx:
                count += delete(tx, part)
        return count


def needs_of(past: Iterable[PastRow], reuses: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    """For each attempt those that it was resumed from, or took results of."""
    found: dict[int, set[int]] = {row.id: {row.resumed_from} for row in past if row.resumed_from is not None}
    for attempt, other in reuses:
        found.setdefault(attempt, set()).add(other)
    return found


def parts(ids: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), most):
        yield ids[start : start + most]


def bytes_below(path: str) -> int:
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # another process removes it, too
                size += os.lstat(os.path.join(folder, name)).st_size
    return size
