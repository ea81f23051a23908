"""The cases of operators.json whose operators are here and which need no container, run by the real command line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dagrun.cli import invoke
from dagrun.store.sql import open_store
from tests import missing
from tests.conformance.differences import DIFFERENT
from tests.conformance.harness import Project, Result, operators_registered, write_files
from tests.conformance.servers import Servers, judge_servers, servers_of

SECTIONS = {
    "general", "call", "loop", "for_each", "for_range", "if", "fail, echo, wait", "control, more", "require", "sh", "py",
    "rb", "workspace", "http", "http_call", "mail", "executors",
}  # fmt: skip
OUT_OF_REACH = {"docker", "docker-stub", "ecs-stub", "kubernetes-stub", "postgres"}
STUBS = {"http-stub", "smtp-stub"}
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY")

CASES = [
    case
    for case in json.loads((Path(__file__).parent / "operators.json").read_text())["cases"]
    if case["section"] in SECTIONS and not OUT_OF_REACH & set(case.get("needs", ())) and case["id"] not in DIFFERENT
]


def of(mode: str | None) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case.get("mode") == mode]


@pytest.fixture(autouse=True)
def operators_of_the_cases() -> Iterator[None]:
    with operators_registered():
        yield


def need(case: Mapping[str, Any]) -> None:
    for program in set(case.get("needs", ())) - STUBS:
        missing.need(program)


def fill(value: Any, project: Path, servers: Servers) -> Any:
    """The placeholders of the cases."""
    if isinstance(value, str):
        return servers.fill(value).replace("{{PROJECT}}", str(project)).replace("{{X200000}}", "x" * 200_000)
    if isinstance(value, dict):
        return {key: fill(item, project, servers) for key, item in value.items()}
    return [fill(item, project, servers) for item in value] if isinstance(value, list) else value


def expected(case: Mapping[str, Any]) -> dict[str, Any]:
    return {**case.get("dagrun_differs", {}).get("expect", case["expect"])}


@pytest.mark.parametrize("case", of(None))
def test_a_local_run(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    need(case)
    project = tmp_path / "p"
    project.mkdir()
    with servers_of(case) as servers:
        prepare(fill({**case, "stubs": {}}, project, servers), project, monkeypatch)
        started = time.monotonic()
        code = invoke(arguments_of(case, tmp_path))
        seconds = time.monotonic() - started
    out, err = capfd.readouterr()
    judge(expected(case), code, out, err, seconds, project)
    judge_servers(expected(case), servers)


def prepare(case: Mapping[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project, the secrets, the settings, the environment."""
    write_files(project, case["files"])
    home = project.parent / "home"
    (home / "secrets").mkdir(parents=True)
    for key, value in case.get("secrets", {}).items():
        (home / "secrets" / key).write_text(value)
    (home / "config").write_text("".join(f"{key} = {value}\n" for key, value in case.get("config", {}).items()))
    monkeypatch.setenv("DAGRUN_CONFIG_HOME", str(home))
    for name in PROXIES:  # of the machine that runs the tests
        monkeypatch.delenv(name, raising=False)
    for name, value in case.get("process_env", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("dagrun.cli.run.TASK_LIMIT", 1000)
    monkeypatch.chdir(project)


def arguments_of(case: Mapping[str, Any], directory: Path) -> list[str]:
    arguments = ["run", "w.dig", "--session", "2026-01-02 03:04:05"]
    if case.get("in_place"):
        arguments.append("--in-place")
    for key, value in case.get("cli_params", {}).items():
        arguments += ["-p", f"{key}={value}"]
    if case.get("params"):
        (directory / "params.json").write_text(json.dumps(case["params"]))
        arguments += ["-P", str(directory / "params.json")]
    return arguments


def judge(expect: Mapping[str, Any], code: int, out: str, err: str, seconds: float, project: Path) -> None:
    if "outcome" in expect:
        assert code == {"success": 0, "error": 1, "load_error": 2}[expect["outcome"]], err
    if "out" in expect:
        assert out.splitlines() == expect["out"], err
    if "out_unordered" in expect:
        assert sorted(out.splitlines()) == sorted(expect["out_unordered"])
    for key, text in (("out", out), ("error", err), ("log", err)):
        for part in expect.get(f"{key}_contains", ()):
            assert part in text
        for part in expect.get(f"{key}_lacks", ()):
            assert part not in text
    assert expect.get("min_seconds", 0) <= seconds <= expect.get("max_seconds", 600)
    for path, content in expect.get("files", {}).items():
        file = project / path
        if content is None:
            assert not file.exists()
        elif isinstance(content, dict):
            assert file.exists()
        else:
            assert file.read_text() == content
    if expect.get("outcome") == "load_error":
        assert not (project / ".dagrun" / "state.db").exists()
        return
    judge_tasks(expect, project)


def judge_tasks(expect: Mapping[str, Any], project: Path) -> None:
    with open_store(f"sqlite:///{project}/.dagrun/state.db").reading() as tx:
        attempts = [row for row in tx.list_attempts() if row.session.workflow == "w"]
        rows = tx.load_tasks(attempts[0].attempt.id)
    ran = {row.name for row in rows if row.tries}
    assert set(expect.get("tasks", ())) <= ran
    if expect.get("no_subtasks"):
        assert not [name for name in ran if "^sub" in name]
    if "error_kind" in expect:
        assert expect["error_kind"] in {kind_of(json.loads(row.error)["message"]) for row in rows if row.error}
    for text, times in expect.get("log_count", {}).items():
        assert sum(row.tries for row in rows if text.partition(">")[0] == "fail" and "^" not in row.name) == times


def kind_of(message: str) -> str:
    """As the cases tell failures apart: by the last brackets of the message."""
    bracket = message.splitlines()[-1].rpartition("(")[2].rstrip(")") if message.endswith(")") else ""
    return {"config": "config", "secret not found": "secret", "": "expected"}.get(bracket, "runtime")


@pytest.mark.parametrize("case", of("server"))
def test_on_the_engine(case: dict[str, Any], tmp_path: Path) -> None:
    need(case)
    project = Project(tmp_path / "p")
    project.push(case["files"])
    expect = expected(case)
    result: Result | None = None
    for step in case["steps"]:
        attempt = project.submit(step["start"], params=step.get("params"), session="2026-01-02T03:04:05+00:00")
        if "look_after_seconds" in step:
            look_while_it_runs(project, attempt, expect)
            return
        result = project.run(attempt)
    assert result is not None
    if "outcome" in expect:
        assert (result.state == "success") == (expect["outcome"] == "success")
    if "out" in expect:
        outputs = [*result.recorder.output.values()]
        assert [*result.prints(), *(line for text in outputs for line in text.splitlines())] == expect["out"] or [
            text for found in result.recorder.prints.values() for _, text in found
        ] == expect["out"]
    for text in expect.get("error_contains", ()):
        assert any(text in task.error["message"] for task in result.tree.tasks if task.error)
    with project.store.reading() as tx:
        workflows = [row.session.workflow for row in tx.list_attempts()]
    for workflow, number in expect.get("attempts", {}).items():
        assert workflows.count(workflow) == number
    check_state(expect.get("state", {}), result)


def check_state(state: Mapping[str, Any], result: Result) -> None:
    tasks = result.tree.by_name()
    for name, wanted in state.items():
        for key, value in wanted.items():
            if value == "<absent>":
                assert key not in tasks[name].memo
            elif value == "<any>":
                assert key in tasks[name].memo
            else:
                assert tasks[name].memo[key] == value


def look_while_it_runs(project: Project, attempt: Any, expect: Mapping[str, Any]) -> None:
    """Digdag's `retry_waiting` is the state waiting."""
    local = project.locals[attempt.id]
    local.worker.poll()
    tasks = attempt.tree.by_name()
    for name, state in expect["task_state"].items():
        assert tasks[name].state == {"retry_waiting": "waiting"}[state]
    check_state(expect["state"], Result(attempt, attempt.tree, project.recorder))
    local.cancel("seen enough")
    local.run()
