"""Notices by HTTP, to a server that answers as told."""

from __future__ import annotations

import json
import time

import pytest

from dagrun.errors import DeliveryFailed
from dagrun.notices.notice import json_body, next_wait
from tests.notices.conftest import NOTICE, send, why_not
from tests.stubs.http import HttpStub, http_stub

PATH = "/services/T0SECRET/B0SECRET"
SECRET = "SECRET"


@pytest.fixture
def server():
    with http_stub([{"path": PATH, "answers": [{"status": 200, "body": "ok"}]}]) as stub:
        yield stub


def answering(server: HttpStub, *answers: dict[str, object]) -> str:
    """The URL at which the server gives these answers."""
    server.routes = [{"path": PATH, "answers": answers}]
    return server.url + PATH


def bodies(server: HttpStub) -> list[object]:
    return [json.loads(request["body"]) for request in server.requests]


def test_an_address_gets_the_notice_as_json(server):
    send(server.url + PATH)
    (request,) = server.requests
    assert (request["method"], request["path"]) == ("POST", PATH)
    assert request["headers"]["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request["body"]) == json_body(NOTICE)


def test_slack_gets_the_text_at_the_url_of_the_target_or_of_the_settings(server):
    send(f"slack:{server.url}{PATH}")
    send("slack:#ops", {"notices.slack.url": server.url + PATH})
    text = "*report failed*\n+load: Command failed with code 3"
    assert bodies(server) == [{"text": text}, {"text": text, "channel": "#ops"}]


def test_a_payload_of_a_template_takes_the_place_of_the_body(server):
    send(server.url + PATH, payload={"a": 1})
    send("slack:#ops", {"notices.slack.url": server.url + PATH}, payload={"text": "t"})
    send("slack:#ops", {"notices.slack.url": server.url + PATH}, payload={"text": "t", "channel": "#other"})
    assert bodies(server) == [{"a": 1}, {"channel": "#ops", "text": "t"}, {"channel": "#other", "text": "t"}]


def test_user_and_password_of_a_url_are_sent_as_a_header(server):
    send(server.url.replace("://", "://me:p%40ss@") + PATH)
    (request,) = server.requests
    assert request["headers"]["Authorization"] == "Basic bWU6cEBzcw=="
    assert request["headers"]["Host"] == f"127.0.0.1:{server.port}"


def test_a_server_that_fails_twice_gets_the_notice_at_the_third_try(server):
    url = answering(server, {"status": 500}, {"status": 500}, {"status": 200})
    waits, problems = [], []
    while True:
        try:
            send(f"slack:{url}")
            break
        except DeliveryFailed as problem:
            problems.append(str(problem))
            waits.append(next_wait(len(problems)))
    assert (len(server.requests), waits) == (3, [1, 2])
    assert set(problems) == {f"slack:{server.url}/…: 127.0.0.1 answered 500 Internal Server Error"}


def test_a_server_that_always_fails_is_given_up_after_ten_tries(server):
    url = answering(server, {"status": 500})
    tries, wait = 0, 0.0
    while wait is not None:
        assert why_not(url) == f"{server.url}/…: 127.0.0.1 answered 500 Internal Server Error"
        tries += 1
        wait = next_wait(tries)
    assert (tries, len(server.requests)) == (10, 10)


def test_the_name_that_slack_gives_an_error_is_told_and_nothing_else_of_the_answer(server):
    url = answering(server, {"status": 404, "body": "channel_not_found"}, {"status": 404, "body": f"no page {PATH}"})
    assert why_not(url).endswith("answered 404 Not Found: channel_not_found")
    assert why_not(url).endswith("answered 404 Not Found")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_is_a_failure(server, status):
    """It would become a GET without the notice, and look like a success."""
    with http_stub([{"path": "/SECRET", "answers": [{"status": 200}]}]) as other:
        url = answering(server, {"status": status, "headers": {"Location": f"{other.url}/SECRET"}})
        problem = why_not(url)
        assert other.requests == []
    assert f"answered {status} " in problem
    assert problem.endswith("it wants to be called at another address on 127.0.0.1; name that one")
    assert SECRET not in problem


def test_a_refused_connection_is_told(closed_port):
    problem = why_not(f"slack:http://127.0.0.1:{closed_port}{PATH}")
    assert problem == f"slack:http://127.0.0.1:{closed_port}/…: 127.0.0.1 refused the connection"


def test_a_host_that_is_not_there_is_told():
    assert why_not(f"https://nowhere.invalid{PATH}").startswith(
        "https://nowhere.invalid/…: nowhere.invalid can't be reached"
    )


def test_a_server_that_does_not_answer_is_left_after_the_time_limit(server):
    url = answering(server, {"status": 200, "delay": 60})
    began = time.monotonic()
    assert why_not(url, timeout=0.3).endswith("127.0.0.1 did not answer within 0.3 s")
    assert time.monotonic() - began < 10


def test_a_server_that_sends_a_letter_now_and_then_is_left_after_the_time_limit(dripping):
    began = time.monotonic()
    assert why_not(f"http://127.0.0.1:{dripping}{PATH}", timeout=0.5).endswith("did not answer within 0.5 s")
    assert time.monotonic() - began < 10


def test_a_certificate_has_to_be_trusted(tls, foreign_tls):
    with http_stub([{"path": PATH, "answers": [{"status": 200}]}], tls) as stub:
        send(stub.url + PATH)
        assert bodies(stub) == [json_body(NOTICE)]
    with http_stub([{"path": PATH, "answers": [{"status": 200}]}], foreign_tls) as stub:
        assert "127.0.0.1/…: the certificate of 127.0.0.1 can't be trusted" in why_not(stub.url + PATH).replace(
            f":{stub.port}", ""
        )
        assert stub.requests == []


@pytest.mark.parametrize("url", [None, "", "hooks.slack.com/SECRET", "ftp://a.b/SECRET", "https://a b/SECRET"])
def test_a_wrong_setting_is_told_by_its_name(url):
    problem = why_not("slack:#ops", {"notices.slack.url": url})
    assert problem.startswith("slack:#ops: the setting notices.slack.url is ")
    assert SECRET not in problem


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "body": PATH}, {"status": 404, "body": "t0secret_b0secret"}, {"status": 302, "headers": {"Location": PATH}},
        {"status": 302, "headers": {"Location": "ftp://x/SECRET"}}, {"status": 200, "delay": 60}, {"status": 999},
        {"status": 302, "headers": {"Location": "http://[SECRET"}},
    ],
)  # fmt: skip
def test_no_message_holds_the_secret_part_of_the_url(server, answer):
    url = answering(server, answer).replace("://", f"://me:{SECRET}@")
    assert SECRET not in why_not(url, timeout=0.5 if "delay" in answer else 20.0)


def test_the_terminal_gets_title_and_text(capsys):
    send("stderr")
    assert capsys.readouterr().err == "report failed\n+load: Command failed with code 3\n"
