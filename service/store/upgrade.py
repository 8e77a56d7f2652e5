"""How the tables of an older Vigie, or none, become those of this one: the revisions in `migrations`, run by Alembic.

All of it is one transaction of the one writer: two that start at once wait for each other, and what a kill leaves is
the tables as they were. Imported only where there is something to do.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from riskmodel.errors import Refused
from service.store.tables import REVISION, metadata

FIRST = "0001"

FIRST_TABLES = frozenset({"runs", "snapshots", "alert_states", "transitions", "deliveries"})
"""What stood in a database before revisions were written down."""

STAMP = "alembic_version"


def upgrade(connection: sa.Connection, name: str, revision: str = REVISION) -> None:
    """Bring the tables up to a revision, within the transaction given; `name` is what errors call the database.

    Raises Refused for a database of a newer Vigie, and for one with tables that no Vigie left like that.
    """
    config = _config(connection)
    tables = set(sa.inspect(connection).get_table_names())
    if STAMP in tables:
        stamped = connection.scalar(sa.text(f"SELECT version_num FROM {STAMP}"))  # noqa: S608 - our own name  # nosec B608
        if stamped is not None and stamped not in revisions():
            raise Refused(
                f"the database {name} is of a newer Vigie (revision {stamped}; this one knows {REVISION}): "
                "install that one, or restore a backup of before"
            )
    elif ours := tables & set(metadata.tables):
        if ours != FIRST_TABLES:
            raise Refused(
                f"the database {name} has tables that are not as any Vigie left them: {', '.join(sorted(ours))}"
            )
        command.stamp(config, FIRST)
    command.upgrade(config, revision)


def revisions() -> list[str]:
    """All revisions that this Vigie knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
