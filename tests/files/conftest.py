from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.daemon.site import Site

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()
