"""The family `actors`: how many armed actors fight in a country, how new they are, and which of them cross a border.

An actor is what the source names as a side of an event; governments are armed actors and civilians are none. It knows
no model.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import parts, windows
from riskmodel.indicators.declaration import GED, UNTOLD, Citation, Family, Indicator, either
from riskmodel.indicators.inputs import Events, Inputs, Places, Rectangle
from riskmodel.indicators.parts import EFFECTIVE, MEMORY, Parts

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


def _sides(events: Events, counted: NDArray[np.bool_]) -> tuple[Places, Places]:
    """The actors of each event on either side; -1 for one that is unknown, does not count, or stands there twice."""
    counts = np.append(counted, False)  # for the unknown, which is numbered -1
    side_a, side_b = (np.where(counts[side], side, -1) for side in (events.side_a, events.side_b))
    return side_a, np.where(side_b == side_a, -1, side_b)


def _taking_part(events: Events, counted: NDArray[np.bool_]) -> Parts:
    actor = np.concatenate(_sides(events, counted))
    row, column = np.tile(events.row, 2), np.tile(events.column, 2)
    return Parts.of(row[actor >= 0], column[actor >= 0], actor[actor >= 0], events.told.shape)


def _actors(inputs: Inputs) -> Parts:
    """The events in which each armed actor took part."""
    return _taking_part(inputs.reported, inputs.reported.armed)


def _groups(inputs: Inputs) -> Parts:
    """The events in which each armed group took part, governments left out."""
    return _taking_part(inputs.reported, inputs.reported.groups)


def _dyads(inputs: Inputs) -> Parts:
    """The events of each dyad of which both sides are armed."""
    events = inputs.reported
    side_a, side_b = _sides(events, events.armed)
    there = (side_a >= 0) & (side_b >= 0) & (events.dyad >= 0)
    return Parts.of(events.row[there], events.column[there], events.dyad[there], events.told.shape)


def _dominance(inputs: Inputs, *, months: int) -> Rectangle:
    groups = inputs.once(_groups)
    lately = groups.recent(months)
    share = windows.ratio(groups.highest(lately), groups.total(lately))
    return np.where(windows.throughout(inputs.reported.told, months), share, np.nan)


def _crossing(inputs: Inputs, months: int) -> NDArray[np.bool_]:
    """Whether each armed group was also active next door in the last months, shape (pair + 1, month).

    The last row is of no group. A neighbour counts where its events are known in all of those months.
    """
    events, groups = inputs.reported, inputs.once(_groups)
    nobody = np.zeros((1, events.told.shape[1]), dtype=bool)
    known = windows.throughout(events.told, months)
    active = np.append((groups.recent(months) > 0) & known[groups.row], nobody, axis=0)
    place = _places(groups, events)
    both = np.zeros(active.shape, dtype=bool)
    for row, around in enumerate(inputs.neighbours):
        here = np.flatnonzero(groups.row == row)
        next_door = active[place[around][:, groups.part[here]]].any(axis=0)
        both[here] = active[here] & next_door
    return both


def _places(groups: Parts, events: Events) -> Places:
    """The place of each country's actors among the pairs, shape (country, actor + 1); -1 where there is none."""
    place = np.full((groups.countries, len(events.actors) + 1), -1)
    place[groups.row, groups.part] = np.arange(groups.row.size)
    return place


def _next_door_told(inputs: Inputs, months: int) -> NDArray[np.bool_]:
    known = windows.throughout(inputs.reported.told, months)
    return known & (inputs.neighbours.astype(np.float64) @ known.astype(np.float64) > 0)


def _across(inputs: Inputs, *, months: int) -> Rectangle:
    return parts.logged(inputs.once(_groups), _crossing(inputs, months)[:-1], _next_door_told(inputs, months))


def _across_share(inputs: Inputs, *, months: int) -> Rectangle:
    events, both = inputs.reported, _crossing(inputs, months)
    place = _places(inputs.once(_groups), events)
    one, other = (place[events.row, side] for side in _sides(events, events.groups))
    number = np.zeros(events.told.size)
    for age in range(months):  # an event counts in so many months, and in each its groups are asked anew
        column = events.column + age
        there = np.flatnonzero(column < events.told.shape[1])
        column = column[there]
        crosses = both[one[there], column] | both[other[there], column]
        number += np.bincount((events.row[there] * events.told.shape[1] + column)[crosses], minlength=number.size)
    share = windows.ratio(number.reshape(events.told.shape), windows.total(events.count(), months))
    return np.where(_next_door_told(inputs, months), share, np.nan)


