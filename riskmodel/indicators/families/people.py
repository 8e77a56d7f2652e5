"""The family `people`: people who had to flee, within the country and abroad, as counted once a year."""

from functools import partial

import numpy as np

from riskmodel import windows
from riskmodel.indicators.declaration import DEATHS_NOT_COVERED, Citation, Declarations, Family, Indicator, either
from riskmodel.indicators.inputs import Inputs
from riskmodel.windows import YEAR, Rectangle

NAME = "people"

FLIGHT = Citation(
    "Moore & Shellman (2006), Refugee or Internally Displaced Person? To Where Should One Flee?, CPS 39(5): 599-622",
    "10.1177/0010414005276457",
)
SPREAD = Citation(
    "Salehyan & Gleditsch (2006), Refugees and the Spread of Civil War, IO 60(2): 335-366",
    "10.1017/S0020818306060103",
)

NO_FIGURE = {
    "en": "no displacement table has a figure for the country and year (UNHCR's 0 for displaced people is none: it "
    "counts only those that it assists)",
    "fr": "aucune table de déplacements n’a de chiffre pour ce pays et cette année (un 0 du HCR pour les déplacés n’en "
    "est pas un, car le HCR ne compte que ceux qu’il assiste)",
}


def _number(inputs: Inputs, *, table: str) -> Rectangle:
    return np.log1p(inputs.tables[table])


def _change(inputs: Inputs, *, table: str) -> Rectangle:
    return windows.change(_number(inputs, table=table), YEAR)


def _per_death(inputs: Inputs) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], YEAR)
    displaced = inputs.tables["refugees"] + inputs.tables["displaced"]
    return np.log1p(windows.ratio(displaced, deaths))


declare = Declarations(NAME, literature=(FLIGHT, SPREAD), missing=NO_FIGURE, direction=+1)

_GROUPS = (
    (
        "displaced",
        "displaced_inside",
        {"en": "People displaced within the country", "fr": "Personnes déplacées à l’intérieur du pays"},
    ),
    (
        "refugees",
        "refugees_abroad",
        {
            "en": "Refugees and asylum seekers from the country abroad",
            "fr": "Réfugiés et demandeurs d’asile originaires du pays à l’étranger",
        },
    ),
)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.log_count(
            name,
            "persons",
            window=1,
            en=f"{group['en']}, last figure published",
            fr=f"{group['fr']}, dernier chiffre publié",
            compute=partial(_number, table=table),
            inputs=(table,),
        )
        for table, name, group in _GROUPS
    ),
    *(
        declare.value(
            f"{name}_change_{YEAR}m",
            "difference of log(1 + persons)",
            window=YEAR + 1,
            en=f"{group['en']}, last figure published compared with that of the year before",
            fr=f"{group['fr']}, dernier chiffre publié comparé à celui de l’année précédente",
            compute=partial(_change, table=table),
            missing=either(NO_FIGURE, "for the year before", "pour l’année précédente"),
            inputs=(table,),
        )
        for table, name, group in _GROUPS
    ),
    declare.log_count(
        f"fled_per_death_{YEAR}m",
        "persons per death",
        window=YEAR,
        en=f"People forced to flee, within the country or abroad, per death of the last {YEAR} months",
        fr=f"Personnes contraintes de fuir, dans le pays ou à l’étranger, par mort des {YEAR} derniers mois",
        compute=_per_death,
        direction=0,
        missing={
            "en": f"{NO_FIGURE['en']}, nobody was killed, or {DEATHS_NOT_COVERED['en']}",
            "fr": f"{NO_FIGURE['fr']}, il n’y a eu aucun mort, ou {DEATHS_NOT_COVERED['fr']}",
        },
        inputs=("refugees", "displaced", "deaths"),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "People", "fr": "Populations"},
    theme={
        "en": "People who had to flee, within the country and abroad",
        "fr": "Les personnes contraintes de fuir, dans le pays et à l’étranger",
    },
    headline=("displaced_inside", "refugees_abroad"),
    indicators=INDICATORS,
)
