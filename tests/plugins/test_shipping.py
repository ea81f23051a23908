"""The walk of operators/README.md, step by step: a project's own operator, its tests, a package of it in a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "operators" / "README.md"
WORKFLOW = "+wait:\n  file_wait>: a.csv\n+tell:\n  echo>: ${size} bytes\n"


def called(*words: str | Path, cwd: Path, **more: str) -> str:
    environment = {**os.environ, "HOME": str(cwd), **more}
    ended = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def blocks() -> dict[str, str]:
    """The text of each file by its name."""
    found = re.findall(r"```\w+\n# (\S+)[^\n]*\n(.*?)```", README.read_text(), re.DOTALL)
    assert [name for name, _ in found] == ["operators/file_wait.py", "test_file_wait.py", "pyproject.toml"]
    return dict(found)


@pytest.fixture
def project(tmp_path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "w.dig").write_text(WORKFLOW)
    (directory / "a.csv").write_text("abc")
    return directory


def test_it_is_short():
    assert len(README.read_text().splitlines()) <= 55


def test_it_works_as_a_file_of_a_project(blocks, project):
    (project / "operators").mkdir()
    (project / "operators" / "file_wait.py").write_text(blocks["operators/file_wait.py"])
    assert called(sys.executable, "-m", "dagrun.cli", "run", "w", cwd=project) == "3 bytes\n"
    explained = called(sys.executable, "-m", "dagrun.cli", "operators", "file_wait", cwd=project)
    assert explained.startswith(
        "file_wait>  from operators/file_wait.py\n\nWait until the working directory has the file."
    )


def test_its_tests_pass(blocks, tmp_path):
    (tmp_path / "file_wait.py").write_text(blocks["operators/file_wait.py"])
    (tmp_path / "test_file_wait.py").write_text(blocks["test_file_wait.py"])
    assert "2 passed" in called(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path)


def test_it_is_built_installed_and_run_as_a_package(blocks, project, tmp_path):
    package, fresh = tmp_path / "package", tmp_path / "fresh"
    package.mkdir()
    (package / "file_wait.py").write_text(blocks["operators/file_wait.py"])
    (package / "pyproject.toml").write_text(blocks["pyproject.toml"])
    called(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=package)
    (wheel,) = (package / "dist").glob("*.whl")
    called(sys.executable, "-m", "venv", "--without-pip", fresh, cwd=tmp_path)
    python = fresh / "bin" / "python"
    called(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        wheel,
        cwd=tmp_path,
    )
    (site,) = (fresh / "lib").glob("python*/site-packages")
    beside = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"  # where dagrun of this test is
    (site / "dagrun_beside.pth").write_text(beside)
    assert called(python, "-m", "dagrun.cli", "run", "w", cwd=project) == "3 bytes\n"
    assert re.search(
        r"^file_wait>  +file-wait 1\.0  +Wait until",
        called(python, "-m", "dagrun.cli", "operators", cwd=project),
        re.MULTILINE,
    )
    assert called(python, "-m", "dagrun.cli", "check", cwd=project) == "w.dig: 3 tasks, UTC\n"
