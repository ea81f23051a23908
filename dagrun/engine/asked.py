"""What one call of a task's operator may ask of the worker that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagrun.engine.launch import workspace_of
from dagrun.logs.files import append_text
from dagrun.project.archive import Directory

if TYPE_CHECKING:
    from dagrun.core.javascript import JavaScript
    from dagrun.engine.tries import Try
    from dagrun.engine.worker import Worker
    from dagrun.plugins.operator import Child


class Services:
    """For one call of the operator of one try, at `now` (microseconds since 1970 UTC)."""

    __slots__ = ("held", "now", "worker")

    def __init__(self, worker: Worker, held: Try, now: int) -> None:
        self.worker = worker
        self.held = held
        self.now = now

    @property
    def javascript(self) -> JavaScript:
        return self.worker.javascript

    @property
    def project_dir(self) -> str:
        return self.held.attempt.project_dir

    @property
    def own_directory(self) -> str:
        """The try's; it is known before it is made."""
        held = self.held
        return self.worker.launcher.own_directory(held.attempt, held.index, held.number)

    def files(self) -> Any:
        """What the task reads by name: the revision, or the directory that it has in common with others, as it is now."""
        attempt = self.held.attempt
        form, index = workspace_of(attempt, self.held.task)
        if form == "own":
            return attempt.files
        if form == "project":
            return Directory(attempt.project_dir)
        return Directory(self.worker.launcher.workspaces.open_shared(attempt.id, index, attempt))

    def secret(self, key: str) -> str | None:
        """Its value, which is masked in all that the try prints from then on."""
        value = self.worker.secret_value(key)
        if value is not None:
            self.held.masked.append(value)
        return value

    def write(self, text: str) -> None:
        """Into the log of the try."""
        if not self.held.wrote:
            self.worker.observer.logging(self.held.task, self.held.log)
            self.held.wrote = True
        append_text(self.held.log, text)

    def notify(self, text: str) -> bool:
        """Whether there is anybody who will be told."""
        return self.held.attempt.notify(self.worker.store, self.held.task, text)

    def warn(self, text: str) -> None:
        worker = self.worker
        worker.later.append(lambda: worker.observer.warned(text))

    def require(self, workflow: str, **wanted: Any) -> Child:
        child: Child = self.worker.start_required(self.held.attempt, workflow, **wanted)
        return child
