"""Signals ready for JSON, with one sentence each in English and French for the observation and for its base rate."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, NamedTuple, TypeAlias

from babel.dates import format_date

from riskmodel.explanation.base_rates import FIRST_YEAR, LAST_YEAR, TARGETS, BaseRate, RateReason, Target, base_rate
from riskmodel.explanation.narrative import format_number, in_each_language, typeset
from riskmodel.indicators.declaration import Indicator

Reason: TypeAlias = Literal[
    "value_unknown",  # the count of the month is unknown; `missing` of the indicator says what that means
    "past_too_short",  # fewer than 60 months before the month are known
]
"""The codes that say why an indicator cannot be compared with its past."""

NOTE = {
    "en": "Signals are observations: counts that stand out against the country's own past, as reported. They are "
    f"neither a forecast nor a cause. Base rates describe the world in {FIRST_YEAR}-{LAST_YEAR}.",
    "fr": "Les signaux sont des observations : des nombres qui ressortent par rapport au passé du pays, tels que "
    "rapportés. Ce ne sont ni des prévisions ni des causes. Les taux de base décrivent le monde de "
    f"{FIRST_YEAR} à {LAST_YEAR}.",
}
_HIGHEST = {"en": "the highest in five years", "fr": "le niveau le plus élevé en cinq ans"}
_RARE = {
    "en": "as high in only {as_high} of the {past} months before",
    "fr": "un niveau atteint dans seulement {as_high} des {past} mois précédents",
}
_NEVER = {"en": "higher than in any of the {past} months before", "fr": "plus qu’en aucun des {past} mois précédents"}
_EARLIER = {"en": "{month} of the years before: {values}", "fr": "en {month} des années précédentes : {values}"}
_SINCE = {"en": "It has stood out since {month}.", "fr": "Le signal dure depuis {month}."}
_NEW = {"en": "It did not stand out the month before.", "fr": "Il ne ressortait pas le mois précédent."}
_FOLLOWED = {
    "escalation": {"en": "an escalation followed", "fr": "une escalade a suivi"},
    "month_25": {"en": "a month of 25 deaths or more followed", "fr": "un mois d’au moins 25 morts a suivi"},
}
_RATE = {
    "en": "In {first}-{last}, {followed} within six months in {share} % of {months} such country-months, "
    "against {without} % without the signal.",
    "fr": "De {first} à {last}, {followed} dans les six mois pour {share} % de {months} pays-mois comparables, "
    "contre {without} % sans ce signal.",
}
_NO_RATE: dict[RateReason, dict[str, str]] = {
    "not_in_world_events": {
        "en": "There is no base rate: the events of the world, from which it would come, do not show this.",
        "fr": "Il n’y a pas de taux de base : les événements du monde dont il viendrait ne montrent pas cela.",
    },
    "too_few_cases": {
        "en": "There is no base rate: such a signal was too rare.",
        "fr": "Il n’y a pas de taux de base : un tel signal a été trop rare.",
    },
    "no_recent_deaths": {
        "en": "There is no base rate for a country without deaths in the last 12 months.",
        "fr": "Il n’y a pas de taux de base pour un pays sans morts au cours des 12 derniers mois.",
    },
    "already_violent": {
        "en": "There is no base rate: the country had a month of 25 deaths in the last 12 months.",
        "fr": "Il n’y a pas de taux de base : le pays a connu un mois de 25 morts au cours des 12 derniers mois.",
    },
    "deaths_unknown": {
        "en": "There is no base rate: the deaths of the last 12 months are not all known.",
        "fr": "Il n’y a pas de taux de base : les morts des 12 derniers mois ne sont pas tous connus.",
    },
}


class Signal(NamedTuple):
    """An indicator that stands out for a country at the end of a month. Months are `YYYY-MM`.

    It counts over `months` months. `as_high` of the `past` months before had a count at least as high. `earlier` has
    the counts of the same month of the five years before, and `since` is the first month of the present spell.
    `events` are those behind it that are shown, of `events_counted`; None if not all are known.
    """

    kind: Indicator
    months: int
    month: str
    value: int
    highest: bool
    as_high: int
    past: int
    earlier: tuple[tuple[str, int], ...]
    since: str
    events: list[dict[str, Any]]
    events_counted: int | None


@dataclass(frozen=True)
class RecentDeaths:
    """A country's deaths of an outcome over the last 12 months, and of the deadliest of them [deaths]; NaN: unknown."""

    outcome: str
    total: float
    highest: float


