"""`schedule-scenarios.json`: what is stored after a push, a pass of the scheduler, and what people ask for.

Requests are calls of dagrun's own functions; of a status only accepted or refused counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dagrun.cli.running import schedule_params
from dagrun.core.compiler import compile_workflow
from dagrun.core.config import Map
from dagrun.core.schedule import END, truncated
from dagrun.core.session import EPOCH, SECOND, format_time, microseconds
from dagrun.core.sla import alarm_of
from dagrun.core.state import SUCCESS
from dagrun.core.zone import zone
from dagrun.engine import backfill, timetable
from dagrun.engine.catalog import Catalog, Refused, read
from dagrun.engine.launch import Launcher
from dagrun.engine.local import Local
from dagrun.engine.scheduler import Scheduler
from dagrun.engine.submit import Submission
from dagrun.engine.tries import machine_clock
from dagrun.engine.waiting_room import end_queued, is_queued
from dagrun.engine.workspace import Workspaces
from dagrun.errors import Conflict, UserError
from dagrun.executors.process import ProcessExecutor
from dagrun.project.sources import Place
from dagrun.schedules.definition import schedules_of
from dagrun.store.base import AttemptRow, ScheduleRow
from dagrun.store.sql import open_store

CASES = json.loads((Path(__file__).parent / "schedule-scenarios.json").read_text())
STORED = {case["id"]: case for case in CASES if case["kind"] == "stored_state"}
LIMIT = 100

# Where dagrun answers otherwise, and why: the step's index → what it expects instead.
SKIPPED = {
    "w": {
        "id": "#1",
        "next_session": "2024-05-10T20:00:00+00:00",
        "next_run": "2024-05-10T20:00:00Z",
        "last_session": "2024-05-10T10:00:00Z",
        "disabled": False,
    }
}
DELAYED = {
    "w": {
        "id": "#1",
        "next_session": "2024-05-11T00:00:00+00:00",
        "next_run": "2024-05-11T00:01:00Z",
        "last_session": None,
        "disabled": False,
    }
}
KILLED = [
    {"workflow": "w", "session_time": f"2024-05-{day}T00:00:00+00:00", "attempt_name": "b1", "state": state}
    for day, state in (("09", "success"), ("10", "killed"))
]
DIFFERS: dict[str, dict[int, dict[str, Any]]] = {
    # A push of the same definition keeps a skip.
    "SS007": {3: {"rows": SKIPPED}, 4: {"rows": SKIPPED, "new_attempts": 0, "new": []}},
    "SS053": {2: {"status": [200]}, 4: {"states": KILLED}},  # a waiting attempt can be killed
    "SS069": {0: {"status": 400}},  # a schedule that can't be used is refused when it is pushed
    "SS079": {0: {"status": 400}},
    "SS082": {0: {"status": 200, "rows": DELAYED}},  # delay is an option
}
ENDS_THERE = {"SS069", "SS079"}


class Quiet:
    """An observer of nothing."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: None

    def tick(self) -> float:
        return 60.0


