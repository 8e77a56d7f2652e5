"""The metrics of alert rules, read from the scores of one origin and those before."""

from collections.abc import Mapping
from datetime import date
from math import log1p
from typing import Any

import pytest

from riskmodel.alerting.metrics import KINDS, Reading, RegionScores, Thresholds, read
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.country_scores import MONTHLY_THRESHOLDS
from riskmodel.months import month

ORIGIN = "2022-12"
EARLIER = [str(month(ORIGIN) - age) for age in range(1, 13)]
"""The twelve origins before, newest first."""
COUNTRIES = ("MLI", "BFA", "NER", "SEN")
LATEST = {"month": ORIGIN, "reported": 30}


def country(iso3: str, **changed: Any) -> dict[str, Any]:
    """Return the payload of a country whose figures are all known."""
    return {
        "location_code": iso3,
        "risk_score": 50.0,
        "escalation_probability": 0.3,
        "onset_probability": None,
        "expected_deaths": 90.5,
        "forecast": [
            {"lead": lead, "probability_1": 0.9, "probability_25": 0.5 + lead / 100, "probability_100": 0.1}
            for lead in range(1, 13)
        ],
        "observed": [{"month": str(month(ORIGIN) - age), "deaths": 10 * (age + 1)} for age in (3, 2, 1, 0)],
        "latest_month": LATEST,
        "data_quality": [],
        "indicators": {"events_12m": log1p(19), "share": 0.25, "new": None, "refugees": None},
        "indicators_before": {"events_12m": round(log1p(3), 4), "share": 0.5, "new": None, "refugees": None},
        "signals": [],
        "not_compared": [],
        "percentiles": {"events_12m": 97.5, "refugees": None},
        "unlisted_signals": [],
        "reasons": {"onset_probability": "not_quiet"},
        **changed,
    }


def unknown(iso3: str) -> dict[str, Any]:
    """Return the payload of a country without a history."""
    nothing = dict.fromkeys(("risk_score", "escalation_probability", "onset_probability", "expected_deaths"))
    nothing |= {"latest_month": None, "signals": None}
    reasons = {**dict.fromkeys((*nothing, "forecast"), "no_history"), "signals": "value_unknown"}
    observed = [{"month": ORIGIN, "deaths": None}] * 3
    indicators = dict.fromkeys(("events_12m", "share", "new", "refugees"))
    known = {"observed": observed, "forecast": [], "indicators": indicators, "indicators_before": indicators}
    return country(iso3, **nothing, **known, reasons=reasons)


def declared(name: str, scale: str = "number", *, input_missing: bool = False) -> dict[str, Any]:
    return {"name": name, "scale": scale, "input_missing": input_missing}


FAMILIES = [
    {"name": "capital", "indicators": [declared("events_12m", "log1p"), declared("share", "share"), declared("new")]},
    {"name": "people", "indicators": [declared("refugees", input_missing=True)]},
]


def region(*payloads: dict[str, Any], earlier: Mapping[str, Mapping[str, float | None]] | None = None) -> RegionScores:
    """Return the scores of a region: the countries that are not passed have `country`'s figures."""
    changed = {payload["location_code"]: payload for payload in payloads}
    countries = [changed.get(iso3, country(iso3)) for iso3 in COUNTRIES]
    document = {
        "origin": ORIGIN,
        "data_as_of": "2022-12-31",
        "bands": DEFAULT_BANDS,
        "indicator_families": FAMILIES,
        "countries": countries,
    }
    return RegionScores(document, earlier or {}, date(2023, 2, 9))


def value(metric: str, scores: RegionScores, fire_at: float = 1, clear_at: float | None = None) -> Reading:
    return read(metric, scores, "MLI", Thresholds(fire_at, fire_at if clear_at is None else clear_at))


