"""JSON posted to a URL, or a URL called, within a time limit. Nothing is followed: a redirected POST would arrive as a GET, without its body.

Called by `delivery.py` and the dead-man switch. No message holds more of the URL than its host.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from dagrun.errors import DeliveryFailed
from dagrun.notices.deadline import Deadline
from dagrun.notices.target import split_url

_WORD = re.compile(rb"[a-z]+(?:_[a-z]+)+\s*")  # how Slack names an error, such as invalid_payload
_LONGEST_WORD = 60


def post_json(url: str, body: Mapping[str, Any], *, timeout: float) -> None:
    """The server has answered with 2xx. Raises DeliveryFailed; `timeout` is in seconds, for all of it."""
    exchange(url, body, timeout)


def call(url: str, *, timeout: float) -> None:
    """Likewise, of a URL that is only called (GET)."""
    exchange(url, None, timeout)


def exchange(url: str, body: Mapping[str, Any] | None, timeout: float) -> None:
    parts = split_url(url)
    if parts is None:
        raise DeliveryFailed("its address is neither http nor https")
    with Deadline(timeout) as deadline:
        try:
            with opener(deadline).open(request_of(parts, body), timeout=timeout):
                return
        except urllib.error.HTTPError as answer:
            with answer:
                problem = f"{parts.hostname} {refusal(answer)}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = reason_of(error, str(parts.hostname), deadline)
    raise DeliveryFailed(problem)


def request_of(parts: SplitResult, body: Mapping[str, Any] | None) -> urllib.request.Request:
    """The request; user and password of the URL go into a header."""
    user, at, place = parts.netloc.rpartition("@")
    headers = {"User-Agent": "dagrun"}
    if at:
        name, _, password = user.partition(":")
        pair = f"{unquote(name)}:{unquote(password)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    url = parts._replace(netloc=place, fragment="").geturl()
    if body is None:
        return urllib.request.Request(url, None, headers, method="GET")
    headers["Content-Type"] = "application/json; charset=utf-8"
    return urllib.request.Request(url, json.dumps(body, default=str).encode(), headers, method="POST")


def opener(deadline: Deadline) -> urllib.request.OpenerDirector:
    """As urllib makes it, with the proxies of the environment, but watched and following nothing."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, req, context=ssl.create_default_context())

    return urllib.request.build_opener(PlainHandler, SecureHandler, Following)


class Following(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


# -- what went wrong, in words that hold no secret


def refusal(answer: urllib.error.HTTPError) -> str:
    """What an answer other than 2xx says; of its body only the name of an error, as Slack gives it."""
    phrase = HTTPStatus(answer.code).phrase if answer.code in set(HTTPStatus) else ""
    text = f"answered {answer.code} {phrase}".strip()
    if 300 <= answer.code < 400:
        host = urlsplit(answer.headers.get("Location") or "").hostname
        return f"{text}: it wants to be called at another address{f' on {host}' if host else ''}; name that one"
    try:
        found = answer.read(_LONGEST_WORD)
    except (OSError, http.client.HTTPException, ValueError):
        return text
    if _WORD.fullmatch(found) and found.strip() not in answer.url.encode():
        text += f": {found.decode().strip()}"
    return text


def reason_of(error: Exception, host: str, deadline: Deadline) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if deadline.expired or isinstance(cause, TimeoutError):
        return f"{host} did not answer within {deadline.seconds:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {host} can't be trusted: {cause.verify_message}"
    if isinstance(cause, ConnectionRefusedError):
        return f"{host} refused the connection"
    if isinstance(cause, OSError) and cause.strerror:
        return f"{host} can't be reached: {cause.strerror}"
    return f"{host} ended the connection without an answer ({type(cause).__name__})"
