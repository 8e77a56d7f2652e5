"""The family `intensity`: how much violence a country has had, how recently, and how unevenly."""

from functools import partial

import numpy as np

from riskmodel import windows
from riskmodel.indicators.declaration import (
    DEATHS_NOT_COVERED,
    EVENTS_NOT_COVERED,
    GED,
    MAX_KEY_EVENTS,
    MIN_SIGNAL_DEATHS,
    VIEWS,
    Citation,
    Declarations,
    Family,
    Indicator,
    last_months,
    signals_of,
)
from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.windows import Rectangle

NAME = "intensity"
LONG_WINDOW = 60  # [months]
LIMIT = 120
"""Waiting times and ranks look back this far at most [months]."""

VIEWS2020 = Citation(
    "Hegre et al. (2021), ViEWS2020: Revising and evaluating the ViEWS political Violence Early-Warning System, "
    "JPR 58(3): 599-611",
    "10.1177/0022343320962157",
)
CHALLENGE = Citation(
    "Hegre et al. (2024), The 2023/24 VIEWS Prediction challenge, arXiv:2407.11045", "10.48550/arXiv.2407.11045"
)
RECURRENCE = Citation(
    "Walter (2004), Does Conflict Beget Conflict? Explaining Recurring Civil War, JPR 41(3): 371-388",
    "10.1177/0022343304043775",
)
HARD_PROBLEM = Citation(
    "Mueller & Rauh (2022), The Hard Problem of Prediction for Conflict Prevention, JEEA 20(6): 2440-2467",
    "10.1093/jeea/jvac025",
)


def _deaths(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.tables["deaths"], months))


def _decayed_deaths(inputs: Inputs, *, half_life: float) -> Rectangle:
    return np.log1p(windows.decayed_mean(inputs.tables["deaths"], half_life, LONG_WINDOW))


def _maximum(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.maximum(inputs.tables["deaths"], months))


def _share(inputs: Inputs, *, deaths: int, months: int) -> Rectangle:
    return windows.share(inputs.tables["deaths"] >= deaths, inputs.tables["deaths"], months)


def _months_since(inputs: Inputs, *, deaths: int) -> Rectangle:
    return windows.months_since(inputs.tables["deaths"] >= deaths, inputs.tables["deaths"], LIMIT)


def _volatility(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.standard_deviation(np.log1p(inputs.tables["deaths"]), months)


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_deaths(inputs, months=months), months)


def _acceleration(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_trend(inputs, months=months), months)


def _rank(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.rank(windows.total(inputs.tables["deaths"], months), LIMIT - months + 1)


def _events(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.required_events.count(), months))


def _decayed_events(inputs: Inputs, *, half_life: float) -> Rectangle:
    return np.log1p(windows.decayed_mean(inputs.required_events.count(), half_life, LONG_WINDOW))