class Site:
    """A project, its store, and a scheduler whose passes are called by hand."""

    def __init__(self, top: Path, url: str | None = None) -> None:
        self.directory = top / "p"
        self.directory.mkdir()
        self.gate = top / "open"
        self.ahead = 0
        self.state_dir = str(top / "state")
        self.store = open_store(url or str(top / "state" / "state.db"))
        launcher = Launcher(self.store.id, self.state_dir, ProcessExecutor(lambda _: None), Workspaces(self.state_dir))
        self.local = Local(
            self.store, self.state_dir, launcher, Quiet(), slots=200, secret_value=lambda _: None,
            schedule_params=schedule_params, clock=lambda: machine_clock() + self.ahead,
        )  # fmt: skip
        self.catalog = Catalog(self.store, self.state_dir)
        self.scheduler = Scheduler(self.store, self.local, self.catalog, lambda _: None, most=LIMIT)
        self.project_id = 0
        self.ids: list[int] = []
        self.seen = 0

    # -- steps

    def push(self, step: dict[str, Any]) -> None:
        for file in self.directory.iterdir():
            file.unlink()
        for name, text in step["workflows"].items():
            (self.directory / f"{name}.dig").write_text(self.waiting_for_the_gate(text))
        candidate = read(Place("p", str(self.directory)), self.state_dir, lambda *_: [])
        clear = list(candidate.workflows) if step.get("clear_all") else step.get("clear", ())
        self.project_id = self.catalog.take_over(candidate, at(step["at"]), clear)

    def waiting_for_the_gate(self, text: str) -> str:
        """Instead of sleeping: what is at work ends when it shall."""
        lines = [
            f"{line.partition('sleep')[0]}while [ ! -e {self.gate} ]; do sleep 0.01; done" if "sleep" in line else line
            for line in text.splitlines()
        ]
        return "\n".join(lines) + "\n"

    def pass_(self, step: dict[str, Any]) -> None:
        now = at(step["at"])
        self.scheduler.start_due(now)
        self.work()
        while self.held_back(now):  # no more than ten missed sessions at once
            now += SECOND
            self.scheduler.start_due(now)
            self.work()

    def held_back(self, now: int) -> bool:
        return any(row.note and row.next_run <= now + SECOND for row in self.rows())

    def delayed(self, _: dict[str, Any]) -> None:
        self.scheduler.start_queued()
        self.work()

    def skip(self, step: dict[str, Any]) -> dict[str, Any]:
        body = step["body"]
        with self.store.transaction() as tx:
            (row,) = timetable.rows_of(tx, self.project_id, step.get("workflow", "w"))
            one = self.catalog.planned(row)
            if "nextTime" in body:
                moved = timetable.skip_to(tx, row, one, at(body["nextTime"]), dry_run=body["dryRun"])
            elif "count" in body and "fromTime" in body:
                start = at(body["fromTime"])
                moved = timetable.skip_count(tx, row, one, body["count"], start, dry_run=body["dryRun"])
            else:
                raise UserError("nextTime or (fromTime and count) are required")
        shown = self.shown(moved)
        return {name: shown[name] for name in ("next_session", "next_run")}

    def disable(self, step: dict[str, Any]) -> None:
        with self.store.transaction() as tx:
            (row,) = timetable.rows_of(tx, self.project_id, step.get("workflow", "w"))
            timetable.disable(tx, row, tx.now)

    def enable(self, step: dict[str, Any]) -> None:
        body = step.get("body", {})
        with self.store.transaction() as tx:
            (row,) = timetable.rows_of(tx, self.project_id, step.get("workflow", "w"))
            if body.get("skipSchedule"):
                row = timetable.skip_to(tx, row, self.catalog.planned(row), at(body["nextTime"]))
            timetable.enable(tx, row, tx.now)

    def backfill(self, step: dict[str, Any]) -> list[dict[str, Any]]:
        body = step["body"]
        name, dry = body.get("attemptName", ""), body["dryRun"]
        with self.store.transaction() as tx:
            (row,) = timetable.rows_of(tx, self.project_id, step.get("workflow", "w"))
            one = self.catalog.planned(row)
            times = backfill.sessions(one.schedule, at(body["fromTime"]), row.next_session, body.get("count"))
            backfill.check_name(tx, self.project_id, row.workflow, times, name)
            if dry:
                return [self.answered(one, time, name, 0, dry) for time in times]
            revision = self.catalog.revision(self.project_id)
            workflow = revision.workflow(row.workflow)
            made = backfill.start(
                tx, workflow, revision.row, times, backfill.Wish(name, most=LIMIT),
                lambda time: schedule_params(workflow, time), self.local.process(), one.schedule.place,
            )  # fmt: skip
            return [self.answered(one, time, name, row.number, dry) for time, row in zip(times, made, strict=True)]

    def answered(self, one: Any, time: int, name: str, index: int, dry: bool) -> dict[str, Any]:
        return {"session_time": format_time(time, one.schedule.place), "index": index, "name": name, "dry": dry}

    def start(self, step: dict[str, Any]) -> None:
        revision = self.catalog.revision(self.project_id)
        workflow = revision.workflow(step.get("workflow", "w"))
        wanted = Submission(
            workflow, self.project_id, revision.row, at(step["session_time"]), retry_name=step.get("name", "")
        )
        with self.store.transaction() as tx:
            self.local.submit_in(tx, wanted, revision)
        self.work()

    def kill_last(self, _: dict[str, Any]) -> list[int]:
        with self.store.transaction() as tx:
            live = [summary.attempt for summary in tx.list_attempts() if summary.attempt.finished_at is None]
            newest = live[0]
            if is_queued(newest):
                end_queued(tx, newest, "killed")
        self.local.cancel_one(newest.id, "killed")
        self.local.poll()
        return [200]

    def sleep(self, _: dict[str, Any]) -> None:
        self.work()

    def settle(self, _: dict[str, Any]) -> None:
        self.gate.touch()
        while self.local.worker.attempts:
            self.local.worker.wait(self.local.poll())
        self.gate.unlink()

    def states(self, _: dict[str, Any]) -> None:
        pass

    def delete(self, _: dict[str, Any]) -> None:
        with self.store.transaction() as tx:
            timetable.take_over(tx, self.project_id, 0, {}, 0)

    def work(self) -> None:
        """Until only commands are at work, or nothing."""
        while self.local.worker.attempts:
            seconds = self.local.poll()
            if all(held.handle for held in self.local.worker.tries.values()) and seconds > 0.05:
                break

    # -- what is there

    def rows(self) -> list[ScheduleRow]:
        with self.store.reading() as tx:
            return tx.list_schedules(self.project_id) if self.project_id else []

    def shown(self, row: ScheduleRow) -> dict[str, Any]:
        place = self.catalog.planned(row).schedule.place
        if row.id not in self.ids:
            self.ids.append(row.id)
        return {
            "id": f"#{self.ids.index(row.id) + 1}",
            "next_session": format_time(row.next_session, place),
            "next_run": utc(row.next_run),
            "last_session": None if row.last_session is None else utc(row.last_session),
            "disabled": row.disabled_at is not None,
        }

    def attempts(self) -> list[Any]:
        with self.store.reading() as tx:
            return tx.list_attempts(limit=1000)[::-1]

    def new(self) -> list[dict[str, Any]]:
        found = [one for one in self.attempts() if one.attempt.id > self.seen]
        self.seen = max((one.attempt.id for one in found), default=self.seen)
        return [
            {
                "workflow": one.session.workflow,
                "session_time": format_time(one.session.session_time, zone(one.attempt.timezone)),
                "attempt_name": one.attempt.retry_name or None,
                "index": one.attempt.number,
                "params": json.loads(one.attempt.params),
            }
            for one in found
        ]


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def utc(time: int) -> str:
    return "9999-01-01T00:00:00Z" if time == END else format_time(time, EPOCH.tzinfo).replace("+00:00", "Z")


