"""Secrets replaced by `***` in a stream of bytes, before they reach a disk or a screen.

The rule: a value of at least 3 characters (white space around it doesn't count) is masked wherever it
appears, as it is and as it looks inside base64 at any alignment, in a URL and in JSON; a form shorter than 4
bytes is masked only if it is the value itself. Of a value of several lines each line of at least 8 characters
is masked alone, too, because tools print keys and certificates line by line. Shorter values would turn every
output into stars, and can be guessed anyway.

Not found: a value that a program encrypts, compresses, prints in another base, or splits by something else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

STARS = b"***"
_SHORTEST_VALUE = 3
_SHORTEST_FORM = 4
_SHORTEST_LINE = 8


class Masker:
    """A filter for one stream; what may be the beginning of a secret is kept back until the next bytes."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: of two secrets that begin alike the longer one is replaced whole.
        self._forms = sorted({form for value in secrets for form in forms(value)}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms))) if self._forms else None
        self._kept = b""

    def feed(self, chunk: bytes) -> bytes:
        """The next bytes that may be shown."""
        if self._pattern is None:
            return chunk
        data = self._kept + chunk
        safe = len(data) - self._open_end(data)
        shown: list[bytes] = []
        done = 0
        for match in self._pattern.finditer(data):
            if match.start() >= safe:
                break
            shown += (data[done : match.start()], STARS)
            done = match.end()
        end = max(done, safe)
        self._kept = data[end:]
        return b"".join((*shown, data[done:end]))

    def flush(self) -> bytes:
        """What was kept back, at the end of the stream."""
        kept, self._kept = self._kept, b""
        return self._pattern.sub(STARS, kept) if self._pattern else kept

    def text(self, text: str) -> str:
        """A whole text, masked; it is no part of the stream."""
        if self._pattern is None:
            return text
        data = text.encode("utf-8", "surrogateescape")
        return self._pattern.sub(STARS, data).decode("utf-8", "surrogateescape")

    def _open_end(self, data: bytes) -> int:
        """How many of the last bytes may be the beginning of a form that goes on after them."""
        longest = 0
        for form in self._forms:
            if len(form) <= longest:
                break
            at = data.find(form[0], max(0, len(data) - len(form) + 1), len(data) - longest)
            while at >= 0 and not form.startswith(data[at:]):
                at = data.find(form[0], at + 1, len(data) - longest)
            if at >= 0:
                longest = len(data) - at
        return longest


def forms(value: str) -> set[bytes]:
    """All the byte strings in which the value is recognised; none when it is too short."""
    text = value.strip()
    if len(text) < _SHORTEST_VALUE:
        return set()
    lines = {line.strip() for line in text.splitlines()} if "\n" in text else set()
    found: set[bytes] = set()
    for part in {text, *(line for line in lines if len(line) >= _SHORTEST_LINE)}:
        raw = part.encode("utf-8", "surrogateescape")
        disguises = {*_in_base64(raw), *_in_url(raw), *_in_json(part)}
        found |= {raw, *(form for form in disguises if len(form) >= _SHORTEST_FORM)}
    return found


def _in_base64(raw: bytes) -> Iterable[bytes]:
    """The characters that depend on the value alone, for each number of bytes before it in its group of three."""
    for before in range(3):
        code = base64.b64encode(bytes(before) + raw)
        shared_first = (0, 2, 3)[before]
        shared_last = (0, 3, 2)[(before + len(raw)) % 3]  # padding, and the character that is part of it
        core = code[shared_first : len(code) - shared_last]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _in_url(raw: bytes) -> Iterable[bytes]:
    whole = quote(raw, safe="")
    in_javascript = quote(raw, safe="!'()*"), quote(raw, safe="!'()*;/?:@&=+$,#")  # encodeURIComponent, encodeURI
    in_forms = quote_plus(raw, safe="*").replace("~", "%7E")  # as browsers, Java and Ruby write them
    for text in (whole, quote(raw), quote_plus(raw), *in_javascript, in_forms):
        yield text.encode()
        yield re.sub(r"%..", lambda escape: escape[0].lower(), text).encode()


def _in_json(text: str) -> Iterable[bytes]:
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogateescape")
