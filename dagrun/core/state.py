"""The states of a task, and every legal move between them.

This table is the whole truth: `machine.py` asserts each move against it, a test fails while one of its rows is never
exercised, and the diagram in ARCHITECTURE.md is printed from it.
"""

from __future__ import annotations

BLOCKED = "blocked"  # waits for its parent and its upstreams
READY = "ready"  # may be claimed by a worker
RUNNING = "running"  # claimed: an operator or its command is at work
STOPPING = "stopping"  # told to end; lasts until its executor confirms
WAITING = "waiting"  # for a time: the next poll, the next try, the next round of a group
PLANNED = "planned"  # a group, or an operator whose generated tasks are at work
FAILING = "failing"  # failed for good; its error handlers are at work
SUCCESS = "success"
ERROR = "error"  # failed by itself
GROUP_ERROR = "group_error"  # failed because of something below it
CANCELED = "canceled"

STATES = (
    BLOCKED, READY, RUNNING, STOPPING, WAITING, PLANNED, FAILING, SUCCESS, ERROR, GROUP_ERROR, CANCELED,
)  # fmt: skip
DONE = frozenset({SUCCESS, ERROR, GROUP_ERROR, CANCELED})
FAILED = frozenset({ERROR, GROUP_ERROR})

TRANSITIONS: dict[tuple[str, str], str] = {
    (BLOCKED, READY): "the parent is at work and every upstream succeeded",
    (BLOCKED, PLANNED): "likewise, for a group",
    (BLOCKED, CANCELED): "it was to start, or waited for a slot only, when the attempt was canceled",
    (READY, RUNNING): "a worker claimed it",
    (READY, CANCELED): "the attempt was canceled before a worker came",
    (RUNNING, SUCCESS): "the operator succeeded and generated nothing",
    (RUNNING, PLANNED): "the operator succeeded and generated tasks or a check",
    (RUNNING, WAITING): "the operator asked to be called again, or a retry is due later",
    (RUNNING, FAILING): "the operator failed for good and has an error handler",
    (RUNNING, ERROR): "the operator failed for good",
    (RUNNING, STOPPING): "told to end: canceled, or out of time",
    (STOPPING, CANCELED): "its executor confirmed the end of a canceled task; its result is dropped",
    (STOPPING, WAITING): "it ran out of time and has a retry left",
    (STOPPING, FAILING): "it ran out of time and has an error handler",
    (STOPPING, ERROR): "it ran out of time",
    (WAITING, READY): "the time has come",
    (WAITING, PLANNED): "the time has come for the next round of a group",
    (WAITING, CANCELED): "canceled while it waited",
    (PLANNED, SUCCESS): "every child is done and none failed",
    (PLANNED, WAITING): "a child failed and the group has a retry left",
    (PLANNED, FAILING): "a child failed and there is an error handler",
    (PLANNED, GROUP_ERROR): "a child failed",
    (PLANNED, CANCELED): "every child is done and the attempt is being canceled",
    (FAILING, ERROR): "its handlers are done, and it failed by itself",
    (FAILING, GROUP_ERROR): "its handlers are done, and something below it had failed",
    (FAILING, CANCELED): "canceled while its handlers were at work",
}
