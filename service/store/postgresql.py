"""Connections to PostgreSQL: how long they may take, and error texts without users and values.

A server that hangs (a stopped process, a dead disk) keeps its sockets open, so that neither TCP nor a Unix socket ever
reports an error. Only a time-out of our own ends the wait: a thread cuts the connection of a transaction that is past
its deadline, and whoever waits for it gets an OperationalError.
"""

import os
import re
import socket
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from riskmodel.errors import BadInput

WRITE_LOCK = zlib.crc32(b"vigie writers")
"""The number of the advisory lock that a writer holds."""

WRITE_LOCK_TIMEOUT = 10
"""How long a writer waits for the writer before it [s]. SQLite uses it too."""

IDLE_WRITER_TIMEOUT = 60
"""PostgreSQL ends a write transaction that does nothing for this long: its machine may be gone [s]."""

POOL_SIZE = 16
"""How many connections stay open. As many again may be opened for a short time. SQLite uses it too."""

CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    # A machine that has gone without a word is noticed within a minute. A Unix socket ignores these.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",
}
"""Parameters of libpq unless the `database_url` sets them."""

MARGIN = 1.0
"""How much earlier the server ends a statement than the connection is cut [s]: a connection that works is kept."""

HIDDEN = "…"
VALUE_CLASSES = ("22", "23")
"""Classes of SQLSTATE whose messages repeat values: wrong data, broken constraints."""


@dataclass(frozen=True)
class Deadlines:
    """How long a transaction may take [s], from its connection on: one that reads, and one that writes."""

    read: float
    write: float


def engine(url: sa.URL, deadlines: Deadlines | None) -> sa.Engine:
    """Return an engine that tests a pooled connection before it uses it. Without deadlines it waits for ever."""
    url = url.set(query={**CONNECTION_DEFAULTS, **url.query, "application_name": "vigie"})
    try:
        made = sa.create_engine(
            url,
            pool_size=POOL_SIZE,
            max_overflow=POOL_SIZE,
            pool_pre_ping=deadlines is None,
            pool_timeout=30.0 if deadlines is None else deadlines.read,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise BadInput("PostgreSQL needs one more package: pip install 'vigie[postgresql]'") from None
    secrets = [text for text in (url.username, url.password, url.query.get("user"), url.query.get("password")) if text]
    sa.event.listen(made, "handle_error", lambda context: _hide(context, [str(each) for each in secrets]))
    sa.event.listen(made, "begin", _begin)
    if deadlines is not None:
        _Bounded(made, deadlines)
    return made


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("vigie_writes", False):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {1000 * WRITE_LOCK_TIMEOUT}")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {1000 * IDLE_WRITER_TIMEOUT}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


class _Bounded:
    """Cuts the connections of an engine whose transactions take too long."""

    def __init__(self, engine: sa.Engine, deadlines: Deadlines) -> None:
        self._engine, self._deadlines = engine, deadlines
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "connect", self._connected)
        sa.event.listen(engine, "checkout", self._check_out)
        sa.event.listen(engine, "begin", self._begin, insert=True)
        for event in ("checkin", "invalidate"):
            sa.event.listen(engine, event, self._release)
        for event in ("detach", "close"):
            sa.event.listen(engine, event, self._forget)

    def _connect(self, dialect: Dialect, entry: ConnectionPoolEntry, arguments: Any, options: Any) -> DBAPIConnection:
        connection = dialect.connect(*arguments, **options)  # bounded by connect_timeout
        # A duplicate of our own: the number of a closed descriptor can belong to another file in the next moment.
        entry.info["socket"] = socket.socket(fileno=os.dup(connection.fileno()))
        _CUTTER.arm(entry.info["socket"], self._deadlines.read)
        return connection

    def _connected(self, connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = {_milliseconds(self._deadlines.read)}")
        cursor.close()
        connection.commit()
        entry.info["fresh"] = True

    def _check_out(self, connection: DBAPIConnection, entry: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
        _CUTTER.arm(entry.info["socket"], self._deadlines.read)
        if entry.info.pop("fresh", False):
            return
        driver_errors = self._engine.dialect.loaded_dbapi.Error
        try:
            self._engine.dialect.do_ping(connection)
        except driver_errors as failure:
            if _CUTTER.disarm(entry.info["socket"]):
                text = f"no answer within {self._deadlines.read:.0f} s"
                raise sa.exc.OperationalError("ping", None, TimeoutError(text), hide_parameters=True) from None
            raise sa.exc.InvalidatePoolError("the connection was closed") from failure

    def _begin(self, connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if options.get("vigie_unbounded", False):
            _CUTTER.disarm(connection.info["socket"])
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        elif options.get("vigie_writes", False):
            _CUTTER.arm(connection.info["socket"], self._deadlines.write)
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_milliseconds(self._deadlines.write)}")

    @staticmethod
    def _release(connection: DBAPIConnection | None, entry: ConnectionPoolEntry, *_: object) -> None:
        if (own := entry.info.get("socket")) is not None:
            _CUTTER.disarm(own)

    @staticmethod
    def _forget(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        if (own := entry.info.pop("socket", None)) is not None:
            _CUTTER.disarm(own)
            own.close()


class _Cutter:
    """A thread that shuts sockets down that are past their deadline."""

    def __init__(self) -> None:
        self._armed: dict[socket.socket, float] = {}
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def arm(self, sock: socket.socket, seconds: float) -> None:
        """Shut a socket down after so many seconds, unless it is disarmed or armed again."""
        with self._condition:
            self._armed[sock] = time.monotonic() + seconds
            if self._thread is None or not self._thread.is_alive():  # a thread does not survive a fork
                self._thread = threading.Thread(target=self._watch, daemon=True, name="database-deadlines")
                self._thread.start()
            self._condition.notify()

    def disarm(self, sock: socket.socket) -> bool:
        """Leave a socket alone from now on. Return whether it was shut down already, or was not armed."""
        with self._condition:
            return self._armed.pop(sock, None) is None

    def _watch(self) -> None:
        with self._condition:
            while True:
                now = time.monotonic()
                for sock in [each for each, deadline in self._armed.items() if deadline <= now]:
                    del self._armed[sock]
                    with suppress(OSError):  # closed from the other side
                        sock.shutdown(socket.SHUT_RDWR)
                # Looks again at the next deadline: later ones that are armed meanwhile need no new look.
                self._condition.wait(min(self._armed.values()) - now if self._armed else None)


_CUTTER = _Cutter()


def _milliseconds(deadline: float) -> int:
    return round(1000 * max(deadline - MARGIN, deadline / 2))


def _hide(context: sa.engine.ExceptionContext, secrets: list[str]) -> None:
    """Replace the text of an error, in the driver's exception too: a traceback in a log shows both."""
    error = context.original_exception
    text = public_text(error, secrets)
    error.args = (text,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {text}",)


def public_text(error: BaseException, secrets: list[str]) -> str:
    """Return what an error of the driver says, on one line, without users, passwords and values."""
    state, diagnosis = getattr(error, "sqlstate", None), getattr(error, "diag", None)
    if state and state.startswith(VALUE_CLASSES):
        table = getattr(diagnosis, "table_name", None)
        return f"{type(error).__name__} ({state}){f' in {table}' if table else ''}"
    # The primary message alone: detail and context repeat rows and statements.
    text = " ".join((getattr(diagnosis, "message_primary", None) or str(error)).split())
    text = re.sub(r'\b(user|role|owner)(?: name)? "[^"]*"', rf'\1 "{HIDDEN}"', text)
    for secret in secrets:
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    return text
