"""Migrations, with Alembic. Imported only when a store's version differs from the program's.

`upgrade` brings a database to the newest version inside the transaction that it is given. A developer writes
a new migration into `versions/` (the number in the file's name is its revision), then runs `make generate`;
tests compare the result with `tables.py` on both databases.
"""

from __future__ import annotations

import os
import re
from typing import Any


def head() -> str:
    """The newest version, by the names of the files: `m0001_initial.py` is version 0001."""
    names = os.listdir(os.path.join(os.path.dirname(__file__), "versions"))
    return max(found[1] for name in names if (found := re.fullmatch(r"m(\d{4})_\w+\.py", name)))


def known(version: str) -> bool:
    """Whether this program knows that version; if not, a newer program made the store."""
    return version <= head()


def upgrade(connection: Any) -> None:
    """The database is at the newest version, in the transaction of that SQLAlchemy connection."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "dagrun.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
