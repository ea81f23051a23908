"""What http> and http_call> share: from a task's options to one request, and from its answer to what the task does next.

    request(task, vault, …) -> what the runner `send_request.py` is told, all secrets filled in
    answer(task, end)       -> the answer of a server that is content; Again when it is to be asked once more

Which answers are asked for again is Digdag's rule (spec/operators 5.1); dagrun adds an end to it, and listens to
`Retry-After`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from dagrun.plugins.operator import Again, Ended, Option, Params, TaskContext, TaskFailed, json_text

from .network import Vault, request_of, result_of

RUNNER = "send_request.py"
TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded", "text": "text/plain"}
OPTIONS = (
    Option("method", "text", "`GET`"),
    Option("content", "any", "none", "the body"),
    Option("content_format", "word", "maps and lists `json`, else `text`", "`form` takes a map of texts", tuple(TYPES)),
    Option("content_type", "text", "by format", "replaces the type, except for a form"),
    Option("headers", "JSON list", "none", "maps with one key, in this order; a name may repeat"),
    Option("query", "text or JSON map", "none", "`a=1&b=2`, appended to that of the URI"),
    Option(
        "retry", "boolean", "true for `GET` `HEAD` `OPTIONS` `TRACE`", "ask again after 5xx and failures of the network"
    ),
    Option("retry_limit", "integer", "2880, about a day", "how often"),
    Option("timeout", "integer", "30", "seconds, for the whole exchange"),
    Option("follow_redirects", "boolean", "true", "eight at most"),
    Option("insecure", "boolean", "false", "don't verify the server's certificate"),
    Option("proxy", "map", "that of the environment", "`enabled: true`, `host`, `port` (8080), `tls`"),
    Option("http.authorization", "secret", meaning="becomes the header Authorization"),
    Option("http.user", "secret", meaning="becomes it otherwise, with `http.password`"),
    Option("http.password", "secret"),
)
NAMESPACE = "http"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")  # asked again without being told so
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")

MOST_REDIRECTS = 8
MOST_RETRIES = 2880  # about a day of the longest pause
LONGEST_TIMEOUT = 1_000_000_000  # seconds; an alarm can't be set for much more
LONGEST_PAUSE = 30.0  # seconds between two requests, unless the server names more
LONGEST_RETRY_AFTER = 3600.0  # a server that asks for more is asked again after an hour
LARGEST_STORED = 65_536  # characters
LONGEST_SHOWN = 200  # characters of an answer in a message
ASK_AGAIN = (408, 429)  # whatever `retry` says


# -- the request


def request(task: TaskContext, vault: Vault, *, uri: str, uri_is_secret: bool = False) -> dict[str, Any]:
    """All that the runner has to know. Raises TaskFailed for options that make no request."""
    params = task.params.with_defaults(NAMESPACE)
    method = method_of(params)
    text, content_type = content_of(params, vault)
    url, shown, credentials = address(uri, query_of(params, vault), secret=uri_is_secret)
    headers = headers_of(params, vault)
    authorize(headers, vault, credentials)
    if content_type is not None and not has(headers, "content-type"):
        headers.append(["Content-Type", content_type, False])
    return {
        "method": method,
        "url": url,
        "shown": shown,
        "headers": headers,
        "body": text,
        "retry": params.boolean("retry", method in SAFE_METHODS),
        "retry_limit": params.integer("retry_limit", MOST_RETRIES),
        "timeout": min(params.integer("timeout", 30), LONGEST_TIMEOUT),
        "redirects": MOST_REDIRECTS if params.boolean("follow_redirects", True) else 0,
        "insecure": params.boolean("insecure", False),
        "proxy": proxy_of(params),
    }


def method_of(params: Params) -> str:
    method = params.text("method", "GET").upper()
    if not TOKEN.match(method):
        raise TaskFailed(f"method must be a word like GET or POST; it is {method!r}", "bad_option", "config")
    return method


def content_of(params: Params, vault: Vault) -> tuple[str | None, str | None]:
    """The body and its type; nothing without `content`."""
    content = vault.fill_all(params.get("content"))
    if content is None:
        return None, None
    nested = isinstance(content, Mapping | list)
    form = params.text("content_format", "json" if nested else "text").lower()
    if form not in TYPES:
        raise TaskFailed(f"content_format must be text, json or form; it is {form!r}", "bad_option", "config")
    if form == "form":
        return form_text(content), TYPES[form]
    if form == "json":
        text = json_content(content)
    elif nested:
        raise TaskFailed(
            "content: a map or list can't be sent as text; take content_format: json", "bad_option", "config"
        )
    else:
        text = params_text("content", content)
    return text, params.text("content_type", TYPES[form])


def json_content(content: Any) -> str:
    """JSON; a text that is the JSON of a map or list already, as `${…}` makes them, is not encoded again (T-42)."""
    if isinstance(content, str):
        for reader in (Params({"content": content}).list_or_json, Params({"content": content}).map_or_json):
            try:
                return json_text(reader("content"))
            except TaskFailed:
                continue
    return json_text(content)


def form_text(content: Any) -> str:
    if not isinstance(content, Mapping):
        raise TaskFailed("content must be a map to be sent as a form", "bad_option", "config")
    return urlencode([(name, params_text(f"content.{name}", value)) for name, value in content.items()])


def params_text(name: str, value: Any) -> str:
    """A text, number or boolean as text. Raises TaskFailed for anything else, naming the option."""
    return Params({name: value}).text(name)


def query_of(params: Params, vault: Vault) -> tuple[str, bool]:
    """The query as it is sent, and whether it holds a secret: from a map, JSON of one, or `a=1&b=2`."""
    given = params.get("query")
    if given is None:
        return "", False
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        pairs: list[tuple[str, Any]] = list(parse_qsl(given.removeprefix("?"), keep_blank_values=True))
    else:
        pairs = [(name, value) for name, value in params.map_or_json("query").items() if value is not None]
    before = len(vault.values)
    filled = [(vault.fill(name), vault.fill(params_text(f"query.{name}", value))) for name, value in pairs]
    return urlencode(filled), len(vault.values) > before


def address(uri: str, query: tuple[str, bool], *, secret: bool) -> tuple[str, str, str | None]:
    """The URL to ask, how messages show it, and the `user:password` that stood in it."""
    parts = split(uri, secret)
    appended, secret_query = query
    whole_query = "&".join(part for part in (escaped(parts.query), appended) if part)
    user, _, host = parts.netloc.rpartition("@")
    url = urlunsplit((parts.scheme.lower(), host, escaped(parts.path) or "/", whole_query, ""))
    return url, f"{parts.scheme}://***" if secret or secret_query else url, unquote(user) or None


def split(uri: str, secret: bool) -> Any:
    """Its parts. A message never holds a URI that has secrets."""
    try:
        parts = urlsplit(uri.strip())
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # ValueError when it is none
    except ValueError:
        usable = False
    if not usable:
        shown = "it comes from a secret" if secret else f"it is {re.sub('//[^/@]*@', '//', uri)!r}"
        raise TaskFailed(f"the URI must be like https://example.com/path; {shown}", "bad_option", "config")
    return parts


def escaped(text: str) -> str:
    """What may not stand in a URI is escaped; what is escaped already stays."""
    return quote(text, safe="/%:=&?~+!$,;'@()*[]")


def headers_of(params: Params, vault: Vault) -> list[list[Any]]:
    """`[name, value, whether it is secret]` in the order of the file."""
    found: list[list[Any]] = []
    for item in params.list_or_json("headers", []):
        if not isinstance(item, Mapping) or len(item) != 1:
            raise TaskFailed(
                f"headers must be a list of maps with one key each, like [{{X-A: 1}}]; one is {json_text(item)[:100]}",
                "bad_type (headers)",
                "config",
            )
        [(name, value)] = item.items()
        before = len(vault.values)
        found.append(header(vault.fill(name), vault.fill(params_text(f"headers.{name}", value))))
        found[-1][2] = len(vault.values) > before
    return found


def header(name: str, value: str, *, secret: bool = False) -> list[Any]:
    value = value.strip()  # white space around it has no meaning; a secret from a file ends in a line feed
    if not TOKEN.match(name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise TaskFailed(f"the header {name[:40]!r} can't be sent: it has a line break in it", "bad_option", "config")
    return [name, value, secret]


def has(headers: list[list[Any]], name: str) -> bool:
    return any(header[0].lower() == name for header in headers)


def authorize(headers: list[list[Any]], vault: Vault, credentials: str | None) -> None:
    """One Authorization: the task's own header, or from the secrets, or what stands in the URI."""
    authorization, user = vault.optional("http.authorization"), vault.optional("http.user")
    if has(headers, "authorization"):
        return
    if authorization is None and user is not None:
        credentials = f"{user}:{vault.optional('http.password') or ''}"
    if authorization is None and credentials is not None:
        authorization = basic(credentials)
    if authorization is not None:
        headers.append(header("Authorization", authorization, secret=True))


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def proxy_of(params: Params) -> dict[str, Any] | None:
    """The proxy that the task names. Without one the runner looks into the environment, as curl does."""
    given = Params(params.optional_map("proxy"))
    if not given.boolean("enabled", False):
        return None
    return {
        "host": given.text("host"),
        "port": given.integer("port", 8080),
        "tls": given.boolean("tls", False),
        "credentials": None,
    }


