"""What the documents say is so: the table of states, the examples of the README, dependencies, exit codes, links."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dagrun.cli import COMMANDS
from dagrun.core.state import TRANSITIONS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), *(ROOT / "operators").glob("*.md")]
)  # fmt: skip
BLOCK = re.compile(r"<!-- (file: (?P<file>\S+)|run) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)
TIMES = re.compile(r"\b\d\d:\d\d:\d\d (?=\+)|\b\d+\.\d s$", re.MULTILINE)


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_generated_from_the_code_is_so():
    for path, text in load_generator().documents():
        assert path.read_text() == text, "run: python docs/generate.py"


def test_the_states_in_the_architecture_are_those_of_the_code():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (.*) \|$", text.partition("| from | to | when |")[2], re.MULTILINE)
    assert {(before, after): reason for before, after, reason in rows} == TRANSITIONS


def test_the_commands_of_the_readme_print_what_it_says(tmp_path):
    """Blocks after `<!-- file: NAME -->` are written, those after `<!-- run -->` are run; only times may differ."""
    home = tmp_path / "home"
    project = tmp_path / "project"
    home.mkdir()
    project.mkdir()
    ran = 0
    for block in BLOCK.finditer((ROOT / "README.md").read_text()):
        if block["file"]:
            (project / block["file"]).write_text(block["text"])
            continue
        for command, printed in steps(block["text"]):
            assert without_times(dagrun(command, project, home)) == without_times(printed)
            ran += 1
    assert ran >= 3


def steps(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    parts = re.split(r"^\$ dagrun (.*)\n", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def dagrun(command: str, project: Path, home: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "dagrun.cli", *shlex.split(command)],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return ended.stdout


def without_times(text: str) -> list[str]:
    """Lines in any order: two streams and parallel tasks come as they come."""
    return sorted(TIMES.sub("", text).splitlines())


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(one for extra in project["project"]["optional-dependencies"].values() for one in extra),
        *project["dependency-groups"]["dev"],
    ]
    names = {re.match(r"[A-Za-z0-9_.-]+", text)[0].lower() for text in wanted}
    text = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([A-Za-z][\w.-]*(?:, [\w.-]+)*) \|", text, re.MULTILINE)
    assert {name.lower() for row in rows for name in row.split(", ")} - {"package"} == names


def test_the_readme_names_every_exit_code():
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text().partition("## Exit codes")[2], re.MULTILINE)
    assert rows == ["0", "1", "2", "3", "4", "5", "6", "70"]


def test_every_target_of_the_readme_is_one_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`make ([a-z]+)`", (ROOT / name).read_text())) <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_documents_name_exist(path):
    text = path.read_text()
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    named = re.findall(r"`dagrun ([a-z]+)\b", text) + re.findall(r"^(?:\$ )?dagrun ([a-z]+)\b", fenced, re.MULTILINE)
    assert set(named) - set(COMMANDS) == set()
