"""API keys: made, shown once, listed, revoked, and known again when somebody shows one.

A key is `vigie_<prefix>_<secret>`. What is kept is the prefix, to find its row by, and the SHA-256 of the secret. A
slow hash would guard nothing more: it is for passwords, which people choose and others guess, and the secret is 256
random bits, which nobody guesses at any speed; and it would cost every request what it costs the guesser.
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
from typing import Any, Literal, cast

import sqlalchemy as sa

from riskmodel.errors import BadInput
from service.store.database import Store
from service.store.tables import keys

Scope = Literal["read", "write"]

SPOKEN = "vigie_"
"""What every key begins with, so that people and scanners of code know one when they see it."""

LOOK_EVERY = 0.5
"""How long a worker trusts what it read of the keys: a revoked one works no longer than this [s]."""

LONGEST_LABEL = 64

_NOBODY = "0" * 64
"""Compared with where there is no such prefix, so that an unknown key takes as long as a wrong one."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """A key that somebody showed and that holds. One that may write may read too."""

    prefix: str
    scope: Scope


def add(store: Store, scope: Scope, label: str, now: datetime) -> str:
    """Make a key and return it: the only time that anybody sees it. Raises BadInput for a label that cannot be."""
    if not label.strip() or len(label) > LONGEST_LABEL:
        raise BadInput(f"a label says who holds the key, in 1 to {LONGEST_LABEL} characters")
    prefix, secret = secrets.token_hex(4), secrets.token_hex(32)
    with store.writing() as connection:
        connection.execute(
            sa.insert(keys).values(prefix=prefix, digest=_digest(secret), scope=scope, label=label, created_at=now)
        )
    return f"{SPOKEN}{prefix}_{secret}"


def listed(store: Store) -> Sequence[Any]:
    """The rows of all keys, oldest first."""
    with store.reading() as connection:
        return connection.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.prefix)).all()


def revoke(store: Store, prefix: str, now: datetime) -> None:
    """Let a key hold no more. Its row stays. Raises BadInput if no key that holds has this prefix."""
    with store.writing() as connection:
        ours = (keys.c.prefix == prefix) & keys.c.revoked_at.is_(None)
        if connection.execute(sa.update(keys).where(ours).values(revoked_at=now)).rowcount == 0:
            raise BadInput(f"no key that is in force has the prefix {prefix!r}: vigie keys list has them all")


class Keyring:
    """The keys that hold, as a worker knows them: read from the store when one is shown and the last look is old.

    Where the store does not answer, what it said last goes on to count: nobody can revoke a key in the meantime either.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._known: dict[str, tuple[str, Scope]] | None = None
        self._looked = 0.0
        self._looking = threading.Lock()

    def find(self, shown: str) -> Key | None:
        """The key that was shown, or None if it does not hold. Raises SQLAlchemyError if none was ever read."""
        prefix, _, secret = shown.removeprefix(SPOKEN).partition("_")
        digest, scope = self._in_force().get(prefix, (_NOBODY, "read"))
        held = hmac.compare_digest(_digest(secret), digest)
        return Key(prefix, scope) if held and shown.startswith(SPOKEN) else None

    @property
    def looked_lately(self) -> bool:
        """Whether what was read of the keys may still be trusted: nothing need be read to know one."""
        return self._known is not None and self._clock() - self._looked <= LOOK_EVERY

    def _in_force(self) -> dict[str, tuple[str, Scope]]:
        if not self.looked_lately:
            with self._looking:
                if not self.looked_lately:
                    self._known = self._read()
                    self._looked = self._clock()
        return cast(dict[str, tuple[str, Scope]], self._known)

    def _read(self) -> dict[str, tuple[str, Scope]]:
        query = sa.select(keys.c.prefix, keys.c.digest, keys.c.scope).where(keys.c.revoked_at.is_(None))
        try:
            with self._store.reading() as connection:
                return {row.prefix: (row.digest, row.scope) for row in connection.execute(query)}
        except sa.exc.SQLAlchemyError as failure:
            if self._known is None:
                raise
            _LOG.error("the keys cannot be read, those known before go on to count: %s", failure)
            return self._known


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