def payload(
    iso3: str,
    month: str,
    signals: list[dict[str, Any]],
    unknown: Sequence[tuple[Indicator, Reason]],
    percentiles: Mapping[str, float | None],
    unlisted: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the signals of a country; None, with a reason, if no indicator could be compared with its past.

    `not_compared` lists the indicators of which that is unknown. `percentiles` has each indicator that can be a signal:
    in how many of the last ten years' months it was lower [%]. `unlisted_signals` stand out too, but rarer ones are
    listed instead.
    """
    nothing_known = len(unknown) == len(percentiles)
    reasons = {reason for _, reason in unknown}
    return {
        "location_code": iso3,
        "month": month,
        "signals": None if nothing_known else signals,
        "not_compared": [{"indicator": kind.name, "family": kind.family, "reason": reason} for kind, reason in unknown],
        "percentiles": dict(percentiles),
        "unlisted_signals": list(unlisted),
        "reasons": {"signals": "value_unknown" if reasons == {"value_unknown"} else "past_too_short"}
        if nothing_known
        else {},
    }


def signal_payload(signal: Signal, recent: RecentDeaths) -> dict[str, Any]:
    """Return one signal with its base rates. A rate that is unknown is None, with a reason."""
    kind = signal.kind
    rates = {target: base_rate(recent.outcome, kind.name, target, recent.total, recent.highest) for target in TARGETS}
    reasons: dict[str, str] = {target: rate for target, rate in rates.items() if not isinstance(rate, BaseRate)}
    if signal.events_counted is None:
        reasons["events_counted"] = "events_unknown"
    return {
        "indicator": kind.name,
        "family": kind.family,
        "meaning": typeset(kind.meaning_for(recent.outcome)),
        "unit": kind.unit.removeprefix("log(1 + ").removesuffix(")"),
        "months": signal.months,
        "value": signal.value,
        "highest_in_five_years": signal.highest,
        "as_high": signal.as_high,
        "past_months": signal.past,
        "earlier": [{"month": month, "value": value} for month, value in signal.earlier],
        "since": signal.since,
        "events": signal.events,
        "events_counted": signal.events_counted,
        "sentence": in_each_language(lambda language: _sentence(signal, recent.outcome, language)),
        "base_rates": {
            target: {"last_year": LAST_YEAR, **asdict(rate)} if isinstance(rate, BaseRate) else None
            for target, rate in rates.items()
        },
        "base_rate_sentence": in_each_language(lambda language: _rate_sentences(rates, language)),
        "reasons": reasons,
    }


def _sentence(signal: Signal, outcome: str, language: str) -> str:
    value = format_number(signal.value, language, digits=0)
    if signal.highest:
        standing = _HIGHEST[language]
    else:
        standing = (_RARE if signal.as_high else _NEVER)[language].format(as_high=signal.as_high, past=signal.past)
    values = ", ".join(f"{format_number(value, language, digits=0)} ({month[:4]})" for month, value in signal.earlier)
    month_name = format_date(_first_day(signal.month), "LLLL", locale=language)
    earlier = _EARLIER[language].format(month=month_name, values=values)
    since = _NEW[language]
    if signal.since != signal.month:
        since = _SINCE[language].format(month=format_date(_first_day(signal.since), "LLLL y", locale=language))
    colon = " : " if language == "fr" else ": "
    return f"{signal.kind.meaning_for(outcome)[language]}{colon}{value}, {standing} ({earlier}). {since}"


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _rate_sentences(rates: dict[Target, BaseRate | RateReason], language: str) -> str:
    """The base rates in words; if there is none of escalation, why."""
    sentences = [_rate_sentence(target, rate, language) for target, rate in rates.items() if isinstance(rate, BaseRate)]
    if not sentences:
        sentences = [next(_NO_RATE[rate][language] for rate in rates.values() if not isinstance(rate, BaseRate))]
    return " ".join(sentences)


def _rate_sentence(target: Target, rate: BaseRate, language: str) -> str:
    return _RATE[language].format(
        first=rate.first_year,
        last=LAST_YEAR,
        followed=_FOLLOWED[target][language],
        share=format_number(100 * rate.with_signal.share, language, digits=0),
        months=format_number(rate.with_signal.months, language, digits=0),
        without=format_number(100 * rate.without_signal.share, language, digits=0),
    )
