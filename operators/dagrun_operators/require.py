"""require>: see that another workflow has run for this session, and start it if it hasn't.

The first calls start or find the child attempt, the later ones look whether it is done. What has been decided
is kept in the memo before it is acted upon, so that a crash neither starts a child twice nor forgets how it
ended. The names in the memo are Digdag's (spec/operators 14.2): dashboards read them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from dagrun.plugins.operator import Again, Child, Operator, Option, Params, Succeeded, TaskContext, TaskFailed

RERUN_ON = ("none", "failed", "all")
OFFSET_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)\Z", re.ASCII)
LONGEST_PAUSE = 10  # seconds between two looks at the child; its end wakes the task anyway


class Require(Operator):
    """See that another workflow has run for this session, and start it if it hasn't.

    Example:
        +sales:
          require>: import_sales
          rerun_on: failed
    """

    runs_in: ClassVar[str] = "engine"
    options: ClassVar[tuple[Option, ...]] = (
        Option("_command", "text", "required", "name of the workflow"),
        Option("params", "map", "none", "parameters of the new attempt; nothing else is passed"),
        Option("session_time", "text", "this session's", "a date-time with offset; only at the task itself"),
        Option("rerun_on", "word", "none", "when an attempt that was found done is to run again", RERUN_ON),
        Option("ignore_failure", "boolean", "false", "succeed however the attempt ends"),
        Option("retry_attempt_name", "text", meaning="the attempt of this name; only at the task itself"),
        Option("project_id", "integer", "this project", "only at the task itself, and without `project_name`"),
        Option("project_name", "text", "this project", "only at the task itself, and without `project_id`"),
    )

    def run(self, task: TaskContext) -> Succeeded | Again:
        rerun_on, ignore_failure = policy(task)
        memo = dict(task.memo)
        if "task_finish_success" in memo:
            return ending(memo)
        child = find_or_start(task, memo)
        if child.waits:
            if "retry" not in memo:
                task.warn(f"{task.name} waits: {child.waits}")
            return look_again(child, memo)
        memo |= {"target_session_id": child.session_id, "target_attempt_id": child.attempt_id}
        if child.started:
            memo["require_kicked"] = True
        elif child.done and to_be_rerun(child, memo, rerun_on):
            memo["rerun_on_retry_attempt_name"] = str(uuid4())
        elif child.done:
            memo["task_finish_success"] = child.success or ignore_failure
        return look_again(child, memo)


def policy(task: TaskContext) -> tuple[str, bool]:
    rerun_on = task.params.text("rerun_on", "none")
    if rerun_on not in RERUN_ON:
        raise TaskFailed(f"rerun_on must be {', '.join(RERUN_ON)}; it is {rerun_on!r}", "bad_option", "config")
    return rerun_on, task.params.boolean("ignore_failure", False)


def find_or_start(task: TaskContext, memo: dict[str, Any]) -> Child:
    # Project, session time and retry name count only where they are written at the task itself: every scope
    # has a project_id and a session_time, and a retry name of the parent must not become one of the child.
    local = Params(task.local)
    retry_name = memo.get("rerun_on_retry_attempt_name") or local.text("retry_attempt_name", "")
    return task.require(
        task.params.text("_command"),
        session_time=session_time(local),
        params=task.params.optional_map("params") or {},
        retry_name=retry_name or None,
        project=project(local),
    )


def session_time(local: Params) -> str | None:
    """The instant in the one form that the engine reads; sessions are of whole seconds."""
    if local.get("session_time") is None:
        return None
    text = local.text("session_time")
    try:
        if OFFSET_TIME.match(text):
            return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the 30th of February; before the year 1
        pass
    raise TaskFailed(f"session_time must be like 2024-01-15T00:00:00+09:00; it is {text!r}", "bad_option", "config")


def project(local: Params) -> str | int | None:
    by_id, by_name = local.get("project_id") is not None, local.get("project_name") is not None
    if by_id and by_name:
        raise TaskFailed("require> takes either project_id or project_name", "bad_option", "config")
    if by_id:
        return local.integer("project_id")
    return local.text("project_name") if by_name else None


def to_be_rerun(child: Child, memo: dict[str, Any], rerun_on: str) -> bool:
    """Whether to start the child anew. Never one that this task started itself: that would be a retry."""
    wanted = rerun_on == "all" or (rerun_on == "failed" and not child.success)
    return wanted and not memo.get("require_kicked")


def look_again(child: Child, memo: dict[str, Any]) -> Again:
    """Ask to be called again: soon after a decision, at growing intervals while the child runs."""
    looks = int(memo.get("retry", 0))
    memo["retry"] = looks + 1
    if child.done:
        return Again(0, memo)
    return Again(min(2.0 ** min(looks, LONGEST_PAUSE), LONGEST_PAUSE), memo, wake_on=child.attempt_id)


def ending(memo: dict[str, Any]) -> Succeeded:
    if memo["task_finish_success"]:
        return Succeeded()
    raise TaskFailed(
        f"Dependent workflow failed. Session id: {memo.get('target_session_id')}, "
        f"attempt id: {memo.get('target_attempt_id')}",
        "dependent_failed",
    )
