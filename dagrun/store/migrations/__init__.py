"""Migrations, with Alembic. Imported only when a store's version differs from the program's.

`upgrade` brings a database to the newest version in one transaction. A developer writes a new migration into
`versions/` (the number in the file's name is its revision), then runs `make generate`; tests compare the
result with `tables.py` on both databases.
"""

from __future__ import annotations

import os
import re

from dagrun.store.dialects import Migrating


def head() -> str:
    """The newest version, by the names of the files: `m0001_initial.py` is version 0001."""
    names = os.listdir(os.path.join(os.path.dirname(__file__), "versions"))
    return max(found[1] for name in names if (found := re.fullmatch(r"m(\d{4})_\w+\.py", name)))


def known(version: str) -> bool:
    """Whether this program knows that version; if not, a newer program made the store."""
    return version <= head()


def upgrade(how: Migrating) -> None:
    """The database is at the newest version. Of several processes one migrates; the others find it done."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(how.url, creator=how.connect, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", "dagrun.store:migrations")
    with engine.connect() as connection:
        connection.exec_driver_sql(how.first)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
