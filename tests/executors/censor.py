"""A filter that is easy to follow; the keeper loads it by its name."""

from __future__ import annotations


class Censor:
    """A filter that is easy to follow: x becomes *, the last byte is kept back."""

    def __init__(self, secrets) -> None:
        self.kept = b""

    def feed(self, chunk: bytes) -> bytes:
        data = (self.kept + chunk).replace(b"x", b"*")
        self.kept = data[-1:]
        return data[:-1]

    def flush(self) -> bytes:
        return self.kept