def state_of(row: AttemptRow) -> str:
    if is_queued(row):
        return "waiting"
    return {SUCCESS: "success", "canceled": "killed", "running": "running"}.get(row.state, "error")


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.local.worker.end_all()
    site.store.close()


@pytest.mark.parametrize("name", STORED)
def test_what_is_stored_is_what_the_scenario_says(name, site):
    case = STORED[name]
    for index, step in enumerate(case["steps"]):
        expected = {**step.get("expect", {}), **DIFFERS.get(name, {}).get(index, {})}
        act = getattr(site, "pass_" if step["do"] == "pass" else step["do"])
        try:
            answer, accepted = act(step), True
        except (UserError, Refused, Conflict) as problem:
            answer, accepted = str(problem), False
        status = expected.get("status", 200)
        statuses = status if isinstance(status, list) else [status]
        assert accepted == all(one == 200 for one in statuses), (index, answer)
        if name in ENDS_THERE:
            return
        compare(site, index, step, expected, answer)


def compare(site: Site, index: int, step: dict[str, Any], expected: dict[str, Any], answer: Any) -> None:
    if "rows" in expected:
        found = {row.workflow: site.shown(row) for row in site.rows()}
        for row in expected["rows"].values():
            later = row["next_run"]
            if isinstance(later, dict):
                row["next_run"] = utc(at(step["at"]) + later["real_now_plus_seconds"] * SECOND)
        assert found == expected["rows"], index
    if "answer" in expected:
        assert answer == expected["answer"], index
    new = site.new()
    if "new_attempts" in expected:
        assert len(new) == expected["new_attempts"], index
    if "new" in expected:
        shown = [new[0], new[1], new[-1]] if expected.get("new_is") else new
        assert shown == expected["new"], index
    if "states" in expected:
        states = [
            {**{key: one[key] for key in ("workflow", "session_time", "attempt_name")}, "state": one["state"]}
            for one in expected["states"]
        ]
        assert [
            {
                "workflow": one.session.workflow,
                "session_time": format_time(one.session.session_time, zone(one.attempt.timezone)),
                "attempt_name": one.attempt.retry_name or None,
                "state": state_of(one.attempt),
            }
            for one in site.attempts()
        ] == states, index


SLA = [case for case in CASES if case["kind"] == "sla_trigger"]


@pytest.mark.parametrize("case", SLA, ids=[case["id"] for case in SLA])
def test_an_alarm_rings_when_the_case_says(case):
    config = Map("w.dig", 1, 1)
    config.update({"timezone": case["timezone"], "sla": case["config"]})
    try:
        alarm = alarm_of(compile_workflow("w", config), at(case["run_time"]))
    except UserError:
        assert "error" in case
        return
    assert alarm is not None
    assert alarm.at // SECOND == at(case["fires"]) // SECOND


RUNS = {case["id"]: case for case in CASES if case["kind"] == "sla_run"}


@pytest.mark.parametrize("name", RUNS)
def test_an_alarm_does_what_the_case_says(name, site):
    case = RUNS[name]
    site.push({"workflows": {"w": case["workflow"]}, "at": "2024-01-01T00:00:00Z"})
    site.start({"session_time": "2024-01-01T00:00:00Z"})
    (attempt,) = site.local.worker.attempts.values()
    site.ahead = 4 * SECOND
    site.work()
    site.settle({})
    state = attempt.tree.root.state
    assert {"success": "success"}.get(state, "error") == case["expect"]["attempt"]
    assert {task.full_name: task.state for task in attempt.tree.tasks} == case["expect"]["tasks"]


TIMES = [case for case in CASES if case["kind"] == "truncated_session_time"]


@pytest.mark.parametrize("case", TIMES, ids=[case["id"] for case in TIMES])
def test_a_time_is_truncated_as_the_case_says(case):
    config = Map("w.dig", 1, 1)
    schedule = dict([case["schedule"].split(": ", 1)]) if case["schedule"] else None
    config.update({"timezone": case["timezone"], **({"schedule": schedule} if schedule else {})})
    planned = schedules_of(compile_workflow("w", config))
    try:
        found = truncated(
            case["session_time"], case["mode"], zone(case["timezone"]), planned[0].schedule if planned else None
        )
    except UserError:
        assert case["status"] != 200
        return
    assert case["status"] == 200
    assert format_time(found, zone(case["timezone"])) == case["answer"]
