"""The wheel holds everything that runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"dagrun": ROOT / "dagrun", "dagrun_operators": ROOT / "operators" / "dagrun_operators"}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    pytest.importorskip("hatchling")
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_holds_every_file_of_both_packages(names):
    for package, directory in PACKAGES.items():
        files = [path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert {f"{package}/{path.relative_to(directory).as_posix()}" for path in files} - names == set()


@pytest.mark.parametrize(
    "name",
    [
        "dagrun/py.typed",
        "dagrun/core/js/moment.js",
        "dagrun/store/schema.sql",
        "dagrun/store/schema_postgresql.sql",
        "dagrun_operators/py.typed",
        "dagrun_operators/runner/runner.py",
        "dagrun_operators/runner/runner.rb",
    ],
)
def test_it_holds_the_files_that_are_no_modules(names, name):
    assert name in names


def test_it_holds_nothing_else(names):
    others = {name for name in names if name.partition("/")[0] not in PACKAGES and ".dist-info/" not in name}
    assert others == set()
    assert {name for name in names if "test_" in name or "/tests/" in name} == set()
