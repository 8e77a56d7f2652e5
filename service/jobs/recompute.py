"""One recompute: what the archive says becomes scores, and these a snapshot, in one transaction with the alerts.

A run whose input has not changed makes no snapshot. A run that fails or is killed leaves the snapshot before it in
service; the next run marks what a killed one left behind.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from riskmodel import __version__, assessment, geography
from riskmodel.assessment import Assessment
from riskmodel.bundle import Bundle, challenger, champion, load
from riskmodel.country_scores import country_scores
from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.explanation import drivers, narrative, neighbour_effects
from riskmodel.forecasting.baselines import Conflictology, History, Last, Zero
from riskmodel.forecasting.escalation import RULE_MONTHS, escalation_from_history
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.pool import SMOOTHED_HISTORY
from riskmodel.home import Home
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month, last_day
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting import counts, precision
from riskmodel.reporting.completeness import MATURE_AGE, Completeness, ReportedShare
from riskmodel.reporting.under_reporting import few_reports_warning, few_reports_warning_of_region
from service import logs
from service.alerts import lifecycle
from service.alerts.rules import Rule
from service.jobs import draws, public_events
from service.jobs.draws import Kept
from service.settings import Settings
from service.snapshots import change_feed, history, ledger
from service.store.database import Store
from service.store.leases import Fence, check
from service.store.tables import forecasts, runs, snapshots
from service.store.values import canonical, instant

OBSERVED = 36
"""How many observed months a snapshot carries [months]."""

COUPS = "Powell & Thyne (2011), doi:10.1177/0022343310397436, and later press"
"""Whose coups the shipped list tells."""

BASELINES = (Zero(), Last(), Conflictology(), History(), SMOOTHED_HISTORY)
"""What every forecast is held against when its months have come."""

log = logging.getLogger("vigie.recompute")

REGION = "*"
"""Stands for all countries of the region together."""


@dataclass(frozen=True)
class Done:
    """What a run came to: `snapshot_id` is the one in service; `issued` says whether this run made it."""

    run_id: int
    snapshot_id: int
    issued: bool
    transitions: int

    @property
    def said(self) -> str:
        """In words."""
        what = "issued" if self.issued else "still stands: nothing has changed"
        return f"run {self.run_id}: snapshot {self.snapshot_id} {what}; {self.transitions} alert transitions"


def recompute(
    home: Home,
    settings: Settings,
    store: Store,
    rules: Sequence[Rule],
    clock: Callable[[], datetime],
    fence: Fence | None = None,
) -> Done:
    """Run once; two at a time, over one database, wait for each other. `fence` is the scheduler's turn, if this is one.

    Raises BadInput where there is nothing to score, and Refused for a model that does not fit the data or was altered;
    the run is then kept as failed, with the reason. Raises Superseded, and writes nothing, once another has the turn.
    """
    with store.exclusive("recompute", settings.recompute_deadline_seconds):
        abandon(store, clock(), "killed before it was done", fence)
        with store.writing() as connection:
            check(connection, fence)
            started = {"region": settings.region, "started_at": clock(), "status": "running"}
            run_id = connection.execute(sa.insert(runs).values(started).returning(runs.c.id)).scalar_one()
        with logs.bind(run_id=run_id):
            try:
                done = _issue(home, settings, store, rules, run_id, clock, fence)
            except Exception as failure:
                log.error("run %d failed: %s", run_id, _told(failure, home))
                with store.writing() as connection:
                    check(connection, fence)
                    _finish(connection, run_id, clock(), status="failed", error=_told(failure, home))
                raise
            log.info(done.said)
            return done


def _told(failure: Exception, home: Home) -> str:
    """A failure as the public list of runs tells it: without where the home stands on this machine."""
    if isinstance(failure, VigieError):
        return str(failure).replace(str(home.root), "VIGIE_HOME")
    return "a fault of Vigie's own; the traceback is in the logs of the home"


def abandon(store: Store, now: datetime, why: str, fence: Fence | None) -> None:
    """Mark the runs that began and never ended as failed. Raises Superseded."""
    with store.writing() as connection:
        check(connection, fence)
        left = runs.c.status == "running"
        connection.execute(sa.update(runs).where(left).values(status="failed", finished_at=now, error=why))


def _issue(
    home: Home,
    settings: Settings,
    store: Store,
    rules: Sequence[Rule],
    run_id: int,
    clock: Callable[[], datetime],
    fence: Fence | None,
) -> Done:
    view, bundle = read(home)
    simulated = view.simulated
    ingredients = [view.digest, bundle.digest, settings.region, settings.bands, settings.drivers, __version__]
    input_digest = hashlib.sha256(canonical({"input": ingredients}).encode()).hexdigest()
    with store.reading() as connection:
        _not_withdrawn(connection, settings.region, input_digest)
        before = _last(connection, settings.region, simulated)
    changed = before is None or before.input_digest != input_digest
    said, files = content(view, bundle, settings, Shadow.of(home, view, bundle)) if changed else ({}, [])
    shown = public_events.changed(store, view, settings.region)
    with store.writing() as connection:
        check(connection, fence)
        before = _last(connection, settings.region, simulated)
        now = clock()
        snapshot = _insert(connection, said, files, before, input_digest, now) if before is None or changed else before
        if snapshot is not before:
            change_feed.snapshot_issued(connection, snapshot, before.document if before else None, now)
        history.add_missing(connection)
        if shown:
            shown.keep(connection)
        document = snapshot.document
        transitions = lifecycle.evaluate(
            connection,
            rules=rules,
            document=document,
            run_id=run_id,
            snapshot_id=snapshot.id,
            now=now,
            data_age_days=(now.date() - date.fromisoformat(document["data_as_of"])).days,
            causes=document["causes"] if changed else (),
            first=changed and document["first"],
        )
        status = "snapshot" if changed else "unchanged"
        _finish(connection, run_id, now, status=status, input_digest=input_digest, snapshot_id=snapshot.id)
    return Done(run_id, snapshot.id, changed, len(transitions))


def read(home: Home) -> tuple[View, Bundle]:
    """The archive as it is now, and the champion model that was trained on such data."""
    view = Archive(home.archive).view()
    if not view.ingests:
        raise BadInput("the archive is empty: vigie ingest takes files in")
    view.verify()
    path = champion(home.models, simulated=view.simulated)
    if path is None:
        kind = "simulated" if view.simulated else "real"
        raise BadInput(f"there is no model trained on {kind} data: vigie train makes one")
    return view, load(path)


@dataclass(frozen=True)
class Shadow:
    """The challenger that forecasts beside the model in service: `name` is its id, `why_not` why it cannot."""

    name: str
    bundle: Bundle | None = None
    why_not: str = ""

    @classmethod
    def of(cls, home: Home, view: View, champion: Bundle) -> "Shadow | None":
        """The challenger of a home, loaded if it can be; whatever is wrong with it is its own affair."""
        name = "unknown"
        try:
            path = challenger(home.models, simulated=view.simulated)
            if path is None or path.name == champion.id:
                return None
            name, bundle = path.name, load(path)
        except Exception as broken:
            log.warning("the challenger %s cannot run in the shadow: %s", name, broken)
            return cls(name, why_not=_told(broken, home))
        if bundle.outcome != champion.outcome:
            return cls(name, why_not=f"it forecasts {bundle.outcome} deaths")
        return cls(name, bundle)

    def forecast(self, panel: Panel, origin: Month, *, simulated: bool) -> tuple[list[Kept], dict[str, Any]]:
        """Its draws, and what the snapshot says of it; without draws a reason."""
        facts: dict[str, Any] = {"model_id": self.name, **dict.fromkeys(("digest", "origin", "escalation_probability"))}
        facts |= {"reason": self.why_not or None}
        if self.bundle is None:
            return [], facts
        facts |= {"digest": self.bundle.digest, "origin": str(self.bundle.origin)}
        try:
            forecast = self.bundle.model.forecast(panel, origin)
            if (forecast.iso3, forecast.origin) != (panel.iso3, origin) or (forecast.draws < 0).any():
                raise ValueError("what it answers is no forecast of these countries")
            said = _chances(panel, self.bundle.escalation.probabilities(panel, forecast).probability)
            files = draws.kept("shadow", self.name, forecast, simulated=simulated)
            return files, facts | {"escalation_probability": said}
        except Exception as broken:
            log.warning("the challenger %s failed in the shadow: %s", self.name, broken)
            return [], {**facts, "reason": f"it failed: {type(broken).__name__}"}


def _chances(panel: Panel, probability: NDArray[np.float64]) -> dict[str, float | None]:
    """Probabilities by country; unknown is null."""
    known = zip(panel.iso3, probability.tolist(), strict=True)
    return {iso3: None if np.isnan(chance) else round(chance, 4) for iso3, chance in known}


def _files(bundle: Bundle, panel: Panel, forecast: Forecast, *, simulated: bool) -> list[Kept]:
    """The draws that are served, and the baselines' beside them."""
    beside = [
        file
        for simple in BASELINES
        for file in draws.kept("baseline", simple.name, simple.forecast(panel, forecast.origin), simulated=simulated)
    ]
    return [*draws.kept("served", bundle.id, forecast, simulated=simulated), *beside]


