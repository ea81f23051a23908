from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dagrun.store.base import AttemptRow, Store
from dagrun.store.sql import open_store
from tests import postgres
from tests.store.rows import make_attempt


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """Where a store is, or will be."""
    return postgres.database_url() if request.param == "postgresql" else str(tmp_path / "dagrun.db")


@pytest.fixture
def open_another(url) -> Iterator[Callable[[], Store]]:
    """Opens the store once more, as another process would."""
    opened: list[Store] = []

    def another() -> Store:
        opened.append(open_store(url))
        return opened[-1]

    yield another
    for store in opened:
        store.close()


@pytest.fixture
def store(open_another) -> Store:
    return open_another()


@pytest.fixture
def attempt(store) -> AttemptRow:
    with store.transaction() as tx:
        return make_attempt(tx)
