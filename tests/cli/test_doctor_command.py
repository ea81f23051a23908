"""`dagrun doctor`, and what `dagrun check` says of interpreters."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from tests.daemon.site import Site
from tests.missing import need


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    # Few programs, so that few are asked: some of a developer's interpreters take a second to answer.
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "git", "docker"):
        need(name)
        (programs / name).symlink_to(str(shutil.which(name)))
    made.more_environment = {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock", "PATH": str(programs)}
    yield made
    made.close()


def missing(site: Site, code: int) -> dict[str, list[str]]:
    told = json.loads(site.call("doctor", "--json", code=code))
    return {one["file"]: [need["what"] for need in one["missing"]] for one in told["workflows"]}


def test_it_tells_what_is_there(site: Site):
    told = json.loads(site.call("doctor", "--json"))
    programs = {one["name"]: one for one in told["programs"]}
    assert programs["sh"]["path"].endswith("/sh")
    assert next(one["path"] for one in told["programs"] if one["name"] == "python") == sys.executable
    assert "no engine answers" in programs["docker engine"]["problem"]
    assert [one["name"] for one in told["places"]] == ["state", "files"]
    assert told["workflows"] == []


def test_it_tells_what_each_workflow_misses_with_its_remedy(site: Site):
    site.write(
        {
            "fine.dig": "+a: {sh>: x}\n+b: {py>: t.f}\n",
            "old.dig": '_export: {py: {python: "3.99"}}\n+a: {py>: t.f}\n',
            "box.dig": '+a: {sh>: x, _docker: busybox}\n+b: {py>: t.f, python: "3.99", _docker: python}\n',
            "what.dig": "+a: {nope>: 1}\n",
            "broken.dig": "+a: [1\n",
        }
    )
    found = missing(site, 1)
    assert found["fine.dig"] == []
    assert found["old.dig"] == ["python 3.99"]
    assert found["box.dig"] == ["docker engine"]
    assert found["what.dig"] == ["operator nope>"]
    assert len(found["broken.dig"]) == 1
    printed = site.call("doctor", code=1)
    assert "old.dig: python 3.99: install it" in printed
    assert "DOCKER_HOST" in printed


def test_a_version_that_is_a_number_is_told_before_anything_runs(site: Site):
    site.write(
        {
            "own.dig": "+a: {py>: t.f, python: 3.10}\n",
            "all.dig": "_export: {node: {node: 20}}\n+a: {node>: t.js}\n",
        }
    )
    printed = site.call("check", code=2)
    assert "python must be a text, and 3.1 is a number" in printed
    assert 'in quotes, like node: "20"' in printed
    assert "own.dig:1:" in printed


def test_a_directory_that_is_not_there_is_told(site: Site):
    assert "directory not found: /no/such" in site.call("doctor", "--project", "/no/such", code=3)


def test_a_program_that_is_not_there_is_missing(site: Site):
    site.write({"w.dig": "+a: {rb>: A.b, require: c}\n+b: {py>: t.f, python: 'uv:req.txt'}\n+c: {node>: a.js}\n"})
    assert sorted(missing(site, 1)["w.dig"]) == ["node", "ruby", "uv"]


def test_a_store_of_files_that_needs_a_package_is_missing(site: Site):
    folder = site.place / "home" / ".config" / "dagrun"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[files]\nstore = "gs://bucket/x"\n')
    site.write({"w.dig": "+a: {sh>: x, _outputs: [y]}\n"})
    assert missing(site, 1)["w.dig"] == ["the store of files"]
    assert "dagrun[gcs]" in site.call("doctor", code=1)


def test_check_refuses_a_version_that_is_not_there(site: Site):
    site.write({"w.dig": '+a:\n  py>: t.f\n  python: "3.99"\n'})
    printed = site.call("check", "w.dig", code=2)
    assert "there is no python 3.99 on this machine" in printed
    site.write({"w.dig": '+a: {py>: t.f, python: "3.99", _docker: python}\n+b: {sh>: x, python: "3.99"}\n'})
    site.call("check", "w.dig")


def test_check_looks_at_each_way_of_naming_an_interpreter(site: Site):
    site.write(
        {
            "w.dig": "+a: {py>: t.f, python: 'venv:envs/x'}\n+b: {rb>: A.b, ruby: /nowhere/ruby}\n"
            "+c: {node>: a.js, node: node --inspect}\n+d: {py>: t.f, python: '${x}'}\n"
        }
    )
    printed = site.call("check", "w.dig", code=2)
    assert (
        "+w+a: there is no virtual environment envs/x on this machine\n  make it with  python3 -m venv envs/x"
        in printed
    )
    assert "+w+b: there is no program /nowhere/ruby on this machine" in printed
    assert "one with arguments is a list: [node, --inspect]" in printed
    assert "+w+d" not in printed
    assert missing(site, 1)["w.dig"] == [
        "virtual environment envs/x",
        "program /nowhere/ruby",
        "program 'node --inspect'",
    ]


def test_tasks_below_tasks_are_looked_at(site: Site):
    """Those of loops, checks and handlers; in a container, too."""
    task = '{+x: {py>: t.f, python: "3.99"}}'
    site.write(
        {
            "w.dig": f"+a: {{loop>: 2, _do: {task}}}\n",
            "c.dig": f"+a: {{sh>: x, _check: {task}}}\n",
            "e.dig": f"_error: {task}\n+a: {{sh>: x}}\n",
            "f.dig": f"_export: {{docker: {{image: x}}}}\n+a: {{loop>: 2, _do: {task}}}\n",
        }
    )
    found = missing(site, 1)
    assert found == {
        "c.dig": ["python 3.99"],
        "e.dig": ["python 3.99"],
        "f.dig": ["docker engine"],
        "w.dig": ["python 3.99"],
    }