def signal(indicator: str, family: str = "capital") -> dict[str, Any]:
    return {"indicator": indicator, "family": family}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("risk_score", 50.0),
        ("escalation_probability", 0.3),
        ("expected_deaths", 90.5),
        ("probability_25:3", 0.53),
        ("probability_1:12", 0.9),
        ("probability_100:1", 0.1),
        ("reported_deaths", 60),
        ("few_reports", 0),
        ("data_age_days", 40),
        ("indicator:events_12m", 19),
        ("indicator:events_12m:change", 16),
        ("indicator:share", 0.25),
        ("indicator:events_12m:percentile", 97.5),
        ("indicator:share:change", -0.25),
        ("signal:capital", 0),
    ],
)
def test_a_metric_is_read_from_the_payload_of_a_country(metric: str, expected: float) -> None:
    assert value(metric, region()) == (pytest.approx(expected), None)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("onset_probability", "not_quiet"),
        ("indicator:new", "unknown"),
        ("indicator:refugees", "input_missing"),
        ("indicator:gone", "not_in_snapshot"),
        ("indicator:gone:percentile", "not_in_snapshot"),
        ("indicator:refugees:percentile", "past_too_short"),
        ("signal:gone", "not_in_snapshot"),
        ("change_1m", "no_earlier_score"),
        ("rank_change", "no_earlier_score"),
        ("band", "no_earlier_score"),
    ],
)
def test_an_unknown_value_has_a_reason(metric: str, reason: str) -> None:
    assert value(metric, region()) == (None, reason)


def test_every_metric_of_a_country_without_history_is_unknown_with_its_reason() -> None:
    arguments = {
        "indicator": ":share",
        "signal": ":capital",
        **dict.fromkeys(("probability_1", "probability_25", "probability_100"), ":3"),
    }
    scores = region(*(unknown(iso3) for iso3 in COUNTRIES), earlier={EARLIER[0]: dict.fromkeys(COUNTRIES, 10.0)})
    found = {name: value(name + arguments.get(name, ""), scores) for name in KINDS if name != "data_age_days"}
    own = {"indicator": "unknown", "signal": "value_unknown"}
    assert found == {name: (None, own.get(name, "no_history")) for name in found}


def test_what_a_hindcast_does_not_have_is_unknown() -> None:
    absent = ("latest_month", "data_quality", "indicators", "indicators_before")
    scores = region(country("MLI", **dict.fromkeys(absent), reasons=dict.fromkeys(absent, "hindcast")))
    for metric in ("few_reports", "indicator:share", "indicator:share:change"):
        assert value(metric, scores) == (None, "hindcast")
    assert value("risk_score", scores) == (50.0, None)


def test_changes_compare_with_the_origins_one_and_twelve_months_before() -> None:
    before = {EARLIER[0]: {"MLI": 45.5, "BFA": 48.0, "NER": 44.0, "SEN": 1.0}, EARLIER[11]: {"MLI": 60.0}}
    scores = region(country("BFA", risk_score=40.0), country("SEN", risk_score=2.0), earlier=before)
    assert value("change_1m", scores) == (4.5, None)
    assert value("change_12m", scores) == (-10.0, None)
    assert value("rank_change", scores) == (1, None), "from the second place to the first"


@pytest.mark.parametrize(
    ("score", "earlier", "expected"),
    [
        (72.0, [60.0] * 12, 70.0),  # from high to very high
        (72.0, [71.0] * 12, 0.0),  # a chronic war stays in its band
        (72.0, [71.0] * 11 + [69.0], 70.0),  # the rise was eleven months ago
        (90.0, [20.0] * 12, 85.0),  # through four bands
        (60.0, [20.0, 80.0] * 6, 50.0),  # a fall from very high leaves the rise to high
        (84.6, [86.0] + [84.0] * 11, 70.0),  # back from a higher band: no all-clear while it is very high
        (60.0, [20.0] * 12, 0.0),  # the rise did not reach fire_at
        (5.0, [60.0] * 12, 0.0),
    ],
)
def test_a_band_counts_for_a_year_after_a_rise_to_fire_at_or_above(
    score: float, earlier: list[float], expected: float
) -> None:
    before = {origin: {"MLI": each} for origin, each in zip(EARLIER, earlier, strict=True)}
    assert value("band", region(country("MLI", risk_score=score), earlier=before), 70, 50) == (expected, None)


