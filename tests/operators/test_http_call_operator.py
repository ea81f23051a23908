"""http_call>: which answers become tasks, and which of them fail."""

from __future__ import annotations

import json

import pytest

from dagrun.core.config import Template
from dagrun.plugins.operator import Again, TaskFailed
from dagrun_operators.http_call import HttpCall, yaml_of_json
from tests.operators.network import call, without_proxies
from tests.stubs.http import http_stub


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    without_proxies(monkeypatch)


def answered(run, body, kind="application/json", *, status=200, params=None, **more):
    """What comes of an answer."""
    headers = {"Content-Type": kind} if kind else {}
    with http_stub([{"path": "/p", "answers": [{"status": status, "headers": headers, "body": body}]}]) as server:
        return call(run, HttpCall(), {"_command": f"{server.url}/p", **(params or {})}, **more)[0]


def tasks(run, body, kind="application/json", **more):
    return answered(run, body, kind, **more).subtasks.config


def test_json_becomes_tasks_with_templates(run):
    config = tasks(run, '{"+x": {"echo>": "${a} $", "n": 1.5, "l": [true]}}')
    assert config == {"+x": {"echo>": "${a} $", "n": 1.5, "l": [True]}}
    assert isinstance(config["+x"]["echo>"], Template)


def test_yaml_is_taken_as_it_is(run):
    assert tasks(run, "+x:\n  echo>: hi\n", "application/x-yaml; charset=utf-8") == {"+x": {"echo>": "hi"}}


def test_the_type_may_be_overridden(run):
    params = {"content_type_override": "Application/JSON; charset=utf-8"}
    assert tasks(run, '{"+x": {"echo>": "hi"}}', "text/plain", params=params) == {"+x": {"echo>": "hi"}}


def test_nothing_is_stored_and_no_file_is_left(run):
    result = answered(run, '{"+x": {"echo>": "hi"}}')
    assert (result.stored, result.reset, list(run.project.iterdir())) == ({}, (), [])


@pytest.mark.parametrize(
    ("body", "kind", "message", "category"),
    [
        ("[1]", "application/json", "the answer must be a map of tasks", "runtime"),
        ("!x", "application/json", "the answer is not JSON: Expecting value", "runtime"),
        ('{"+x": NaN}', "application/json", "the answer is not JSON: NaN", "runtime"),
        ("[" * 60000, "application/json", "the answer is not JSON: maximum recursion", "runtime"),
        ("+x: hi", "text/plain", "the answer has the type text/plain; it must be application/json or", None),
        ("+x: hi", None, "the answer has no Content-Type", None),
        (" " * 65537, "application/json", "http_call>: the answer has 65,537 characters", None),
        ("{", "application/x-yaml", "http_call.dig:", "config"),
        ("steps: 1", "application/x-yaml", "unknown keys at the top of the file: steps", "config"),
    ],
)
def test_what_is_no_workflow_fails_the_task(run, body, kind, message, category):
    with pytest.raises(TaskFailed) as caught:
        answered(run, body, kind)
    assert message in caught.value.message
    assert caught.value.category == category


def test_the_working_directory_is_that_of_the_task(run):
    files = {"sub/more.dig": "+m:\n  echo>: hi\n"}
    body = "_export: {a: 1}\n+x:\n  !include : more.dig\n"
    config = tasks(run, body, "application/x-yaml", files=files, workdir="sub")
    assert config["_export"] == {"a": 1, "_workdir": "sub"}
    assert config["+x"] == {"+m": {"echo>": "hi"}}


def test_an_include_that_is_not_there(run):
    with pytest.raises(TaskFailed, match=r"the included file none.dig: File not found") as caught:
        answered(run, "+x:\n  !include : none.dig\n", "application/x-yaml")
    assert caught.value.kind == "include_not_found"


def test_it_asks_again_as_http_does(run):
    assert isinstance(answered(run, "", status=503), Again)
    with pytest.raises(TaskFailed, match=r"400 Bad Request: no$"):
        answered(run, "no", status=400)


@pytest.mark.parametrize("text", ["\x7f", "\x85", "\u2028", "\ufeff", "😀", "\t\n\x01", '"\\/'])
def test_any_text_of_json_comes_through_yaml(run, text):
    assert tasks(run, json.dumps({"+x": {"echo>": text}})) == {"+x": {"echo>": text}}
    assert json.loads(yaml_of_json(json.dumps({"a": text}))) == {"a": text}
