"""The loop of a process that runs attempts: the worker's passes, and what else is to be done meanwhile."""

from __future__ import annotations

import pytest

from dagrun.executors.marks import marked
from tests.engine.test_overlaps import START, Site


def test_nothing_is_left_at_work_when_a_further_part_of_the_loop_fails(tmp_path):
    site = Site(tmp_path)
    text = "schedule:\n  hourly>: 00:00\n+a:\n  sh>: sleep 1\n"
    site.push({"workflows": {"w": text}, "at": "2026-01-01T00:00:00Z"})
    site.scheduler.poll(START)

    def at_work() -> list[int]:
        return marked(lambda mark: mark.startswith(f"{site.store.id}/"))

    def beat() -> float:
        assert at_work()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        site.local.run(beat)
    assert not at_work()
    site.store.close()
