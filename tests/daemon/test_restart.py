"""A restart kills nothing and runs nothing twice: the next daemon takes up what the last one started."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.daemon.site import SECOND, Site

# The first session begins within a second; the tests take the schedule away before the second one can begin.
ONCE = "{seconds_interval>: 1, overlap: skip}"


def one_attempt(site: Site, *tasks: str, more: str = "") -> None:
    """The first attempt of the workflow is at work on its first task; no other session starts beside it."""
    site.workflow("wf", ONCE, *tasks, more=more)
    site.schedule()
    site.told("start", "a")


def no_more(site: Site) -> None:
    """The schedule is gone, so that the first attempt is the only one."""
    text = (site.directory / "wf.dig").read_text()
    (site.directory / "wf.dig").write_text(text.replace(f"schedule: {ONCE}", ""))


def leave(site: Site, how: str) -> None:
    """The daemon is gone, its task isn't."""
    if how == "kill -9":
        site.die()
    else:
        site.term()
        assert site.has_said("1 task goes on; the next start takes them up")
    no_more(site)


def first(site: Site) -> tuple[str, list[tuple[str, int | None]]]:
    """How the first attempt ended, and how each of its tries did."""
    one = site.ended(1)[0]
    return one.attempt.state, site.tries(one.attempt.id)


STORIES = pytest.mark.parametrize(
    ("how", "grace", "end", "state", "outcome"),
    [
        ("kill -9", "10m", "", "success", "success"),
        ("kill -9", "10m", "; exit 3", "group_error", "failed"),
        ("TERM", "0.2", "; exit 3", "group_error", "failed"),
    ],
)


def schedule(site: Site, grace: str) -> subprocess.Popen[str]:
    return site.schedule(str(site.directory), "--grace", grace)


@STORIES
def test_a_task_that_outlives_its_daemon_is_taken_up(site, how, grace, end, state, outcome):
    site.workflow("wf", ONCE, f"do: gate a{end}")
    schedule(site, grace)
    site.told("start", "a")
    leave(site, how)
    assert not site.is_free("a")
    site.schedule()
    site.hears("attempt 1 of wf is taken up")
    (site.place / "a.open").touch()
    assert first(site) == (state, [(outcome, 3 if end else 0)])
    assert len(site.notes("start")) == 1


@STORIES
def test_how_a_task_ended_while_no_daemon_ran_is_known(site, how, grace, end, state, outcome):
    site.workflow("wf", ONCE, f"do: gate a{end}")
    schedule(site, grace)
    site.told("start", "a")
    leave(site, how)
    (site.place / "a.open").touch()
    site.told("end", "a")
    site.until(lambda: site.is_free("a"))
    site.schedule()
    assert first(site) == (state, [(outcome, 3 if end else 0)])
    assert len(site.notes("start")) == 1
    site.until(lambda: site.leftovers() == [])


def ended_meanwhile(site: Site) -> int:
    """Task a of the first attempt has ended, which only its keeper knows; the time when the daemon comes back."""
    leave(site, "kill -9")
    (site.place / "a.open").touch()
    site.told("end", "a")
    site.until(lambda: any(name.startswith("ends/") for name in site.leftovers()))
    restarted = now(site)
    site.schedule()
    return restarted


def test_a_task_that_ended_while_no_daemon_ran_has_the_time_of_its_end_and_not_of_the_restart(site):
    one_attempt(site, "do: gate a")
    restarted = ended_meanwhile(site)
    attempt = site.ended(1)[0].attempt
    with site.store.reading() as tx:
        root, task = tx.load_tasks(attempt.id)
        (ran,) = tx.load_tries(attempt.id)
        moves = [move.at for move in tx.load_moves(attempt.id) if move.after == "success"]
    assert ran.started_at < ran.finished_at <= restarted, "the keeper has seen it"
    assert task.started_at < task.finished_at < moves[0], "as long ago as it was"
    assert all(at > restarted for at in (*moves, root.finished_at, attempt.finished_at)), "the engine has learned of it"


def test_a_task_that_hands_files_on_ends_with_them(site):
    one_attempt(site, "do: gate a; echo x >f\n_outputs: [f]")
    restarted = ended_meanwhile(site)
    assert first(site)[0] == "success"
    with site.store.reading() as tx:
        assert tx.load_tries(1)[0].finished_at > restarted


def test_what_a_task_stored_while_no_daemon_ran_is_seen_by_the_next_one(site):
    (site.directory / "tasks.py").write_text(
        "import os, time\n"
        "def store():\n"
        "    import digdag\n"
        "    place = os.environ['PLACE']\n"
        "    open(place + '/ledger', 'a').write('start a x\\n')\n"
        "    while not os.path.exists(place + '/a.open'):\n"
        "        time.sleep(0.02)\n"
        "    digdag.env.store({'found': 42})\n"
        "    open(place + '/ledger', 'a').write('end a x\\n')\n"
    )
    one_attempt(site, "py>: tasks.store", "do: note got-${found} b")
    leave(site, "kill -9")
    (site.place / "a.open").touch()
    site.told("end", "a")
    site.schedule()
    assert first(site)[0] == "success"
    site.told("got-42")


