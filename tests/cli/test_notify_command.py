"""Notices of `dagrun run`, and `dagrun notify`: with a server of this machine that stands for Slack."""

from __future__ import annotations

import json
import time

import pytest

from tests.stubs.http import http_stub

SESSION = ("--session", "2026-01-15")
FAILING = "timezone: UTC\nnotify: {on: [failed, recovered]}\n+a:\n  sh>: test -e $OUTSIDE/ok || exit 3\n"
LIMIT_SECONDS = 40


def routes(*statuses: int):
    return [{"path": "/hook", "answers": [{"status": status} for status in statuses]}]


@pytest.fixture
def slack():
    with http_stub(routes(200)) as server:
        yield server


@pytest.fixture
def settle(project):
    """Writes the settings; Slack is that server."""
    project.environment["no_proxy"] = "*"

    def write(server, more: str = "", notify: str = 'to = "slack:#ops"') -> None:
        path = project.home / ".config" / "dagrun" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[notify]\n{notify}\n[notices]\nslack.url = "{server.url}/hook"\n{more}\n')

    return write


def messages(server) -> list[str]:
    return [json.loads(one["body"])["text"] for one in server.requests]


def test_a_failed_run_is_told_and_so_is_its_recovery(project, slack, settle):
    settle(slack)
    project.write("wf.dig", FAILING)
    project.run("run", "wf", *SESSION, code=1)
    (project.outside / "ok").touch()
    project.run("retry", "last")
    project.run("run", "wf", *SESSION, "--rerun")
    assert [text.splitlines()[0] for text in messages(slack)] == ["*wf failed*", "*wf has recovered*"]
    assert "+wf+a: Command failed with code 3" in messages(slack)[0]
    assert [(one["kind"], one["state"], one["tries"]) for one in project.json("notify", "list")] == [
        ("recovered", "sent", 1), ("failed", "sent", 1),
    ]  # fmt: skip


def test_slack_answers_500_twice_and_gets_one_message(project, settle):
    with http_stub(routes(500, 500, 200)) as server:
        settle(server)
        project.write("wf.dig", FAILING)
        project.run("run", "wf", *SESSION, code=1)
    (notice,) = project.json("notify", "list")
    assert (notice["state"], notice["tries"], len(server.requests)) == ("sent", 3, 3)


def test_what_is_not_delivered_at_the_end_is_told_and_the_next_run_delivers_it(project, settle):
    with http_stub(routes(500, 200)) as server:
        settle(server, 'at_end = "0.5s"')
        settle(server, "at_end = 0.5")
        project.write("wf.dig", FAILING)
        ended = project.run("run", "wf", *SESSION, code=1)
        assert (
            "warning: notice 1 (failed) to slack:#ops is not delivered yet: slack:#ops: 127.0.0.1 answered 500"
            in ended.err
        )
        (notice,) = project.json("notify", "list")
        assert (notice["state"], notice["tries"]) == ("waiting", 1)
        (project.outside / "ok").touch()
        settle(server)
        until_due(notice)
        project.run("run", "wf", *SESSION)
    assert [one["state"] for one in project.json("notify", "list")] == ["sent", "sent"]
    assert "failed" in messages(server)[1] and "recovered" in messages(server)[2]


def until_due(notice) -> None:
    from datetime import UTC, datetime

    while datetime.now(UTC) < datetime.fromisoformat(notice["due_at"]):
        time.sleep(0.01)


def test_a_run_that_is_killed_before_it_delivers_leaves_the_notice_to_the_next_one(project, settle):
    """The first server never answers: the notice is made, and its run dies."""
    with http_stub(
        [{"path": "/hook", "answers": [{"status": 200, "delay": LIMIT_SECONDS}, {"status": 200}]}]
    ) as server:
        settle(server, 'timeout = "1s"')
        project.write("wf.dig", FAILING)
        run = project.start("run", "wf", *SESSION)
        deadline = time.monotonic() + LIMIT_SECONDS
        while not server.requests:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.kill()
        run.wait()
        (notice,) = project.json("notify", "list")
        assert (notice["state"], notice["tries"]) == ("waiting", 1)
        (project.outside / "ok").touch()
        until_due(notice)
        project.run("run", "wf", *SESSION)
        assert {one["kind"]: one["state"] for one in project.json("notify", "list")} == {
            "failed": "sent", "recovered": "sent",
        }  # fmt: skip


