"""Compute what a snapshot contains: scores, forecasts, drivers, signals, indicators and data quality of a region."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskmodel import __version__, assessment, geography, refits
from riskmodel.assessment import Assessment
from riskmodel.bundle import Bundle, challenger, load
from riskmodel.country_scores import country_scores
from riskmodel.events import manifest
from riskmodel.events.view import View
from riskmodel.explanation import narrative, signals
from riskmodel.explanation.signals import Observations
from riskmodel.forecasting.baselines import BASELINES
from riskmodel.forecasting.escalation import RULE_MONTHS, escalation_from_history
from riskmodel.forecasting.forecast import Forecast
from riskmodel.home import Home
from riskmodel.indicators.panel import Panel
from riskmodel.months import last_day
from riskmodel.outcomes import ranked
from riskmodel.reporting import counts, precision
from riskmodel.reporting.release_class import RELEASE_CLASSES
from riskmodel.reporting.under_reporting import few_reports_warning, few_reports_warning_of_region
from riskmodel.reporting.unsettled import RevisedMonth
from service.jobs import draws, explanations, forked_work
from service.jobs.draws import StoredForecast
from service.jobs.public_errors import public_error
from service.jobs.served_models import ServedModels
from service.settings import Settings

OBSERVED_MONTHS = 36
"""How many observed months a snapshot contains for each country."""

OPEN_SOURCES = {"ucdp": "UCDP", "unhcr": "UNHCR"}
"""The sources under CC BY 4.0, with the name that they ask for."""

SIMULATED_LICENCE = "CC0-1.0"

COUPS_SOURCE = "Powell & Thyne (2011), doi:10.1177/0022343310397436, and later press"
"""The source of the list of coups that comes with Vigie."""

Warnings = list[dict[str, Any]]

log = logging.getLogger("vigie.recompute")


@dataclass(frozen=True)
class SnapshotContent:
    """The content of a snapshot, without its place in the chain of snapshots, and the draws behind it.

    `document` has what the outcomes share, and under `outcomes` the part of each.
    """

    document: dict[str, Any]
    forecasts: list[StoredForecast]


@dataclass(frozen=True)
class Challenger:
    """The challenger: a model that forecasts in the shadow of the model in service, and is not served.

    Without `bundle` it cannot forecast, and `reason` says why.
    """

    name: str
    bundle: Bundle | None = None
    reason: str | None = None

    @classmethod
    def of(cls, home: Home, champion: Bundle, *, simulated: bool) -> "Challenger | None":
        """Load the challenger of a model in service, if there is one. Its faults never stop the recompute."""
        name = "unknown"
        try:
            path = challenger(home.models, simulated=simulated, outcome=champion.outcome)
            if path is None or path.name == champion.id:
                return None
            name, bundle = path.name, load(path)
        except Exception as broken:
            log.warning("the challenger %s cannot forecast: %s", name, broken)
            return cls(name, reason=public_error(broken, home))
        return cls(name, bundle)

    def forecast(self, assessed: Assessment, *, simulated: bool) -> tuple[list[StoredForecast], dict[str, Any]]:
        """Return its draws, and what the snapshot says about it. If it fails, there are no draws but a reason."""
        facts: dict[str, Any] = {
            "model_id": self.name,
            **dict.fromkeys(("digest", "origin", "escalation_probability")),
            "reason": self.reason,
        }
        if self.bundle is None:
            return [], facts
        facts |= {"digest": self.bundle.digest, "origin": str(self.bundle.origin)}
        try:
            panel, forecast = assessed.panel, assessed.forecast(self.bundle.model)
            if (forecast.iso3, forecast.origin) != (panel.iso3, assessed.origin) or (forecast.draws < 0).any():
                raise ValueError("it returned no forecast of these countries")
            escalation = _probabilities(panel, self.bundle.escalation.probabilities(panel, forecast).probability)
            stored = draws.to_store("shadow", self.name, forecast, simulated=simulated)
        except Exception as broken:
            log.warning("the challenger %s failed: %s", self.name, broken)
            return [], {**facts, "reason": f"it failed: {type(broken).__name__}"}
        return stored, facts | {"escalation_probability": escalation}


def build(
    view: View,
    models: ServedModels,
    settings: Settings,
    find_challenger: Callable[[Bundle], Challenger | None] = lambda champion: None,
    before: Mapping[str, Any] | None = None,
) -> SnapshotContent:
    """Compute the content of a snapshot of the settings' region, with every outcome that has a model.

    `find_challenger` returns the challenger of a model in service. `before` is the document of the snapshot in service:
    explanations that cannot have changed are taken from it. Raises BadInput if no country of the region has a history.
    """
    parts_before = before["outcomes"] if before else {}
    observations = signals.observe(view, geography.region(settings.region).members)

    def build_part(outcome: str) -> tuple[dict[str, Any], list[StoredForecast]]:
        bundle = load(models.bundles[outcome])
        return _build_part(view, bundle, settings, find_challenger(bundle), observations, parts_before.get(outcome))

    built = dict(zip(models.bundles, forked_work.for_each(build_part, list(models.bundles)), strict=True))
    parts = {outcome: part for outcome, (part, _) in built.items()}
    stored = [forecast for _, forecasts in built.values() for forecast in forecasts]
    document = {
        "region": settings.region,
        "simulated": view.simulated,
        "licence": _licence(view),
        "shipped_only": view.shipped_only,
        "data": {"digest": view.digest, "ingests": _ingests(view)},
        "bands": settings.bands,
        "outcome": ranked({outcome: part["origin"] for outcome, part in parts.items()})[0],
        "missing_outcomes": dict(models.missing),
        "outcomes": parts,
    }
    return SnapshotContent(document, stored)


def _build_part(
    view: View,
    bundle: Bundle,
    settings: Settings,
    shadow: Challenger | None,
    observations: Observations,
    before: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], list[StoredForecast]]:
    """Return the part of one outcome, and its draws. `before` is the part of the snapshot in service."""
    members, outcome = geography.region(settings.region).members, bundle.outcome
    origin = assessment.region_origin(view, members, outcome)
    assessed = assessment.assess(view, members, outcome, origin)
    panel, forecast = assessed.panel, assessed.forecast(bundle.model)
    stored = _served_and_baselines(bundle, assessed, forecast, simulated=view.simulated)
    in_shadow, challenger_facts = shadow.forecast(assessed, simulated=view.simulated) if shadow else ([], None)
    stored += in_shadow
    escalation = bundle.escalation.probabilities(panel, forecast)
    scores = {
        row["location_code"]: row for row in country_scores(forecast, assessed.expected, settings.bands, escalation)
    }
    served = {iso3: _explained_targets(score) for iso3, score in scores.items() if score["risk_score"] is not None}
    explained = explanations.explain(bundle, assessed, served, before) if settings.drivers else None
    region_warnings, country_warnings = _data_quality(view, assessed)
    stands_out = {country["location_code"]: country for country in observations.of(outcome).at(origin)}
    sources = {iso3: view.sources(iso3, origin, outcome) for iso3 in members}
    part = {
        "origin": str(origin),
        "data_as_of": last_day(origin),
        "newer_data": {iso3: str(last) for iso3, last in view.newer_data(members, origin, outcome).items()},
        "source": _sources_of_month(sources, str(origin)),
        "model": {
            "id": bundle.id,
            "digest": bundle.digest,
            "origin": str(bundle.origin),
            "trained_at": bundle.trained_at,
            "revised_share": _revised_share(view, bundle),
            "vigie": __version__,
        },
        "shadow": challenger_facts,
        "escalation_h24": _probabilities(panel, escalation_from_history(panel.history(origin, RULE_MONTHS))),
        **draws.digests(stored),
        "data_quality": region_warnings,
        "indicator_families": _families(panel),
        "indicator_sources": _indicator_sources(view, assessed),
        "signals_note": signals.note(),
        "neighbour_effects": explained.neighbour_effects if explained else None,
        "explanation_digests": explained.digests if explained else None,
        "countries": [
            {
                **signals.with_signals(
                    _with_drivers(
                        _with_latest_month(scores[iso3], assessed),
                        explained.drivers[iso3] if explained else None,
                    ),
                    stands_out[iso3],
                ),
                "data_quality": country_warnings[iso3],
                "observed": _observed(assessed, iso3),
                "sources": sources[iso3],
                "indicators": _indicators(panel, iso3, 0),
                "indicators_before": _indicators(panel, iso3, assessment.EARLIER_ORIGINS),
            }
            for iso3 in members
        ],
    }
    return part, stored


def _served_and_baselines(
    bundle: Bundle, assessed: Assessment, forecast: Forecast, *, simulated: bool
) -> list[StoredForecast]:
    stored = draws.to_store("served", bundle.id, forecast, simulated=simulated)
    for baseline in BASELINES:
        simple = assessed.forecast(baseline)
        stored += draws.to_store("baseline", baseline.name, simple, simulated=simulated)
    return stored


def _probabilities(panel: Panel, probabilities: NDArray[np.float64]) -> dict[str, float | None]:
    """Return probabilities by country; unknown is None."""
    by_country = zip(panel.iso3, probabilities.tolist(), strict=True)
    return {iso3: None if np.isnan(probability) else round(probability, 4) for iso3, probability in by_country}


def _sources_of_month(sources: Mapping[str, Sequence[Mapping[str, Any]]], month: str) -> str:
    """Return the names of the sources that have data for a month, separated by commas."""
    return ", ".join(
        sorted({str(part["source"]) for parts in sources.values() for part in parts if part["last"] == month})
    )


def _licence(view: View) -> str | None:
    """Return the licence of the data and who asks to be named, as it has to stand wherever figures show.

    It names the sources whose terms Vigie does not know. None if only such sources count.
    """
    if view.simulated:
        return SIMULATED_LICENCE
    named = {OPEN_SOURCES[ingest.source] for ingest in view.ingests if ingest.source in OPEN_SOURCES}
    if not named:
        return None
    others = {ingest.label for ingest in view.ingests if ingest.source not in OPEN_SOURCES}
    rest = f" (terms not known: {', '.join(sorted(others))})" if others else ""
    return f"CC BY 4.0 · {', '.join(sorted(named))}{rest}"


def _ingests(view: View) -> list[dict[str, Any]]:
    names = ("id", "source", "release", "file", "known_since", "simulated")
    return [{name: getattr(ingest, name) for name in names} for ingest in view.ingests]


def _indicator_sources(view: View, assessed: Assessment) -> list[dict[str, str]]:
    """Return the sources of the indicators other than the deaths of the outcome: kind of data and name, each once."""
    sources = [
        {"kind": ingest.kind, "source": ingest.label} for ingest in view.ingests if ingest.kind != "country_months"
    ]
    if "coups" in assessed.inputs.available:
        sources.append({"kind": "coups", "source": COUPS_SOURCE})
    return [source for position, source in enumerate(sources) if source not in sources[:position]]


def _families(panel: Panel) -> list[dict[str, Any]]:
    """Return the declarations of the indicators by family; `input_missing` marks those whose input is missing."""
    families = narrative.families_payload(panel.outcome)
    for family in families:
        for indicator in family["indicators"]:
            indicator["input_missing"] = indicator["name"] in panel.absent
    return families


def _indicators(panel: Panel, iso3: str, months_before: int) -> dict[str, float | None]:
    """Return a country's indicators some months before the origin; unknown is None."""
    values = panel.values[panel.iso3.index(iso3)]
    if months_before >= len(values):
        return dict.fromkeys(panel.names)
    return {
        name: None if np.isnan(value) else round(value, 4)
        for name, value in zip(panel.names, values[-1 - months_before].tolist(), strict=True)
    }


