"""The family `actors`: how many armed actors fight in a country, how new they are, and which of them cross a border.

An actor is what the source names as a side of an event. Governments are armed actors, civilians are not.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.indicators import categories
from riskmodel.indicators.categories import EFFECTIVE_NUMBER, QUIET_BEFORE_NEW, CategoryCounts
from riskmodel.indicators.declaration import (
    EVENTS_NOT_COVERED,
    GED,
    Citation,
    Declarations,
    Family,
    Indicator,
    either,
    signals_of,
)
from riskmodel.indicators.inputs import Events, Indices, Inputs
from riskmodel.windows import Rectangle

NAME = "actors"

DYADS = Citation(
    "Harbom, Melander & Wallensteen (2008), Dyadic Dimensions of Armed Conflict, 1946-2007, JPR 45(5): 697-710",
    "10.1177/0022343308094331",
)
TRANSNATIONAL = Citation(
    "Salehyan (2007), Transnational Rebels: Neighboring States as Sanctuary for Rebel Groups, "
    "World Politics 59(2): 217-242",
    "10.1353/wp.2007.0024",
)


def _sides(events: Events, chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """The chosen actors of each event on either side; -1 for one that is unknown, not chosen, or on both sides."""
    is_chosen = np.append(chosen, False)  # the last element is for the index -1, the unknown actor
    side_a, side_b = (np.where(is_chosen[side], side, -1) for side in (events.side_a, events.side_b))
    return side_a, np.where(side_b == side_a, -1, side_b)


def _events_by_actor(events: Events, chosen: NDArray[np.bool_]) -> CategoryCounts:
    actor = np.concatenate(_sides(events, chosen))
    row, column = np.tile(events.row, 2), np.tile(events.column, 2)
    return CategoryCounts.count(row[actor >= 0], column[actor >= 0], actor[actor >= 0], events.covered.shape)


def _actors(inputs: Inputs) -> CategoryCounts:
    """Events by armed actor."""
    return _events_by_actor(inputs.required_events, inputs.required_events.armed)


def _groups(inputs: Inputs) -> CategoryCounts:
    """Events by armed group, without governments."""
    return _events_by_actor(inputs.required_events, inputs.required_events.groups)


def _dyads(inputs: Inputs) -> CategoryCounts:
    """Events by dyad of two armed actors."""
    events = inputs.required_events
    side_a, side_b = _sides(events, events.armed)
    known = (side_a >= 0) & (side_b >= 0) & (events.dyad >= 0)
    return CategoryCounts.count(events.row[known], events.column[known], events.dyad[known], events.covered.shape)


def _dominance(inputs: Inputs, *, months: int) -> Rectangle:
    groups = inputs.cached(_groups)
    recent = groups.recent(months)
    share = windows.ratio(groups.maximum(recent), groups.total(recent))
    return np.where(windows.throughout(inputs.required_events.covered, months), share, np.nan)


def _active_on_both_sides(inputs: Inputs, months: int) -> NDArray[np.bool_]:
    """Whether each armed group was active here and in a neighbour in the last months, shape (pair + 1, month).

    A pair is a country and a group. The last row is for no group and is False. A neighbour counts if its events are
    covered in all of those months.
    """
    events, groups = inputs.required_events, inputs.cached(_groups)
    no_group = np.zeros((1, events.covered.shape[1]), dtype=bool)
    known = windows.throughout(events.covered, months)
    active = np.append((groups.recent(months) > 0) & known[groups.row], no_group, axis=0)
    pair = _pair_indices(groups, events)
    on_both_sides = np.zeros(active.shape, dtype=bool)
    for row, neighbours in enumerate(inputs.neighbours):
        here = np.flatnonzero(groups.row == row)
        in_neighbour = active[pair[neighbours][:, groups.category[here]]].any(axis=0)
        on_both_sides[here] = active[here] & in_neighbour
    return on_both_sides


def _pair_indices(groups: CategoryCounts, events: Events) -> Indices:
    """The index of each country's group among the pairs, shape (country, actor + 1); -1 where there is none.

    The last column is for the unknown actor.
    """
    index = np.full((groups.countries, len(events.actors) + 1), -1)
    index[groups.row, groups.category] = np.arange(groups.row.size)
    return index


def _neighbour_covered(inputs: Inputs, months: int) -> NDArray[np.bool_]:
    """Whether the events of the country and of a neighbour are covered in the last months."""
    known = windows.throughout(inputs.required_events.covered, months)
    return known & (inputs.neighbours.astype(np.float64) @ known.astype(np.float64) > 0)


def _cross_border_actors(inputs: Inputs, *, months: int) -> Rectangle:
    active = _active_on_both_sides(inputs, months)[:-1]
    return categories.log_number(inputs.cached(_groups), active, _neighbour_covered(inputs, months))


def _cross_border_share(inputs: Inputs, *, months: int) -> Rectangle:
    events, on_both_sides = inputs.required_events, _active_on_both_sides(inputs, months)
    pair = _pair_indices(inputs.cached(_groups), events)
    one, other = (pair[events.row, side] for side in _sides(events, events.groups))
    number = np.zeros(events.covered.size)
    for age in range(months):  # an event counts in each of so many months, and its groups are looked up in each
        column = events.column + age
        inside = np.flatnonzero(column < events.covered.shape[1])
        column = column[inside]
        crosses = on_both_sides[one[inside], column] | on_both_sides[other[inside], column]
        cell = events.row[inside] * events.covered.shape[1] + column
        number += np.bincount(cell[crosses], minlength=number.size)
    share = windows.ratio(number.reshape(events.covered.shape), windows.total(events.count(), months))
    return np.where(_neighbour_covered(inputs, months), share, np.nan)


def _new_dyads_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    events = inputs.required_events
    side_a, side_b = _sides(events, events.armed)
    fought = (side_a >= 0) & (side_b >= 0) & (events.dyad >= 0)
    recent, earlier = _recent_and_earlier(events, row, column, months)
    recent, earlier = recent[fought[recent]], earlier[fought[earlier]]
    return np.asarray(recent[~np.isin(events.dyad[recent], events.dyad[earlier])])


def _new_actors_behind(inputs: Inputs, row: int, column: int, *, months: int) -> Indices:
    sides = np.stack(_sides(inputs.required_events, inputs.required_events.armed))
    recent, earlier = _recent_and_earlier(inputs.required_events, row, column, months)
    is_new = (sides[:, recent] >= 0) & ~np.isin(sides[:, recent], sides[:, earlier])
    return np.asarray(recent[is_new.any(axis=0)])


def _recent_and_earlier(events: Events, row: int, column: int, months: int) -> tuple[Indices, Indices]:
    """A country's events of the last months, and those of the quiet months before."""
    spans = events.of_months(column, months), events.of_months(column - months, QUIET_BEFORE_NEW)
    recent, earlier = (span[events.row[span] == row] for span in spans)
    return recent, earlier


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The deadliest event of each dyad."""
    return categories.deadliest_of_each(inputs.required_events, inputs.required_events.dyad, row, column)


NO_ARMED_ACTOR = either(
    EVENTS_NOT_COVERED,
    "no event of the window names an armed actor",
    "aucun événement de la fenêtre ne nomme d’acteur armé",
)
NO_ARMED_GROUP = either(
    EVENTS_NOT_COVERED,
    "no event of the window names an armed group other than a government",
    "aucun événement de la fenêtre ne nomme de groupe armé autre qu’un gouvernement",
)
NO_COVERED_NEIGHBOUR = either(
    EVENTS_NOT_COVERED,
    "no neighbour by land has events known in all of it",
    "aucun voisin terrestre n’a d’événements connus sur toute la fenêtre",
)

declare = Declarations(NAME, literature=(DYADS, GED), inputs=("events",), missing=EVENTS_NOT_COVERED, direction=+1)

INDICATORS: tuple[Indicator, ...] = (
    declare.log_count(
        "actors_12m",
        "armed actors",
        window=12,
        en="Armed actors with events in the last 12 months",
        fr="Acteurs armés actifs ces 12 derniers mois",
        compute=partial(categories.active, of=_actors, months=12),
    ),
    *(
        declare.value(
            f"effective_actors_{months}m",
            "armed actors",
            window=months,
            en=f"Effective number of armed actors, by events of the last {months} months",
            fr=f"Nombre effectif d’acteurs armés, d’après les événements des {months} derniers mois",
            compute=partial(categories.effective_number, of=_actors, months=months),
            missing=NO_ARMED_ACTOR,
            literature=(EFFECTIVE_NUMBER, DYADS),
        )
        for months in (12, 36)
    ),
    declare.share(
        "dominance_12m",
        "the armed groups' part in events",
        window=12,
        en="Share of the most active armed group in all that armed groups took part in, 12 months",
        fr="Part du groupe armé le plus actif dans l’ensemble des actions des groupes armés, 12 mois",
        compute=partial(_dominance, months=12),
        direction=0,
        missing=NO_ARMED_GROUP,
    ),
    declare.log_count(
        "new_actors_12m",
        "armed actors",
        window=12 + QUIET_BEFORE_NEW,
        en=f"Armed actors of the last 12 months with no event in the country in the {QUIET_BEFORE_NEW} before",
        fr=f"Acteurs armés actifs ces 12 derniers mois, mais absents du pays durant les {QUIET_BEFORE_NEW} précédents",
        compute=partial(categories.new, of=_actors, months=12),
        signal=signals_of(12, _new_actors_behind, minimum=1),
    ),
    declare.log_count(
        "dyads_12m",
        "dyads",
        window=12,
        en="Pairs of armed actors that fought each other in the last 12 months",
        fr="Paires d’acteurs armés qui se sont affrontés ces 12 derniers mois",
        compute=partial(categories.active, of=_dyads, months=12),
    ),
    declare.log_count(
        "new_dyads_12m",
        "dyads",
        window=12 + QUIET_BEFORE_NEW,
        en="Pairs of armed actors that fought each other in the last 12 months and not in the "
        f"{QUIET_BEFORE_NEW} before",
        fr=f"Paires d’acteurs armés aux prises ces 12 derniers mois, mais pas durant les {QUIET_BEFORE_NEW} précédents",
        compute=partial(categories.new, of=_dyads, months=12),
        signal=signals_of(12, _new_dyads_behind, minimum=1),
    ),
    declare.log_count(
        "cross_border_actors_12m",
        "armed groups",
        window=12,
        en="Armed groups active in the last 12 months both here and in a neighbouring country",
        fr="Groupes armés actifs ces 12 derniers mois à la fois ici et dans un pays voisin",
        compute=partial(_cross_border_actors, months=12),
        missing=NO_COVERED_NEIGHBOUR,
        literature=(TRANSNATIONAL, GED),
    ),
    declare.share(
        "cross_border_share_12m",
        "events",
        window=12,
        en="Share of the events of the last 12 months with an armed group that is also active next door",
        fr="Part des événements des 12 derniers mois impliquant un groupe armé actif aussi dans un pays voisin",
        compute=partial(_cross_border_share, months=12),
        missing=either(NO_COVERED_NEIGHBOUR, "the country had no event", "le pays n’a connu aucun événement"),
        literature=(TRANSNATIONAL, GED),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Actors", "fr": "Acteurs"},
    theme={
        "en": "How many armed actors there are, how new they are, and which of them cross a border",
        "fr": "Le nombre des acteurs armés, leur nouveauté et ceux qui franchissent une frontière",
    },
    headline=("actors_12m", "new_actors_12m"),
    indicators=INDICATORS,
    key_events=_key_events,
    abroad=True,
)
