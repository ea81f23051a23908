"""What a task's operator may ask of the worker that calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagrun.engine.task import Surroundings
from dagrun.engine.tries import Try
from dagrun.logs.files import append_text

if TYPE_CHECKING:
    from dagrun.engine.worker import Worker


def surroundings(worker: Worker, held: Try, now: int) -> Surroundings:
    """For one call of the operator of this try, at `now` (microseconds)."""
    attempt = held.attempt
    return Surroundings(
        javascript=worker.javascript,
        secret_value=lambda key: secret(worker, held, key),
        write=lambda text: write(worker, held, text),
        notify=lambda text: attempt.notify(worker.store, held.task, text),
        warned=lambda text: worker.later.append(lambda: worker.observer.warned(text)),
        start_required=lambda workflow, **wanted: worker.start_required(attempt, workflow, **wanted),
        project_dir=attempt.project_dir,
        own=worker.launcher.own_directory(attempt, held.task, held.number),
        now=now,
    )


def write(worker: Worker, held: Try, text: str) -> None:
    if not held.wrote:
        worker.observer.logging(held.task, held.log)
        held.wrote = True
    append_text(held.log, text)


def secret(worker: Worker, held: Try, key: str) -> str | None:
    value = worker.secret_value(key)
    if value is not None:
        held.masked.append(value)
    return value