def test_the_attempt_of_a_run_that_was_killed_is_told_as_failed_by_the_next_one(project, slack, settle):
    settle(slack)
    project.write("wf.dig", 'timezone: UTC\n+a:\n  sh>: touch "$OUTSIDE/begun"; test -e "$OUTSIDE/ok" || sleep 60\n')
    run = project.start("run", "wf", *SESSION)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (project.outside / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.wait()
    (project.outside / "ok").touch()
    project.run("run", "wf", *SESSION)
    assert [text.splitlines()[0] for text in messages(slack)] == ["*wf failed*", "*wf has recovered*"]


def test_notify_goes_to_the_targets_of_the_settings_and_once(project, slack, settle):
    settle(slack)
    project.write("wf.dig", "+a:\n  notify>: 3 < 4\n")
    ended = project.run("run", "wf", *SESSION)
    assert "3 < 4" not in ended.err
    assert messages(slack) == ["*3 &lt; 4*\n+wf+a, session 2026-01-15T00:00:00+00:00"]


def test_without_targets_notify_goes_to_standard_error_as_do_alerts(project, slack, settle):
    project.write("wf.dig", "+a:\n  notify>: look\n+b:\n  fail>: x\n")
    ended = project.run("run", "wf", *SESSION, code=1)
    assert "warning: look" in ended.err and "warning: Workflow session attempt failed" in ended.err
    settle(slack)
    ended = project.run("run", "wf", *SESSION, "--rerun", code=1)
    assert "warning: Workflow session attempt failed" in ended.err
    assert [text.splitlines()[0] for text in messages(slack)] == ["*look*", "*wf failed*"]


def test_a_template_of_the_project_is_what_slack_gets(project, slack, settle):
    settle(slack, notify='on = "failed"\nto = "slack:#ops"\ntemplate = "notice.yml"')
    project.write("notice.yml", 'text: "${workflow} ${session_date}: ${error.message}"\nicon_emoji: ":fire:"\n')
    project.write("wf.dig", "timezone: UTC\n+a:\n  fail>: no <data>\n")
    project.run("run", "wf", *SESSION, code=1)
    assert json.loads(slack.requests[0]["body"]) == {
        "channel": "#ops", "text": "wf 2026-01-15: no <data>", "icon_emoji": ":fire:",
    }  # fmt: skip


def test_the_url_may_be_a_secret_and_is_shown_nowhere(project, slack, settle):
    settle(slack)
    (project.home / ".config" / "dagrun" / "config.toml").write_text('[notify]\nto = "slack:${secret:hook}"\n')
    project.run("secrets", "--local", "--set", f"hook={slack.url}/hook")
    project.write("wf.dig", FAILING)
    ended = project.run("run", "wf", *SESSION, code=1)
    assert len(slack.requests) == 1
    shown = ended.out + ended.err + project.run("notify", "list").out + project.run("notify", "list", "--json").out
    assert slack.url not in shown


# -- notify test


def test_a_test_goes_to_all_targets_of_the_settings_and_says_how_it_went(project, slack, settle):
    settle(slack, notify=f'to = ["slack:#ops", "{slack.url}/nowhere"]')
    ended = project.run("notify", "test", code=1)
    port = slack.port
    assert ended.out.splitlines() == [
        "slack:#ops: delivered", f"failed: http://127.0.0.1:{port}/…: 127.0.0.1 answered 404 Not Found",
    ]  # fmt: skip
    assert "test" in messages(slack)[0]


def test_a_test_of_one_target_needs_no_settings(project, slack):
    project.environment["no_proxy"] = "*"
    assert project.run("notify", "test", f"{slack.url}/hook").out.endswith("delivered\n")
    found = project.json("notify", "test", f"{slack.url}/hook")
    assert [one["delivered"] for one in found] == [True]


def test_a_test_without_targets_says_where_to_write_them(project):
    assert 'to = "slack:#ops"' in project.run("notify", "test", code=2).err
    assert "is no target for notices" in project.run("notify", "test", "slak:#ops", code=2).err


# -- what is wrong is told before anything runs


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("notify: {on: [faild]}", "wf.dig:1:10: notify: on can't be 'faild'\n  did you mean failed?"),
        ("notify: {to: 'slak:#ops'}", "wf.dig:1:10: notify: 'slak:#ops' is no target for notices"),
        ("notify: {template: no.yml}", "wf.dig:1:9: notify: there is no file no.yml"),
        ("notfy: {to: stderr}", "did you mean notfy → notify?"),
    ],
)
def test_a_broken_rule_is_refused_by_check_and_run(project, line, message):
    project.write("wf.dig", f"{line}\n+a:\n  sh>: echo x >> $OUTSIDE/ran\n")
    assert message in project.run("check", code=2).out
    assert message in project.run("run", "wf", code=2).err
    assert project.ran() == []


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        ('onn = "failed"', "notify in the settings has no option 'onn'\n  did you mean on?"),
        ('to = "slak:#ops"', "'slak:#ops' is no target"),
    ],
)
def test_broken_settings_are_refused(project, slack, settle, notify, message):
    settle(slack, notify=notify)
    project.write("wf.dig", "+a:\n  echo>: x\n")
    assert message in project.run("run", "wf", code=2).err
