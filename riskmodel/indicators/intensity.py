"""The family `intensity`: how much violence a country has seen, how lately, and how unevenly."""

from functools import partial

import numpy as np

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import (
    GED,
    MAX_KEY_EVENTS,
    UNCOVERED,
    UNTOLD,
    VIEWS,
    Citation,
    Family,
    Indicator,
    last,
)
from riskmodel.indicators.inputs import Inputs, Places, Rectangle

NAME = "intensity"
MEMORY = 60
LIMIT = 120

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


def _decayed(inputs: Inputs, *, half_life: float) -> Rectangle:
    return np.log1p(windows.decayed(inputs.tables["deaths"], half_life, MEMORY))


def _highest(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.highest(inputs.tables["deaths"], months))


def _share(inputs: Inputs, *, deaths: int, months: int) -> Rectangle:
    return windows.share(inputs.tables["deaths"] >= deaths, inputs.tables["deaths"], months)


def _since(inputs: Inputs, *, deaths: int) -> Rectangle:
    return windows.since(inputs.tables["deaths"] >= deaths, inputs.tables["deaths"], LIMIT)


def _volatility(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.spread(np.log1p(inputs.tables["deaths"]), months)


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_deaths(inputs, months=months), months)


def _acceleration(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_trend(inputs, months=months), months)


def _rank(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.rank(windows.total(inputs.tables["deaths"], months), LIMIT - months + 1)


def _events(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.reported.count(), months))


def _events_decayed(inputs: Inputs, *, half_life: float) -> Rectangle:
    return np.log1p(windows.decayed(inputs.reported.count(), half_life, MEMORY))


def _own_level(inputs: Inputs, *, months: int) -> Rectangle:
    usual = windows.total(inputs.tables["deaths"], MEMORY) * (months / MEMORY)
    return _deaths(inputs, months=months) - np.log1p(usual)


def _deadliest(inputs: Inputs, row: int, column: int) -> Places:
    events = inputs.reported
    recent = np.flatnonzero(inputs.counted & events.recent(row, column, windows.YEAR))
    return recent[np.lexsort((-events.day[recent], -events.deaths[recent]))][:MAX_KEY_EVENTS]


def _dead(number: int) -> str:
    return f"{number} mort{'s' * (number > 1)}"