def content(
    view: View, bundle: Bundle, settings: Settings, shadow: Shadow | None = None
) -> tuple[dict[str, Any], list[Kept]]:
    """What a snapshot says, apart from its place in the chain, and the draws behind it."""
    members, outcome = geography.region(settings.region).members, bundle.outcome
    origin = assessment.region_origin(view, members, outcome)
    seen = assessment.assess(view, members, outcome, origin)
    observed, expected, completeness, panel = seen.observed, seen.expected, seen.completeness, seen.panel
    forecast = bundle.model.forecast(panel, origin)
    files = _files(bundle, panel, forecast, simulated=view.simulated)
    shadowing, shadowed = shadow.forecast(panel, origin, simulated=view.simulated) if shadow else ([], None)
    files += shadowing
    escalating = bundle.escalation.probabilities(panel, forecast)
    scored = {row["location_code"]: row for row in country_scores(forecast, expected, settings.bands, escalating)}
    driven = drivers.compute(bundle.model, seen) if settings.drivers else {}
    warnings = _data_quality(view, observed, completeness, members)
    sources = {iso3: view.sources(iso3, origin) for iso3 in members}
    said = {
        "region": settings.region,
        "origin": str(origin),
        "data_as_of": last_day(origin),
        "outcome": outcome,
        "simulated": view.simulated,
        "source": ", ".join(
            sorted({str(part["source"]) for parts in sources.values() for part in parts if part["last"] == str(origin)})
        ),
        "data": {
            "digest": view.digest,
            "ingests": [
                {
                    name: getattr(ingest, name)
                    for name in ("id", "source", "release", "file", "known_since", "simulated")
                }
                for ingest in view.ingests
            ],
        },
        "model": {
            "id": bundle.id,
            "digest": bundle.digest,
            "origin": str(bundle.origin),
            "trained_at": bundle.trained_at,
            "vigie": __version__,
        },
        "shadow": shadowed,
        "escalation_h24": _chances(panel, escalation_from_history(panel.history(origin, RULE_MONTHS))),
        **draws.told(files),
        "bands": settings.bands,
        "data_quality": warnings[REGION],
        "indicator_families": _declared(panel),
        "indicator_sources": _beside(view, seen),
        "neighbour_effects": narrative.neighbour_effects_payload(neighbour_effects.compute(bundle.model, seen))
        if settings.drivers
        else None,
        "countries": [
            {
                **_with_drivers(_with_completeness(scored[iso3], completeness, origin), driven, seen),
                "data_quality": warnings[iso3],
                "observed": _observed(observed, iso3, outcome),
                "nowcast": _nowcast(observed, expected, completeness, iso3),
                "sources": sources[iso3],
                "indicators": _indicators(panel, iso3, 0),
                "indicators_before": _indicators(panel, iso3, assessment.EARLIER_ORIGINS),
            }
            for iso3 in members
        ],
    }
    return said, files


