from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.docker.yard import Yard

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def yard(tmp_path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.close()
