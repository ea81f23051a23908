"""http>: the request that it makes, and what it does about the answers. The servers are real, on this machine."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime

import pytest

from dagrun.plugins.operator import Again, Ended, Succeeded, TaskFailed
from dagrun.plugins.testing import context
from dagrun_operators.http import Http
from dagrun_operators.runner import send_request
from tests.operators.network import call, certified, without_proxies
from tests.stubs.http import http_stub

OK = {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": "ok"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    without_proxies(monkeypatch)


@pytest.fixture
def stub():
    with http_stub([{"path": "/p", "answers": [OK]}]) as server:
        yield server


def request(params, **more):
    """What the runner is told."""
    command = Http().run(context({"_command": "http://h/p", **params}, **more))
    return json.loads(command.files["request.json"])


def answered(run, status, params=None, *, memo=None, **answer):
    """What the task does about an answer."""
    with http_stub([{"path": "/p", "answers": [{"status": status, **answer}]}]) as server:
        return call(run, Http(), {"_command": f"{server.url}/p?a=1", **(params or {})}, memo=memo)


# -- options


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"_command": None}, "missing (_command)"),
        ({"_command": "example.com/x"}, "bad_option"),
        ({"_command": "ftp://h/x"}, "bad_option"),
        ({"_command": "http://h:x/"}, "bad_option"),
        ({"_command": "http://[h/"}, "bad_option"),
        ({"_command": "http://h/${sh:x}"}, "bad_secret_reference"),
        ({"method": "GET /"}, "bad_option"),
        ({"content": "a", "content_format": "xml"}, "bad_option"),
        ({"content": {"a": 1}, "content_format": "text"}, "bad_option"),
        ({"content": [1], "content_format": "form"}, "bad_option"),
        ({"content": "a", "content_format": "form"}, "bad_option"),
        ({"content": {"a": [1]}, "content_format": "form"}, "bad_type (content.a)"),
        ({"headers": {"a": 1}}, "bad_type (headers)"),
        ({"headers": [{"a": 1, "b": 2}]}, "bad_type (headers)"),
        ({"headers": ["a: 1"]}, "bad_type (headers)"),
        ({"headers": [{"a": "1\r\nb: 2"}]}, "bad_option"),
        ({"headers": [{"a b": "1"}]}, "bad_option"),
        ({"query": {"a": {"b": 1}}}, "bad_type (query.a)"),
        ({"query": [1]}, "bad_type (query)"),
        ({"timeout": "30s"}, "bad_type (timeout)"),
        ({"store_content": "yes"}, "bad_type (store_content)"),
        ({"proxy": {"enabled": True}}, "missing (host)"),
    ],
)
def test_what_makes_no_request_is_refused(params, kind, fails):
    with fails(kind):
        request(params)


def test_a_bad_uri_is_shown_without_its_user_and_one_from_a_secret_not_at_all():
    with pytest.raises(TaskFailed, match="it is 'ftp://h/'"):
        request({"_command": "ftp://me:hidden@h/"})
    with pytest.raises(TaskFailed, match="it comes from a secret"):
        request({}, secrets={"http.uri": "hidden"})


@pytest.mark.parametrize(
    ("content", "form", "body", "kind"),
    [
        (None, None, None, None),
        ({"a": 1.5, "b": [True, None]}, None, '{"a":1.5,"b":[true,null]}', "application/json"),
        ("text", None, "text", "text/plain"),
        (5, None, "5", "text/plain"),
        ("text", "JSON", '"text"', "application/json"),
        ('{"a": 1}', "json", '{"a":1}', "application/json"),
        ("[1, 2]", "json", "[1,2]", "application/json"),
        ({"a": "ü &", "b": True}, "form", "a=%C3%BC+%26&b=true", "application/x-www-form-urlencoded"),
    ],
)
def test_the_content_and_its_type(content, form, body, kind):
    asked = request({"content": content, "content_format": form})
    assert asked["body"] == body
    assert dict(header[:2] for header in asked["headers"]).get("Content-Type") == kind


def test_a_query_is_appended_to_that_of_the_uri():
    assert request({"_command": "http://h/p?a=1", "query": {"b": "ü 2"}})["url"] == "http://h/p?a=1&b=%C3%BC+2"
    assert request({"_command": "http://h", "query": "?x=&y=2"})["url"] == "http://h/?x=&y=2"


def test_what_may_not_stand_in_a_uri_is_escaped_once():
    assert request({"_command": "http://h/a b/%20ü?q=a b#part"})["url"] == "http://h/a%20b/%20%C3%BC?q=a%20b"


def test_a_list_of_headers_may_come_from_a_variable():
    assert request({"headers": '[{"X-A": 1}]'})["headers"] == [["X-A", "1", False]]


# -- secrets


def test_secrets_reach_the_server_and_are_never_in_arguments_or_environment(run, stub):
    params = {
        "_command": f"{stub.url}/p",
        "method": "POST",
        "headers": [{"X-${secret:n}": "v ${secret:h}"}],
        "query": {"k${secret:n}": "${secret:q}"},
        "content": {"c${secret:n}": ["${secret:b}"]},
    }
    secrets = {"n": "nnnn", "h": "hhhh", "q": "q&q", "b": "bbbb"}
    command = Http().run(context(params, secrets=secrets))
    assert not any(value in str((command.argv, command.environment)) for value in secrets.values())
    assert set(command.secrets) == set(secrets.values())
    call(run, Http(), params, secrets=secrets)
    [got] = stub.requests
    assert (got["path"], got["body"]) == ("/p?knnnn=q%26q", '{"cnnnn":["bbbb"]}')
    assert got["headers"]["X-nnnn"] == "v hhhh"


@pytest.mark.parametrize(
    ("secrets", "params", "sent"),
    [
        ({}, {}, None),
        ({"http.user": "u", "http.password": "p"}, {}, "Basic dTpw"),
        ({"http.user": "u"}, {}, "Basic dTo="),
        ({"http.user": "u", "http.authorization": "Bearer t\n"}, {}, "Bearer t"),
        ({"http.user": "u"}, {"headers": [{"authorization": "own"}]}, "own"),
        ({}, {"_command": "http://u:p%21@h/"}, "Basic dTpwIQ=="),
    ],
)
def test_one_authorization_is_sent(secrets, params, sent):
    found = [
        header[1] for header in request(params, secrets=secrets)["headers"] if header[0].lower() == "authorization"
    ]
    assert found == ([] if sent is None else [sent])


def test_the_secret_uri_wins_and_is_not_shown(run, stub):
    with pytest.raises(TaskFailed) as caught:
        call(run, Http(), {"_command": "http://h/p"}, secrets={"http.uri": f"{stub.url}/none"})
    assert caught.value.message == "Failed HTTP request: GET http://***: 404 Not Found"


# -- answers


def test_the_status_is_stored_and_the_content_only_when_asked_for(run, stub):
    result, _ = call(run, Http(), {"_command": f"{stub.url}/p"})
    assert result == Succeeded(stored={"http": {"last_status": 200}}, reset=["http.last_status"])
    result, _ = call(run, Http(), {"_command": f"{stub.url}/p", "http": {"store_content": True}})
    assert result.stored == {"http": {"last_status": 200, "last_content": "ok"}}
    assert result.reset == ["http.last_status", "http.last_content"]
    assert run.output == ""


def test_what_is_sent_besides(run, stub):
    call(run, Http(), {"_command": f"{stub.url}/p", "headers": [{"X-A": "ü"}]})
    headers = {name.lower(): value for name, value in stub.requests[0]["headers"].items()}
    assert headers.pop("x-a").encode("latin-1").decode() == "ü"
    assert headers == {"host": f"127.0.0.1:{stub.port}", "accept-encoding": "gzip", "user-agent": "dagrun"}


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({"Content-Type": "text/plain; charset=latin-1"}, "ü".encode("latin-1"), "ü"),
        ({"Content-Type": "text/plain; charset=none"}, "ü".encode(), "ü"),
        ({}, "ü".encode(), "ü"),
        ({}, b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_content_as_text(run, headers, body, text):
    result, _ = answered(run, 200, {"store_content": True}, headers=headers, body=body)
    assert result.stored["http"]["last_content"] == text


def test_a_packed_answer_is_unpacked(run):
    import gzip

    headers = {"Content-Encoding": "gzip"}
    result, _ = answered(run, 200, {"store_content": True}, headers=headers, body=gzip.compress(b"hello"))
    assert result.stored["http"]["last_content"] == "hello"
    with pytest.raises(TaskFailed, match="larger than 2 MiB"):
        answered(run, 200, headers=headers, body=gzip.compress(bytes(3 * 1024 * 1024)))


def test_content_that_is_too_long_to_be_kept_fails_the_task(run):
    with pytest.raises(TaskFailed) as caught:
        answered(run, 200, {"store_content": True}, body="x" * 65537)
    assert caught.value.message == "store_content: the answer has 65,537 characters; at most 65,536 can be kept"
    assert caught.value.category is None


def test_a_failure_names_the_request_the_status_and_the_beginning_of_the_body(run):
    with pytest.raises(TaskFailed) as caught:
        answered(run, 404, body="x" * 201)
    what = caught.value.message.partition("/p?a=1: ")
    assert what[0].startswith("Failed HTTP request: GET http://127.0.0.1:")
    assert what[2] == f"404 Not Found: {'x' * 197}..."


@pytest.mark.parametrize(
    ("status", "params", "again"),
    [
        (404, {"retry": True}, False),
        (408, {"retry": False}, True),
        (429, {"method": "POST"}, True),
        (500, {}, True),
        (500, {"retry": False}, False),
        (500, {"method": "DELETE"}, False),
        (500, {"method": "DELETE", "retry": True}, True),
        (600, {}, True),
    ],
)
def test_which_answers_are_asked_for_again(run, status, params, again):
    if again:
        result, task = answered(run, status, params)
        assert isinstance(result, Again)
        assert result.memo == {"request": {"retry": 1}}
        assert task.warnings[0].endswith(f"?a=1: {status}; asked again in 1 s")
    else:
        with pytest.raises(TaskFailed):
            answered(run, status, params)


@pytest.mark.parametrize(
    ("retries", "retry_after", "pause"),
    [(0, None, 1), (3, None, 8), (2000, None, 30), (0, 20.0, 20), (0, 9_999_999.0, 3600), (5, 1.0, 30)],
)
def test_the_pause_grows_and_the_server_may_lengthen_it(tmp_path, retries, retry_after, pause):
    task = context({"_command": "http://h/"}, memo={"request": {"retry": retries}})
    got = {"status": 503, "reason": "", "content": "", "content_type": None, "retry_after": retry_after}
    (tmp_path / "request.json").write_text(Http().run(task).files["request.json"])
    (tmp_path / "result.json").write_text(json.dumps(got))
    assert Http().ended(task, Ended(0, str(tmp_path))) == Again(pause, {"request": {"retry": retries + 1}})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("20", 20.0),
        ("99999999999", 999_999_999.0),
        ("Fri, 02 Jan 2026 03:04:05 GMT", 5.0),
        ("soon", None),
    ],
)
def test_the_pause_that_the_server_asks_for(text, seconds):
    now = datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC).timestamp()
    assert send_request.seconds(text, now) == seconds
    assert send_request.seconds(text, now + 60) == (0.0 if seconds == 5.0 else seconds)


def test_it_does_not_ask_for_ever(run):
    with pytest.raises(TaskFailed, match="503 Service Unavailable, asked 4 times: down"):
        answered(run, 503, {"retry_limit": 3}, memo={"request": {"retry": 3}}, body="down")


# -- the network


def test_nobody_listens(run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(TaskFailed, match=f"^Failed HTTP request: GET {uri}: Connection refused$"):
            call(run, Http(), {"_command": uri, "retry": False})
        assert isinstance(call(run, Http(), {"_command": uri})[0], Again)


def test_the_time_is_over(run):
    with pytest.raises(TaskFailed, match=r"no answer within 1 s$"):
        answered(run, 200, {"timeout": 1, "retry": False}, delay=60)


def test_an_answer_that_stops_before_its_end_is_none(run):
    with pytest.raises(TaskFailed, match="the connection was closed before the end of the answer"):
        answered(run, 200, {"retry": False}, headers={"Content-Length": "10", "Connection": "close"}, body="short")


def test_a_runner_that_breaks_says_so(run, fails):
    command = Http().run(context({"_command": "http://h/"}))
    broken = command._replace(files={**command.files, "send_request.py": "raise SystemExit(3)"})
    with fails("operator_crashed", "runtime") as caught:
        Http().ended(context({"_command": "http://h/"}), run.execute(broken))
    assert "ended with code 3" in caught.value.message


# -- redirects


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (303, "HEAD", "HEAD", ""),
        (302, "PUT", "PUT", "x"),
        (307, "POST", "POST", "x"),
        (308, "POST", "POST", "x"),
    ],
)
def test_the_method_after_a_redirect(run, stub, status, method, then, body):
    redirect = {"status": status, "headers": {"Location": "/p"}}
    stub.routes = [*stub.routes, {"path": "/r", "answers": [redirect]}]
    content = None if method == "HEAD" else "x"
    call(run, Http(), {"_command": f"{stub.url}/r", "method": method, "content": content})
    got = stub.requests[1]
    assert (got["method"], got["path"], got["body"]) == (then, "/p", body)
    assert ("Content-Type" in got["headers"]) == bool(body)


def test_secrets_stay_with_the_server_that_was_named(run, stub):
    with http_stub([{"path": "/r", "answers": [{"status": 302, "headers": {"Location": f"{stub.url}/p"}}]}]) as first:
        headers = [{"X-Key": "${secret:k}"}, {"X-Open": "1"}]
        secrets = {"k": "kkkk", "http.user": "u"}
        call(run, Http(), {"_command": f"{first.url}/r", "headers": headers}, secrets=secrets)
    before, after = first.requests[0]["headers"], stub.requests[0]["headers"]
    assert (before["X-Key"], before["Authorization"]) == ("kkkk", "Basic dTo=")
    assert (after["X-Key"], after["Authorization"], after["X-Open"]) == (None, None, "1")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/p", "more than 8 redirects"),
        ("file:///etc/passwd", "is no http or https URL"),
        ("http://h:x/", "Port could not be cast"),
    ],
)
def test_redirects_that_lead_nowhere(run, location, message):
    with pytest.raises(TaskFailed, match=message):
        answered(run, 302, {"retry": False}, headers={"Location": location})


# -- TLS and proxies


def test_certificates_are_verified_unless_it_is_insecure(run, tmp_path, monkeypatch):
    routes = [{"path": "/p", "answers": [OK]}]
    with http_stub(routes, certified(monkeypatch, tmp_path)) as trusted:
        assert isinstance(call(run, Http(), {"_command": f"{trusted.url}/p"})[0], Succeeded)
    with http_stub(routes, certified(monkeypatch, tmp_path, "example.com")) as named_otherwise:
        with pytest.raises(TaskFailed, match="the certificate of the server is not accepted: IP address mismatch"):
            call(run, Http(), {"_command": f"{named_otherwise.url}/p"})
        insecure = {"_command": f"{named_otherwise.url}/p", "insecure": True}
        assert isinstance(call(run, Http(), insecure)[0], Succeeded)


def test_a_proxy_is_asked_for_the_whole_url(run, stub):
    proxy = {"enabled": True, "host": "127.0.0.1", "port": stub.port}
    call(run, Http(), {"_command": "http://example.com/p?a=1", "proxy": proxy})
    assert stub.requests[0]["path"] == "http://example.com/p?a=1"
    assert stub.requests[0]["headers"]["Host"] == "example.com"


def test_the_proxy_of_the_environment_and_those_who_pass_it_by(run, stub, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://u:p%21@127.0.0.1:{stub.port}")
    monkeypatch.setenv("no_proxy", "other.org, 127.0.0.1")
    call(run, Http(), {"_command": "http://example.com/p"})
    assert stub.requests[0]["headers"]["Proxy-Authorization"] == "Basic dTpwIQ=="
    call(run, Http(), {"_command": f"{stub.url}/p"})
    assert stub.requests[1]["path"] == "/p"


def test_a_proxy_that_refuses_a_tunnel(run, stub):
    proxy = {"enabled": True, "host": "127.0.0.1", "port": stub.port}
    with pytest.raises(TaskFailed, match="Tunnel connection failed: 501"):
        call(run, Http(), {"_command": "https://example.com/p", "proxy": proxy, "retry": False})


def test_a_timeout_may_be_as_long_as_a_number_can_be(run, stub):
    result, _ = call(run, Http(), {"_command": f"{stub.url}/p", "timeout": 2**63 - 1})
    assert result.stored == {"http": {"last_status": 200}}
