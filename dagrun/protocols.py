"""`typing.Protocol` for the type checker, an empty class at run time.

A protocol with thirty methods takes a millisecond to make, and nobody asks at run time whether a value fits one: all of them
together were a twentieth of the start of `dagrun run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol as Protocol
else:

    class Protocol:
        """Never looked at."""