def _observed(observed: CountryMonths, iso3: str, outcome: str) -> list[dict[str, Any]]:
    """The last observed months of a country; unknown is null."""
    deaths = observed.deaths[outcome][observed.iso3.index(iso3), -OBSERVED:]
    return [
        {"month": str(month), "deaths": None if np.isnan(value) else int(value)}
        for month, value in zip(observed.months[-OBSERVED:], deaths, strict=True)
    ]


def _with_completeness(scored: dict[str, Any], completeness: Completeness, origin: Month) -> dict[str, Any]:
    """A country's scores with how much of the origin's deaths is reported, or why that is not known."""
    share = completeness.share_of_month(scored["location_code"], origin)
    if share is not None:
        return {**scored, "completeness": {"month": str(origin), **_rounded(share)}}
    why = {"no_history", "history_ends_early"} & {scored["reasons"].get("risk_score")}
    return {
        **scored,
        "completeness": None,
        "reasons": {**scored["reasons"], "completeness": why.pop() if why else "no_vintages"},
    }


def _beside(view: View, seen: Assessment) -> list[dict[str, str]]:
    """What indicators are computed from beside the deaths of the outcome: which kind of data, from whom."""
    told = [{"kind": i.kind, "source": i.label} for i in view.ingests if i.kind != "country_months"]
    if "coups" in seen.inputs.available:
        told.append({"kind": "coups", "source": COUPS})
    return [part for place, part in enumerate(told) if part not in told[:place]]


