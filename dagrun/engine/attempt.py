"""An attempt as this process works on it: its rows, its files, and what its tasks see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagrun.core.params import EMPTY, Scope, Variables
from dagrun.core.session import GIVEN_TIMES, Identity, builtin_variables
from dagrun.core.tree import Task, TaskTree
from dagrun.engine.rows import decode
from dagrun.engine.turn import Live
from dagrun.light import NamedTuple, Protocol
from dagrun.store.base import AttemptRow, SessionRow, Store, Tx


class Files(Protocol):
    """The files of a revision, or of a directory. Paths are relative, with `/`."""

    def read(self, path: str) -> bytes: ...
    def paths(self) -> list[str]: ...


class Hosting(NamedTuple):
    """What third-party operators may do: `operators.*` of the settings."""

    project: bool = True  # files `operators/NAME.py` of the project are operators
    memory: int = 2 << 30  # bytes of data of a call; 0: any number


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    live: Live
    session: SessionRow
    row: AttemptRow
    files: Files
    params: Mapping[str, Any]
    options: Mapping[str, Any]
    identity: Identity
    manifest: Mapping[str, Any] = field(default_factory=dict)
    project_dir: str = ""  # where the files are that its tasks may ask for in place
    known: Variables | None = None
    due: int | None = None  # when its next waiting task is due, as the worker noted it
    waits_for: dict[int, int] = field(default_factory=dict)  # index of a waiting task → attempt that it waits for
    hosting: Hosting = field(default_factory=Hosting)
    id: int = field(init=False)
    usual: Mapping[str, Any] = field(init=False)  # the built-in variables, unless a task sees other given times

    def __post_init__(self) -> None:
        self.id = self.live.id
        self.usual = builtin_variables(self.identity, self.params)

    @property
    def tree(self) -> TaskTree:
        assert self.live.tree is not None
        return self.live.tree

    @property
    def priority(self) -> int:
        return int(self.options.get("priority", 0))

    @property
    def timezone(self) -> str:
        return self.row.timezone

    def notify(self, store: Store, task: Task, text: str) -> bool:
        """People are told by a notice; False when there is nobody to be told."""
        return self.live.witness is not None and self.live.witness.message(store, self.row, task, text)

    def variables(self) -> Variables:
        if self.known is None or self.known.tree is not self.live.tree:
            self.known = Variables(self.tree, self.params)
        return self.known

    def take_notes(self) -> list[str]:
        """Warnings about variables, each once."""
        notes = self.variables().notes
        self.variables().notes = []
        return notes

    def scope(self, task: Task) -> Scope:
        """What a task sees. An alert sees the built-in variables alone, so that no user's variable can break it."""
        if task.spec.name == "^failure-alert":
            return EMPTY
        return self.variables().visible(task)

    def builtins(self, scope: Scope) -> Mapping[str, Any]:
        """The built-in variables for a task that sees `scope`: some are derived from times that anyone may give."""
        if scope is EMPTY or all(scope.get(name) == self.params.get(name) for name in GIVEN_TIMES):
            return self.usual
        return builtin_variables(self.identity, scope)


def open_attempt(
    tx: Tx, live: Live, row: AttemptRow, files: Files, manifest: Mapping[str, Any], project_dir: str
) -> Attempt:
    session = tx.get_session(row.session_id)
    params = decode(row.params)
    identity = Identity(
        project_id=session.project_id,
        session_id=session.id,
        session_uuid=session.uuid,
        attempt_id=row.id,
        session_time=session.session_time,
        timezone=row.timezone,
        retry_name=row.retry_name,
    )
    return Attempt(
        live=live,
        session=session,
        row=row,
        files=files,
        params=params,
        options=decode(row.options),
        identity=identity,
        manifest=manifest,
        project_dir=project_dir,
    )
