"""The family `composition`: who kills whom. Kinds of violence, civilians among the dead, violence by the state.

Kinds are the source's (`outcomes.TYPES`); who stands behind an actor is nothing that it measures. It knows no model.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import GED, MAX_KEY_EVENTS, UNTOLD, Citation, Family, Indicator, either
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle
from riskmodel.outcomes import TYPES

NAME = "composition"

ONE_SIDED = TYPES.index("one_sided")

DATED = 3
"""The greatest `date_prec` at which a date tells the fortnight: a week is known."""

CIVILIANS = Citation(
    "Eck & Hultman (2007), One-Sided Violence Against Civilians in War, JPR 44(2): 233-246",
    "10.1177/0022343307075124",
)


def _deaths(events: Events, months: int, where: NDArray[np.bool_]) -> Rectangle:
    return windows.total(events.count(where, events.deaths), months)


def _by_state(events: Events) -> NDArray[np.bool_]:
    return np.asarray((events.kind == ONE_SIDED) & events.state_a)


def _kind_share(inputs: Inputs, *, kind: int, months: int) -> Rectangle:
    events = inputs.reported
    return windows.ratio(_deaths(events, months, events.kind == kind), _deaths(events, months, events.kind >= 0))


def _civilian_share(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    said = ~np.isnan(events.civilians)
    civilians = events.count(said, np.minimum(events.civilians, events.deaths))
    return windows.ratio(windows.total(civilians, months), _deaths(events, months, said))


def _one_sided(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_deaths(inputs.reported, months, inputs.reported.kind == ONE_SIDED))


def _state_one_sided(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_deaths(inputs.reported, months, _by_state(inputs.reported)))


def _state_share(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    return windows.ratio(_deaths(events, months, _by_state(events)), _deaths(events, months, events.kind == ONE_SIDED))


def _largest(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.reported
    there = events.kind == ONE_SIDED
    worst = np.zeros(events.told.shape)
    np.maximum.at(worst, (events.row[there], events.column[there]), events.deaths[there])
    return np.log1p(windows.highest(np.where(events.told, worst, np.nan), months))


def _convergence(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(_converging(inputs), months))


def _converging(inputs: Inputs) -> Rectangle:
    """The number of pairs of first-order unit and half of the month with two or more kinds of violence.

    Halves of a month (to its 15th day, and from its 16th on), since each lies in one month: a window of months neither
    cuts a fortnight in two nor waits for its end.
    """
    events = inputs.reported
    there = np.flatnonzero((events.adm_1 >= 0) & (events.kind >= 0) & (events.date_prec <= DATED))
    first = inputs.months[events.column[there]].astype("datetime64[D]").astype(np.int64)
    half = 2 * events.column[there] + (events.day[there] - first >= 15)
    seen = np.zeros((len(events.units), 2 * len(inputs.months), len(TYPES)), dtype=bool)
    seen[events.adm_1[there], half, events.kind[there]] = True
    unit, half = np.nonzero(seen.sum(axis=2) > 1)
    country = np.zeros(len(events.units), dtype=np.intp)
    country[events.adm_1[there]] = events.row[there]
    pairs = np.zeros(events.told.shape)
    np.add.at(pairs, (country[unit], half // 2), 1)
    return np.where(events.told, pairs, np.nan)


def _key_events(inputs: Inputs, row: int, column: int) -> Places:
    """The deadliest event of each kind in the last 12 months, then the second deadliest of each, and so on."""
    events = inputs.reported
    lately = np.flatnonzero(events.recent(row, column, windows.YEAR) & (events.kind >= 0) & (events.deaths > 0))
    deadliest = lately[np.lexsort((-lately, -events.deaths[lately]))]
    kind = events.kind[deadliest]
    rank = np.zeros(deadliest.size, dtype=np.intp)
    for each in range(len(TYPES)):
        rank[kind == each] = np.arange((kind == each).sum())
    return np.asarray(deadliest[np.argsort(rank, kind="stable")][:MAX_KEY_EVENTS])


KINDS = {
    "state_based": {"en": "state-based violence", "fr": "violence impliquant un État"},
    "non_state": {"en": "violence between organised groups", "fr": "violence entre groupes organisés"},
    "one_sided": {"en": "violence against civilians", "fr": "violence exercée contre des civils"},
}

declare = partial(Indicator, family=NAME, literature=(CIVILIANS, GED), inputs=("events",))

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"{kind}_share_{months}m",
            unit="share of deaths",
            scale="share",
            window=months,
            direction=0,
            meaning={
                "en": f"Share of deaths in {KINDS[kind]['en']}, {months} months",
                "fr": f"Part des morts dans la {KINDS[kind]['fr']}, {months} mois",
            },
            missing=either(
                UNTOLD,
                "nobody died in an event whose kind is known",
                "personne n’est mort dans un événement dont la forme est connue",
            ),
            literature=(GED,),
            compute=partial(_kind_share, kind=place, months=months),
        )
        for place, kind in enumerate(TYPES)
        for months in (3, 12)
    ),
    *(
        declare(
            name=f"civilian_share_{months}m",
            unit="share of deaths",
            scale="share",
            window=months,
            direction=0,
            meaning={
                "en": f"Share of civilians among the dead, {months} months",
                "fr": f"Part des civils parmi les morts, {months} mois",
            },
            missing=either(
                UNTOLD,
                "nobody died in an event whose source counts civilians",
                "personne n’est mort dans un événement dont la source compte les civils",
            ),
            compute=partial(_civilian_share, months=months),
        )
        for months in (3, 12)
    ),
    *(
        declare(
            name=f"one_sided_deaths_{months}m",
            unit="log(1 + deaths)",
            scale="log1p",
            window=months,
            direction=+1,
            meaning={
                "en": f"Deaths in violence against civilians over the last {months} months",
                "fr": f"Morts dans la violence exercée contre des civils sur les {months} derniers mois",
            },
            missing=UNTOLD,
            compute=partial(_one_sided, months=months),
        )
        for months in (3, 12)
    ),
    declare(
        name="state_one_sided_deaths_12m",
        unit="log(1 + deaths)",
        scale="log1p",
        window=12,
        direction=+1,
        meaning={
            "en": "Deaths in violence by a government against civilians over the last 12 months",
            "fr": "Morts dans la violence exercée par un gouvernement contre des civils sur les 12 derniers mois",
        },
        missing=UNTOLD,
        compute=partial(_state_one_sided, months=12),
    ),
    declare(
        name="state_one_sided_share_12m",
        unit="share of deaths in violence against civilians",
        scale="share",
        window=12,
        direction=0,
        meaning={
            "en": "Share of the deaths in violence against civilians that a government inflicted, 12 months",
            "fr": "Part des morts de la violence contre des civils infligées par un gouvernement, 12 mois",
        },
        missing=either(
            UNTOLD,
            "nobody died in violence against civilians",
            "personne n’est mort dans une violence exercée contre des civils",
        ),
        compute=partial(_state_share, months=12),
    ),
    declare(
        name="largest_massacre_12m",
        unit="log(1 + deaths)",
        scale="log1p",
        window=12,
        direction=+1,
        meaning={
            "en": "Deaths in the deadliest single event of violence against civilians, 12 months",
            "fr": "Morts dans l’événement le plus meurtrier de violence contre des civils, 12 mois",
        },
        missing=UNTOLD,
        compute=partial(_largest, months=12),
    ),
    *(
        declare(
            name=f"convergence_{months}m",
            unit="log(1 + pairs of first-order unit and half of a month)",
            scale="log1p",
            window=months,
            direction=+1,
            meaning={
                "en": f"Fortnights in which a first-order unit saw several kinds of violence, {months} months",
                "fr": f"Quinzaines où une unité de premier niveau a connu plusieurs formes de violence, {months} mois",
            },
            missing=UNTOLD,
            literature=(GED,),
            compute=partial(_convergence, months=months),
        )
        for months in (3, 12)
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Composition", "fr": "Composition"},
    theme={
        "en": "Who kills whom: the kinds of violence, the share of civilians among the dead, violence by the state",
        "fr": "Qui tue qui : les formes de violence, la part des civils parmi les morts, la violence de l’État",
    },
    headline=("civilian_share_12m", "one_sided_deaths_12m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
