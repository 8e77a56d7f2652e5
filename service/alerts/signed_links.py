"""Signed links: the address of an alert's page that opens this page, and nothing more, where reading needs a key.

The signature is made with `itsdangerous`, which Flask depends on too. It covers the id of the alert and the last day on
which the link works.
"""

import hashlib
import secrets
from datetime import date, timedelta
from urllib.parse import urlencode

import sqlalchemy as sa
from itsdangerous import Signer

from service.store.tables import link_secrets

VALID_DAYS = 90
"""How long a link works [days]: as long as the forecast of an alert and its end can matter."""

_SALT = "vigie alert page"


def path(connection: sa.Connection, alert_id: str, today: date) -> str:
    """Return the signed path of an alert's page, in a transaction that writes: the first one makes the secret."""
    secret = connection.scalar(sa.select(link_secrets.c.secret))
    if secret is None:
        secret = secrets.token_hex(32)
        connection.execute(sa.insert(link_secrets).values(secret=secret))
    until = (today + timedelta(days=VALID_DAYS)).isoformat()
    query = {"until": until, "signature": _signature(secret, alert_id, until)}
    return f"/alerts/{alert_id}?{urlencode(query)}"


def is_valid(connection: sa.Connection, alert_id: str, until: str, signature: str, today: date) -> bool:
    """Return whether a link with these parts opens the page of an alert today."""
    secret = connection.scalar(sa.select(link_secrets.c.secret))
    if secret is None or not _signer(secret).verify_signature(_signed(alert_id, until), signature.encode()):
        return False
    return today.isoformat() <= until


def _signature(secret: str, alert_id: str, until: str) -> str:
    return _signer(secret).get_signature(_signed(alert_id, until)).decode()


def _signed(alert_id: str, until: str) -> bytes:
    return f"{alert_id}|{until}".encode()


def _signer(secret: str) -> Signer:
    return Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)
