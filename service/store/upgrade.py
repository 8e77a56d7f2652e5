"""Create the tables, or bring them up to date: runs the revisions in `migrations` with Alembic.

All of it is one transaction that holds the write lock. Two processes that start at once wait for each other, and a
process that is killed leaves the tables as they were. Imported only when there is something to do.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from riskmodel.errors import Refused
from service.store.tables import REVISION, metadata

STAMP_TABLE = "alembic_version"

OLDER_REVISIONS = frozenset({"0001", "0002"})
"""Revisions from before the first release. No migration leads from them to the tables of today."""


def upgrade(connection: sa.Connection, name: str, revision: str = REVISION) -> None:
    """Bring the tables to a revision within the current transaction. `name` is the database's name in errors.

    Raises Refused for a database that another version of Vigie made.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if STAMP_TABLE in tables:
        stamp: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(STAMP_TABLE))
        found: str | None = connection.scalar(stamp)
        if found in OLDER_REVISIONS:
            raise Refused(_older(connection, name, f"revision {found}"))
        if found is not None and found not in known_revisions():
            raise Refused(
                f"the database {name} was made by a newer Vigie (revision {found}; this one has {REVISION}): "
                "install the newer Vigie, or restore a backup made before its upgrade"
            )
    elif ours := tables & set(metadata.tables):
        raise Refused(_older(connection, name, f"tables without a revision: {', '.join(sorted(ours))}"))
    command.upgrade(_config(connection), revision)


def known_revisions() -> list[str]:
    """Return all revisions of this Vigie, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _older(connection: sa.Connection, name: str, found: str) -> str:
    is_file = connection.dialect.name == "sqlite"
    way_out = "move the file away" if is_file else "name an empty database in database_url"
    return (
        f"the database {name} was made by an older Vigie ({found}), and this one cannot read it: "
        f"{way_out} and run vigie recompute"
    )


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
