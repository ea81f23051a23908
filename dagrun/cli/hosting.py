"""What third-party operators may do: `operators.project` and `operators.memory` of the settings."""

from __future__ import annotations

import re
from typing import Any

from dagrun.cli.settings import Settings
from dagrun.core.kinds import to_boolean
from dagrun.engine.attempt import Hosting
from dagrun.errors import UserError
from dagrun.light import pattern

SIZE = pattern(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def hosting_of(settings: Settings, *, daemon: bool) -> Hosting:
    """A person runs the project's own operators; a daemon does so when it is told to. Raises UserError."""
    allowed, memory = settings.values.get("operators.project", not daemon), settings.values.get("operators.memory")
    try:
        project = to_boolean(allowed)
    except ValueError:
        raise UserError(f"operators.project in the settings must be true or false, not {allowed!r}") from None
    return Hosting(project or not daemon) if memory is None else Hosting(project or not daemon, bytes_of(memory))


def bytes_of(value: Any) -> int:
    """`512 MiB`, `2G`, or a number of bytes; units count by 1024, whatever they are called."""
    found = SIZE.fullmatch(str(value).strip())
    if not found:
        raise UserError(f"operators.memory in the settings must be a size like 512 MiB, not {value!r}")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))
