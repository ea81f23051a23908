"""The cases of language.json, groups C to S; group L is run by tests/core/test_yaml.py."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dagrun.cli import invoke
from dagrun.core.events import Canceled
from dagrun.engine.turn import Live, take_turn
from dagrun.errors import Conflict, LimitExceeded, UserError, WorkflowError
from dagrun.project.archive import Directory
from dagrun.project.loader import compile_file, workflow_files
from tests.conformance.differences import DIFFERENT
from tests.conformance.harness import Project, Result, operators_registered, write_files

CASES = json.loads((Path(__file__).parent / "language.json").read_text())["cases"]


def of_groups(groups: str) -> list[Any]:
    return [
        pytest.param(case, id=case["id"]) for case in CASES if case["group"] in groups and case["id"] not in DIFFERENT
    ]


@pytest.fixture(autouse=True)
def operators_of_the_cases() -> Iterator[None]:
    with operators_registered():
        yield


def expected(case: Mapping[str, Any]) -> dict[str, Any]:
    differs = case.get("dagrun_differs", {})
    return dict(differs.get("expect", case["expect"]))


@pytest.mark.parametrize("case", of_groups("C"))
def test_compiling(case: dict[str, Any], tmp_path: Path) -> None:
    write_files(tmp_path, case["files"])
    files = Directory(str(tmp_path))
    expect = expected(case)
    if "error" in expect:
        with pytest.raises(WorkflowError) as problem:
            for file in workflow_files(files):
                compile_file(files, file)
        assert problem.value.kind == expect["error"]
        assert problem.value.file is not None
        return
    lines = []
    for node in compile_file(files, "w.dig").nodes:
        up = " ".join(["", "up", *map(str, node.upstreams)]) if node.upstreams else ""
        lines.append(f"{node.index} {node.full_name} {'op' if node.spec.operator else 'group'}{up}")
    assert lines == expect["tasks"]


@pytest.mark.parametrize("case", of_groups("PTEDK"))
def test_running(case: dict[str, Any], tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    expect = expected(case)
    options = {"task_limit": case.get("task_limit", 1000)}

    def run() -> Result:
        project.push(case["files"])
        session = case.get("session", "2024-01-15T00:00:00Z")
        return project.run(project.submit(params=case.get("params"), session=session, options=options))

    if "error" in expect and not (case.get("dagrun_differs") and "expect" not in case["dagrun_differs"]):
        with pytest.raises((WorkflowError, LimitExceeded)) as problem:
            run()
        assert getattr(problem.value, "kind", "task_limit") == expect["error"]
        return
    judge(run(), expect, case)


def judge(result: Result, expect: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    if case.get("dagrun_differs") and "expect" not in case["dagrun_differs"]:
        return  # the note says in words what differs; such cases are looked at in test_differences.py
    newest = {task.full_name: task for task in result.tree.tasks}
    if "attempt" in expect:
        assert result.state == expect["attempt"]
    if "prints" in expect:
        assert result.prints() == expect["prints"]
    if "prints_any_order" in expect:
        assert sorted(result.prints()) == sorted(expect["prints_any_order"])
    for name, text in expect.get("prints_by_task", {}).items():
        assert [found for task, found in result.recorder.prints[result.id] if task == name] == [text]
    for name, text in expect.get("sh_output", {}).items():
        assert result.recorder.output[name] == text
    assert {name: newest[name].state for name in expect.get("states", {})} == expect.get("states", {})
    for name in expect.get("absent_tasks", ()):
        assert name not in newest
    rows = {name: sum(task.full_name == name for task in result.tree.tasks) for name in expect.get("rows", {})}
    assert rows == expect.get("rows", {})
    starts = result.starts()
    assert {name: starts[name] for name in expect.get("runs", {})} == expect.get("runs", {})
    if "waits" in expect:
        waits = result.waits()
        assert len(waits) == len(expect["waits"])
        assert all(wanted <= found <= wanted + 7 for wanted, found in zip(expect["waits"], waits, strict=True))
    for name, kind in expect.get("error_kinds", {}).items():
        errors = [task.error["kind"] for task in result.tree.tasks if task.error and name in ("*", task.full_name)]
        assert any(found == kind or found.startswith(f"{kind}:") for found in errors), (kind, errors)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"])
        for case in CASES
        if case.get("mode") == "server" and case["id"] not in DIFFERENT
    ],
)
def test_sessions_and_resume(case: dict[str, Any], tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    threads: dict[int, threading.Thread] = {}
    results: dict[int, Result] = {}
    differs = "dagrun_differs" in case
    for step in case["steps"]:
        expect = step.get("expect", {})
        match step["do"]:
            case "push":
                if "refused" in expect:
                    with pytest.raises(UserError):
                        project.push(step["files"])
                else:
                    project.push(step["files"])
            case "start":
                start(project, step, expect, threads, results, case, differs)
            case "wait":
                threads[step["of"]].join(30)
                check_start(project, results[step["of"]], expect, case)
            case "kill":
                kill(project, step["of"], expect)
            case "sleep":
                time.sleep(step["seconds"])


def start(
    project: Project,
    step: Mapping[str, Any],
    expect: Mapping[str, Any],
    threads: dict[int, threading.Thread],
    results: dict[int, Result],
    case: Mapping[str, Any],
    differs: bool,
) -> None:
    def submit() -> Any:
        return project.submit(
            step.get("workflow", "w"),
            params=step.get("params"),
            session=step.get("session", "2024-01-15T00:00:00Z"),
            retry_name=step.get("retry_name", ""),
            resume=step.get("resume"),
        )

    if "conflict_with" in expect:
        with pytest.raises(Conflict):
            submit()
        return
    if "refused" in expect and case["id"] != "CC-510":
        with pytest.raises(UserError):
            submit()
        return
    attempt = submit()
    number = len(project.attempts)
    if step.get("nowait"):
        thread = threading.Thread(target=lambda: results.update({number: project.run(attempt)}))
        threads[number] = thread
        thread.start()
        return
    result = project.run(attempt)
    results[number] = result
    if differs and number == len([one for one in case["steps"] if one["do"] == "start"]):
        check_difference(case["id"], result)
        return
    check_start(project, result, expect, case)


def check_start(project: Project, result: Result, expect: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    if "index" in expect:
        assert project.number(result.attempt) == expect["index"]
    judge(result, expect, {})


DIFFERENT_ENDS: dict[str, dict[str, Any]] = {
    "CC-223": {"attempt": "success", "prints": ["number"], "runs": {"+w+l": 0}},
    "CC-508": {"attempt": "success", "prints": ["n new"], "runs": {"+w+g+a": 0, "+w+b": 1, "+w+g+n": 1}},
    "CC-509": {"attempt": "success", "prints": ["undefined"], "runs": {"+w+a": 0, "+w+b": 1, "+w+c": 1}},
    "CC-510": {"attempt": "success", "prints": [], "runs": {"+w+g+a": 0, "+w+g+f": 0, "+w+b": 1}},
    "CC-517": {"attempt": "success", "prints": ["string"], "runs": {"+w+l": 0, "+w+z": 1}},
}


def check_difference(name: str, result: Result) -> None:
    """What the notes of these cases say in words."""
    judge(result, DIFFERENT_ENDS.get(name, {}), {})


def kill(project: Project, number: int, expect: Mapping[str, Any]) -> None:
    attempt = project.attempts[number - 1]
    with project.store.reading() as tx:
        done = tx.get_attempt(attempt.id).finished_at is not None
    if expect.get("http") == 409:
        assert done
        return
    assert not done
    take_turn(project.store, Live(attempt.id, attempt.live.workflow, 1000), [Canceled("kill")])


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"])
        for case in CASES
        if case.get("mode") == "local" and case["id"] not in DIFFERENT
    ],
)
def test_local_runs(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    project = tmp_path / "p"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(tmp_path))
    differs = case.get("dagrun_differs", {})
    for number, step in enumerate(case["steps"]):
        write_files(project, step.get("files", {}))
        for path in step.get("remove", ()):
            (project / path).unlink()
        # This one's tasks leave a file for each other in the project (features, section 0, row F78).
        code = invoke(["run", *step["args"], *(["--in-place"] if case["id"] == "CC-238" else [])])
        out, err = capfd.readouterr()
        expect = differs.get("expect_by_step", {}).get(str(number), step["expect"])
        if differs and not differs.get("expect_by_step"):
            check_local_difference(case["id"], number, code, out, err)
            continue
        assert (code == 0) == (expect["exit"] == 0), err
        if "prints" in expect:
            assert out.splitlines() == expect["prints"]
        for text in expect.get("output_contains", ()):
            assert text in out + err
        for text in expect.get("output_lacks", ()):
            assert text not in out + err
        if expect.get("ran"):
            assert ran(project) == expect["ran"]
        if expect.get("skipped"):
            assert reused(project) >= set(expect["skipped"])


def rows(project: Path) -> Any:
    from dagrun.store.sql import open_store

    with open_store(f"sqlite:///{project}/.dagrun/state.db").reading() as tx:
        return tx.load_tasks(tx.newest_attempt().id)


def ran(project: Path) -> dict[str, int]:
    """Starts of operators by task, but those of the alert."""
    found: dict[str, int] = {}
    for row in rows(project):
        if row.tries and not row.name.endswith("^failure-alert"):
            found[row.name] = found.get(row.name, 0) + row.tries
    return found


def reused(project: Path) -> set[str]:
    return {row.name for row in rows(project) if row.reused_from is not None}


LOCAL_DIFFERENCES: dict[str, list[tuple[int, list[str] | None]]] = {
    "CC-225": [(0, ["a", "0", "1"]), (0, ["a", "0", "1"])],
    "CC-231": [(0, ["+w+g+b root number"]), (2, [])],
    "CC-238": [(0, []), (3, []), (2, []), (0, [])],
    "CC-533": [(0, None), (0, ["2", "x", "x"])],
}


def check_local_difference(name: str, number: int, code: int, out: str, err: str) -> None:
    wanted, lines = LOCAL_DIFFERENCES[name][number]
    assert code == wanted, err
    if lines is not None:
        assert out.splitlines() == lines
