"""Notices of the daemon: told while it goes on, neither lost by a kill nor delayed by a slow server; the dead-man URL."""

from __future__ import annotations

import json

import pytest

from tests.daemon.site import Site
from tests.stubs.http import http_stub

EVERY_SECOND = "{seconds_interval>: 1}"
FAILS = "do: begin a; finish; exit 3"
SLOW = 60.0  # far above what a test takes


@pytest.fixture
def settle(site):
    site.more_environment["no_proxy"] = "*"
    path = site.place / "home" / ".config" / "dagrun" / "config.toml"
    path.parent.mkdir(parents=True)
    return path.write_text


def hook(*answers, path: str = "/hook"):
    return {"path": path, "answers": [{"status": one} if isinstance(one, int) else one for one in answers]}


def rows(site: Site):
    with site.store.reading() as tx:
        return tx.list_notices()


def sent(site: Site, kind: str = "failed", target: str = ""):
    return [row for row in rows(site) if row.state == "sent" and row.kind == kind and row.target.endswith(target)]


def test_a_failure_is_told_while_the_daemon_goes_on(site, settle):
    with http_stub([hook(500, 500, 200)]) as server:
        settle(f'[notify]\nto = "{server.url}/hook"\non = "failed"\n')
        site.workflow("wf", EVERY_SECOND, 'do: test -e "$PLACE/ok" || { touch "$PLACE/ok"; exit 3; }')
        site.schedule()
        site.until(lambda: sent(site))
        site.term()
    (row,) = rows(site)
    assert (row.tries, row.state) == (3, "sent")
    assert [json.loads(one["body"])["kind"] for one in server.requests] == ["failed"] * 3


def test_a_slow_server_holds_nothing_up(site, settle):
    with http_stub([hook({"status": 200, "delay": SLOW}, path="/slow"), hook(200)]) as server:
        settle(f'[notify]\nto = ["{server.url}/slow", "{server.url}/hook"]\non = "failed"\n')
        site.workflow("wf", EVERY_SECOND, FAILS)
        site.schedule()
        site.until(lambda: len(sent(site, target="/hook")) >= 3)
        assert {row.state for row in rows(site) if row.target.endswith("/slow")} == {"waiting"}


def test_a_daemon_that_is_killed_before_it_delivers_leaves_it_to_the_next_one(site, settle):
    with http_stub([hook({"status": 200, "delay": SLOW}, 200)]) as server:
        settle(f'[notify]\nto = "{server.url}/hook"\non = "failed"\n[notices]\ntimeout = "1s"\n')
        site.workflow("wf", EVERY_SECOND, FAILS)
        site.schedule()
        site.until(lambda: server.requests)
        site.die()
        (first, *_) = rows(site)[::-1]
        assert (first.state, first.tries) == ("waiting", 1)
        site.schedule()
        site.until(lambda: first.id in {row.id for row in sent(site)})
        (now,) = [row for row in rows(site) if row.id == first.id]
        assert now.tries >= 2


def test_a_session_that_did_not_start_in_time_is_told_by_the_next_daemon(site, settle):
    with http_stub([hook(200)]) as server:
        settle(f'[notify]\nto = "{server.url}/hook"\non = "late"\n')
        site.workflow("wf", "{seconds_interval>: 1, catchup: latest}", "echo>: x", more="sla: {start_within: 1s}")
        site.schedule()
        site.ended(1)
        site.die()
        (last, *_) = site.seen("wf")[::-1]
        site.until(lambda: now(site) > last.session.session_time + 4_000_000)
        site.schedule()
        site.until(lambda: sent(site, "late"))
        assert "did not start within" in str(rows(site)[-1].body)


def now(site: Site) -> int:
    with site.store.reading() as tx:
        return int(tx.now)


def test_a_project_with_a_broken_rule_is_not_taken_over(site, settle):
    site.workflow("wf", "", "echo>: x")
    site.schedule()
    site.workflow("wf", "", "echo>: x", more="notify: {to: 'slak:#ops'}")
    site.hears("not taken over")
    site.hears("wf.dig:3:10: notify: 'slak:#ops' is no target for notices")
    site.workflow("wf", "", "echo>: x", more="notify: {to: stderr}")
    site.hears("revision")


def test_the_dead_man_url_is_called_while_it_lives_and_its_failure_told_once(site, settle):
    with http_stub([hook(200, 500, 500, 200)]) as server:
        settle(f'[deadman]\nurl = "{server.url}/hook"\nevery = "1s"\n')
        site.workflow("wf", "", "echo>: x")
        site.schedule()
        site.hears("warning: the dead-man URL http://127.0.0.1:[0-9]+/… can't be called: 127.0.0.1 answered 500")
        site.hears("the dead-man URL answers again")
        site.term()
    assert {one["method"] for one in server.requests} == {"GET"} and len(server.requests) >= 4
    assert len([line for line in site.said().splitlines() if "can't be called" in line]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('[deadman]\nurl = "example"', "deadman.url in the settings is neither"),
        ('[deadman]\nurl = "http://h"\nevery = "often"', "deadman.every in the settings is no length of time"),
        ('[notify]\non = "faild"', "on can't be 'faild'"),
    ],
)
def test_broken_settings_keep_it_from_starting(site, settle, settings, message):
    settle(f"{settings}\n")
    site.workflow("wf", "", "echo>: x")
    assert message in site.refused(code=2)