# -- the answer


def answer(task: TaskContext, end: Ended) -> dict[str, Any] | Again:
    """The answer of success. Raises TaskFailed when there is none and it isn't worth asking again."""
    asked, got = request_of(end), result_of(end)
    what = f"{asked['method']} {asked['shown']}"
    if got is None:
        problem, again, waits = f"no answer within {asked['timeout']} s", asked["retry"], None
    elif "error" in got:
        problem, again, waits = got["error"]["message"], asked["retry"] and not got["error"].get("final"), None
    elif 200 <= got["status"] < 400:
        return got
    else:
        problem, again, waits = status_text(got), worth_asking_again(got["status"], asked["retry"]), got["retry_after"]
    retries = int((task.memo.get("request") or {}).get("retry", 0))
    if again and retries < asked["retry_limit"]:
        return ask_again(task, f"{what}: {brief(problem, got)}", retries, waits)
    times = f", asked {retries + 1} times" if retries else ""
    raise TaskFailed(f"Failed HTTP request: {what}: {problem}{times}{body_text(got)}", "http_failed")


def worth_asking_again(status: int, retry: bool) -> bool:
    return status in ASK_AGAIN or (retry and not 400 <= status < 500)


def status_text(got: Mapping[str, Any]) -> str:
    return f"{got['status']} {got['reason']}".strip()


