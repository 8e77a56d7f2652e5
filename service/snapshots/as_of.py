"""What Vigie said, or would have said, at a past moment: which snapshot answers, and how the question is put
that none of them answers.

Light enough for the web process: it reads the store and the archive's list of ingests, and computes nothing.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel import __version__, bundle, geography
from riskmodel.errors import BadInput
from riskmodel.events import manifest
from riskmodel.events.manifest import OUTCOME_KINDS, Ingest
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.settings import Settings
from service.snapshots import snapshot_cache
from service.snapshots.read_model import Past, Served
from service.store.tables import snapshots
from service.store.task_queue import Question
from service.store.values import instant

WORLD = "*"
"""Stands for all countries in what an ingest covers."""


class NothingKnown(Exception):
    """Nothing was known at a moment; `since` is when something first was, None if nothing is even now."""

    def __init__(self, since: datetime | None) -> None:
        super().__init__("nothing was known then")
        self.since = since


def issued(connection: sa.Connection, settings: Settings, *, simulated: bool, when: datetime) -> Served | None:
    """The newest snapshot that was issued by then and still stands, as it stood then.

    One that was withdrawn, be it later, never answers: the one before it is in service in its place.
    """
    row = connection.execute(
        sa.select(snapshots.c.id, snapshots.c.digest)
        .where(
            snapshots.c.region == settings.region,
            snapshots.c.simulated == simulated,
            snapshots.c.issued_at <= when,
            snapshots.c.withdrawn_at.is_(None),
        )
        .order_by(snapshots.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    document = snapshot_cache.document(connection, row.id, row.digest)
    return Served(row.id, row.digest, document, settings, when, None, Past(when, "issued", None))


def recomputed(task: sa.Row[Any], settings: Settings, when: datetime) -> Served:
    """What a task that is done found, as of the moment that is asked for."""
    answer = task.answer
    past = Past(when, "recomputed", task.finished_at)
    return Served(None, answer["digest"], answer["document"], settings, when, None, past)


def question(home: Home, settings: Settings, when: datetime, *, simulated: bool) -> Question:
    """What is to be computed where no snapshot answers. Raises NothingKnown.

    Moments at which the same was known are one question: the answer depends on the data of then, on the region, the
    outcome and the settings of now, and on this Vigie's code.
    """
    ingests, members = manifest.read(home.archive), geography.region(settings.region).members
    then = manifest.in_service(ingests, when)
    if not _speaking(then, members, simulated):
        standing = _speaking([ingest for ingest in ingests if ingest.known(None)], members, simulated)
        raise NothingKnown(min((datetime.fromisoformat(ingest.learned) for ingest in standing), default=None))
    outcome = _outcome(home, simulated)
    data = manifest.digest(then)
    told = {"as_of": instant(when), "region": settings.region, "outcome": outcome, "data_digest": data}
    depends = [data, settings.region, outcome, settings.bands, settings.drivers, __version__]
    return Question.of("as_of", told, depends)


def _speaking(ingests: Iterable[Ingest], members: Sequence[str], simulated: bool) -> list[Ingest]:
    """Those of one realm that tell deaths of some member of a region."""
    wanted = {WORLD, *members}
    return [
        ingest
        for ingest in ingests
        if ingest.kind in OUTCOME_KINDS
        and ingest.simulated == simulated
        and any(span.partition(":")[0] in wanted for span in ingest.covers)
    ]


def _outcome(home: Home, simulated: bool) -> str:
    """The deaths that are forecast now: those of the model in service, and without one what a first would be of."""
    path = bundle.champion(home.models, simulated=simulated)
    if path is None or not (path / bundle.MANIFEST).exists():
        return OUTCOMES[0]
    try:
        said = json.loads((path / bundle.MANIFEST).read_text(encoding="utf-8"))["outcome"]
    except (ValueError, KeyError):
        said = None
    if said not in OUTCOMES:
        raise BadInput(f"the model {path.name} does not say which outcome it is of")
    return str(said)
