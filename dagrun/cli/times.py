"""Times and durations as people and programs read them."""

from __future__ import annotations

from datetime import timedelta

from dagrun.core.session import EPOCH


def iso(at: int | None) -> str | None:
    """ISO 8601, UTC, with microseconds."""
    if at is None:
        return None
    return (EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def short(at: int | None) -> str:
    """In the machine's zone, to the second."""
    return "" if at is None else f"{(EPOCH + timedelta(microseconds=at)).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(microseconds: int) -> str:
    seconds = microseconds / 1_000_000
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"
