"""The family `spillover`: violence in the countries that share a land border."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import VIEWS, Citation, Indicator, Inputs, Rectangle

FAMILY = "spillover"
MEMORY = 60

CONTAGION = Citation(
    "Buhaug & Gleditsch (2008), Contagion or Confusion? Why Conflicts Cluster in Space, ISQ 52(2): 215-233",
    "10.1111/j.1468-2478.2008.00499.x",
)
UNKNOWN = {
    "en": "no neighbour by land, or a month of a neighbour's window lies outside the coverage of every source",
    "fr": "pas de voisin terrestre, ou un mois de la fenêtre d'un voisin n'est couvert par aucune source",
}


def _sum(values: Rectangle, neighbours: NDArray[np.bool_]) -> Rectangle:
    unknown = neighbours @ np.isnan(values).astype(np.float64)
    summed = neighbours @ np.nan_to_num(values)
    return np.where((unknown == 0) & neighbours.any(axis=1, keepdims=True), summed, np.nan)


def _number(inputs: Inputs) -> Rectangle:
    return np.asarray(np.maximum(inputs.neighbours.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def _around(inputs: Inputs, *, months: int) -> Rectangle:
    return _sum(windows.total(inputs.tables["deaths"], months), inputs.neighbours)


def _deaths(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_around(inputs, months=months))


def _mean(inputs: Inputs, *, months: int) -> Rectangle:
    return np.asarray(np.log1p(_around(inputs, months=months) / _number(inputs)))


def _worst(inputs: Inputs, *, months: int) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], months)
    worst = np.full(deaths.shape, np.nan)
    for place, row in enumerate(inputs.neighbours):
        if row.any():
            worst[place] = deaths[row].max(axis=0)
    return np.asarray(np.log1p(worst))


def _at_war(inputs: Inputs, *, deaths: int, months: int) -> Rectangle:
    summed = windows.total(inputs.tables["deaths"], months)
    at_war = np.where(np.isnan(summed), np.nan, summed >= deaths)
    return _sum(at_war, inputs.neighbours) / _number(inputs)


def _decayed(inputs: Inputs, *, half_life: float) -> Rectangle:
    around = _sum(inputs.tables["deaths"], inputs.neighbours)
    return np.log1p(windows.decayed(around, half_life, MEMORY))


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    recent = _deaths(inputs, months=months)
    return recent - windows.delayed(recent, months)


declare = partial(Indicator, family=FAMILY, missing=UNKNOWN, inputs=("deaths",), literature=(CONTAGION, VIEWS))

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"neighbours_deaths_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in the neighbouring countries, {months} month{'s' * (months > 1)}",
                "fr": f"Morts dans les pays voisins, {months} mois",
            },
            compute=partial(_deaths, months=months),
        )
        for months in (1, 3, 12, 60)
    ),
    declare(
        name="neighbours_mean_12m",
        unit="log(1 + deaths)",
        window=12,
        direction=+1,
        meaning={
            "en": "Mean deaths of a neighbouring country, 12 months",
            "fr": "Moyenne des morts par pays voisin, 12 mois",
        },
        compute=partial(_mean, months=12),
    ),
    *(
        declare(
            name=f"neighbours_worst_{months}m",
            unit="log(1 + deaths)",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in the worst-hit neighbour, {months} months",
                "fr": f"Morts chez le voisin le plus touché, {months} mois",
            },
            compute=partial(_worst, months=months),
        )
        for months in (3, 12, 60)
    ),
    declare(
        name="neighbours_at_war_12m",
        unit="share of neighbours",
        window=12,
        direction=+1,
        meaning={
            "en": "Share of the neighbours with at least 25 deaths in the last 12 months",
            "fr": "Part des voisins comptant au moins 25 morts sur les 12 derniers mois",
        },
        compute=partial(_at_war, deaths=25, months=12),
    ),
    declare(
        name="neighbours_half_life_4m",
        unit="log(1 + deaths a month)",
        window=MEMORY,
        direction=+1,
        meaning={
            "en": "Mean monthly deaths in the neighbouring countries, weight halving every 4 months",
            "fr": "Moyenne mensuelle des morts dans les pays voisins, au poids divisé par deux tous les 4 mois",
        },
        compute=partial(_decayed, half_life=4),
    ),
    declare(
        name="neighbours_trend_3m",
        unit="difference of log(1 + deaths)",
        window=6,
        direction=0,
        meaning={
            "en": "Deaths in the neighbouring countries over the last 3 months against the 3 before",
            "fr": "Morts dans les pays voisins sur les 3 derniers mois comparés aux 3 précédents",
        },
        compute=partial(_trend, months=3),
    ),
)
