"""The family `reporting`: how complete, how quiet, how precise and how well sourced the figures are.

None of it measures violence: it says how far the other families can be trusted. The silence is that of
`riskmodel.reporting.under_reporting`, for a whole rectangle at once.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import GED, MAX_KEY_EVENTS, Citation, Family, Indicator, Text, either, last
from riskmodel.indicators.inputs import LOCATED, Events, Inputs, Places, Rectangle
from riskmodel.indicators.windows import YEAR
from riskmodel.reporting.precision import VAGUE_DATE
from riskmodel.reporting.under_reporting import HISTORY, SHORTEST, SILENCE, at_most

NAME = "reporting"
KNOWN = 0.5
"""The least share of events that must say how they are known: UCDP counts sources from 2013 on."""

CANDIDATE = Citation(
    "Hegre, Croicu, Eck & Högbladh (2020), Introducing the UCDP Candidate Events Dataset, Research & Politics 7(3)",
    "10.1177/2053168020935257",
)
BIAS = Citation(
    "Weidmann (2016), A Closer Look at Reporting Bias in Conflict Event Data, AJPS 60(1): 206-218",
    "10.1111/ajps.12196",
)

NO_VINTAGES = {
    "en": "too few earlier versions of the figures are known to say how much is still unreported",
    "fr": "trop peu de versions antérieures des chiffres sont connues pour dire ce qui reste à signaler",
}
NO_HISTORY = {
    "en": f"no event file covers the newest months, or less than {SHORTEST} unbroken months before them",
    "fr": f"aucun fichier d’événements ne couvre les derniers mois, ou moins de {SHORTEST} mois continus avant eux",
}


def _completeness(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.mean(inputs.tables["completeness"], months)


class _History(NamedTuple):
    """Sums over some months, of the unbroken history that ends with each month: their number, mean and variance."""

    number: Rectangle
    mean: Rectangle
    variance: Rectangle


def _history(events: Rectangle, months: int) -> _History:
    """Of at most `HISTORY` months, NaN where it is shorter than `SHORTEST`. Sums are whole, so all of it is exact."""
    month = np.arange(events.shape[1])
    unbroken = month - np.maximum.accumulate(np.where(np.isnan(events), month, -1), axis=1)
    length = np.minimum(unbroken, HISTORY)
    sums = np.nan_to_num(windows.total(events, months))
    number = np.where(length >= SHORTEST, length - months + 1, 0)
    first, second = (_summed_last(values, number) for values in (sums, sums**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / number
        variance = (number * second - first**2) / (number * (number - 1))
    return _History(np.where(number > 0, number, np.nan), mean, variance)


def _summed_last(values: Rectangle, number: NDArray[np.int64]) -> Rectangle:
    """The sum of the last so many whole values, by cell."""
    running = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    before = np.arange(1, values.shape[1] + 1) - number
    return np.asarray(running[:, 1:] - np.take_along_axis(running, before, axis=1))


def _silence(inputs: Inputs, *, months: int) -> Rectangle:
    """P(as few events or fewer), under a negative binomial that fits sums over as many months of the history.

    The silence that the newest months end, up to `SILENCE` months of it, is no part of the history.
    """
    events = inputs.reported.count()
    month = np.arange(events.shape[1])
    quiet = month - np.maximum.accumulate(np.where(events == 0, -1, month), axis=1)
    origin = month - np.maximum(np.minimum(quiet, SILENCE), months)
    history = _History(*(_at(part, origin) for part in _history(events, months)))
    newest = windows.total(events, months)
    mean = history.mean * _reported(inputs, months)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = history.mean**2 / (history.variance - history.mean)
        chance = at_most(newest, mean, np.where(history.variance > history.mean, size, np.inf))
    known = ~np.isnan(history.number) & ~np.isnan(newest)
    return np.where(known, np.where(history.mean == 0, 1.0, chance), np.nan)


def _at(values: Rectangle, column: NDArray[np.int64]) -> Rectangle:
    """Values of other columns, by cell; NaN before the first."""
    return np.where(column >= 0, np.take_along_axis(values, np.maximum(column, 0), axis=1), np.nan)


def _reported(inputs: Inputs, months: int) -> Rectangle:
    """How much of the newest months is reported by now; what is not known excuses nothing."""
    share = inputs.tables.get("completeness")
    if share is None:
        share = np.ones(inputs.reported.told.shape)
    return np.nan_to_num(windows.mean(np.where(np.isnan(share), 1.0, share), months), nan=1.0)


def _mean(
    events: Events, known: NDArray[np.bool_], of: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Rectangle:
    """The mean of what the last year's events say, over those of which it is known, if that is half of them.

    All are of shape (event,); `of` and `weights` (1 unless given) are whole numbers.
    """
    said, in_all = (windows.total(events.count(where), YEAR) for where in (known, None))
    part = windows.total(events.count(known, of if weights is None else of * weights), YEAR)
    whole = said if weights is None else windows.total(events.count(known, weights), YEAR)
    return np.where(said >= KNOWN * in_all, windows.ratio(part, whole), np.nan)


def _vague_dates(inputs: Inputs, *, deadly: bool) -> Rectangle:
    """The share of events that are vaguely dated, or of deaths in such events."""
    events = inputs.reported
    vague = (events.date_prec >= VAGUE_DATE).astype(np.float64)
    return _mean(events, ~np.isnan(events.date_prec), vague, events.deaths if deadly else None)


def _vague_places(inputs: Inputs) -> Rectangle:
    events = inputs.reported
    vague = (events.where_prec > LOCATED).astype(np.float64)
    return _mean(events, ~np.isnan(events.where_prec), vague)


def _sources(inputs: Inputs) -> Rectangle:
    events = inputs.reported
    return _mean(events, ~np.isnan(events.sources), events.sources)


def _single_source(inputs: Inputs) -> Rectangle:
    events = inputs.reported
    return _mean(events, ~np.isnan(events.sources), (events.sources <= 1).astype(np.float64))


def _key_events(inputs: Inputs, row: int, column: int) -> Places:
    """The deadliest events of the year that are vaguely dated or placed, then the newest."""
    events = inputs.reported
    vague = (events.date_prec >= VAGUE_DATE) | (events.where_prec > LOCATED)
    found = np.flatnonzero(events.recent(row, column, YEAR) & vague)
    return found[np.lexsort((-found, -events.deaths[found]))][:MAX_KEY_EVENTS]


declare = partial(Indicator, family=NAME, direction=0)


def _unknown(en: str, fr: str) -> Text:
    return {
        "en": f"no event file covers a month of the window, there are no events, or less than half of them say {en}",
        "fr": f"aucun fichier d’événements ne couvre un mois de la fenêtre, il n’y a pas d’événements, ou moins de la "
        f"moitié d’entre eux indiquent {fr}",
    }


NO_DATES = _unknown("how precisely they are dated", "la précision de leur date")
NO_DEATHS = either(NO_DATES, "nobody was killed in those", "ces derniers n’ont fait aucun mort")
NO_PLACES = _unknown("how precisely they are placed", "la précision de leur lieu")
NO_SOURCES = _unknown("how many sources tell of them", "le nombre de leurs sources")


INDICATORS: tuple[Indicator, ...] = (
    declare(
        name="completeness_1m",
        unit="share of deaths",
        window=1,
        meaning={
            "en": "Share of the last month's deaths that is reported so far",
            "fr": "Part des morts du dernier mois signalée à ce jour",
        },
        missing=NO_VINTAGES,
        literature=(CANDIDATE,),
        inputs=("completeness",),
        compute=partial(_completeness, months=1),
        scale="share",
    ),
    declare(
        name="completeness_3m",
        unit="share of deaths",
        window=3,
        meaning={
            "en": "Share of the deaths of the last 3 months that is reported so far, mean of the months",
            "fr": "Part des morts des 3 derniers mois signalée à ce jour, moyenne des mois",
        },
        missing=NO_VINTAGES,
        literature=(CANDIDATE,),
        inputs=("completeness",),
        compute=partial(_completeness, months=3),
        scale="share",
    ),
    *(
        declare(
            name=f"silence_{months}m",
            unit="probability",
            window=HISTORY + SILENCE,
            meaning={
                "en": f"Chance of so few events in {last(months, 'en')}, by the country's own record",
                "fr": f"Probabilité d’aussi peu d’événements sur {last(months, 'fr')}, au vu de l’historique du pays",
            },
            missing=NO_HISTORY,
            literature=(BIAS, CANDIDATE),
            inputs=("events",),
            compute=partial(_silence, months=months),
            scale="share",
        )
        for months in (1, 3)
    ),
    declare(
        name="vague_dates_12m",
        unit="share of events",
        window=YEAR,
        meaning={
            "en": "Share of the events of the last 12 months dated to more than a month",
            "fr": "Part des événements des 12 derniers mois datés à plus d’un mois près",
        },
        missing=NO_DATES,
        literature=(GED,),
        inputs=("events",),
        compute=partial(_vague_dates, deadly=False),
        scale="share",
    ),
    declare(
        name="vague_deaths_12m",
        unit="share of deaths",
        window=YEAR,
        meaning={
            "en": "Share of the deaths of the last 12 months in events dated to more than a month",
            "fr": "Part des morts des 12 derniers mois due à des événements datés à plus d’un mois près",
        },
        missing=NO_DEATHS,
        literature=(GED,),
        inputs=("events",),
        compute=partial(_vague_dates, deadly=True),
        scale="share",
    ),
    declare(
        name="vague_places_12m",
        unit="share of events",
        window=YEAR,
        meaning={
            "en": "Share of the events of the last 12 months whose place is not known to the district",
            "fr": "Part des événements des 12 derniers mois dont le lieu n’est pas connu au district près",
        },
        missing=NO_PLACES,
        literature=(GED,),
        inputs=("events",),
        compute=_vague_places,
        scale="share",
    ),
    declare(
        name="sources_per_event_12m",
        unit="sources per event",
        window=YEAR,
        meaning={
            "en": "Sources per event over the last 12 months",
            "fr": "Sources par événement sur les 12 derniers mois",
        },
        missing=NO_SOURCES,
        literature=(BIAS, GED),
        inputs=("events",),
        compute=_sources,
    ),
    declare(
        name="single_source_12m",
        unit="share of events",
        window=YEAR,
        meaning={
            "en": "Share of the events of the last 12 months that rest on a single source",
            "fr": "Part des événements des 12 derniers mois qui reposent sur une seule source",
        },
        missing=NO_SOURCES,
        literature=(BIAS, GED),
        inputs=("events",),
        compute=_single_source,
        scale="share",
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Reporting", "fr": "Signalement"},
    theme={
        "en": "How much the figures can be trusted",
        "fr": "Le crédit que méritent les chiffres",
    },
    headline=("completeness_1m", "silence_3m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
