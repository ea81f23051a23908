"""Operators of a project under the daemon: only where its settings allow them, and whatever they do it is up (features F09)."""

from __future__ import annotations

import re

from tests.broken_operators import HARMS, write_harms, write_settings
from tests.daemon.site import Site

ONCE = "{seconds_interval>: 1, overlap: skip}"
EACH = "{seconds_interval>: 1}"
SHOUT = """
from dagrun.plugins.operator import Operator, Succeeded

class Shout(Operator):
    def run(self, task):
        return Succeeded(stored={"text": task.params.text("_command").upper()})
"""


def write_operator(site: Site, name: str, text: str = SHOUT) -> None:
    (site.directory / "operators").mkdir(exist_ok=True)
    (site.directory / "operators" / f"{name}.py").write_text(text)


def test_the_daemon_outlives_what_operators_do_and_runs_the_next_task(site):
    tasks = write_harms(site.directory)
    write_settings(site.place / "home")
    (site.directory / "harm.dig").write_text(f"timezone: UTC\nschedule: {ONCE}\n{tasks}")
    site.schedule()
    attempt = site.ended(1, "harm")[0].attempt
    rows = {name.rpartition("+")[2]: row for name, row in site.rows(str(attempt.id)).items()}
    for name, harm in HARMS.items():
        assert rows[name]["state"] == ("error" if harm.kind else "success"), rows[name]
        if harm.kind:
            assert rows[name]["error"]["kind"] == harm.kind
            assert re.search(harm.message, rows[name]["error"]["message"])
    (site.directory / "harm.dig").unlink()
    site.workflow("next", EACH, "do: note next t")
    site.told("next")
    assert site.process.poll() is None
    assert not site.has_said("Traceback|this is a bug")


def test_a_daemon_runs_no_operators_of_projects_unless_it_is_told_to(site):
    write_operator(site, "shout")
    site.workflow("wf", ONCE, "shout>: hello")
    site.workflow("other", EACH, "do: note other t")
    site.schedule()
    attempt = site.ended(1, "wf")[0].attempt
    assert site.rows(str(attempt.id))["+wf+t1"]["error"] == {
        "kind": "not_allowed",
        "message": "Operator shout> of operators/shout.py is not run: this daemon allows no operators of projects; "
        "allow them with operators.project = true in its settings, or install it as a package (config)",
    }
    site.told("other")


def test_an_operator_of_the_project_runs_and_its_edit_is_taken_over(site):
    write_settings(site.place / "home")
    write_operator(site, "shout")
    site.workflow("wf", EACH, "shout>: hello", 'do: note "${text}" t')
    site.schedule()
    site.told("HELLO")
    write_operator(site, "shout", SHOUT.replace("upper", "title"))
    site.told("Hello")


def test_an_operator_named_like_one_of_dagrun_refuses_the_project(site):
    write_settings(site.place / "home")
    site.workflow("wf", EACH, "do: note ran t")
    site.workflow("wf2", EACH, "do: note ran2 t")
    site.schedule()
    site.told("ran")
    write_operator(site, "sh")
    site.hears(
        r"not taken over, the revision of before goes on:\n.*operators/sh\.py would take the place of dagrun's own sh>"
    )
    assert site.said().count("would take the place") == 1
    site.told("ran2", times=len(site.notes("ran2")) + 1)


CHANGES = """
from dagrun.plugins.operator import Command, Operator, Succeeded

class Change(Operator):
    def run(self, task):
        return Command(["sh", "-c", '. "$PLACE/lib.sh"; echo changed >in/x; gate a'])

    def ended(self, task, end):
        return Succeeded(stored={"text": open("in/x").read().strip()})
"""


def test_a_task_that_is_taken_up_keeps_what_it_did_to_its_files(site):
    """They were there before its command; they don't come a second time, before what follows the command."""
    write_settings(site.place / "home")
    write_operator(site, "change", CHANGES)
    site.workflow(
        "wf",
        "{daily>: 00:00:00}",
        "do: echo made >x\n_outputs: [x]",
        "change>:\n_inputs: {+t1: in}",
        'do: note "${text}" t',
    )
    site.schedule()
    site.call("backfill", "wf", "--from", "2026-01-01", "--count", "1")
    site.told("start", "a")
    site.die()
    site.schedule()
    (site.place / "a.open").touch()
    site.ended()
    assert [note.what for note in site.ledger()][-1] == "changed"
    assert len(site.notes("start", "a")) == 1
