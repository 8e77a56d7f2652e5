"""What Vigie published, or would have published, at a past moment.

A past moment is answered by the snapshot that was in service then. Where there was none, a hindcast answers
(`hindcast_view`); without one, this module describes the computation that the task queue has to run. It computes
nothing itself, so the web process can import it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel import __version__, bundle, geography
from riskmodel.events import manifest
from riskmodel.events.manifest import OUTCOME_KINDS, Ingest
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.settings import Settings
from service.snapshots import snapshot_cache
from service.snapshots.outcome_parts import of_outcome
from service.snapshots.snapshot_view import AsOf, SnapshotView
from service.store.tables import snapshots
from service.store.task_queue import TaskRequest
from service.store.values import instant

ALL_COUNTRIES = "*"
"""What an ingest with data of all countries has as its country in `covers`."""


class NothingKnown(Exception):
    """Nothing was known at a moment. `since` is when the first data was known, None if there is no data today."""

    def __init__(self, since: datetime | None) -> None:
        super().__init__("nothing was known at that moment")
        self.since = since


def issued_snapshot(
    connection: sa.Connection, settings: Settings, *, simulated: bool, moment: datetime, outcome: str | None = None
) -> SnapshotView | None:
    """Return the newest snapshot issued by a moment, as seen at that moment.

    A snapshot that is withdrawn today is skipped, even if it was withdrawn after the moment. Raises OutcomeMissing.
    """
    row = connection.execute(
        sa.select(snapshots.c.id, snapshots.c.digest)
        .where(
            snapshots.c.region == settings.region,
            snapshots.c.simulated == simulated,
            snapshots.c.issued_at <= moment,
            snapshots.c.withdrawn_at.is_(None),
        )
        .order_by(snapshots.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    document = of_outcome(snapshot_cache.document(connection, row.id, row.digest), outcome)
    return SnapshotView(row.id, row.digest, document, settings, moment, None, AsOf(moment, "issued", None))


def recomputed_snapshot(task: sa.Row[Any], settings: Settings, moment: datetime) -> SnapshotView:
    """Return the snapshot that a finished task computed, as seen at the moment asked for."""
    computed = task.result
    as_of = AsOf(moment, "recomputed", task.finished_at)
    return SnapshotView(None, computed["digest"], of_outcome(computed["document"]), settings, moment, None, as_of)


def recompute_request(
    home: Home, settings: Settings, moment: datetime, *, simulated: bool, outcome: str | None = None
) -> TaskRequest:
    """Return the task that computes an outcome of a past moment. Raises NothingKnown.

    Without an `outcome`, it is the headline of those that are in service today and were known then. Two moments with
    the same known data make the same task. Its result depends on that data, and on today's region, outcomes, settings
    and version of Vigie.
    """
    ingests, members = manifest.read(home.archive), geography.region(settings.region).members
    known = manifest.active(ingests, moment)
    if not _with_outcomes(known, members, simulated):
        counted = _with_outcomes([ingest for ingest in ingests if ingest.is_active(None)], members, simulated)
        raise NothingKnown(min((datetime.fromisoformat(ingest.known_since) for ingest in counted), default=None))
    outcomes = [outcome] if outcome else list(bundle.champions(home.models, simulated=simulated)) or list(OUTCOMES)
    digest = manifest.digest(known)
    request = {"as_of": instant(moment), "region": settings.region, "outcomes": outcomes, "data_digest": digest}
    depends = [digest, settings.region, outcomes, settings.bands, settings.drivers, __version__]
    return TaskRequest.of("as_of", request, depends)


def _with_outcomes(ingests: Iterable[Ingest], members: Sequence[str], simulated: bool) -> list[Ingest]:
    """Return the ingests, real or simulated, that report deaths of some member of a region."""
    countries = {ALL_COUNTRIES, *members}
    return [
        ingest
        for ingest in ingests
        if ingest.kind in OUTCOME_KINDS
        and ingest.simulated == simulated
        and any(span.partition(":")[0] in countries for span in ingest.covers)
    ]
