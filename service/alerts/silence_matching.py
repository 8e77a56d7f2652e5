"""Which alerts a silence covers."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.store.tables import silences

MATCHER = ("rule", "location_code", "severity", "outcome")
"""What a silence can name. It covers an alert if all that it names are equal."""

LASTS = silences.c.ended_at.is_(None)


def active(connection: sa.Connection, region: str, simulated: bool) -> Sequence[Any]:
    """Return the rows of the silences of a region that last, those that last longest first."""
    of_region = (silences.c.region == region) & (silences.c.simulated == simulated)
    return connection.execute(sa.select(silences).where(of_region, LASTS).order_by(silences.c.until.desc())).all()


def id_of_match(lasting: Sequence[Any], alert: Mapping[str, Any]) -> str | None:
    """Return the id of the first silence that covers an alert, or None. `alert` has the keys of `MATCHER`."""
    return next((silence.id for silence in lasting if covers(silence, alert)), None)


def covers(silence: Any, alert: Mapping[str, Any]) -> bool:
    """Return whether a silence covers an alert."""
    return all(getattr(silence, key) in (None, alert[key]) for key in MATCHER)
