"""What a daemon that died left behind is gone when the next one is at work."""

from __future__ import annotations

import os

from tests.daemon.site import Site

NIGHTLY = '{daily>: "00:00:00"}'
EACH = "{seconds_interval>: 1, overlap: skip}"


def test_directories_of_attempts_that_are_done_are_removed_at_the_start(site: Site):
    site.workflow("wf", EACH, "do: note ran b")
    site.schedule()
    site.ended(1)
    site.die()
    site.workflow("wf", NIGHTLY, "do: note ran b")
    (site.state / "work" / "1.1.1" / "io").mkdir(parents=True, exist_ok=True)
    site.schedule()
    site.until(lambda: not site.live())
    assert site.leftovers() == []


def test_directories_that_no_task_needs_any_more_are_removed_while_others_of_the_attempt_run(site: Site):
    site.workflow("wf", EACH, "do: begin a; finish", "do: gate b")
    site.schedule()
    site.told("start", "b")
    site.die()
    (site.state / "work" / "1.1.1" / "io").mkdir(parents=True, exist_ok=True)
    (site.state / "work" / "1.0.shared.new").mkdir()
    site.schedule()
    assert os.listdir(site.state / "work") == ["1.2.1"]


def test_the_end_of_a_task_that_cannot_be_taken_up_is_not_forgotten(site: Site):
    """A file of its revision is gone from the archive, and comes back."""
    site.workflow("wf", EACH, "do: gate a")
    site.schedule()
    site.told("start", "a")
    site.die()
    objects = site.state / "objects"
    site.workflow("wf", NIGHTLY, "do: begin b; finish")
    objects.rename(site.place / "objects")
    (site.place / "a.open").touch()
    site.told("end", "a")
    site.until(lambda: site.is_free("a"))
    site.schedule()
    assert site.has_said("attempt 1 of wf can't be taken up: .*wf.dig\n.*doesn't hold it")
    site.die()
    os.rename(objects, site.place / "newer")
    (site.place / "objects").rename(objects)
    site.schedule()
    assert [one.attempt.state for one in site.ended(1)] == ["success"]
    assert len(site.notes("start", "a")) == 1
