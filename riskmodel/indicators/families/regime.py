"""The family `regime`: coups, attempted coups and military government."""

from functools import partial

from riskmodel import windows
from riskmodel.indicators.declaration import Citation, Declarations, Family, Indicator
from riskmodel.indicators.inputs import Inputs
from riskmodel.windows import Rectangle

NAME = "regime"
LIMIT = 120
"""The time since a coup is counted up to this [months]."""
LONG_WINDOW = 60  # [months]

COUPS = Citation(
    "Powell & Thyne (2011), Global instances of coups from 1950 to 2010: A new dataset, JPR 48(2): 249-259",
    "10.1177/0022343310397436",
)
TRAP = Citation(
    "Londregan & Poole (1990), Poverty, the Coup Trap, and the Seizure of Executive Power, "
    "World Politics 42(2): 151-183",
    "10.2307/2010462",
)
CIVIL_WAR = Citation(
    "Bell & Sudduth (2017), The Causes and Outcomes of Coup during Civil War, JCR 61(7): 1432-1455",
    "10.1177/0022002715603098",
)
REGIMES = Citation(
    "Fjelde (2010), Generals, Dictators, and Kings: Authoritarian Regimes and Civil Conflict, 1973-2004, "
    "CMPS 27(3): 195-218",
    "10.1177/0738894210366507",
)

NOT_COVERED = {
    "en": "the list of coups does not cover the country, or not the whole window",
    "fr": "la liste des coups d’État ne couvre pas ce pays ou pas toute la fenêtre",
}
NO_COUP_KNOWN = {
    "en": "the list of coups does not cover the country or the month, or it has no coup and covers less than "
    f"{LIMIT} months",
    "fr": "la liste des coups d’État ne couvre pas ce pays ou ce mois, ou elle n’en contient aucun et couvre moins de "
    f"{LIMIT} mois",
}
NO_GOVERNMENT_KNOWN = {
    "en": "the table of military governments does not cover the country or the month, or does not say who governed",
    "fr": "la table des gouvernements militaires ne couvre pas ce pays ou ce mois, ou n’indique pas qui gouvernait",
}


def _months_since(inputs: Inputs, *, table: str) -> Rectangle:
    events = inputs.tables[table]
    return windows.months_since(events > 0, events, LIMIT)


def _number(inputs: Inputs, *, table: str) -> Rectangle:
    return windows.total(inputs.tables[table], LONG_WINDOW)


def _military(inputs: Inputs) -> Rectangle:
    return inputs.tables["military"]


declare = Declarations(NAME, missing=NOT_COVERED, direction=+1)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare.value(
            name,
            f"months, at most {LIMIT}",
            window=LIMIT,
            en=f"Months since {en}",
            fr=f"Mois écoulés depuis {fr}",
            compute=partial(_months_since, table=table),
            direction=-1,
            missing=NO_COUP_KNOWN,
            literature=(COUPS, TRAP),
            inputs=(table,),
        )
        for name, table, en, fr in (
            ("since_coup_attempt", "coup_attempts", "a coup or an attempt at one", "un coup d’État ou une tentative"),
            ("since_coup", "coups", "a successful coup", "un coup d’État réussi"),
        )
    ),
    *(
        declare.value(
            f"{table}_{LONG_WINDOW}m",
            unit,
            window=LONG_WINDOW,
            en=f"{en} over the last {LONG_WINDOW} months",
            fr=f"{fr} sur les {LONG_WINDOW} derniers mois",
            compute=partial(_number, table=table),
            literature=(COUPS, TRAP, CIVIL_WAR),
            inputs=(table,),
        )
        for table, unit, en, fr in (
            ("coup_attempts", "coups and attempts", "Coups and attempted coups", "Coups d’État et tentatives"),
            ("coups", "coups", "Successful coups", "Coups d’État réussis"),
        )
    ),
    declare.value(
        "military_government",
        "1 or 0",
        window=1,
        en="Military government at the end of the month (1: yes, 0: no)",
        fr="Gouvernement militaire à la fin du mois (1 : oui, 0 : non)",
        compute=_military,
        missing=NO_GOVERNMENT_KNOWN,
        literature=(REGIMES, COUPS),
        inputs=("military",),
    ),
)

FAMILY = Family(
    name=NAME,
    title={"en": "Regime", "fr": "Régime"},
    theme={
        "en": "Coups, attempted coups and military government",
        "fr": "Les coups d’État, les tentatives et le gouvernement militaire",
    },
    headline=("since_coup", "military_government"),
    indicators=INDICATORS,
)