def _declared(panel: Panel) -> list[dict[str, Any]]:
    """What the indicators are, and which of them lack an input."""
    families = narrative.families_payload(panel.outcome)
    for family in families:
        for indicator in family["indicators"]:
            indicator["input_missing"] = indicator["name"] in panel.absent
    return families


def _indicators(panel: Panel, iso3: str, earlier: int) -> dict[str, float | None]:
    """A country's indicators so many months before the origin [months]; unknown is null."""
    values = panel.values[panel.iso3.index(iso3)]
    if earlier >= len(values):
        return dict.fromkeys(panel.names)
    return {
        name: None if np.isnan(value) else round(value, 4)
        for name, value in zip(panel.names, values[-1 - earlier].tolist(), strict=True)
    }


def _with_drivers(scored: dict[str, Any], driven: Mapping[str, Any], seen: Assessment) -> dict[str, Any]:
    """A country's scores with what drives them, or why that cannot be said."""
    iso3 = scored["location_code"]
    if not driven.get(iso3):
        why = scored["reasons"].get("risk_score", "not_asked")
        return {**scored, "drivers": None, "reasons": {**scored["reasons"], "drivers": why}}
    served = {"risk_score": scored["risk_score"], "escalation_from_draws": 100 * scored["escalation_from_draws"]}
    return {**scored, "drivers": narrative.drivers_payload(driven[iso3], seen, iso3, served)}


def _nowcast(
    observed: CountryMonths, expected: CountryMonths, completeness: Completeness, iso3: str
) -> list[dict[str, Any]]:
    """The newest months of a country that are known to be reported in part, and what is expected of them in the end."""
    row, outcome = observed.iso3.index(iso3), completeness.outcome
    months = []
    for place in range(max(len(observed.months) - MATURE_AGE, 0), len(observed.months)):
        share = completeness.share_of_month(iso3, observed.months[place])
        if share is not None and share.low < 1:
            said = {"reported": observed.deaths[outcome][row, place], "expected": expected.deaths[outcome][row, place]}
            month = {"month": str(observed.months[place]), **{name: int(deaths) for name, deaths in said.items()}}
            months.append({**month, **_rounded(share)})
    return months


def _rounded(share: ReportedShare) -> dict[str, float]:
    return {name: round(value, 4) for name, value in share._asdict().items()}