def _key_events(inputs: Inputs, row: int, column: int) -> Places:
    return parts.one_each(inputs.reported, inputs.reported.dyad, row, column)


NOBODY = either(
    UNTOLD, "no event of the window names an armed actor", "aucun événement de la fenêtre ne nomme d’acteur armé"
)
NO_GROUP = either(
    UNTOLD,
    "no event of the window names an armed group other than a government",
    "aucun événement de la fenêtre ne nomme de groupe armé autre qu’un gouvernement",
)
NO_NEIGHBOUR = either(
    UNTOLD,
    "no neighbour by land has events known in all of it",
    "aucun voisin terrestre n’a d’événements connus sur toute la fenêtre",
)

declare = partial(Indicator, family=NAME, literature=(DYADS, GED), inputs=("events",))

INDICATORS: tuple[Indicator, ...] = (
    declare(
        name="actors_12m",
        unit="log(1 + armed actors)",
        scale="log1p",
        window=12,
        direction=+1,
        meaning={
            "en": "Armed actors with events in the last 12 months",
            "fr": "Acteurs armés actifs ces 12 derniers mois",
        },
        missing=UNTOLD,
        compute=partial(parts.active, of=_actors, months=12),
    ),
    *(
        declare(
            name=f"effective_actors_{months}m",
            unit="armed actors",
            window=months,
            direction=+1,
            meaning={
                "en": f"Effective number of armed actors, by events of the last {months} months",
                "fr": f"Nombre effectif d’acteurs armés, d’après les événements des {months} derniers mois",
            },
            missing=NOBODY,
            literature=(EFFECTIVE, DYADS),
            compute=partial(parts.effective, of=_actors, months=months),
        )
        for months in (12, 36)
    ),
    declare(
        name="dominance_12m",
        unit="share of the armed groups' part in events",
        scale="share",
        window=12,
        direction=0,
        meaning={
            "en": "Share of the most active armed group in all that armed groups took part in, 12 months",
            "fr": "Part du groupe armé le plus actif dans l’ensemble des actions des groupes armés, 12 mois",
        },
        missing=NO_GROUP,
        compute=partial(_dominance, months=12),
    ),
    declare(
        name="new_actors_12m",
        unit="log(1 + armed actors)",
        scale="log1p",
        window=12 + MEMORY,
        direction=+1,
        meaning={
            "en": f"Armed actors of the last 12 months with no event in the country in the {MEMORY} before",
            "fr": f"Acteurs armés actifs ces 12 derniers mois, mais absents du pays durant les {MEMORY} précédents",
        },
        missing=UNTOLD,
        compute=partial(parts.new, of=_actors, months=12),
    ),
    declare(
        name="dyads_12m",
        unit="log(1 + dyads)",
        scale="log1p",
        window=12,
        direction=+1,
        meaning={
            "en": "Pairs of armed actors that fought each other in the last 12 months",
            "fr": "Paires d’acteurs armés qui se sont affrontés ces 12 derniers mois",
        },
        missing=UNTOLD,
        compute=partial(parts.active, of=_dyads, months=12),
    ),
    declare(
        name="new_dyads_12m",
        unit="log(1 + dyads)",
        scale="log1p",
        window=12 + MEMORY,
        direction=+1,
        meaning={
            "en": f"Pairs of armed actors that fought each other in the last 12 months and not in the {MEMORY} before",
            "fr": f"Paires d’acteurs armés aux prises ces 12 derniers mois, mais pas durant les {MEMORY} précédents",
        },
        missing=UNTOLD,
        compute=partial(parts.new, of=_dyads, months=12),
    ),
    declare(
        name="cross_border_actors_12m",
        unit="log(1 + armed groups)",
        scale="log1p",
        window=12,
        direction=+1,
        meaning={
            "en": "Armed groups active in the last 12 months both here and in a neighbouring country",
            "fr": "Groupes armés actifs ces 12 derniers mois à la fois ici et dans un pays voisin",
        },
        missing=NO_NEIGHBOUR,
        literature=(TRANSNATIONAL, GED),
        compute=partial(_across, months=12),
    ),
    declare(
        name="cross_border_share_12m",
        unit="share of events",
        scale="share",
        window=12,
        direction=+1,
        meaning={
            "en": "Share of the events of the last 12 months with an armed group that is also active next door",
            "fr": "Part des événements des 12 derniers mois impliquant un groupe armé actif aussi dans un pays voisin",
        },
        missing=either(NO_NEIGHBOUR, "the country had no event", "le pays n’a connu aucun événement"),
        literature=(TRANSNATIONAL, GED),
        compute=partial(_across_share, months=12),
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