def _relative_level(inputs: Inputs, *, months: int) -> Rectangle:
    """The deaths of the last months compared with the country's mean, both as logs."""
    mean = windows.total(inputs.tables["deaths"], LONG_WINDOW) * (months / LONG_WINDOW)
    return _deaths(inputs, months=months) - np.log1p(mean)


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The deadliest events of the last 12 months that the outcome counts."""
    events = inputs.required_events
    recent = np.flatnonzero(inputs.counted_by_outcome & events.recent(row, column, windows.YEAR))
    return recent[np.lexsort((-events.day[recent], -events.deaths[recent]))][:MAX_KEY_EVENTS]


def _events_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events = inputs.required_events
    recent = events.of_months(column, months)
    return np.asarray(recent[events.row[recent] == row])


def _deadly_events_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events, recent = inputs.required_events, _events_behind(inputs, row, column, months=months)
    return np.asarray(recent[inputs.counted_by_outcome[recent] & (events.deaths[recent] > 0)])


SIGNAL_MONTHS = (3, 12)
"""Of these windows, deaths and events can be signals [months]."""


def _deaths_fr(number: int) -> str:
    return f"{number} mort{'s' * (number > 1)}"


declare = Declarations(NAME, missing=DEATHS_NOT_COVERED, inputs=("deaths",))
declare_events = Declarations(NAME, missing=EVENTS_NOT_COVERED, inputs=("events",), direction=+1)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.log_count(
            f"deaths_{months}m",
            "deaths",
            window=months,
            en=f"Deaths over {last_months(months, 'en')}",
            fr=f"Morts sur {last_months(months, 'fr')}",
            compute=partial(_deaths, months=months),
            direction=+1,
            literature=(VIEWS, VIEWS2020),
            signal=signals_of(months, _deadly_events_behind, minimum=MIN_SIGNAL_DEATHS)
            if months in SIGNAL_MONTHS
            else None,
        )
        for months in (1, 3, 6, 12, 24, 60)
    ),
    *(
        declare.log_count(
            f"deaths_half_life_{half_life}m",
            "deaths a month",
            window=LONG_WINDOW,
            en=f"Mean monthly deaths, weight halving every {half_life} months",
            fr=f"Moyenne mensuelle des morts, au poids divisé par deux tous les {half_life} mois",
            compute=partial(_decayed_deaths, half_life=half_life),
            direction=+1,
            literature=(VIEWS2020, CHALLENGE),
        )
        for half_life in (2, 4, 9, 24)
    ),
    *(
        declare.log_count(
            f"highest_{months}m",
            "deaths",
            window=months,
            en=f"Deadliest of {last_months(months, 'en')}",
            fr=f"Mois le plus meurtrier sur {last_months(months, 'fr')}",
            compute=partial(_maximum, months=months),
            direction=+1,
            literature=(RECURRENCE,),
        )
        for months in (12, 60)
    ),
    *(
        declare.share(
            f"share_{deaths}_{months}m",
            "months",
            window=months,
            en=f"Share of {last_months(months, 'en')} with {deaths} or more deaths",
            fr=f"Part des mois comptant {_deaths_fr(deaths)} ou plus sur {last_months(months, 'fr')}",
            compute=partial(_share, deaths=deaths, months=months),
            direction=+1,
            literature=(VIEWS, RECURRENCE),
        )
        for deaths in (1, 25)
        for months in (12, 60)
    ),
    *(
        declare.value(
            f"since_{deaths}",
            f"months, at most {LIMIT}",
            window=LIMIT,
            en=f"Months since one with {deaths} or more deaths",
            fr=f"Mois écoulés depuis un mois comptant {_deaths_fr(deaths)} ou plus",
            compute=partial(_months_since, deaths=deaths),
            direction=-1,
            literature=(RECURRENCE, HARD_PROBLEM),
        )
        for deaths in (1, 25)
    ),
    *(
        declare.value(
            f"volatility_{months}m",
            "standard deviation of log(1 + deaths)",
            window=months,
            en=f"Unevenness of monthly deaths over {last_months(months, 'en')}",
            fr=f"Irrégularité des morts mensuelles sur {last_months(months, 'fr')}",
            compute=partial(_volatility, months=months),
            direction=+1,
            literature=(VIEWS2020,),
        )
        for months in (12, 60)
    ),
    *(
        declare.value(
            f"trend_{months}m",
            "difference of log(1 + deaths)",
            window=2 * months,
            en=f"Deaths over {last_months(months, 'en')} against the {months} before",
            fr=f"Morts sur {last_months(months, 'fr')} comparés aux {months} précédents",
            compute=partial(_trend, months=months),
            literature=(VIEWS2020,),
        )
        for months in (3, 12)
    ),
    declare.value(
        "acceleration_3m",
        "difference of differences of log(1 + deaths)",
        window=9,
        en="Acceleration of deaths: their 3-month trend against that of 3 months before",
        fr="Accélération des morts : leur tendance sur 3 mois comparée à celle de 3 mois plus tôt",
        compute=partial(_acceleration, months=3),
        literature=(VIEWS2020,),
    ),
    declare.share(
        "rank_3m",
        "the earlier 3-month sums",
        window=LIMIT,
        en=f"Share of the country's earlier 3-month sums of deaths, within {LIMIT} months, that are below the "
        "newest one (equal ones count half)",
        fr=f"Part des sommes de morts sur 3 mois antérieures du pays, en {LIMIT} mois, inférieures à la plus "
        "récente (les sommes égales comptent pour moitié)",
        compute=partial(_rank, months=3),
        literature=(HARD_PROBLEM,),
    ),
    declare.value(
        "level_3m",
        "difference of log(1 + deaths)",
        window=LONG_WINDOW,
        en=f"Deaths over the last 3 months against the country's own mean of {LONG_WINDOW} months",
        fr=f"Morts sur les 3 derniers mois comparés à la moyenne du pays sur {LONG_WINDOW} mois",
        compute=partial(_relative_level, months=3),
        literature=(CHALLENGE,),
    ),
    *(
        declare_events.log_count(
            f"events_{months}m",
            "events",
            window=months,
            en=f"Violent events over {last_months(months, 'en')}",
            fr=f"Événements violents sur {last_months(months, 'fr')}",
            compute=partial(_events, months=months),
            literature=(GED, VIEWS),
            signal=signals_of(months, _events_behind) if months in SIGNAL_MONTHS else None,
        )
        for months in (1, 3, 6, 12, 24, 60)
    ),
    declare_events.log_count(
        "events_half_life_4m",
        "events a month",
        window=LONG_WINDOW,
        en="Mean monthly violent events, weight halving every 4 months",
        fr="Moyenne mensuelle des événements violents, au poids divisé par deux tous les 4 mois",
        compute=partial(_decayed_events, half_life=4),
        literature=(GED, VIEWS2020),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Intensity", "fr": "Intensité"},
    theme={
        "en": "How much violence the country has seen, how lately, and how unevenly",
        "fr": "L’ampleur de la violence dans le pays, sa proximité dans le temps et son irrégularité",
    },
    headline=("deaths_3m", "deaths_12m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
