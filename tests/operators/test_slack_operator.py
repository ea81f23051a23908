"""slack>: the message that it makes of a template, and what it does about the answers of a server on this machine."""

from __future__ import annotations

import json

import pytest

from dagrun.plugins.operator import Again, Succeeded, TaskFailed
from dagrun.plugins.testing import context
from dagrun_operators.slack import Slack
from tests.operators.network import call, without_proxies
from tests.stubs.http import http_stub

URL = {"slack.url": "https://hooks.example.com/T0/secret"}
TEMPLATE = 'text: "${name}: ${error.message}"\nblocks:\n  - ["${name}", 1]\n'


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    without_proxies(monkeypatch)


def request(params, *, secrets=URL, **more):
    """What the runner is told."""
    command = Slack().run(context(params, secrets=secrets, **more))
    return json.loads(command.files["request.json"])


def payload(params, **more):
    return json.loads(request(params, **more)["body"])


def test_a_template_is_filled_in_with_the_tasks_variables():
    params = {"_command": "t.yml", "name": 'a"\nb: c', "error": {"message": "x"}}
    assert payload(params, files={"t.yml": TEMPLATE}) == {"text": 'a"\nb: c: x', "blocks": [['a"\nb: c', 1]]}


def test_it_may_hold_expressions_and_json():
    params = {"_command": "t.json", "n": 2, "timezone": "UTC"}
    assert payload(params, files={"t.json": '{"text": "${n + 1}"}'}) == {"text": "3"}


def test_a_map_is_the_message_itself():
    assert payload({"_command": {"text": "done"}}) == {"text": "done"}


@pytest.mark.parametrize("to", ["#ops", "slack:#ops"])
def test_the_channel_stands_in_the_message(to):
    assert payload({"_command": {"text": "x"}, "to": to}) == {"channel": "#ops", "text": "x"}


def test_a_channel_of_the_template_wins():
    assert payload({"_command": {"text": "x", "channel": "#a"}, "to": "#b"})["channel"] == "#a"


def test_secrets_in_the_message_are_filled_in():
    assert payload({"_command": {"text": "${secret:k}"}}, secrets={**URL, "k": "v"}) == {"text": "v"}


@pytest.mark.parametrize(
    ("params", "secrets", "url"),
    [
        ({}, {"slack.url": "http://h/1"}, "http://h/1"),
        ({}, {"notices.slack.url": "http://h/2"}, "http://h/2"),
        ({}, {"slack.url": "http://h/1", "notices.slack.url": "http://h/2"}, "http://h/1"),
        ({"url": "http://h/${secret:k}"}, {"k": "3", "slack.url": "http://h/1"}, "http://h/3"),
        ({"slack": {"url": "http://h/4"}}, {}, "http://h/4"),
    ],
)
def test_where_the_url_comes_from(params, secrets, url):
    assert request({"_command": {"text": "x"}, **params}, secrets=secrets)["url"] == url


def test_the_url_is_masked_and_in_no_argument():
    command = Slack().run(context({"_command": {"text": "x"}}, secrets=URL))
    assert command.secrets == (URL["slack.url"],)
    assert URL["slack.url"] not in str(command.argv) + str(command.environment)


@pytest.mark.parametrize(
    ("params", "files", "kind"),
    [
        ({}, {}, "missing (_command)"),
        ({"_command": "t.yml"}, {}, "file_not_found"),
        ({"_command": "t.yml"}, {"t.yml": "- a list"}, "bad_template"),
        ({"_command": "t.yml"}, {"t.yml": "text: ${unknown}"}, "template_error"),
        ({"_command": {"text": "x"}, "url": "hooks.slack.com"}, {}, "bad_option"),
    ],
)
def test_what_makes_no_message_is_refused(params, files, kind, fails):
    with fails(kind):
        request({"timezone": "UTC", **params}, files=files)


def test_without_a_url_the_failure_says_how_to_set_it():
    with pytest.raises(TaskFailed, match=r"secrets --local --set slack\.url"):
        request({"_command": {"text": "x"}}, secrets={})


def test_it_is_posted_as_json(run):
    with http_stub([{"path": "/hook", "method": "POST", "answers": [{"status": 200, "body": "ok"}]}]) as server:
        result, _ = call(run, Slack(), {"_command": {"text": "häh"}}, secrets={"slack.url": f"{server.url}/hook"})
    assert result == Succeeded()
    (asked,) = server.requests
    assert (json.loads(asked["body"]), asked["headers"]["Content-Type"]) == (
        {"text": "häh"}, "application/json; charset=utf-8",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "params", "outcome"),
    [
        ({"status": 500}, {}, Again),
        ({"status": 429, "headers": {"Retry-After": "7"}}, {"retry": False}, Again),
        ({"status": 500}, {"retry": False}, "500"),
        ({"status": 404, "body": "no_service"}, {}, "404.*no_service"),
        ({"status": 302, "headers": {"Location": "/p"}}, {}, "answered 302"),
    ],
)
def test_what_it_does_about_other_answers(run, answer, params, outcome):
    with http_stub([{"path": "/hook", "answers": [answer]}]) as server:
        secrets = {"slack.url": f"{server.url}/hook"}
        if outcome is Again:
            result, _ = call(run, Slack(), {"_command": {"text": "x"}, **params}, secrets=secrets)
            assert isinstance(result, Again)
        else:
            with pytest.raises(TaskFailed, match=outcome) as caught:
                call(run, Slack(), {"_command": {"text": "x"}, **params}, secrets=secrets)
            assert "/hook" not in str(caught.value)


def test_it_gives_up_after_ten_times(run):
    with http_stub([{"path": "/hook", "answers": [{"status": 500}]}]) as server:
        secrets = {"slack.url": f"{server.url}/hook"}
        with pytest.raises(TaskFailed, match="asked 11 times"):
            call(run, Slack(), {"_command": {"text": "x"}}, secrets=secrets, memo={"request": {"retry": 10}})


def test_its_template_decides_what_it_does():
    assert Slack().files("./t.yml", {}, {"t.yml": 1}) == ["t.yml"]
    assert Slack().files({"text": "x"}, {}, {"t.yml": 1}) == []
