"""The cases of operators.json about containers: with a stub client that writes its arguments down, and with a real engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from dagrun.cli import invoke
from tests import containers
from tests.conformance.differences import DIFFERENT
from tests.conformance.test_operators import arguments_of, expected, fill, judge, prepare

# What the stub of the cases doesn't write down: the variables, which come in a file or by name.
VARIABLES = """#!/bin/sh
before=
for word in "$@"; do
  case "$before" in
    --env-file) cat "$word" >>"{{PROJECT}}/env.txt" ;;
    -e) printf '%s=' "$word" >>"{{PROJECT}}/env.txt"; printenv "$word" >>"{{PROJECT}}/env.txt" ;;
  esac
  before=$word
done
"""
CASES = [
    case
    for case in json.loads((Path(__file__).parent / "operators.json").read_text())["cases"]
    if case["section"] == "executors" and case["id"] not in DIFFERENT
]


def needing(what: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if what in case.get("needs", ())]


@pytest.mark.parametrize("case", needing("docker-stub"))
def test_what_the_client_is_told(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any):
    project = tmp_path / "p"
    project.mkdir()
    stub = case["files"]["bin/docker"]
    told = {**stub, "text": stub["text"].replace("#!/bin/sh\n", VARIABLES, 1)}
    case = fill({**case, "files": {**case["files"], "bin/docker": told}}, project, NoServers())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")  # the stub is all that there is
    prepare(case, project, monkeypatch)
    code = invoke(arguments_of(case, tmp_path))
    expect = expected(case)
    judge(
        {key: value for key, value in expect.items() if not key.startswith("docker_")},
        code,
        *capfd.readouterr(),
        0,
        project,
    )
    calls = [call.splitlines() for call in (project / "argv.txt").read_text().split("---\n")]
    assert in_order(expect["docker_argv"], calls, lambda words, call: in_order(words, call, is_like)), calls
    variables = (project / "env.txt").read_text().splitlines()
    assert set(expect.get("docker_env_contains", ())) <= set(variables)
    for name in expect.get("docker_env_lacks", ()):
        assert not [line for line in variables if line.startswith(f"{name}=")]


def in_order(wanted: Sequence[Any], found: Sequence[Any], match: Any) -> bool:
    """Each of the wanted things is found, behind the one before; others may stand between them."""
    rest: Iterator[Any] = iter(found)
    return all(any(match(one, other) for other in rest) for one in wanted)


def is_like(pattern: str, word: str) -> bool:
    """Files of the try lie in a directory of its own, not below `.digdag` of the project."""
    return fnmatchcase(word, re.sub(r"^.*\.digdag/tmp/[^/]+/", "*/io/", pattern))


class NoServers:
    def fill(self, text: str) -> str:
        return text


@pytest.mark.parametrize("case", needing("docker"))
def test_with_a_real_engine(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any):
    monkeypatch.setenv("DOCKER_HOST", containers.engine())
    project = tmp_path / "p"
    project.mkdir()
    case = fill(case, project, NoServers())
    prepare(case, project, monkeypatch)
    codes = [invoke([*arguments_of(case, tmp_path), "--rerun"]) for _ in case["steps"]]
    out, err = capfd.readouterr()
    assert set(codes) == {codes[0]}
    judge(expected(case), codes[-1], out, err, 0, project)
    if case["id"] == "C200":
        assert (out + err).count("Successfully built") == 1
    assert containers.all_containers(str(project)) == []


def test_each_case_is_taken_or_out_of_reach():
    cases = {case["id"] for case in CASES}
    taken = {case.values[0]["id"] for what in ("docker", "docker-stub") for case in needing(what)}
    left: Mapping[str, str] = {case["id"]: case["title"] for case in CASES if case["id"] in cases - taken}
    assert all("ecs" in title.lower() or "kubernetes" in title.lower() for title in left.values()), left
