"""`dagrun prune` beside a daemon that is at work: nothing is lost, nothing runs twice, nothing is held up."""

from __future__ import annotations

COUNT = 60
EVERYTHING = ("prune", "--runs", "0s", "--failed", "0s", "--logs", "0s", "--keep-last", "0")


def test_a_daemon_goes_on_while_everything_that_has_ended_is_removed_again_and_again(site):
    site.workflow("w", "{daily>: '00:00:00'}", "do: task=${session_date}; note ran", "do: true")
    site.schedule()
    site.call("backfill", "w", "--from", "2025-01-01", "--count", str(COUNT), "--parallel", "4")
    while len(site.notes("ran")) < COUNT:
        site.call(*EVERYTHING)
    site.until(lambda: not site.live(), "attempts don't end")
    ran = [note.task for note in site.notes("ran")]
    assert sorted(ran) == sorted(set(ran)) and len(ran) == COUNT
    assert len(site.seen()) < COUNT
    site.call(*EVERYTHING)
    assert (site.seen(), site.leftovers()) == ([], [])
    site.call("backfill", "w", "--from", "2025-01-01", "--count", "1")
    site.ended(1)
    assert not site.has_said("Traceback|rror")
    site.term()
