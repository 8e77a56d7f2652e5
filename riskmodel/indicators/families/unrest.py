"""The family `unrest`: protests and riots, violent political protest, and the subjects and the tone of the news."""

from functools import partial

import numpy as np

from riskmodel import windows
from riskmodel.indicators.declaration import VIEWS, Citation, Declarations, Family, Indicator, last_months
from riskmodel.indicators.inputs import Inputs
from riskmodel.windows import YEAR, Rectangle

NAME = "unrest"
RECENT = 3  # [months]

ACLED = Citation(
    "Raleigh, Kishi & Linke (2023), Political instability patterns are obscured by conflict dataset scope conditions, "
    "sources, and coding choices, Humanities and Social Sciences Communications 10: 74",
    "10.1057/s41599-023-01559-4",
)
UCDP_PROTEST = Citation(
    "Svensson, Schaftenaar & Allansson (2022), Violent Political Protest: Introducing a New UCDP Data Set on Organized "
    "Violence, 1989-2019, JCR 66(9): 1703-1730",
    "10.1177/00220027221109791",
)
NEWS = Citation(
    "Chadefaux (2014), Early warning signals for war in the news, JPR 51(1): 5-18", "10.1177/0022343313507302"
)
TEXT = Citation(
    "Mueller & Rauh (2018), Reading Between the Lines: Prediction of Political Violence Using Newspaper Text, "
    "APSR 112(2): 358-375",
    "10.1017/S0003055417000570",
)

NO_ACLED_DATA = {
    "en": "ACLED's data were not pulled for the country, or not for a whole month of the window",
    "fr": "les données d’ACLED n’ont pas été récupérées pour ce pays, ou pas pour un mois entier de la fenêtre",
}
NO_UCDP_PROTEST = {
    "en": "no file of UCDP's violent political protest covers the country, or not each month of the window",
    "fr": "aucun fichier de manifestations politiques violentes de l’UCDP ne couvre ce pays, ou pas chaque mois de la "
    "fenêtre",
}
NO_GDELT_DATA = {
    "en": "GDELT's data are not complete for each day of the window, or the news reported nothing on the country",
    "fr": "les données de GDELT ne sont pas complètes pour chaque jour de la fenêtre, ou l’actualité n’a rien rapporté "
    "sur ce pays",
}


def _number(inputs: Inputs, *, table: str, months: int) -> Rectangle:
    return np.log1p(windows.total(inputs.tables[table], months))


def _trend(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.change(_number(inputs, table="protests", months=months), months)


def _share(inputs: Inputs, *, table: str, months: int) -> Rectangle:
    part, total = (windows.total(inputs.tables[name], months) for name in (table, "news_events"))
    return windows.ratio(part, total)


def _tone(inputs: Inputs, *, months: int) -> Rectangle:
    return windows.mean(inputs.tables["news_tone"], months)


def _tone_change(inputs: Inputs, *, months: int) -> Rectangle:
    return _tone(inputs, months=months) - windows.lagged(_tone(inputs, months=YEAR), months)


declare_acled = Declarations(NAME, missing=NO_ACLED_DATA, literature=(ACLED, VIEWS), direction=+1)
declare_ucdp = Declarations(NAME, missing=NO_UCDP_PROTEST, literature=(UCDP_PROTEST,), direction=+1)
declare_news = Declarations(NAME, missing=NO_GDELT_DATA, literature=(NEWS, TEXT), direction=-1)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare_acled.log_count(
            f"{table}_{months}m",
            "events",
            window=months,
            en=f"{en} over {last_months(months, 'en')}",
            fr=f"{fr} sur {last_months(months, 'fr')}",
            compute=partial(_number, table=table, months=months),
            inputs=(table,),
        )
        for table, en, fr, spans in (
            ("protests", "Protests", "Manifestations", (1, 3, 12)),
            ("riots", "Riots", "Émeutes", (3, 12)),
        )
        for months in spans
    ),
    declare_acled.value(
        f"protests_trend_{YEAR}m",
        "difference of log(1 + events)",
        window=2 * YEAR,
        en=f"Protests over {last_months(YEAR, 'en')} against the {YEAR} before",
        fr=f"Manifestations sur {last_months(YEAR, 'fr')} comparées aux {YEAR} précédents",
        compute=partial(_trend, months=YEAR),
        inputs=("protests",),
    ),
    *(
        declare_ucdp.log_count(
            f"violent_protests_{months}m",
            "events",
            window=months,
            en=f"Events of violent political protest over {last_months(months, 'en')}",
            fr=f"Événements de manifestation politique violente sur {last_months(months, 'fr')}",
            compute=partial(_number, table="violent_protests", months=months),
            inputs=("violent_protests",),
        )
        for months in (RECENT, YEAR)
    ),
    *(
        declare_news.share(
            f"{name}_{RECENT}m",
            "events in the news",
            window=RECENT,
            en=f"Share of {en} among the events in the news of {last_months(RECENT, 'en')}",
            fr=f"Part des {fr} parmi les événements de l’actualité sur {last_months(RECENT, 'fr')}",
            compute=partial(_share, table=table, months=RECENT),
            direction=+1,
            inputs=(table, "news_events"),
        )
        for name, table, en, fr in (
            ("news_protest_share", "news_protests", "protests", "manifestations"),
            ("news_conflict_share", "news_conflict", "material conflict", "conflits matériels"),
        )
    ),
    declare_news.value(
        f"news_tone_{RECENT}m",
        "tone, from -100 to 100",
        window=RECENT,
        en=f"Mean tone of the news over {last_months(RECENT, 'en')} (negative: bad news)",
        fr=f"Ton moyen de l’actualité sur {last_months(RECENT, 'fr')} (négatif : mauvaises nouvelles)",
        compute=partial(_tone, months=RECENT),
        inputs=("news_tone",),
    ),
    declare_news.value(
        f"news_tone_change_{RECENT}m",
        "difference of tone",
        window=RECENT + YEAR,
        en=f"Mean tone of the news over {last_months(RECENT, 'en')} against the {YEAR} months before",
        fr=f"Ton moyen de l’actualité sur {last_months(RECENT, 'fr')} comparé aux {YEAR} mois précédents",
        compute=partial(_tone_change, months=RECENT),
        inputs=("news_tone",),
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