def test_a_time_limit_holds_for_a_task_that_was_taken_up(site):
    one_attempt(site, "do: begin a; hang\n_timeout: 2s")
    leave(site, "kill -9")
    site.schedule()
    state, tries = first(site)
    assert (state, [outcome for outcome, _ in tries]) == ("group_error", ["timed_out"])
    with site.store.reading() as tx:
        (row,) = tx.load_tries(1)[:1]
    assert 2 * SECOND <= row.finished_at - row.started_at < 5 * SECOND
    assert site.is_free("a")


def test_a_time_limit_that_passed_meanwhile_ends_the_task_at_once(site):
    one_attempt(site, "do: begin a; hang\n_timeout: 1s")
    leave(site, "kill -9")
    with site.store.reading() as tx:
        begun = max(move.at for move in tx.load_moves(1) if move.after == "running")
        site.until(lambda: now(site) - begun > SECOND)
    site.schedule()
    assert first(site)[1][0][0] == "timed_out"
    assert site.is_free("a")


def now(site: Site) -> int:
    with site.store.reading() as tx:
        return tx.now


def test_kill_ends_an_attempt_that_was_taken_up(site):
    one_attempt(site, "do: begin a; hang\n_kill_grace: 0.2", "do: begin b")
    leave(site, "kill -9")
    site.schedule()
    site.call("kill", "1")
    assert first(site)[0] == "canceled"
    assert site.is_free("a")
    assert site.notes("start", "b") == []


def test_an_attempt_that_was_killed_while_no_daemon_ran_ends_when_one_starts(site):
    one_attempt(site, "do: begin a; hang\n_kill_grace: 0.2")
    leave(site, "kill -9")
    site.call("kill", "1", "--no-wait")
    site.schedule()
    assert first(site)[0] == "canceled"
    assert site.is_free("a")


@pytest.mark.parametrize("keeper_first", [False, True])
def test_a_task_whose_keeper_died_too_is_lost_and_runs_again_alone(site, keeper_first):
    one_attempt(site, 'do: begin a; mkdir "$PLACE/first" && stubborn; finish')
    site.told("hangs", "a")
    if keeper_first:
        os.kill(site.process.pid, signal.SIGSTOP)  # else it would see that the keeper is gone
        site.kill_keeper()
        site.die()
    else:
        site.die()
        site.kill_keeper()
    no_more(site)
    assert not site.is_free("a")
    site.schedule()
    state, tries = first(site)
    assert (state, [outcome for outcome, _ in tries]) == ("success", ["lost", "success"])
    assert site.notes("overlap") == []
    assert len(site.notes("start", "a")) == 2
    with site.store.reading() as tx:
        task = next(row for row in tx.load_tasks(1) if row.name.endswith("+t1"))
    assert (task.retries, task.platform_retries) == (0, 1)


def test_a_task_whose_keeper_died_under_a_living_daemon_runs_again_alone(site):
    one_attempt(site, 'do: begin a; mkdir "$PLACE/first" && stubborn; finish')
    site.told("hangs", "a")
    no_more(site)
    site.kill_keeper()
    state, tries = first(site)
    assert (state, [outcome for outcome, _ in tries]) == ("success", ["lost", "success"])
    assert site.notes("overlap") == []


def test_a_workflow_that_waits_for_another_one_goes_on_waiting(site):
    site.workflow("other", "", "do: gate other")
    site.workflow("wf", ONCE, "do: begin a; finish", "require>: other", "do: begin b; finish")
    site.schedule()
    site.told("start", "other")
    leave(site, "kill -9")
    site.schedule()
    (site.place / "other.open").touch()
    site.until(lambda: not site.live())
    assert {(one.session.workflow, one.attempt.state) for one in site.seen()} == {
        ("wf", "success"),
        ("other", "success"),
    }
    assert len(site.notes("start", "other")) == len(site.notes("start", "b")) == 1


def test_shared_directories_of_a_taken_up_attempt_go_with_it(site):
    one_attempt(
        site,
        "_workspace: shared\n+x:\n  do: begin a; finish; echo here >file\n+y:\n  do: gate y; cat file",
        "do: test ! -e file",
    )
    site.told("start", "y")
    leave(site, "kill -9")
    site.schedule()
    (site.place / "y.open").touch()
    site.until(lambda: not site.live())
    assert site.seen()[0].attempt.state == "success"
    site.until(lambda: site.leftovers() == [], f"{site.leftovers()}")


def test_an_attempt_goes_on_with_the_files_that_it_began_with(site):
    one_attempt(site, "do: gate a", "do: note old b")
    site.die()
    site.workflow("wf", "", "do: note new b")
    site.schedule()
    (site.place / "a.open").touch()
    assert first(site)[0] == "success"
    assert len(site.notes("old")) == 1 and site.notes("new") == []
