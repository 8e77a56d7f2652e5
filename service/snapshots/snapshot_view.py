"""A snapshot as seen at one moment: the age and status of its data, and the keys that every payload shares.

The API, the pages and the command line use it. It reads the store only; it knows nothing of HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.outcomes import OUTCOME_LABELS
from service.settings import Settings
from service.snapshots import snapshot_cache
from service.snapshots.outcome_parts import of_outcome
from service.snapshots.snapshot_cache import Snapshot
from service.store.tables import runs, snapshots
from service.store.values import instant

SUCCESSFUL = ("snapshot", "unchanged", "withdrawn_input")
"""The statuses of a run that read the data and succeeded, also if the data are those of a withdrawn snapshot."""

NOT_IN_SNAPSHOT = "not_in_snapshot"
"""The reason for a value that a snapshot does not have."""

SNAPSHOT_KEYS = (
    "snapshot_id",
    "digest",
    "issued_at",
    "data_as_of",
    "origin",
    "outcome",
    "outcome_label",
    "outcomes",
    "source",
    "licence",
    "model_id",
    "release_class",
    "status",
    "data_age_days",
)
"""The keys of every payload that are null where there is no snapshot."""

RELEASE_CLASSES = ("monthly_candidate", "year_file", "final", "next_final")
"""The release classes of figures, the least settled first; see `riskmodel.reporting.release_class`."""

AS_OF_KEYS = ("as_of", "basis", "data_basis", "model_origin", "computed_at", "vigie")
"""The keys that a payload about a past moment has in addition."""

Status = Literal["fresh", "late", "stale", "history"]


@dataclass(frozen=True)
class AsOf:
    """A past moment, and whether its scores were issued then, recomputed later, or come from a hindcast.

    `data_basis` says which figures they start from.
    """

    moment: datetime
    basis: Literal["issued", "recomputed", "hindcast"]
    computed_at: datetime | None
    data_basis: Literal["as_known", "final_figures"] = "as_known"


@dataclass(frozen=True)
class Withdrawal:
    """A snapshot that was withdrawn, when and why."""

    snapshot_id: int
    at: datetime
    reason: str


@dataclass(frozen=True)
class SnapshotView:
    """One outcome of a snapshot as seen at the moment `now`. Every payload is made from one.

    `document` is the flat document of the outcome (`outcome_parts.of_outcome`).
    `as_of` is set for a past moment; `now` is that moment then. `id` is None for a recomputed snapshot and a hindcast,
    which were never issued. `failing` is true if the newest finished run failed: data that has come in since is not in
    the snapshot.
    `withdrawn` is set if a newer snapshot was withdrawn.
    """

    id: int | None
    digest: str
    document: dict[str, Any]
    settings: Settings
    now: datetime
    next_run_at: datetime | None
    as_of: AsOf | None = None
    failing: bool = False
    withdrawn: Withdrawal | None = None

    @property
    def countries(self) -> list[dict[str, Any]]:
        """The countries' scores: highest risk first, unknown last, then by name."""
        return sorted(
            self.document["countries"],
            key=lambda row: (
                row["risk_score"] is None,
                -(row["risk_score"] or 0.0),
                geography.country(row["location_code"]).name(),
            ),
        )

    @property
    def data_age_days(self) -> int:
        """Days since the last day of the origin month [days]."""
        return (self.now.astimezone(UTC).date() - date.fromisoformat(self.document["data_as_of"])).days

    @property
    def status(self) -> Status:
        """Age of the data as a word; never `fresh` while runs fail. The age of the snapshot does not count.

        `history` are data that shipped with Vigie: nothing newer was ever taken in, so nothing is out of date.
        """
        if self.document["shipped_only"]:
            return "history"
        if self.data_age_days > self.settings.stale_after_days:
            return "stale"
        return "late" if self.failing or self.data_age_days > self.settings.late_after_days else "fresh"

    @property
    def overdue(self) -> bool:
        """Whether the next run should have ended already. If so, the scheduler has probably stopped."""
        grace = timedelta(seconds=self.settings.recompute_deadline_seconds)
        return self.next_run_at is not None and self.now > self.next_run_at + grace


