"""The family `composition`: who kills whom. Types of violence, civilians among the dead, violence by the state.

The types are the source's (`outcomes.TYPES`). The family does not measure who supports an actor.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.indicators.declaration import (
    EVENTS_NOT_COVERED,
    GED,
    MAX_KEY_EVENTS,
    MIN_SIGNAL_DEATHS,
    Citation,
    Declarations,
    Family,
    Indicator,
    either,
    signals_of,
)
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.outcomes import TYPES
from riskmodel.windows import Rectangle

NAME = "composition"

ONE_SIDED = TYPES.index("one_sided")

WEEK_KNOWN = 3
"""UCDP's `date_prec` up to which the week is known, and so the half of the month."""

CIVILIANS = Citation(
    "Eck & Hultman (2007), One-Sided Violence Against Civilians in War, JPR 44(2): 233-246",
    "10.1177/0022343307075124",
)


def _deaths(events: Events, months: int, where: NDArray[np.bool_]) -> Rectangle:
    return windows.total(events.count(where, events.deaths), months)


def _one_sided_by_state(events: Events) -> NDArray[np.bool_]:
    return np.asarray((events.kind == ONE_SIDED) & events.state_a)


def _type_share(inputs: Inputs, *, kind: int, months: int) -> Rectangle:
    events = inputs.required_events
    return windows.ratio(_deaths(events, months, events.kind == kind), _deaths(events, months, events.kind >= 0))


