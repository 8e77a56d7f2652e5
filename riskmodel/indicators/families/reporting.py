"""The family `reporting`: how settled, precise and well sourced the data are, and signs of under-reporting.

It measures no violence: it shows how reliable the other families are.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.indicators.declaration import (
    GED,
    MAX_KEY_EVENTS,
    Citation,
    Declarations,
    Family,
    Indicator,
    Text,
    either,
    last_months,
)
from riskmodel.indicators.inputs import LOCATED, Events, Indices, Inputs
from riskmodel.reporting.precision import VAGUE_DATE
from riskmodel.reporting.under_reporting import (
    HISTORY_MONTHS,
    MAX_QUIET_MONTHS,
    MIN_HISTORY_MONTHS,
    RECENT_MONTHS,
    few_events_probability,
)
from riskmodel.windows import YEAR, Rectangle

NAME = "reporting"
MIN_KNOWN_SHARE = 0.5
"""An indicator needs the attribute of at least this share of the events: UCDP counts sources from 2013 on."""

CANDIDATE = Citation(
    "Hegre, Croicu, Eck & Högbladh (2020), Introducing the UCDP Candidate Events Dataset, Research & Politics 7(3)",
    "10.1177/2053168020935257",
)
BIAS = Citation(
    "Weidmann (2016), A Closer Look at Reporting Bias in Conflict Event Data, AJPS 60(1): 206-218",
    "10.1111/ajps.12196",
)

NOT_EXPECTED = {
    "en": "a month of the window can still change and no deaths are expected in it, or it is not covered",
    "fr": "un mois de la fenêtre peut encore changer et aucun mort n’y est attendu, ou il n’est pas couvert",
}
NO_HISTORY = {
    "en": f"no event file covers the newest months, or less than {MIN_HISTORY_MONTHS} unbroken months before them",
    "fr": f"aucun fichier d’événements ne couvre les derniers mois, ou moins de {MIN_HISTORY_MONTHS} mois continus "
    "avant eux",
}


def _reported_ratio(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.mean(inputs.tables["reported_ratio"], months)


def _under_reporting(inputs: Inputs, *, months: int) -> Rectangle:
    events = inputs.required_events.count()
    share = inputs.tables.get("share_of_events")
    return few_events_probability(events, np.ones(events.shape) if share is None else share, months)


def _mean(
    events: Events, known: NDArray[np.bool_], of: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Rectangle:
    """The mean of an attribute over the last year's events that have it; NaN if less than half of the events do.

    All are of shape (event,); `of` and `weights` (1 by default) are whole numbers, so that sums are exact.
    """
    number_known, number = (windows.total(events.count(where), YEAR) for where in (known, None))
    part = windows.total(events.count(known, of if weights is None else of * weights), YEAR)
    total = number_known if weights is None else windows.total(events.count(known, weights), YEAR)
    return np.where(number_known >= MIN_KNOWN_SHARE * number, windows.ratio(part, total), np.nan)


def _vague_dates(inputs: Inputs, *, by_deaths: bool) -> Rectangle:
    """The share of events that are vaguely dated, or of deaths in such events."""
    events = inputs.required_events
    vague = (events.date_prec >= VAGUE_DATE).astype(np.float64)
    return _mean(events, ~np.isnan(events.date_prec), vague, events.deaths if by_deaths else None)


def _vague_places(inputs: Inputs) -> Rectangle:
    events = inputs.required_events
    vague = (events.where_prec > LOCATED).astype(np.float64)
    return _mean(events, ~np.isnan(events.where_prec), vague)


def _sources(inputs: Inputs) -> Rectangle:
    events = inputs.required_events
    return _mean(events, ~np.isnan(events.sources), events.sources)


def _single_source(inputs: Inputs) -> Rectangle:
    events = inputs.required_events
    return _mean(events, ~np.isnan(events.sources), (events.sources <= 1).astype(np.float64))


def _key_events(inputs: Inputs, row: int, column: int) -> Indices:
    """The deadliest events of the last 12 months that are vaguely dated or placed; of equal ones the newest."""
    events = inputs.required_events
    vague = (events.date_prec >= VAGUE_DATE) | (events.where_prec > LOCATED)
    recent = np.flatnonzero(events.recent(row, column, YEAR) & vague)
    return recent[np.lexsort((-recent, -events.deaths[recent]))][:MAX_KEY_EVENTS]


declare = Declarations(NAME, missing=NOT_EXPECTED, inputs=("events",))


def _attribute_unknown(en: str, fr: str) -> Text:
    return {
        "en": f"no event file covers a month of the window, there are no events, or less than half of them say {en}",
        "fr": f"aucun fichier d’événements ne couvre un mois de la fenêtre, il n’y a pas d’événements, ou moins de la "
        f"moitié d’entre eux indiquent {fr}",
    }


NO_DATES = _attribute_unknown("how precisely they are dated", "la précision de leur date")
NO_DEATHS = either(NO_DATES, "nobody was killed in those", "ces derniers n’ont fait aucun mort")
NO_PLACES = _attribute_unknown("how precisely they are placed", "la précision de leur lieu")
NO_SOURCES = _attribute_unknown("how many sources report them", "le nombre de leurs sources")


INDICATORS: tuple[Indicator, ...] = (
    declare.value(
        "reported_ratio_1m",
        "reported / expected deaths",
        window=1,
        en="Reported deaths of the last month, divided by those expected in the final figures",
        fr="Morts signalés du dernier mois, divisés par ceux attendus dans les chiffres définitifs",
        compute=partial(_reported_ratio, months=1),
        literature=(CANDIDATE,),
        inputs=("reported_ratio",),
    ),
    declare.value(
        "reported_ratio_3m",
        "reported / expected deaths",
        window=3,
        en="Reported deaths of the last 3 months, divided by those expected in the final figures, mean of the months",
        fr="Morts signalés des 3 derniers mois, divisés par ceux attendus dans les chiffres définitifs, moyenne des "
        "mois",
        compute=partial(_reported_ratio, months=3),
        literature=(CANDIDATE,),
        inputs=("reported_ratio",),
    ),
    *(
        declare.value(
            f"under_reporting_{months}m",
            "probability",
            window=HISTORY_MONTHS + MAX_QUIET_MONTHS,
            en=f"Probability of so few events in {last_months(months, 'en')}, given the country's own record",
            fr=f"Probabilité d’aussi peu d’événements sur {last_months(months, 'fr')}, d’après l’historique du pays",
            compute=partial(_under_reporting, months=months),
            missing=NO_HISTORY,
            literature=(BIAS, CANDIDATE),
            scale="share",
        )
        for months in RECENT_MONTHS
    ),
    declare.share(
        "vague_dates_12m",
        "events",
        window=YEAR,
        en="Share of the events of the last 12 months dated to more than a month",
        fr="Part des événements des 12 derniers mois datés à plus d’un mois près",
        compute=partial(_vague_dates, by_deaths=False),
        missing=NO_DATES,
        literature=(GED,),
    ),
    declare.share(
        "vague_deaths_12m",
        "deaths",
        window=YEAR,
        en="Share of the deaths of the last 12 months in events dated to more than a month",
        fr="Part des morts des 12 derniers mois due à des événements datés à plus d’un mois près",
        compute=partial(_vague_dates, by_deaths=True),
        missing=NO_DEATHS,
        literature=(GED,),
    ),
    declare.share(
        "vague_places_12m",
        "events",
        window=YEAR,
        en="Share of the events of the last 12 months whose place is not known to the district",
        fr="Part des événements des 12 derniers mois dont le lieu n’est pas connu au district près",
        compute=_vague_places,
        missing=NO_PLACES,
        literature=(GED,),
    ),
    declare.value(
        "sources_per_event_12m",
        "sources per event",
        window=YEAR,
        en="Sources per event over the last 12 months",
        fr="Sources par événement sur les 12 derniers mois",
        compute=_sources,
        missing=NO_SOURCES,
        literature=(BIAS, GED),
    ),
    declare.share(
        "single_source_12m",
        "events",
        window=YEAR,
        en="Share of the events of the last 12 months that rest on a single source",
        fr="Part des événements des 12 derniers mois qui reposent sur une seule source",
        compute=_single_source,
        missing=NO_SOURCES,
        literature=(BIAS, GED),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Reporting", "fr": "Signalement"},
    theme={
        "en": "How much the figures can be trusted",
        "fr": "Le crédit que méritent les chiffres",
    },
    headline=("reported_ratio_1m", "under_reporting_3m"),
    indicators=INDICATORS,
    key_events=_key_events,
)