def brief(problem: str, got: Mapping[str, Any] | None) -> str:
    """For a warning, which nothing masks: no words of the server."""
    return str(got["status"]) if got and "status" in got else problem


def body_text(got: Mapping[str, Any] | None) -> str:
    """`: ` and the beginning of the body, if there is one."""
    content = str((got or {}).get("content") or "")
    if len(content) > LONGEST_SHOWN:
        content = f"{content[: LONGEST_SHOWN - 3]}..."
    return f": {content}" if content else ""


def ask_again(task: TaskContext, problem: str, retries: int, waits: float | None) -> Again:
    """Poll: one second after the answer, then two, four …"""
    pause = min(2.0 ** min(retries, 10), LONGEST_PAUSE)
    if waits is not None:
        pause = max(pause, min(waits, LONGEST_RETRY_AFTER))
    if retries < 5 or retries % 20 == 0:  # each while the pauses grow, then every ten minutes
        task.warn(f"{task.name}: {problem}; asked again in {pause:g} s")
    return Again(pause, {**task.memo, "request": {"retry": retries + 1}})


def content_within(got: Mapping[str, Any], largest: int, what: str) -> str:
    """The text of the answer. Raises TaskFailed when it has more characters than that."""
    content = str(got["content"])
    if len(content) > largest:
        raise TaskFailed(
            f"{what}: the answer has {len(content):,} characters; at most {largest:,} can be kept", "http_failed"
        )
    return content
