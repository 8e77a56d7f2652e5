"""The family `intensity`: how much violence a country has seen, how lately, and how unevenly."""

from collections.abc import Callable
from functools import partial

import numpy as np

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import Citation, Indicator, Inputs, Rectangle

FAMILY = "intensity"
MEMORY = 60
LIMIT = 120

VIEWS = Citation(
    "Hegre et al. (2019), ViEWS: A political Violence Early-Warning System, JPR 56(2): 155-174",
    "10.1177/0022343319823860",
)
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

UNKNOWN = {
    "en": "a month of the window lies outside the coverage of every source",
    "fr": "un mois de la fenêtre n'est couvert par aucune source",
}


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
    recent = _deaths(inputs, months=months)
    return recent - windows.delayed(recent, months)


def _own_level(inputs: Inputs, *, months: int) -> Rectangle:
    usual = windows.total(inputs.tables["deaths"], MEMORY) * (months / MEMORY)
    return _deaths(inputs, months=months) - np.log1p(usual)


def _declare(
    name: str,
    unit: str,
    window: int,
    direction: int,
    meaning: tuple[str, str],
    literature: tuple[Citation, ...],
    compute: Callable[[Inputs], Rectangle],
) -> Indicator:
    english, french = meaning
    return Indicator(
        name=name,
        family=FAMILY,
        unit=unit,
        window=window,
        direction=direction,
        meaning={"en": english, "fr": french},
        missing=UNKNOWN,
        literature=literature,
        inputs=("deaths",),
        compute=compute,
    )


def _months(number: int, language: str) -> str:
    if number == 1:
        return {"en": "the last month", "fr": "le dernier mois"}[language]
    return {"en": f"the last {number} months", "fr": f"les {number} derniers mois"}[language]


INDICATORS: tuple[Indicator, ...] = (
    *(
        _declare(
            f"deaths_{months}m",
            "log(1 + deaths)",
            months,
            +1,
            (f"Deaths over {_months(months, 'en')}", f"Morts sur {_months(months, 'fr')}"),
            (VIEWS, VIEWS2020),
            partial(_deaths, months=months),
        )
        for months in (1, 3, 6, 12, 24, 60)
    ),
    *(
        _declare(
            f"deaths_half_life_{half_life}m",
            "log(1 + deaths a month)",
            MEMORY,
            +1,
            (
                f"Mean monthly deaths, weight halving every {half_life} months",
                f"Moyenne mensuelle des morts, au poids divisé par deux tous les {half_life} mois",
            ),
            (VIEWS2020, CHALLENGE),
            partial(_decayed, half_life=half_life),
        )
        for half_life in (2, 4, 9, 24)
    ),
    *(
        _declare(
            f"highest_{months}m",
            "log(1 + deaths)",
            months,
            +1,
            (f"Deadliest of {_months(months, 'en')}", f"Mois le plus meurtrier sur {_months(months, 'fr')}"),
            (RECURRENCE,),
            partial(_highest, months=months),
        )
        for months in (12, 60)
    ),
    *(
        _declare(
            f"share_{deaths}_{months}m",
            "share of months",
            months,
            +1,
            (
                f"Share of {_months(months, 'en')} with at least {deaths} deaths",
                f"Part des mois comptant au moins {deaths} morts sur {_months(months, 'fr')}",
            ),
            (VIEWS, RECURRENCE),
            partial(_share, deaths=deaths, months=months),
        )
        for deaths in (1, 25)
        for months in (12, 60)
    ),
    *(
        _declare(
            f"since_{deaths}",
            f"months, at most {LIMIT}",
            LIMIT,
            -1,
            (
                f"Months since one with at least {deaths} deaths",
                f"Mois écoulés depuis un mois d'au moins {deaths} morts",
            ),
            (RECURRENCE, HARD_PROBLEM),
            partial(_since, deaths=deaths),
        )
        for deaths in (1, 25)
    ),
    *(
        _declare(
            f"volatility_{months}m",
            "standard deviation of log(1 + deaths)",
            months,
            +1,
            (
                f"Unevenness of monthly deaths over {_months(months, 'en')}",
                f"Irrégularité des morts mensuelles sur {_months(months, 'fr')}",
            ),
            (VIEWS2020,),
            partial(_volatility, months=months),
        )
        for months in (12, 60)
    ),
    *(
        _declare(
            f"trend_{months}m",
            "difference of log(1 + deaths)",
            2 * months,
            0,
            (
                f"Deaths over {_months(months, 'en')} against the {months} before",
                f"Morts sur {_months(months, 'fr')} comparées aux {months} précédents",
            ),
            (VIEWS2020,),
            partial(_trend, months=months),
        )
        for months in (3, 12)
    ),
    _declare(
        "level_3m",
        "difference of log(1 + deaths)",
        MEMORY,
        0,
        (
            f"Deaths over the last 3 months against the country's own mean of {MEMORY} months",
            f"Morts sur les 3 derniers mois comparées à la moyenne du pays sur {MEMORY} mois",
        ),
        (CHALLENGE,),
        partial(_own_level, months=3),
    ),
)