@pytest.mark.parametrize(
    ("score", "known", "expected"),
    [
        (72.0, {1: 60.0}, Reading(70.0)),  # the known month shows the rise
        (72.0, {1: 71.0}, Reading(None, "no_earlier_score")),  # an unknown month may have been lower
        (72.0, {}, Reading(None, "no_earlier_score")),
        (45.0, {}, Reading(0.0)),  # the present band is below both thresholds
    ],
)
def test_an_unknown_month_makes_the_band_unknown_if_it_could_decide(
    score: float, known: dict[int, float], expected: Reading
) -> None:
    before = {EARLIER[age - 1]: {"MLI": each} for age, each in known.items()}
    assert value("band", region(country("MLI", risk_score=score), earlier=before), 70, 50) == expected


def test_neighbours_rising_counts_those_of_the_region_that_gained_five_points() -> None:
    before = {EARLIER[0]: {"MLI": 1.0, "BFA": 45.0, "NER": 45.1, "SEN": 30.0}}
    assert value("neighbours_rising", region(earlier=before)) == (2, None)
    one_unknown = {EARLIER[0]: {"BFA": 45.0, "SEN": 45.0}}
    assert value("neighbours_rising", region(earlier=one_unknown), 2) == (2, None), "the known ones are enough"
    assert value("neighbours_rising", region(earlier=one_unknown), 3) == (None, "no_earlier_score")


def test_signals_are_counted_by_kind_and_by_family() -> None:
    signals = [signal("events_12m"), signal("share"), signal("refugees", "people")]
    scores = region(country("MLI", signals=signals))
    assert value("signal:events_12m", scores) == (1, None)
    assert value("signal:capital", scores) == (2, None)
    assert value("signal:new", scores) == (0, None)


def test_a_signal_that_is_not_listed_counts_and_one_that_cannot_be_compared_is_unknown() -> None:
    three = [signal(f"capital_{number}") for number in range(3)]
    not_compared = [{"indicator": "refugees", "family": "people", "reason": "past_too_short"}]
    scores = region(country("MLI", signals=three, not_compared=not_compared, unlisted_signals=["new"]))
    assert value("signal:new", scores) == (1, None)
    assert value("signal:share", scores) == (0, None)
    assert value("signal:capital", scores, 3) == (3, None)
    assert value("signal:refugees", scores) == value("signal:people", scores) == (None, "past_too_short")


def test_a_warning_of_few_reports_is_1() -> None:
    warned = country("MLI", data_quality=[{"code": "few_reports", "probability": 0.001, "months": 3}])
    assert value("few_reports", region(warned)) == (1, None)
    imprecise = country("MLI", data_quality=[{"code": "imprecise_dates"}])
    assert value("few_reports", region(imprecise)) == (0, None)


@pytest.mark.parametrize(
    ("unsettled", "min_settled", "known"),
    [(0, 1.0, True), (1, 1.0, False), (1, 0.6, True), (2, 0.6, False), (3, 0.0, True), (3, 0.1, False)],
)
def test_a_value_is_unknown_while_too_little_is_settled(unsettled: int, min_settled: float, known: bool) -> None:
    observed = country("MLI")["observed"]
    observed[4 - unsettled :] = [each | {"release_class": "monthly_candidate"} for each in observed[4 - unsettled :]]
    scores = region(country("MLI", observed=observed))
    found = read("risk_score", scores, "MLI", Thresholds(70, 65), min_settled)
    assert found == ((50.0, None) if known else (None, "not_settled"))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.earlier_months])
def test_a_metric_reads_no_scores_older_than_it_declares(name: str) -> None:
    all_earlier = {str(month(ORIGIN) - age): dict.fromkeys(COUNTRIES, 40.0 + age) for age in range(1, 25)}
    declared_earlier = {origin: all_earlier[origin] for origin in EARLIER[: KINDS[name].earlier_months]}
    found = value(name, region(earlier=declared_earlier))
    assert found.value is not None
    assert found == value(name, region(earlier=all_earlier))


def test_the_probabilities_of_a_month_are_those_of_a_forecast() -> None:
    in_rules = {name for name in KINDS if name.startswith("probability_")}
    assert in_rules == {f"probability_{deaths}" for deaths in MONTHLY_THRESHOLDS}
