"""The family `unrest`: protests and riots, and what the news writes of and in what tone."""

from functools import partial

import numpy as np

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import VIEWS, Citation, Family, Indicator, last
from riskmodel.indicators.inputs import Inputs, Rectangle
from riskmodel.indicators.windows import YEAR

NAME = "unrest"
RECENT = 3

ACLED = Citation(
    "Raleigh, Kishi & Linke (2023), Political instability patterns are obscured by conflict dataset scope conditions, "
    "sources, and coding choices, Humanities and Social Sciences Communications 10: 74",
    "10.1057/s41599-023-01559-4",
)
NEWS = Citation(
    "Chadefaux (2014), Early warning signals for war in the news, JPR 51(1): 5-18", "10.1177/0022343313507302"
)
TEXT = Citation(
    "Mueller & Rauh (2018), Reading Between the Lines: Prediction of Political Violence Using Newspaper Text, "
    "APSR 112(2): 358-375",
    "10.1017/S0003055417000570",
)

NOT_ASKED = {
    "en": "ACLED was not asked for the country, or not for a whole month of the window",
    "fr": "ACLED n’a pas été interrogé pour ce pays, ou pas pour un mois entier de la fenêtre",
}
NOT_COUNTED = {
    "en": "GDELT has not been counted for each day of the window, or the news wrote of nothing there",
    "fr": "GDELT n’a pas été compté pour chaque jour de la fenêtre, ou l’actualité n’a rien rapporté sur ce pays",
}


def _number(inputs: Inputs, *, table: str, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.tables[table], months))


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_number(inputs, table="protests", months=months), months)


def _share(inputs: Inputs, *, table: str, months: int) -> Rectangle:
    part, whole = (windows.total(inputs.tables[name], months) for name in (table, "news_events"))
    return windows.ratio(part, whole)


def _tone(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.mean(inputs.tables["news_tone"], months)


def _tone_change(inputs: Inputs, *, months: int) -> Rectangle:
    return _tone(inputs, months=months) - windows.delayed(_tone(inputs, months=YEAR), months)


declare = partial(Indicator, family=NAME)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=f"{table}_{months}m",
            unit="log(1 + events)",
            window=months,
            direction=+1,
            meaning={"en": f"{en} over {last(months, 'en')}", "fr": f"{fr} sur {last(months, 'fr')}"},
            missing=NOT_ASKED,
            literature=(ACLED, VIEWS),
            inputs=(table,),
            compute=partial(_number, table=table, months=months),
            scale="log1p",
        )
        for table, en, fr, spans in (
            ("protests", "Protests", "Manifestations", (1, 3, 12)),
            ("riots", "Riots", "Émeutes", (3, 12)),
        )
        for months in spans
    ),
    declare(
        name=f"protests_trend_{YEAR}m",
        unit="difference of log(1 + events)",
        window=2 * YEAR,
        direction=+1,
        meaning={
            "en": f"Protests over {last(YEAR, 'en')} against the {YEAR} before",
            "fr": f"Manifestations sur {last(YEAR, 'fr')} comparées aux {YEAR} précédents",
        },
        missing=NOT_ASKED,
        literature=(ACLED, VIEWS),
        inputs=("protests",),
        compute=partial(_trend, months=YEAR),
    ),
    *(
        declare(
            name=f"{name}_{RECENT}m",
            unit="share of events in the news",
            window=RECENT,
            direction=+1,
            meaning=meaning,
            missing=NOT_COUNTED,
            literature=(NEWS, TEXT),
            inputs=(table, "news_events"),
            compute=partial(_share, table=table, months=RECENT),
            scale="share",
        )
        for name, table, meaning in (
            (
                "news_protest_share",
                "news_protests",
                {
                    "en": f"Share of protests among the events in the news of {last(RECENT, 'en')}",
                    "fr": f"Part des manifestations parmi les événements de l’actualité sur {last(RECENT, 'fr')}",
                },
            ),
            (
                "news_conflict_share",
                "news_conflict",
                {
                    "en": f"Share of material conflict among the events in the news of {last(RECENT, 'en')}",
                    "fr": f"Part des conflits matériels parmi les événements de l’actualité sur {last(RECENT, 'fr')}",
                },
            ),
        )
    ),
    declare(
        name=f"news_tone_{RECENT}m",
        unit="tone, from -100 to 100",
        window=RECENT,
        direction=-1,
        meaning={
            "en": f"Mean tone of the news over {last(RECENT, 'en')} (negative: bad news)",
            "fr": f"Ton moyen de l’actualité sur {last(RECENT, 'fr')} (négatif : mauvaises nouvelles)",
        },
        missing=NOT_COUNTED,
        literature=(NEWS, TEXT),
        inputs=("news_tone",),
        compute=partial(_tone, months=RECENT),
    ),
    declare(
        name=f"news_tone_change_{RECENT}m",
        unit="difference of tone",
        window=RECENT + YEAR,
        direction=-1,
        meaning={
            "en": f"Mean tone of the news over {last(RECENT, 'en')} against the {YEAR} months before",
            "fr": f"Ton moyen de l’actualité sur {last(RECENT, 'fr')} comparé aux {YEAR} mois précédents",
        },
        missing=NOT_COUNTED,
        literature=(NEWS, TEXT),
        inputs=("news_tone",),
        compute=partial(_tone_change, months=RECENT),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Unrest", "fr": "Troubles"},
    theme={
        "en": "Protests, riots and the tone of the news",
        "fr": "Les manifestations, les émeutes et le ton de l’actualité",
    },
    headline=("protests_12m", "news_protest_share_3m"),
    indicators=INDICATORS,
)