def in_service(
    connection: sa.Connection, settings: Settings, *, simulated: bool, now: datetime, outcome: str | None = None
) -> SnapshotView | None:
    """Return the newest snapshot of the settings' region that is not withdrawn, of real or simulated data.

    Without an `outcome`, it is that of the headline. Raises OutcomeMissing if the snapshot does not have the outcome.
    """
    row = connection.execute(
        sa.select(snapshots.c.id, snapshots.c.digest)
        .where(
            snapshots.c.region == settings.region,
            snapshots.c.simulated == simulated,
            snapshots.c.withdrawn_at.is_(None),
        )
        .order_by(snapshots.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    document = snapshot_cache.document(connection, row.id, row.digest)
    return SnapshotView(
        row.id,
        row.digest,
        of_outcome(document, outcome),
        settings,
        now,
        next_run_at(connection, settings),
        failing=newest_run_failed(connection, settings),
        withdrawn=_withdrawn_after(connection, row.id, settings.region, simulated=simulated),
    )


def _withdrawn_after(connection: sa.Connection, number: int, region: str, *, simulated: bool) -> Withdrawal | None:
    """Return the newest withdrawn snapshot of a region with a greater number."""
    of_region = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    withdrawn = sa.select(snapshots.c.id, snapshots.c.withdrawn_at, snapshots.c.withdrawn_reason).where(
        of_region, snapshots.c.id > number, snapshots.c.withdrawn_at.is_not(None)
    )
    row = connection.execute(withdrawn.order_by(snapshots.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Withdrawal(row.id, row.withdrawn_at, row.withdrawn_reason)


def view_of(
    snapshot: Snapshot, settings: Settings, now: datetime, next_run_at: datetime | None, outcome: str | None = None
) -> SnapshotView:
    """Return any snapshot, withdrawn or not, as seen at `now`. Raises OutcomeMissing."""
    document = of_outcome(snapshot.document, outcome)
    return SnapshotView(snapshot.id, snapshot.digest, document, settings, now, next_run_at)


def next_run_at(connection: sa.Connection, settings: Settings) -> datetime | None:
    """Return when the next run is expected: one interval after the last one started. None before the first run."""
    last = connection.scalar(sa.select(sa.func.max(runs.c.started_at)).where(runs.c.region == settings.region))
    return None if last is None else last + timedelta(minutes=settings.recompute_every_minutes)


def last_success_at(connection: sa.Connection, settings: Settings) -> datetime | None:
    """Return when a run last succeeded, with a new snapshot or without."""
    succeeded = (runs.c.region == settings.region) & runs.c.status.in_(SUCCESSFUL)
    moment: datetime | None = connection.scalar(sa.select(sa.func.max(runs.c.finished_at)).where(succeeded))
    return moment


def newest_run_failed(connection: sa.Connection, settings: Settings) -> bool:
    """Return whether the newest finished run failed."""
    finished = sa.select(runs.c.status).where(runs.c.region == settings.region, runs.c.finished_at.is_not(None))
    status: str | None = connection.scalar(finished.order_by(runs.c.id.desc()).limit(1))
    return status == "failed"


def meta(view: SnapshotView, iso3: str | None = None, reasons: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the keys of every payload: which snapshot, from which data, by which model, how old, real or simulated.

    The release class is that of the origin's figures of the country `iso3`, or of the least settled country of the
    region. `reasons` are those of the payload's own keys.
    """
    document = view.document
    release_class, unknown_class = _release_class(document, iso3)
    past, past_reasons = _as_of_meta(view)
    return {
        "region": document["region"],
        "snapshot_id": view.id,
        "digest": view.digest,
        "issued_at": document.get("issued_at"),  # a recomputed snapshot and a hindcast were never issued
        "data_as_of": document["data_as_of"],
        "origin": document["origin"],
        "outcome": document["outcome"],
        "outcome_label": OUTCOME_LABELS[document["outcome"]],
        "outcomes": document["available_outcomes"],
        "source": document["source"],
        "licence": document["licence"],
        "model_id": document["model"]["id"],
        "release_class": release_class,
        "status": view.status,
        "data_age_days": view.data_age_days,
        "simulated": document["simulated"],
        "next_run_at": instant(view.next_run_at),
        **past,
        "reasons": {
            **({"release_class": unknown_class} if unknown_class else {}),
            **({} if document["licence"] else {"licence": "not_declared"}),
            **past_reasons,
            **(reasons or {}),
        },
    }


def meta_without_snapshot(
    settings: Settings, next_run_at: datetime | None, *, simulated: bool | None
) -> dict[str, Any]:
    """Return the keys of every payload where there is no snapshot: null, with a reason."""
    return {
        "region": settings.region,
        **dict.fromkeys(SNAPSHOT_KEYS),
        "simulated": simulated,
        "next_run_at": instant(next_run_at),
        "reasons": {"snapshot_id": "no_snapshot"},
    }


def _as_of_meta(view: SnapshotView) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the keys that only a payload about a past moment has, and the reasons for those that are null."""
    if view.as_of is None:
        return {}, {}
    keys = {
        "as_of": instant(view.as_of.moment),
        "basis": view.as_of.basis,
        "data_basis": view.as_of.data_basis,
        "model_origin": view.document["model"]["origin"],
        "computed_at": instant(view.as_of.computed_at),
        "vigie": view.document["model"]["vigie"],
    }
    unknown = ("computed_at",) if view.as_of.basis == "issued" else ("snapshot_id", "issued_at")
    if view.as_of.basis == "hindcast":
        unknown = (*unknown, "model_id")
    return keys, {"next_run_at": "past", **dict.fromkeys(unknown, view.as_of.basis)}


def _release_class(document: Mapping[str, Any], iso3: str | None) -> tuple[str | None, str | None]:
    """Return the release class of a country or of the least settled one, or the reason why none is known."""
    rows = [row for row in document["countries"] if iso3 in (None, row["location_code"])]
    classes = [row["latest_month"]["release_class"] for row in rows if row["latest_month"]]
    if classes:
        return min(classes, key=RELEASE_CLASSES.index), None
    reasons = [row["reasons"]["latest_month"] for row in rows]
    # A country without data says nothing about the region: any other reason is more useful.
    return None, next((reason for reason in reasons if reason != "no_history"), "no_history")