def _data_quality(
    view: View, observed: CountryMonths, completeness: Completeness, members: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """The warnings about the data of each member, and about the region's as a whole under `REGION`."""
    whole, outcome = view.outcomes(), completeness.outcome
    until = int(np.searchsorted(whole.months, observed.months[-1], side="right"))
    known = [iso3 for iso3 in members if iso3 in whole.iso3]
    rows = whole.rows(tuple(known))
    events, deaths, share = (
        table[rows, :until] for table in (counts.event_counts(view, "all"), whole.deaths[outcome], completeness.events)
    )
    vague = precision.precision_warnings(view, members, observed.months[-1])
    silent = {iso3: few_reports_warning(events[i], deaths[i], share[i]) for i, iso3 in enumerate(known)}
    whole_region = few_reports_warning_of_region(events, deaths, share)
    return {REGION: whole_region, **{iso3: silent.get(iso3, []) + vague[iso3] for iso3 in members}}


def _last(connection: sa.Connection, region: str, simulated: bool) -> sa.Row[Any] | None:
    """The snapshot in service."""
    of_region = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    standing = sa.select(snapshots).where(of_region, snapshots.c.withdrawn_at.is_(None))
    return connection.execute(standing.order_by(snapshots.c.id.desc())).first()


def _not_withdrawn(connection: sa.Connection, region: str, input_digest: str) -> None:
    """Raises Refused for an input whose snapshot was withdrawn: computing it again would say the same wrong things."""
    same = (snapshots.c.region == region) & (snapshots.c.input_digest == input_digest)
    withdrawn = sa.select(snapshots).where(same, snapshots.c.withdrawn_at.is_not(None))
    if row := connection.execute(withdrawn.order_by(snapshots.c.id.desc())).first():
        raise Refused(
            f"the data and the model are those of snapshot {row.id}, which was withdrawn ({row.withdrawn_reason}): "
            "take in what is right, or vigie archive withdraw what is wrong"
        )


def _insert(
    connection: sa.Connection,
    content: dict[str, Any],
    files: Sequence[Kept],
    before: sa.Row[Any] | None,
    input_digest: str,
    now: datetime,
) -> sa.Row[Any]:
    """Put a snapshot at the end of the chain, with the draws behind it."""
    now = now.replace(microsecond=0)  # as the document tells it, so that its digest covers the row too
    newest = connection.execute(sa.select(snapshots.c.id, snapshots.c.digest).order_by(snapshots.c.id.desc())).first()
    document = {
        **content,
        "id": newest.id + 1 if newest else 1,
        "previous_digest": newest.digest if newest else None,
        "issued_at": instant(now),
        "input_digest": input_digest,
        "withdrawals": ledger.withdrawals(connection),
        "first": before is None,
        "causes": ["first"] if before is None else causes(before.document, content),
    }
    row = {
        "id": document["id"],
        "region": content["region"],
        "simulated": content["simulated"],
        "issued_at": now,
        "input_digest": input_digest,
        "previous_digest": document["previous_digest"],
        "digest": hashlib.sha256(canonical(document).encode()).hexdigest(),
        "document": document,
    }
    connection.execute(sa.insert(snapshots).values(row))
    if files:
        connection.execute(sa.insert(forecasts), [{"snapshot_id": row["id"], **file.row} for file in files])
    return connection.execute(sa.select(snapshots).where(snapshots.c.id == row["id"])).one()


def causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Why a snapshot differs from the one before it: new_month, revision, model, settings; in that order.

    A revision is a change of what is said of months that both snapshots show.
    """
    known = {(c["location_code"], o["month"]): o["deaths"] for c in before["countries"] for o in c["observed"]}
    revised = any(
        known.get((country["location_code"], seen["month"]), seen["deaths"]) != seen["deaths"]
        for country in after["countries"]
        for seen in country["observed"]
    )
    found = {
        "new_month": after["origin"] != before["origin"],
        "revision": revised,
        "model": any(after["model"][part] != before["model"][part] for part in ("digest", "vigie")),
        "settings": after["bands"] != before["bands"],
    }
    return [cause for cause, is_so in found.items() if is_so] or ["revision"]


def _finish(connection: sa.Connection, run_id: int, now: datetime, **outcome: Any) -> None:
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(finished_at=now, **outcome))
