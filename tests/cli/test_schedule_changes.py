"""Commands that change a schedule while a daemon does so, too: neither change is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dagrun.cli.scheduled import find_to_change
from dagrun.engine import timetable
from dagrun.store.base import ScheduleRow, Store
from dagrun.store.sql import open_store
from tests import postgres

DEFINITION = '{"config": {"daily>": "07:00:00"}, "timezone": "UTC"}'


@dataclass
class Site:
    daemon: Store
    command: Store


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request, tmp_path) -> Iterator[Site]:
    url = postgres.database_url() if request.param == "postgresql" else str(tmp_path / "state.db")
    site = Site(open_store(url), open_store(url))
    with site.daemon.transaction() as tx:
        project = tx.ensure_project("p")
        revision = tx.ensure_revision(project.id, "abc", "{}")
        tx.insert_schedule(
            ScheduleRow(
                id=0, project_id=project.id, workflow="w", position=0, revision_id=revision.id, definition=DEFINITION,
                next_session=1, next_run=1, planned_run=1, last_session=None, disabled_at=None, disabled_until=None,
                skip_before=None, note=None, created_at=0, updated_at=0,
            )
        )  # fmt: skip
    yield site
    site.daemon.close()
    site.command.close()


def test_a_schedule_that_goes_on_while_it_is_disabled_does_both(site):
    def disable() -> None:
        with site.command.transaction() as tx:
            for one in find_to_change(tx, "w"):
                timetable.disable(tx, one.row, tx.now, None)

    other = threading.Thread(target=disable)
    with site.daemon.transaction() as tx:
        (row,) = tx.list_schedules()
        tx.lock_project(row.project_id)
        other.start()
        other.join(0.3)  # it would be through by then if nothing held it
        tx.save_schedule(row._replace(next_run=2))
    other.join()
    with site.daemon.reading() as tx:
        (row,) = tx.list_schedules()
    assert row.next_run == 2 and row.disabled_at is not None
