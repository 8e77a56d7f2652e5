"""API keys: make, list, revoke and recognise them.

A key is `vigie_<prefix>_<secret>`. Stored are the prefix, which finds its row, and the SHA-256 of the secret. A slow
hash would not help: it protects passwords, which people choose and attackers guess. The secret is 256 random bits,
which nobody can guess at any speed, and a slow hash would cost every request.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from riskmodel.errors import BadInput
from service.store.database import Store
from service.store.tables import keys

Scope = Literal["read", "ack", "write"]

KEY_START = "vigie_"
"""The start of every key, by which people and secret scanners recognise one."""

READ_EVERY = 0.5
"""How long a worker trusts the keys that it has read [s]. A revoked key works no longer than this."""

MAX_LABEL = 64
"""The longest label of a key [characters]."""

_NO_DIGEST = "0" * 64
"""Compared with where the prefix is unknown, so that an unknown key takes as long as a wrong one."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """A valid key that a request has sent. Each scope includes those before it: `read`, `ack`, `write`."""

    prefix: str
    scope: Scope


def add(store: Store, scope: Scope, label: str, now: datetime) -> str:
    """Make a key and return it. It cannot be read again. Raises BadInput for an empty or too long label."""
    if not label.strip() or len(label) > MAX_LABEL:
        raise BadInput(f"the label must have 1 to {MAX_LABEL} characters: name who uses the key")
    prefix, secret = secrets.token_hex(4), secrets.token_hex(32)
    with store.writing() as connection:
        connection.execute(
            sa.insert(keys).values(prefix=prefix, digest=_digest(secret), scope=scope, label=label, created_at=now)
        )
    return f"{KEY_START}{prefix}_{secret}"


def check(store: Store, text: str) -> Key | None:
    """Return the key with this text as the database has it now, or None if it is not valid."""
    keyring = Keyring(store)
    keyring.read()
    return keyring.find(text)


def label(connection: sa.Connection, prefix: str) -> str:
    """Return who uses a key, by its prefix."""
    found: str = connection.execute(sa.select(keys.c.label).where(keys.c.prefix == prefix)).scalar_one()
    return found


def list_keys(store: Store) -> Sequence[Any]:
    """Return the rows of all keys, oldest first."""
    with store.reading() as connection:
        return connection.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.prefix)).all()


def revoke(store: Store, prefix: str, now: datetime) -> None:
    """Revoke a key. Its row stays. Raises BadInput if no valid key has this prefix."""
    with store.writing() as connection:
        valid = (keys.c.prefix == prefix) & keys.c.revoked_at.is_(None)
        if connection.execute(sa.update(keys).where(valid).values(revoked_at=now)).rowcount == 0:
            raise BadInput(f"no valid key has the prefix {prefix!r}: vigie keys list shows all keys")


class KeysUnread(Exception):
    """The keys have never been read, so no key can be checked."""


class Keyring:
    """The valid keys as one worker knows them. `find` reads no database; call `read` before it if they are too old.

    While the database does not answer, the keys read last stay valid: nobody can revoke a key at that time either.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._known: dict[str, tuple[str, Scope]] | None = None
        self._read_at = 0.0
        self._reading = threading.Lock()

    def find(self, text: str) -> Key | None:
        """Return the key with this text, or None if it is not valid. Raises KeysUnread if `read` never succeeded."""
        if self._known is None:
            raise KeysUnread
        prefix, _, secret = text.removeprefix(KEY_START).partition("_")
        digest, scope = self._known.get(prefix, (_NO_DIGEST, "read"))
        matches = hmac.compare_digest(_digest(secret), digest)
        return Key(prefix, scope) if matches and text.startswith(KEY_START) else None

    @property
    def is_current(self) -> bool:
        """Return whether the keys were read recently enough."""
        return self._known is not None and self._clock() - self._read_at <= READ_EVERY

    def read(self) -> None:
        """Read the keys if they are too old. Raises SQLAlchemyError if that fails and they were never read."""
        with self._reading:
            if not self.is_current:
                self._known = self._read()
                self._read_at = self._clock()

    def _read(self) -> dict[str, tuple[str, Scope]]:
        query = sa.select(keys.c.prefix, keys.c.digest, keys.c.scope).where(keys.c.revoked_at.is_(None))
        try:
            with self._store.reading() as connection:
                return {row.prefix: (row.digest, row.scope) for row in connection.execute(query)}
        except sa.exc.SQLAlchemyError as failure:
            if self._known is None:
                raise
            _LOG.error("the keys cannot be read; those read before stay valid: %s", failure)
            return self._known


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
