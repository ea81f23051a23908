"""What `dagrun check` says of schedules that can be used, but perhaps don't mean what they seem to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagrun.core.config import Map
from dagrun.core.workflow import Node, Place, Workflow
from dagrun.light import NamedTuple
from dagrun.schedules.dialect import FIELDS, WEEKDAYS, members

# Of the day of the week 7 is read as 0 before the range is built (spec/scheduling 3.2).
SUNDAY_ONLY = re.compile(r"(?:^|,)(?:0|sun)-7(?:$|[,/])", re.IGNORECASE)
STEP_TO_SUNDAY = re.compile(r"-(?:7|sun)/", re.IGNORECASE)


class Advice(NamedTuple):
    kind: str
    message: str
    task: str
    place: Place
    hint: str


def advice(workflow: Workflow) -> Iterator[Advice]:
    root = f"+{workflow.name}"
    configs = workflow.schedule if isinstance(workflow.schedule, list) else [workflow.schedule]
    for config in configs:
        if isinstance(config, Mapping):
            yield from of_one(root, config)
    for node in workflow.nodes[1:]:
        if has_schedule(node):
            yield Advice(
                "schedule_in_task", "a schedule inside a task has no effect", node.full_name, node.spec.place,
                "write it at the top of a file of its own",
            )  # fmt: skip


def has_schedule(node: Node) -> bool:
    """A group, or a task with what looks like one: else the key is an option or a variable of the operator."""
    value = node.spec.config.get("schedule")
    return value is not None and (
        not node.spec.operator or (isinstance(value, Mapping) and any(key.endswith(">") for key in value))
    )


def of_one(root: str, config: Mapping[str, Any]) -> Iterator[Advice]:
    place: Place = (config.file, config.line, config.column) if isinstance(config, Map) else (None, None, None)
    if "overlap" not in config and "skip_on_overtime" not in config:
        yield Advice(
            "no_overlap", "the schedule doesn't say what becomes of a session while another one is at work", root, place,
            "add overlap: skip, queue, latest, replace or allow",
        )  # fmt: skip
    for days in weekdays(config):
        if SUNDAY_ONLY.search(days):
            yield Advice(
                "sunday_only", f"{days} as day of the week is {named(days)}", root, place, "write * for every day"
            )
        elif STEP_TO_SUNDAY.search(days):
            yield Advice(
                "step_to_sunday", f"{days} as day of the week is {named(days)}", root, place, "write the days as a list"
            )


def weekdays(config: Mapping[str, Any]) -> list[str]:
    """The days of the week as they are written."""
    cron, weekly = config.get("cron>"), config.get("weekly>")
    if isinstance(cron, str):
        return [fields[4] for pattern in cron.split("|") if len(fields := pattern.split()) == 5]
    return [weekly.partition(",")[0].strip()] if isinstance(weekly, str) else []


def named(days: str) -> str:
    found = set(members(FIELDS[4], days))
    return ", ".join(name for name, number in WEEKDAYS.items() if number in found)