declare = partial(Indicator, family=NAME, missing=UNCOVERED, inputs=("deaths",))
declare_events = partial(Indicator, family=NAME, missing=UNTOLD, inputs=("events",), direction=+1, scale="log1p")

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"deaths_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={"en": f"Deaths over {last(months, 'en')}", "fr": f"Morts sur {last(months, 'fr')}"},
            literature=(VIEWS, VIEWS2020),
            compute=partial(_deaths, months=months),
            scale="log1p",
        )
        for months in (1, 3, 6, 12, 24, 60)
    ),
    *(
        declare(
            name=f"deaths_half_life_{half_life}m",
            unit="log(1 + deaths a month)",
            window=MEMORY,
            direction=+1,
            meaning={
                "en": f"Mean monthly deaths, weight halving every {half_life} months",
                "fr": f"Moyenne mensuelle des morts, au poids divisé par deux tous les {half_life} mois",
            },
            literature=(VIEWS2020, CHALLENGE),
            compute=partial(_decayed, half_life=half_life),
            scale="log1p",
        )
        for half_life in (2, 4, 9, 24)
    ),
    *(
        declare(
            name=f"highest_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deadliest of {last(months, 'en')}",
                "fr": f"Mois le plus meurtrier sur {last(months, 'fr')}",
            },
            literature=(RECURRENCE,),
            compute=partial(_highest, months=months),
            scale="log1p",
        )
        for months in (12, 60)
    ),
    *(
        declare(
            name=f"share_{deaths}_{months}m",
            unit="share of months",
            window=months,
            direction=+1,
            meaning={
                "en": f"Share of {last(months, 'en')} with {deaths} or more deaths",
                "fr": f"Part des mois comptant {_dead(deaths)} ou plus sur {last(months, 'fr')}",
            },
            literature=(VIEWS, RECURRENCE),
            compute=partial(_share, deaths=deaths, months=months),
            scale="share",
        )
        for deaths in (1, 25)
        for months in (12, 60)
    ),
    *(
        declare(
            name=f"since_{deaths}",
            unit=f"months, at most {LIMIT}",
            window=LIMIT,
            direction=-1,
            meaning={
                "en": f"Months since one with {deaths} or more deaths",
                "fr": f"Mois écoulés depuis un mois comptant {_dead(deaths)} ou plus",
            },
            literature=(RECURRENCE, HARD_PROBLEM),
            compute=partial(_since, deaths=deaths),
        )
        for deaths in (1, 25)
    ),
    *(
        declare(
            name=f"volatility_{months}m",
            unit="standard deviation of log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Unevenness of monthly deaths over {last(months, 'en')}",
                "fr": f"Irrégularité des morts mensuelles sur {last(months, 'fr')}",
            },
            literature=(VIEWS2020,),
            compute=partial(_volatility, months=months),
        )
        for months in (12, 60)
    ),
    *(
        declare(
            name=f"trend_{months}m",
            unit="difference of log(1 + deaths)",
            window=2 * months,
            direction=0,
            meaning={
                "en": f"Deaths over {last(months, 'en')} against the {months} before",
                "fr": f"Morts sur {last(months, 'fr')} comparés aux {months} précédents",
            },
            literature=(VIEWS2020,),
            compute=partial(_trend, months=months),
        )
        for months in (3, 12)
    ),
    declare(
        name="acceleration_3m",
        unit="difference of differences of log(1 + deaths)",
        window=9,
        direction=0,
        meaning={
            "en": "Acceleration of deaths: their 3-month trend against that of 3 months before",
            "fr": "Accélération des morts : leur tendance sur 3 mois comparée à celle de 3 mois plus tôt",
        },
        literature=(VIEWS2020,),
        compute=partial(_acceleration, months=3),
    ),
    declare(
        name="rank_3m",
        unit="share of the earlier 3-month sums",
        window=LIMIT,
        direction=0,
        meaning={
            "en": f"Share of the country's earlier 3-month sums of deaths, within {LIMIT} months, that are below the "
            "newest one (equal ones count half)",
            "fr": f"Part des sommes de morts sur 3 mois antérieures du pays, en {LIMIT} mois, inférieures à la plus "
            "récente (les sommes égales comptent pour moitié)",
        },
        literature=(HARD_PROBLEM,),
        compute=partial(_rank, months=3),
        scale="share",
    ),
    declare(
        name="level_3m",
        unit="difference of log(1 + deaths)",
        window=MEMORY,
        direction=0,
        meaning={
            "en": f"Deaths over the last 3 months against the country's own mean of {MEMORY} months",
            "fr": f"Morts sur les 3 derniers mois comparés à la moyenne du pays sur {MEMORY} mois",
        },
        literature=(CHALLENGE,),
        compute=partial(_own_level, months=3),
    ),
    *(
        declare_events(
            name=f"events_{months}m",
            unit="log(1 + events)",
            window=months,
            meaning={
                "en": f"Violent events over {last(months, 'en')}",
                "fr": f"Événements violents sur {last(months, 'fr')}",
            },
            literature=(GED, VIEWS),
            compute=partial(_events, months=months),
        )
        for months in (1, 3, 6, 12, 24, 60)
    ),
    declare_events(
        name="events_half_life_4m",
        unit="log(1 + events a month)",
        window=MEMORY,
        meaning={
            "en": "Mean monthly violent events, weight halving every 4 months",
            "fr": "Moyenne mensuelle des événements violents, au poids divisé par deux tous les 4 mois",
        },
        literature=(GED, VIEWS2020),
        compute=partial(_events_decayed, half_life=4),
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
    key_events=_deadliest,
)
