"""What the service keeps: runs, snapshots, alert states, transitions and deliveries, in one SQL database.

SQLAlchemy Core, one code path. A transaction that will write says so when it begins, so that SQLite never has to turn a
read lock into a write lock half-way.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, overload

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from riskmodel.errors import Refused
from riskmodel.home import Home


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC, kept as ISO 8601 text so that every database orders and returns it alike."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Document(sa.TypeDecorator[dict[str, Any]]):
    """A JSON object as canonical text (sorted keys, no blanks, no NaN): the same object has the same bytes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> dict[str, Any] | None:
        return None if value is None else json.loads(value)


def canonical(document: dict[str, Any]) -> str:
    """The canonical text of a JSON object, the one digests are made of. Raises ValueError for NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@overload
def instant(moment: datetime) -> str: ...
@overload
def instant(moment: None) -> None: ...
def instant(moment: datetime | None) -> str | None:
    """A moment as everybody is told it: ISO 8601 in UTC, to the second, ending in Z; None stays None."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("status", sa.String(16), nullable=False),  # running | snapshot | unchanged | failed | withdrawal
    sa.Column("input_digest", sa.String(64)),
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id")),
    sa.Column("error", sa.Text),
    sqlite_autoincrement=True,
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("issued_at", UtcTime, nullable=False),
    sa.Column("input_digest", sa.String(64), nullable=False),
    sa.Column("previous_digest", sa.String(64)),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("document", Document, nullable=False),
    sa.Column("withdrawn_at", UtcTime),  # the document stays as it was issued; it is only served no more
    sa.Column("withdrawn_why", sa.Text),
    sqlite_autoincrement=True,
)

alert_states = sa.Table(
    "alert_states",
    metadata,
    sa.Column("region", sa.String(3), primary_key=True),
    sa.Column("rule", sa.String(64), primary_key=True),
    sa.Column("location_code", sa.String(3), primary_key=True),
    sa.Column("simulated", sa.Boolean, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # ok | pending | firing | resolved
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("origins", sa.Integer, nullable=False),  # consecutive origins at or beyond fire_at, while that is counted
    sa.Column("last_origin", sa.String(7)),  # the newest of them; of a resolved alert, the origin that resolved it
    sa.Column("value", sa.Float),  # as last read; null is unknown, and `reason` says why
    sa.Column("reason", sa.String(64)),
    sa.Column("transition_id", sa.Integer, sa.ForeignKey("transitions.id")),  # what brought it into its present state
)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("snapshot_id", sa.Integer, sa.ForeignKey("snapshots.id"), nullable=False),
    sa.Column("region", sa.String(3), nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("location_code", sa.String(3), nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("from_state", sa.String(16), nullable=False),
    sa.Column("to_state", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("document", Document, nullable=False),  # metric, value, thresholds, severity, causes, origin, words
    sqlite_autoincrement=True,
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),  # the stable id every attempt carries
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("route", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # firing | resolved | summary | correction | test
    sa.Column("document", Document, nullable=False),  # the whole payload: every attempt sends the same bytes
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # waiting | sent | failed | dismissed
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("not_before", UtcTime, nullable=False),
    sa.Column("sent_at", UtcTime),
    sa.Column("error", sa.Text),
    sa.Index("deliveries_waiting", "not_before", sqlite_where=sa.text("status = 'waiting'")),
)


class Store:
    """The service's database. Opening it makes what tables are missing."""

    @classmethod
    def of(cls, home: Home) -> "Store":
        """The database of a home, a file in it. Raises Refused if it cannot be used."""
        home.root.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{home.database}")

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_pragmas)
            sa.event.listen(self.engine, "begin", _sqlite_begin)
        try:
            metadata.create_all(self.engine)
        except sa.exc.DatabaseError as unusable:
            raise Refused(f"the database {self.engine.url.database} cannot be used: {unusable.orig}") from unusable

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the right to write from its first moment; whole or not at all."""
        with self.engine.connect().execution_options(vigie_writes=True) as connection, connection.begin():
            yield connection


def _sqlite_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("vigie_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
