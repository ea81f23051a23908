from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.faults.project import Project

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they read /proc, and use flock


@pytest.fixture
def project(tmp_path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.close()
