"""The family `spillover`: violence in the countries that share a land border."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import Citation, Indicator, Inputs, Rectangle

FAMILY = "spillover"
MEMORY = 60

CONTAGION = Citation(
    "Buhaug & Gleditsch (2008), Contagion or Confusion? Why Conflicts Cluster in Space, ISQ 52(2): 215-233",
    "10.1111/j.1468-2478.2008.00499.x",
)
VIEWS = Citation(
    "Hegre et al. (2019), ViEWS: A political Violence Early-Warning System, JPR 56(2): 155-174",
    "10.1177/0022343319823860",
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


def _declare(
    name: str, unit: str, window: int, direction: int, meaning: tuple[str, str], compute: Callable[[Inputs], Rectangle]
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
        literature=(CONTAGION, VIEWS),
        inputs=("deaths",),
        compute=compute,
    )


INDICATORS: tuple[Indicator, ...] = (
    *(
        _declare(
            f"neighbours_deaths_{months}m",
            "log(1 + deaths)",
            months,
            +1,
            (f"Deaths in the neighbouring countries, {months} months", f"Morts dans les pays voisins, {months} mois"),
            partial(_deaths, months=months),
        )
        for months in (1, 3, 12, 60)
    ),
    _declare(
        "neighbours_mean_12m",
        "log(1 + deaths)",
        12,
        +1,
        ("Mean deaths of a neighbouring country, 12 months", "Moyenne des morts par pays voisin, 12 mois"),
        partial(_mean, months=12),
    ),
    *(
        _declare(
            f"neighbours_worst_{months}m",
            "log(1 + deaths)",
            months,
            +1,
            (
                f"Deaths in the worst-hit neighbour, {months} months",
                f"Morts chez le voisin le plus touché, {months} mois",
            ),
            partial(_worst, months=months),
        )
        for months in (3, 12, 60)
    ),
    _declare(
        "neighbours_at_war_12m",
        "share of neighbours",
        12,
        +1,
        (
            "Share of the neighbours with at least 25 deaths in the last 12 months",
            "Part des voisins comptant au moins 25 morts sur les 12 derniers mois",
        ),
        partial(_at_war, deaths=25, months=12),
    ),
    _declare(
        "neighbours_half_life_4m",
        "log(1 + deaths a month)",
        MEMORY,
        +1,
        (
            "Mean monthly deaths in the neighbouring countries, weight halving every 4 months",
            "Moyenne mensuelle des morts dans les pays voisins, au poids divisé par deux tous les 4 mois",
        ),
        partial(_decayed, half_life=4),
    ),
    _declare(
        "neighbours_trend_3m",
        "difference of log(1 + deaths)",
        6,
        0,
        (
            "Deaths in the neighbouring countries over the last 3 months against the 3 before",
            "Morts dans les pays voisins sur les 3 derniers mois comparées aux 3 précédents",
        ),
        partial(_trend, months=3),
    ),
)
