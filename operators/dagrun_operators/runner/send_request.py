"""Send one HTTP request: `send_request.py request.json result.json`.

One file with nothing but the standard library; http> and http_call> start it, each time in a process of its own, and
say in the request what to do. The result is `{"status", "reason", "content", "content_type", "retry_after"}`, or
`{"error": {"message", "final"}}` when there is no answer; `final` ones would be the same another time. When the
time is over, the alarm ends the process, wherever it waits: in a look-up of a name, too.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import sys
import time
import zlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

LARGEST = 2 * 1024 * 1024  # bytes of an answer, unpacked
PIECE = 65_536
REDIRECTS = (301, 302, 303, 307, 308)
PRIVATE = ("authorization", "cookie")
OF_BODY = ("content-type", "content-length", "content-encoding", "content-language")
URL_SIGNS = "/%:=&?~+!$,;'@()*[]#"


class NoAnswer(Exception):
    """There is none. `final`: there would be none another time either."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def main(request_file: str, result_file: str) -> None:
    os.umask(0o077)  # the answer is for nobody else
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(0, request["timeout"]))
    result = outcome(request)
    signal.setitimer(signal.ITIMER_REAL, 0)
    with open(f"{result_file}.part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(f"{result_file}.part", result_file)


def outcome(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return exchange(request)
    except NoAnswer as problem:
        return failure(str(problem), final=problem.final)
    except ssl.SSLCertVerificationError as problem:
        return failure(f"the certificate of the server is not accepted: {problem.verify_message}", final=True)
    except (OSError, HTTPException, ValueError) as problem:  # ValueError: a redirect to what is no URL
        return failure(getattr(problem, "strerror", None) or str(problem) or type(problem).__name__)


def failure(message: str, *, final: bool = False) -> dict[str, Any]:
    return {"error": {"message": message, "final": final}}


# -- the request, and those that redirects make of it


def exchange(request: Mapping[str, Any]) -> dict[str, Any]:
    """Follow redirects to the last answer."""
    for _ in range(request["redirects"] + 1):
        connection, target, extra = connect(urlsplit(request["url"]), request)
        try:
            answer = ask(connection, request["method"], target, [*request["headers"], *extra], request["body"])
            location = answer.getheader("Location")
            if not request["redirects"] or answer.status not in REDIRECTS or not location:
                return result(answer)
        finally:
            connection.close()
        request = redirected(request, answer.status, location)
    raise NoAnswer(f"more than {request['redirects']} redirects")


def redirected(request: Mapping[str, Any], status: int, location: str) -> dict[str, Any]:
    """The request that the redirect asks for, as browsers and curl understand it."""
    method, body, headers = request["method"], request["body"], request["headers"]
    url = quote(urljoin(request["url"], location), safe=URL_SIGNS)
    if origin(url) != origin(request["url"]):  # what is secret is meant for the server that was named
        headers = [header for header in headers if not header[2] and header[0].lower() not in PRIVATE]
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = [header for header in headers if header[0].lower() not in OF_BODY]
    return {**request, "url": url, "method": method, "body": body, "headers": headers}


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or default_port(parts.scheme)


def default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def ask(
    connection: HTTPConnection, method: str, target: str, headers: list[list[Any]], body: str | None
) -> HTTPResponse:
    names = {header[0].lower() for header in headers}
    connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
    if "accept-encoding" not in names:
        connection.putheader("Accept-Encoding", "gzip")
    if "user-agent" not in names:
        connection.putheader("User-Agent", "dagrun")
    for name, value, _ in headers:
        connection.putheader(name, value.encode())
    data = (body or "").encode()
    if "content-length" not in names and (body is not None or method in ("POST", "PUT", "PATCH")):
        connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data or None)
    return connection.getresponse()


# -- where to connect to


def connect(url: SplitResult, request: Mapping[str, Any]) -> tuple[HTTPConnection, str, list[list[Any]]]:
    """A connection for the URL, what to ask it for, and headers for the proxy."""
    if url.scheme not in ("http", "https") or not url.hostname:
        raise NoAnswer(f"{url.scheme}: is no http or https URL; the server redirected to it", final=True)
    host, port = ascii_host(url.hostname), url.port or default_port(url.scheme)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    trust = trusting(insecure=request["insecure"])
    proxy = request["proxy"] or proxy_of_environment(url.scheme, host)
    if proxy is None and url.scheme == "http":
        return HTTPConnection(host, port), path, []
    if proxy is None:
        return HTTPSConnection(host, port, context=trust), path, []
    login = proxy_login(proxy)
    place = proxy["host"], proxy["port"]
    if url.scheme == "http":
        connection = HTTPSConnection(*place, context=trust) if proxy["tls"] else HTTPConnection(*place)
        named = (f"[{host}]" if ":" in host else host) + (f":{url.port}" if url.port else "")
        return connection, f"http://{named}{path}", [[*pair, True] for pair in login.items()]
    if proxy["tls"]:
        raise NoAnswer("a proxy that is reached by TLS can't be used for https URLs", final=True)
    connection = HTTPSConnection(*place, context=trust)
    connection.set_tunnel(host, port, headers=login)
    return connection, path, []


def ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise NoAnswer(f"{host} can't be the name of a host", final=True) from None


def trusting(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def proxy_login(proxy: Mapping[str, Any]) -> dict[str, str]:
    if not proxy["credentials"]:
        return {}
    return {"Proxy-Authorization": f"Basic {base64.b64encode(proxy['credentials'].encode()).decode()}"}


def proxy_of_environment(scheme: str, host: str) -> dict[str, Any] | None:
    """The proxy of `http_proxy`, `https_proxy`, unless `no_proxy` names the host. The order is that of Digdag."""
    names = ["http_proxy", "HTTP_PROXY"]
    if scheme == "https":
        names = ["https_proxy", "HTTPS_PROXY", *names]
    given = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if given is None or passed_by(host, os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""):
        return None
    url = urlsplit(given if "://" in given else f"http://{given}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise NoAnswer(f"the proxy in the environment is no http or https URL: {url.scheme}://…", final=True)
    credentials, _, _ = url.netloc.rpartition("@")
    port = url.port or (443 if url.scheme == "https" else 80)
    return {"host": url.hostname, "port": port, "tls": url.scheme == "https", "credentials": unquote(credentials)}


def passed_by(host: str, no_proxy: str) -> bool:
    """Whether the host, or a domain that it belongs to, is in the list."""
    for entry in (entry.strip().lstrip(".") for entry in no_proxy.lower().split(",")):
        if entry == "*" or (entry and f".{host.lower()}".endswith(f".{entry}")):
            return True
    return False


# -- the answer


def result(answer: HTTPResponse) -> dict[str, Any]:
    content = read(answer)
    charset = answer.headers.get_content_charset() or "utf-8"
    try:
        text = content.decode(charset, "replace")
    except (LookupError, UnicodeError):  # a charset that nobody knows, or that is none of texts
        text = content.decode("utf-8", "replace")
    return {
        "status": answer.status,
        "reason": answer.reason,
        "content": text,
        "content_type": answer.getheader("Content-Type"),
        "retry_after": seconds(answer.getheader("Retry-After"), time.time()),
    }


def read(answer: HTTPResponse) -> bytes:
    """The body, unpacked. Raises NoAnswer when it is too long, or stops before its end."""
    packed = (answer.getheader("Content-Encoding") or "").strip().lower() in ("gzip", "x-gzip")
    unpacker = zlib.decompressobj(31) if packed else None
    content = b""
    while piece := answer.read(PIECE):
        try:
            content += unpacker.decompress(piece, LARGEST + 1 - len(content)) if unpacker else piece
        except zlib.error as problem:
            raise NoAnswer(f"the answer says that it is packed by gzip, and isn't: {problem}") from None
        if len(content) > LARGEST:
            raise NoAnswer(f"the answer is larger than {LARGEST // 1024 // 1024} MiB", final=True)
    if answer.length:  # what was announced and did not come
        raise NoAnswer("the connection was closed before the end of the answer")
    return content


def seconds(retry_after: str | None, now: float) -> float | None:
    """The pause that the server asks for: seconds, or a time."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
