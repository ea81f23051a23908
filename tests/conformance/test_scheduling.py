"""The arithmetic of schedules, as recorded from Digdag."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.schedule import END
from dagrun.core.session import microseconds
from dagrun.errors import WorkflowError
from dagrun.schedules.definition import neighbours, schedules_of
from tests.conformance.differences import DIFFERENT

CASES = json.loads((Path(__file__).parent / "scheduling.json").read_text())
ANSWERS = ("session_time", "run_time", "last_session_time", "next_session_time")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if case["id"] not in DIFFERENT])
def test_a_schedule_answers_as_recorded(case):
    if case.get("error"):
        with pytest.raises(WorkflowError):
            answer(case)
        return
    expected = {name: case[name] for name in ANSWERS} | case.get("dagrun", {})
    assert answer(case) == {name: instant(text) for name, text in expected.items()}


def answer(case: dict[str, Any]) -> dict[str, int | None]:
    (planned,) = schedules_of(workflow(case))
    schedule = planned.schedule
    at = instant(case["input"])
    if case["op"] == "last":
        session_time = schedule.last_before(at)
        run_time = session_time + schedule.delay
    else:
        session_time, run_time = schedule.first_at(at) if case["op"] == "first" else schedule.next_after(at)
    around = {} if session_time == END else neighbours([planned], session_time, case["timezone"])
    return {
        "session_time": session_time,
        "run_time": run_time,
        **{name: instant(around.get(name)) for name in ("last_session_time", "next_session_time")},
    }


def workflow(case: dict[str, Any]):
    options = {name: case[name] for name in ("start", "end", "delay") if name in case}
    config = Map("w.dig", 1, 1)
    config.update({"timezone": case["timezone"], "schedule": {f"{case['kind']}>": case["command"], **options}})
    return compile_workflow("w", config)


def instant(text: str | None) -> int | None:
    return None if text is None else microseconds(datetime.fromisoformat(text))