def _observed(assessed: Assessment, iso3: str) -> list[dict[str, Any]]:
    """Return the last observed months of a country; unknown deaths are None.

    A month whose figure can still change also has its release class and what its final figure will be.
    """
    observed = assessed.observed
    deaths = observed.deaths[assessed.outcome][observed.iso3.index(iso3), -OBSERVED_MONTHS:]
    return [
        {
            "month": str(month),
            "deaths": None if np.isnan(value) else int(value),
            **(_revised(revised) if (revised := assessed.final.month(iso3, month)) else {}),
        }
        for month, value in zip(observed.months[-OBSERVED_MONTHS:], deaths, strict=True)
    ]


def _revised(month: RevisedMonth) -> dict[str, Any]:
    figures = {name: int(getattr(month, name)) for name in ("reported", "p05", "p25", "p75", "p95")}
    return {**figures, "expected_final": round(month.expected, 1), "release_class": month.release_class}


def _with_latest_month(scores: dict[str, Any], assessed: Assessment) -> dict[str, Any]:
    """Add to a country's scores the figure of the origin: reported, expected and how settled; or why it is not known.

    A settled figure is its own expectation and interval.
    """
    observed, iso3 = assessed.observed, scores["location_code"]
    row = observed.iso3.index(iso3)
    reported = float(observed.deaths[assessed.outcome][row, -1])
    if np.isnan(reported):
        known = np.isfinite(observed.deaths[assessed.outcome][row]).any()
        reason = "history_ends_early" if known else "no_history"
        return {**scores, "latest_month": None, "reasons": {**scores["reasons"], "latest_month": reason}}
    settled = RELEASE_CLASSES[assessed.reporting.classes_of(observed)[row, -1]]
    revised = assessed.final.month(iso3, assessed.origin) or RevisedMonth(*(reported,) * 6, settled)
    return {**scores, "latest_month": {"month": str(assessed.origin), **_revised(revised)}}


