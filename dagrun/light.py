"""What the standard library offers for declarations, made lighter: `dagrun run` of one short task pays for all of them.

    Protocol    an empty class at run time: one with thirty methods takes a millisecond, and nobody asks whether a value fits
    NamedTuple  without a look at the annotations, which typing compiles one by one: half the time, for eighty of them
    pattern     a regular expression that is compiled when it is first used

Together they were a sixth of its start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
else:
    from collections import namedtuple

    class Protocol:
        """Never looked at."""

    class _Declared(type):
        """Makes a class that is written like one of typing's."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for key, value in body.items():
                if key != "__module__":
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Declared):
        """As typing's; only without other bases."""


class _Pattern:
    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Asked once for each name; from then on the compiled pattern's own attribute is found here."""
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """As `re.compile`, but when it is first used. A mistake in it shows only then."""
    return cast(re.Pattern[str], _Pattern(source, flags))
