"""What people are told of attempts: which events are noticed, and what the notices of them say (features F93).

A notice is made in the transaction of its event, so that there is never one without the other, and is a row of the store
until it has arrived. Nothing is sent here: `notices.py` does that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagrun.core.events import Abandoned, Event, Overdue
from dagrun.core.session import SECOND, Identity, builtin_variables, format_time
from dagrun.core.state import DONE, ERROR, FAILED, SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.core.workflow import NOTHING, NotifyRule, Workflow
from dagrun.core.zone import zone
from dagrun.engine.rows import decode, encode
from dagrun.errors import DagrunError, UserError, WorkflowError
from dagrun.light import NamedTuple, Protocol
from dagrun.store.base import AttemptRow, Store, Tx
from dagrun.store.noticed import WAITING, NoticeRow

if TYPE_CHECKING:
    from dagrun.core.javascript import Scope
    from dagrun.notices.notice import Notice

# What notices are made of is imported where one is made: most runs tell nobody anything.

MOST_TASKS = 10  # that are named in a notice
LOOKED_BACK = 20  # attempts; so many canceled ones in a row hide a failure
ALERTS = frozenset({"^failure-alert", "^sla^alert"})  # of these there are notices of their own kinds
MESSAGE = "message"  # the kind of what notify> says
DEFAULT_PROJECT = "default"


class Files(Protocol):
    def read(self, path: str) -> bytes: ...


class Happened(NamedTuple):
    """An event, as notices tell of it. `facts` are what templates see beside the other fields."""

    kind: str
    project_id: int
    workflow: str
    session_time: int
    timezone: str
    attempt: int | None  # None: the session never began
    title: str
    text: str
    facts: Mapping[str, Any] = NOTHING

    def notice(self) -> Notice:
        from dagrun.notices.notice import Notice

        at = format_time(self.session_time, zone(self.timezone))
        return Notice(self.kind, self.workflow, at, self.attempt, self.title, self.text, self.facts)

    def once_key(self, target: str, once_per: str) -> str:
        unit = f"attempt {self.attempt}"
        if self.attempt is None or once_per == "session":
            unit = f"session {self.project_id}/{self.workflow}@{self.session_time // SECOND}"
        return f"{unit} {self.kind} {target}"


class Noticing:
    """What this process notices: by the rules of its settings for all workflows, and by those of each workflow."""

    def __init__(self, rules: tuple[NotifyRule, ...] = ()) -> None:
        self.rules = rules
        self.made = 0  # notices so far: there is something to deliver
        self.attempts: set[int] = set()  # of which notices are on their way
        self.watching = False  # an attempt has rules

    @property
    def targets(self) -> tuple[str, ...]:
        """Of the settings: where all goes that names no other target."""
        return tuple(dict.fromkeys(target for rule in self.rules for target in rule.to))

    def rules_for(self, workflow: Workflow) -> tuple[NotifyRule, ...]:
        return (*self.rules, *workflow.notify)

    def witness(self, workflow: Workflow, files: Files) -> Witness | None:
        """Who looks at an attempt of the workflow; None if nobody wants to know."""
        rules = self.rules_for(workflow)
        if not rules:
            return None
        self.watching = True
        return Witness(self, rules, files)

    def tell(self, tx: Tx, rules: Sequence[NotifyRule], files: Files, happened: Happened) -> None:
        """A notice for each target that wants to know of it; of the same one only the first."""
        for rule in rules:
            if happened.kind in rule.on:
                body = body_of(happened, rule, files, tx.now)
                for target in rule.to or self.targets or ("stderr",):
                    self.make(tx, happened, target, body, happened.once_key(target, rule.once_per))

    def make(self, tx: Tx, happened: Happened, target: str, body: str, once_key: str) -> None:
        row = NoticeRow(
            id=0, project_id=happened.project_id, workflow=happened.workflow, session_time=happened.session_time,
            attempt_id=happened.attempt, kind=happened.kind, target=target, body=body, once_key=once_key,
            created_at=tx.now, due_at=tx.now, tries=0, state=WAITING, error=None,
        )  # fmt: skip
        if tx.insert_notice(row):
            self.made += 1
            if happened.attempt is not None:
                self.attempts.add(happened.attempt)

    def ended_unstarted(self, tx: Tx, row: AttemptRow, workflow: Workflow, files: Files) -> None:
        """The attempt is done and never had any tasks."""
        witness = self.witness(workflow, files)
        if witness is not None:
            witness.ended(tx, row, None)

    def not_started(
        self, tx: Tx, workflow: Workflow, files: Files, project_id: int, session_time: int, why: str
    ) -> None:
        """The session is late, and no attempt of it has begun."""
        at = format_time(session_time, zone(workflow.timezone))
        happened = Happened(
            "late", project_id, workflow.name, session_time, workflow.timezone, None,
            f"{workflow.name} is late", f"session {at}: {why}",
        )  # fmt: skip
        self.tell(tx, self.rules_for(workflow), files, happened)

    def message(self, store: Store, row: AttemptRow, task: Task, text: str) -> bool:
        """What notify> says is told to the targets of the settings; False if there are none, or if rules tell of it."""
        if not self.targets or task.spec.name in ALERTS:
            return False
        from dagrun.notices.notice import one_line

        with store.transaction() as tx:
            session = tx.get_session(row.session_id)
            title, _, rest = text.partition("\n")
            at = format_time(session.session_time, zone(row.timezone))
            happened = Happened(
                MESSAGE, session.project_id, session.workflow, session.session_time, row.timezone, row.id,
                one_line(title), "\n".join(part for part in (rest, f"{task.full_name}, session {at}") if part),
                {"task_name": task.full_name, "message": text},
            )  # fmt: skip
            for target in self.targets:
                key = f"attempt {row.id} task {task.index} {target}"  # a task that begins anew says it once
                self.make(tx, happened, target, body_of(happened), key)
        return True


class Witness:
    """The rules of one attempt. Each turn lets it look at what the turn did, before the turn is committed."""

    def __init__(self, noticing: Noticing, rules: Sequence[NotifyRule], files: Files) -> None:
        self.noticing = noticing
        self.rules = rules
        self.files = files
        self.kinds = {kind for rule in rules for kind in rule.on}

    def message(self, store: Store, row: AttemptRow, task: Task, text: str) -> bool:
        return self.noticing.message(store, row, task, text)

    def look(self, tx: Tx, row: AttemptRow, tree: TaskTree, events: Sequence[Event]) -> None:
        if any(isinstance(event, Overdue) for event in events):
            self.tell(tx, row, tree, "late")
        if tree.root.state in DONE:
            self.ended(tx, row, tree)

    def ended(self, tx: Tx, row: AttemptRow, tree: TaskTree | None) -> None:
        """The attempt is done; without a tree, before it had any tasks."""
        self.tell(tx, row, tree, ending(row))
        if row.state == SUCCESS and "recovered" in self.kinds:
            before = attempt_before(tx, row)
            if before is not None and ending(before) == "failed":
                self.tell(tx, row, tree, "recovered", before)

    def tell(self, tx: Tx, row: AttemptRow, tree: TaskTree | None, kind: str, before: AttemptRow | None = None) -> None:
        if kind in self.kinds:
            self.noticing.tell(tx, self.rules, self.files, of_attempt(tx, row, tree, kind, before))


def ending(row: AttemptRow) -> str:
    """How people call the end of the attempt. Nobody canceled one whose process is gone."""
    if row.state == SUCCESS:
        return "succeeded"
    gone = row.error is not None and decode(row.error).get("message") == Abandoned().reason
    return "failed" if row.state in FAILED or gone else "canceled"


def attempt_before(tx: Tx, row: AttemptRow) -> AttemptRow | None:
    """The attempt of the workflow that succeeded or failed last before this one was made."""
    session = tx.get_session(row.session_id)
    found = tx.list_attempts(
        project_id=session.project_id, workflow=session.workflow, states=sorted(DONE), before_id=row.id,
        limit=LOOKED_BACK,
    )  # fmt: skip
    return next((one.attempt for one in found if ending(one.attempt) != "canceled"), None)


# -- what a notice says


def of_attempt(tx: Tx, row: AttemptRow, tree: TaskTree | None, kind: str, before: AttemptRow | None) -> Happened:
    (one,) = tx.list_attempts(before_id=row.id + 1, limit=1)
    session, project = one.session, one.project
    failures = failures_of(row, tree)
    identity = Identity(
        project_id=session.project_id, session_id=session.id, session_uuid=session.uuid, attempt_id=row.id,
        session_time=session.session_time, timezone=row.timezone, retry_name=row.retry_name,
    )  # fmt: skip
    variables = builtin_variables(identity, decode(row.params))
    name = session.workflow if project == DEFAULT_PROJECT else f"{project}/{session.workflow}"
    lines = [f"session {variables['session_time']}, attempt {row.id}"]
    lines += [f"{one['task']}: {first_line(one['message'])}" if one["task"] else one["message"] for one in failures]
    if kind == "late":
        lines.append("it is not done at the time that its sla names")
    if before is not None:
        lines.append(f"attempt {before.id} before it had failed")
    if kind == "failed":
        lines.append(f"dagrun retry {row.id}")
    took = ((row.finished_at or tx.now) - one.started_at) / SECOND if one.started_at is not None else 0.0
    facts = {
        **variables,
        "project": project,
        "state": row.state,
        "error": failures[0] if failures else {"message": "", "kind": "", "task": ""},
        "failed_tasks": failures,
        "duration_seconds": round(took, 3),
        "host": decode(row.owner).get("host", ""),
    }
    return Happened(
        kind, session.project_id, session.workflow, session.session_time, row.timezone, row.id,
        f"{name} {TITLES[kind]}", "\n".join(lines), facts,
    )  # fmt: skip


TITLES = {
    "failed": "failed",
    "late": "is late",
    "recovered": "has recovered",
    "canceled": "was canceled",
    "succeeded": "succeeded",
}


def failures_of(row: AttemptRow, tree: TaskTree | None) -> list[dict[str, str]]:
    """Which tasks failed by themselves, or why the attempt as a whole ended; the first ones."""
    tasks = tree.tasks if tree is not None else ()
    found = [
        failure(task.error, task.full_name)
        for task in tasks
        if task.state == ERROR and task.error and not task.superseded
    ]
    if row.error:
        found.insert(0, failure(decode(row.error), ""))
    return found[:MOST_TASKS]


def failure(error: Mapping[str, Any], task: str) -> dict[str, str]:
    return {"task": task, "message": str(error.get("message", "")), "kind": str(error.get("kind", ""))}


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def body_of(happened: Happened, rule: NotifyRule | None = None, files: Files | None = None, now: int = 0) -> str:
    """What is kept of a notice until it has arrived: itself, and what a template made of it."""
    notice, payload = happened.notice(), None
    if rule is not None and rule.template is not None and files is not None:
        from dagrun.core.javascript import JavaScript

        try:
            payload = payload_of(notice, rule.template, files, JavaScript().at(happened.timezone, now / SECOND))
        except (DagrunError, OSError, ValueError) as problem:  # it is told nevertheless, in dagrun's own words
            notice = notice._replace(text=f"{notice.text}\n(its template can't be used: {problem})")
    return encode({"notice": {**notice._asdict(), "facts": dict(notice.facts)}, "payload": payload})


def payload_of(notice: Notice, template: str, files: Files, javascript: Scope) -> dict[str, Any]:
    from dagrun.core.forms import render_template

    facts = {**notice.facts, **{key: value for key, value in notice._asdict().items() if key != "facts"}}
    return render_template(template_text(template, files), facts, javascript, template)


def template_text(path: str, files: Files) -> str:
    """A file of the project; the settings may name one that lies elsewhere."""
    if os.path.isabs(path):
        with open(path, encoding="utf-8") as file:
            return file.read()
    return files.read(path).decode("utf-8")


# -- before anything runs


def check_rules(workflow: Workflow, files: Files) -> None:
    """Raises WorkflowError for a target that is none, or a template that can't be read."""
    from dagrun.core.forms import read_template

    for rule in workflow.notify:
        file, line, column = rule.place
        try:
            for target in rule.to:
                check_target(target)
            if rule.template is not None:
                read_template(template_text(rule.template, files), rule.template)
        except (FileNotFoundError, IsADirectoryError):
            message, hint = f"notify: there is no file {rule.template}", "a template is a file of the project"
        except (OSError, ValueError) as problem:
            message, hint = f"notify: {rule.template} can't be read: {problem}", None
        except UserError as problem:
            message, _, hint = f"notify: {problem}".partition("\n  ")
        else:
            continue
        raise WorkflowError(message, kind="bad_notify", file=file, line=line, column=column, hint=hint or None)


def check_target(text: str) -> None:
    """Raises UserError. What comes from a secret is known only when the notice is sent."""
    from dagrun.notices.target import parse_target

    if "${secret:" not in text:
        parse_target(text)


def notice_of(body: str) -> tuple[Notice, Mapping[str, Any] | None]:
    """What `body_of` kept."""
    from dagrun.notices.notice import Notice

    kept = json.loads(body)
    return Notice(**kept["notice"]), kept["payload"]