def _civilian_share(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.required_events
    known = ~np.isnan(events.civilians)
    # the civilian count can exceed the best estimate of all deaths in the source
    civilians = events.count(known, np.minimum(events.civilians, events.deaths))
    return windows.ratio(windows.total(civilians, months), _deaths(events, months, known))


def _one_sided(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_deaths(inputs.required_events, months, inputs.required_events.kind == ONE_SIDED))


def _state_one_sided(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(_deaths(inputs.required_events, months, _one_sided_by_state(inputs.required_events)))


def _state_share(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.required_events
    by_state = _deaths(events, months, _one_sided_by_state(events))
    return windows.ratio(by_state, _deaths(events, months, events.kind == ONE_SIDED))


def _largest_massacre(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.required_events
    one_sided = events.kind == ONE_SIDED
    largest = np.zeros(events.covered.shape)
    np.maximum.at(largest, (events.row[one_sided], events.column[one_sided]), events.deaths[one_sided])
    return np.log1p(windows.maximum(np.where(events.covered, largest, np.nan), months))


def _convergence(inputs: Inputs, *, months: int) -> Rectangle:
    return np.log1p(windows.total(_converging(inputs), months))


def _converging(inputs: Inputs) -> Rectangle:
    """The number of pairs of a first-order unit and a half of the month with two or more types of violence.

    The halves are the days to the 15th and from the 16th on. A window of months never cuts them, as it would cut
    fortnights.
    """
    events = inputs.required_events
    known = np.flatnonzero((events.adm_1 >= 0) & (events.kind >= 0) & (events.date_prec <= WEEK_KNOWN))
    first_day = inputs.months[events.column[known]].astype("datetime64[D]").astype(np.int64)
    half = 2 * events.column[known] + (events.day[known] - first_day >= 15)
    seen = np.zeros((len(events.units), 2 * len(inputs.months), len(TYPES)), dtype=bool)
    seen[events.adm_1[known], half, events.kind[known]] = True
    unit, half = np.nonzero(seen.sum(axis=2) > 1)
    country = np.zeros(len(events.units), dtype=np.intp)
    country[events.adm_1[known]] = events.row[known]
    pairs = np.zeros(events.covered.shape)
    np.add.at(pairs, (country[unit], half // 2), 1)
    return np.where(events.covered, pairs, np.nan)


def _one_sided_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events = inputs.required_events
    recent = events.of_months(column, months)
    counted = (events.row[recent] == row) & (events.kind[recent] == ONE_SIDED) & (events.deaths[recent] > 0)
    return np.asarray(recent[counted])


def _state_one_sided_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    behind = _one_sided_behind(inputs, row, column, months=months)
    return np.asarray(behind[inputs.required_events.state_a[behind]])


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The deadliest event of each type in the last 12 months, then the second deadliest of each, and so on."""
    events = inputs.required_events
    recent = np.flatnonzero(events.recent(row, column, windows.YEAR) & (events.kind >= 0) & (events.deaths > 0))
    deadliest = recent[np.lexsort((-recent, -events.deaths[recent]))]
    kind = events.kind[deadliest]
    rank = np.zeros(deadliest.size, dtype=np.intp)
    for each in range(len(TYPES)):
        rank[kind == each] = np.arange((kind == each).sum())
    return np.asarray(deadliest[np.argsort(rank, kind="stable")][:MAX_KEY_EVENTS])


TYPE_LABELS = {
    "state_based": {"en": "state-based violence", "fr": "violence impliquant un État"},
    "non_state": {"en": "violence between organised groups", "fr": "violence entre groupes organisés"},
    "one_sided": {"en": "violence against civilians", "fr": "violence exercée contre des civils"},
}

declare = Declarations(NAME, literature=(CIVILIANS, GED), inputs=("events",), missing=EVENTS_NOT_COVERED, direction=+1)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.share(
            f"{kind}_share_{months}m",
            "deaths",
            window=months,
            en=f"Share of deaths in {TYPE_LABELS[kind]['en']}, {months} months",
            fr=f"Part des morts dans la {TYPE_LABELS[kind]['fr']}, {months} mois",
            compute=partial(_type_share, kind=index, months=months),
            direction=0,
            missing=either(
                EVENTS_NOT_COVERED,
                "nobody died in an event whose kind is known",
                "personne n’est mort dans un événement dont la forme est connue",
            ),
            literature=(GED,),
        )
        for index, kind in enumerate(TYPES)
        for months in (3, 12)
    ),
    *(
        declare.share(
            f"civilian_share_{months}m",
            "deaths",
            window=months,
            en=f"Share of civilians among the dead, {months} months",
            fr=f"Part des civils parmi les morts, {months} mois",
            compute=partial(_civilian_share, months=months),
            direction=0,
            missing=either(
                EVENTS_NOT_COVERED,
                "nobody died in an event whose source counts civilians",
                "personne n’est mort dans un événement dont la source compte les civils",
            ),
        )
        for months in (3, 12)
    ),
    *(
        declare.log_count(
            f"one_sided_deaths_{months}m",
            "deaths",
            window=months,
            en=f"Deaths in violence against civilians over the last {months} months",
            fr=f"Morts dans la violence exercée contre des civils sur les {months} derniers mois",
            compute=partial(_one_sided, months=months),
            signal=signals_of(months, _one_sided_behind, minimum=MIN_SIGNAL_DEATHS),
        )
        for months in (3, 12)
    ),
    declare.log_count(
        "state_one_sided_deaths_12m",
        "deaths",
        window=12,
        en="Deaths in violence by a government against civilians over the last 12 months",
        fr="Morts dans la violence exercée par un gouvernement contre des civils sur les 12 derniers mois",
        compute=partial(_state_one_sided, months=12),
        signal=signals_of(12, _state_one_sided_behind, minimum=MIN_SIGNAL_DEATHS),
    ),
    declare.share(
        "state_one_sided_share_12m",
        "deaths in violence against civilians",
        window=12,
        en="Share of the deaths in violence against civilians that a government inflicted, 12 months",
        fr="Part des morts de la violence contre des civils infligées par un gouvernement, 12 mois",
        compute=partial(_state_share, months=12),
        direction=0,
        missing=either(
            EVENTS_NOT_COVERED,
            "nobody died in violence against civilians",
            "personne n’est mort dans une violence exercée contre des civils",
        ),
    ),
    declare.log_count(
        "largest_massacre_12m",
        "deaths",
        window=12,
        en="Deaths in the deadliest single event of violence against civilians, 12 months",
        fr="Morts dans l’événement le plus meurtrier de violence contre des civils, 12 mois",
        compute=partial(_largest_massacre, months=12),
    ),
    *(
        declare.log_count(
            f"convergence_{months}m",
            "pairs of first-order unit and half of a month",
            window=months,
            en=f"Fortnights in which a first-order unit saw several kinds of violence, {months} months",
            fr=f"Quinzaines où une unité de premier niveau a connu plusieurs formes de violence, {months} mois",
            compute=partial(_convergence, months=months),
            literature=(GED,),
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
