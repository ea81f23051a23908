"""The tree of errors. Each knows its exit code and its HTTP status.

A `UserError` is one that its reader can mend: it is shown without a stack trace and names the remedy. `TaskFailed` is
how a task says that it failed. Whatever else escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence


class DagrunError(Exception):
    """Base of all errors that dagrun raises on purpose."""

    exit_code = 70
    http_status = 500


class UserError(DagrunError):
    """The reader can mend it: no stack trace."""

    exit_code = 2
    http_status = 400


class WorkflowError(UserError):
    """A workflow file is wrong.

    `kind` is a stable name for tests and tools (`dup_key`, `missing (limit)`, `invalid_group_keys: foo`); the text is
    for people. `line` and `column` count from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        task: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.file = file
        self.line = line
        self.column = column
        self.task = task
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place}: " if place else ""
        if self.task:
            text += f"{self.task}: "
        text += self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class WorkflowErrors(UserError):
    """Several files or places are wrong: all of them, in order."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)


class NotFound(UserError):
    """A named thing isn't there."""

    exit_code = 3
    http_status = 404

    def __init__(self, kind: str, name: str, candidates: Sequence[str] = (), hint: str | None = None) -> None:
        text = f"{kind} not found: {name}"
        from difflib import get_close_matches

        close = get_close_matches(name, candidates, n=3, cutoff=0.5)
        if close:
            text += f" (did you mean {', '.join(close)}?)"
        elif candidates:
            text += f" (there are: {', '.join(list(candidates)[:10])})"
        super().__init__(f"{text}\n  {hint}" if hint else text)
        self.kind = kind
        self.name = name


class Conflict(UserError):
    """The session, revision or key exists already, or the state is wrong for what was asked."""

    exit_code = 4
    http_status = 409


class LimitExceeded(UserError):
    """A limit of the store or the server is reached."""

    exit_code = 4
    http_status = 422


class TaskFailed(DagrunError):
    """A task failed, as tasks do. Raised by operators, kept as the task's error.

    `kind` is a stable name (`command_failed`, `template_error`, `timed_out`, `missing (_do)` …). `category` is what
    Digdag puts in brackets behind the message of an unexpected failure (`config`, `runtime`, `secret not found`); a
    deliberate failure such as `fail>` has none (spec/language P11). `platform` marks what was not the task's fault
    (worker lost, spawn failed): it is counted apart from failures of the task. `final` ones are not tried again, whatever
    the task's own `_retry` says.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        kind: str = "failed",
        category: str | None = None,
        *,
        platform: bool = False,
        final: bool = False,
        facts: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.category = category
        self.platform = platform
        self.final = final
        self.facts = facts or {}


class DeliveryFailed(DagrunError):
    """A notice did not reach its target. The message holds no password and nothing of a URL but its host."""

    exit_code = 1
    http_status = 502


class PluginError(UserError):
    """A plug-in is missing, doubled or broken. Names the command that would mend it."""