def _explained_targets(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores that are explained, as the snapshot serves them [points]."""
    return {"risk_score": scores["risk_score"], "escalation_from_draws": 100 * scores["escalation_from_draws"]}


def _with_drivers(scores: dict[str, Any], drivers: dict[str, Any] | None) -> dict[str, Any]:
    """Add to a country's scores what drives them, or why there are no drivers."""
    if drivers:
        return {**scores, "drivers": drivers}
    reason = scores["reasons"].get("risk_score", "not_asked")
    return {**scores, "drivers": None, "reasons": {**scores["reasons"], "drivers": reason}}


def _revised_share(view: View, bundle: Bundle) -> float | None:
    """Return the share of the recent deaths that a model learned from that were revised since, if it is known."""
    made = bundle.provenance
    ingests = manifest.read(view.reader.root)
    return refits.revised_share(view, ingests, made.outcome, bundle.origin, made.trained_at, made.data_digest)


def _data_quality(view: View, assessed: Assessment) -> tuple[Warnings, dict[str, Warnings]]:
    """Return the warnings about the data of the whole region, and those about each member."""
    all_countries, members, last_month = view.outcomes(), assessed.members, assessed.observed.months[-1]
    until = int(np.searchsorted(all_countries.months, last_month, side="right"))
    known = [iso3 for iso3 in members if iso3 in all_countries.iso3]
    rows = all_countries.rows(tuple(known))
    events, deaths, share = (
        table[rows, :until]
        for table in (
            counts.event_counts(view, "all"),
            all_countries.deaths[assessed.outcome],
            assessed.reporting.share_of_events_of(all_countries),
        )
    )
    imprecise = precision.precision_warnings(view, members, last_month)
    under_reported = {iso3: few_reports_warning(events[i], deaths[i], share[i]) for i, iso3 in enumerate(known)}
    by_country = {iso3: under_reported.get(iso3, []) + imprecise[iso3] for iso3 in members}
    return few_reports_warning_of_region(events, deaths, share), by_country
