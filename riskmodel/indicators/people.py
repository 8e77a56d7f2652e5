"""The family `people`: those who had to flee, within the country and beyond, as counted once a year."""

from functools import partial

import numpy as np

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import UNCOVERED, Citation, Family, Indicator, either
from riskmodel.indicators.inputs import Inputs, Rectangle
from riskmodel.indicators.windows import YEAR

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
    "en": "no table of displacement is given or none has a figure for the country and year; that UNHCR looks after no "
    "displaced people does not mean that there are none",
    "fr": "aucune table de déplacements n’est fournie ou aucune n’a de chiffre pour ce pays et cette année ; que le "
    "HCR ne s’occupe d’aucun déplacé ne veut pas dire qu’il n’y en a pas",
}


def _level(inputs: Inputs, *, table: str) -> Rectangle:
    return np.log1p(inputs.tables[table])


def _change(inputs: Inputs, *, table: str) -> Rectangle:
    return windows.change(_level(inputs, table=table), YEAR)


def _per_death(inputs: Inputs) -> Rectangle:
    deaths = windows.total(inputs.tables["deaths"], YEAR)
    fled = inputs.tables["refugees"] + inputs.tables["displaced"]
    return np.log1p(windows.ratio(fled, deaths))


declare = partial(Indicator, family=NAME, literature=(FLIGHT, SPREAD))

_WHO = (
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
        declare(
            name=name,
            unit="log(1 + persons)",
            window=1,
            direction=+1,
            meaning={
                "en": f"{who['en']}, last figure published",
                "fr": f"{who['fr']}, dernier chiffre publié",
            },
            missing=NO_FIGURE,
            inputs=(table,),
            compute=partial(_level, table=table),
            scale="log1p",
        )
        for table, name, who in _WHO
    ),
    *(
        declare(
            name=f"{name}_change_{YEAR}m",
            unit="difference of log(1 + persons)",
            window=YEAR + 1,
            direction=+1,
            meaning={
                "en": f"{who['en']}, last figure published against that of a year before",
                "fr": f"{who['fr']}, dernier chiffre publié comparé à celui de l’année précédente",
            },
            missing=either(NO_FIGURE, "for the year before", "pour l’année précédente"),
            inputs=(table,),
            compute=partial(_change, table=table),
        )
        for table, name, who in _WHO
    ),
    declare(
        name=f"fled_per_death_{YEAR}m",
        unit="log(1 + persons per death)",
        window=YEAR,
        direction=0,
        meaning={
            "en": f"People forced to flee, within the country or abroad, per death of the last {YEAR} months",
            "fr": f"Personnes contraintes de fuir, dans le pays ou à l’étranger, par mort des {YEAR} derniers mois",
        },
        missing={
            "en": f"{NO_FIGURE['en']}, nobody was killed, or {UNCOVERED['en']}",
            "fr": f"{NO_FIGURE['fr']}, il n’y a eu aucun mort, ou {UNCOVERED['fr']}",
        },
        inputs=("refugees", "displaced", "deaths"),
        compute=_per_death,
        scale="log1p",
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "People", "fr": "Populations"},
    theme={
        "en": "People who had to flee, within the country and beyond",
        "fr": "Les personnes contraintes de fuir, dans le pays et au-delà",
    },
    headline=("displaced_inside", "refugees_abroad"),
    indicators=INDICATORS,
)
