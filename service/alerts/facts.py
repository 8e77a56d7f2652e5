"""The facts that a message about a country states, taken from the flat document of a forecast."""

from collections.abc import Mapping, Sequence
from typing import Any

from riskmodel.geography import WHOLE_REGION
from riskmodel.months import first_day, last_day, month
from riskmodel.targets import BATTLE_DEATHS, HORIZON

CHART_MONTHS = 24
"""Months of observed deaths in the chart of an e-mail [months]."""

SIGNAL = "signal"
"""The metric that counts signals. People need what stands out, not the count."""

MAX_DRIVERS = 2
"""Families of indicators that a message names as associated with the score."""

QUANTILES = ("p05", "p25", "p50", "p75", "p95")


def of_location(forecast: Mapping[str, Any], location_code: str, metric: str) -> dict[str, Any]:
    """Return the facts about a country at the origin of a forecast, ready for JSON; of the whole region only `months`.

    `metric` is that of the alert rule.

    - `months`: first and last day of the three months of the forecast, and of the last three months of data (`past`)
    - `escalation`: its `probability`, and the `deaths` in three months from which one counts. Like the forecast, it
      starts from what unsettled months are expected to turn out to be
    - `onset_probability`; `reported` deaths of the last three months, and what they are expected to turn out to be as
      `final`; `expected` deaths of the next three, and the widest 90 % interval of one of these months as `low` and
      `high`. Each is null where it is unknown
    - `settled_months` of the last three, and `release_classes` of the others by month
    - `watched`: the signal that the rule is about: its `sentence`, its `value` with its `unit`, and that of a year
      `earlier`; null if there is none. `signals`: the first sentence of the signals, if the rule is about no signal
    - `drivers`: names of the families that add most to the score, the largest first
    - `chart`: deaths by month and the quantiles of the forecast by month, each as a list
    """
    origin = month(forecast["origin"])
    months = {
        "first": first_day(origin + 1),
        "last": last_day(origin + HORIZON),
        "past": [first_day(origin - HORIZON + 1), last_day(origin)],
    }
    if location_code == WHOLE_REGION:
        return {"months": months}
    (country,) = (each for each in forecast["countries"] if each["location_code"] == location_code)
    observed, ahead = country.get("observed") or [], country.get("forecast") or []
    recent = observed[-HORIZON:]
    reported = _sum([each["deaths"] for each in recent])
    final = _sum([each.get("expected_final", each["deaths"]) for each in recent])
    expected = None
    if near := ahead[:HORIZON]:
        expected = {
            "deaths": country["expected_deaths"],
            "low": min(each["p05"] for each in near),
            "high": max(each["p95"] for each in near),
        }
    return {
        "months": months,
        "escalation": {
            "probability": country["escalation_probability"],
            "deaths": None if final is None else max(BATTLE_DEATHS, 2 * round(final)),
        },
        "onset_probability": country.get("onset_probability"),
        "reported": reported,
        "final": None if final is None else round(final),
        "expected": expected,
        "settled_months": sum(each["deaths"] is not None and "release_class" not in each for each in recent),
        "release_classes": {each["month"]: each["release_class"] for each in recent if "release_class" in each},
        **_signals(country.get("signals") or (), metric),
        "drivers": _drivers(forecast, country),
        "chart": {
            "first": observed[-CHART_MONTHS:][0]["month"] if observed else None,
            "deaths": [each["deaths"] for each in observed[-CHART_MONTHS:]],
            "unsettled": ["release_class" in each for each in observed[-CHART_MONTHS:]],
            **{quantile: [each[quantile] for each in ahead] for quantile in QUANTILES},
        },
    }


def _signals(signals: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    name, _, subject = metric.partition(":")
    if name != SIGNAL:
        return {"watched": None, "signals": [signal["sentence"] for signal in signals[:1]]}
    watched = next((each for each in signals if subject in (each["indicator"], each["family"])), None)
    if watched is None:
        return {"watched": None, "signals": []}
    earlier = {each["month"]: each["value"] for each in watched["earlier"]}
    latest = max(earlier) if earlier else None
    return {
        "watched": {
            "sentence": watched["sentence"],
            "value": watched["value"],
            "unit": watched["unit"],
            "earlier": {"origin": latest, "value": earlier[latest]} if latest else None,
        },
        "signals": [],
    }


def _sum(deaths: Sequence[float | None]) -> float | None:
    known = [each for each in deaths if each is not None]
    return sum(known) if len(known) == HORIZON else None


def _drivers(forecast: Mapping[str, Any], country: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the titles of the families that add most to the score, compared with the year before."""
    backgrounds = (country.get("drivers") or {}).get("risk_score", {})
    split = backgrounds.get("own_year") or backgrounds.get("region")
    if split is None:
        return []
    titles = {family["name"]: family["title"] for family in forecast["indicator_families"]}
    families = sorted(split["families"], key=lambda family: -family["contribution"])
    return [titles[family["family"]] for family in families[:MAX_DRIVERS] if family["contribution"] >= 0.5]
