"""The family `regime`: coups, attempted coups and military government."""

from functools import partial

from riskmodel.indicators import windows
from riskmodel.indicators.declaration import Citation, Family, Indicator
from riskmodel.indicators.inputs import Inputs, Rectangle

NAME = "regime"
LIMIT = 120
MEMORY = 60

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

UNKNOWN = {
    "en": "the list of coups does not treat the country, or does not reach over the whole window",
    "fr": "la liste des coups d’État ne traite pas ce pays ou ne couvre pas toute la fenêtre",
}
NEVER = {
    "en": f"the list of coups does not treat the country or does not reach the month, or it holds none and less than "
    f"{LIMIT} months are known",
    "fr": f"la liste des coups d’État ne traite pas ce pays ou n’atteint pas ce mois, ou elle n’en contient aucun sur "
    f"moins de {LIMIT} mois connus",
}
NO_GOVERNMENT = {
    "en": "the table of military governments does not treat the country, does not reach the month, or leaves open who "
    "governed",
    "fr": "la table des gouvernements militaires ne traite pas ce pays, n’atteint pas ce mois ou laisse ouverte la "
    "nature du gouvernement",
}


def _since(inputs: Inputs, *, table: str) -> Rectangle:
    events = inputs.tables[table]
    return windows.since(events > 0, events, LIMIT)


def _number(inputs: Inputs, *, table: str) -> Rectangle:
    return windows.total(inputs.tables[table], MEMORY)


def _military(inputs: Inputs) -> Rectangle:
    return inputs.tables["military"]


declare = partial(Indicator, family=NAME)

INDICATORS: tuple[Indicator, ...] = (
    *(
        declare(
            name=name,
            unit=f"months, at most {LIMIT}",
            window=LIMIT,
            direction=-1,
            meaning=meaning,
            missing=NEVER,
            literature=(COUPS, TRAP),
            inputs=(table,),
            compute=partial(_since, table=table),
        )
        for name, table, meaning in (
            (
                "since_coup_attempt",
                "coup_attempts",
                {
                    "en": "Months since a coup or an attempt at one",
                    "fr": "Mois écoulés depuis un coup d’État ou une tentative",
                },
            ),
            (
                "since_coup",
                "coups",
                {
                    "en": "Months since a successful coup",
                    "fr": "Mois écoulés depuis un coup d’État réussi",
                },
            ),
        )
    ),
    *(
        declare(
            name=f"{table}_{MEMORY}m",
            unit=unit,
            window=MEMORY,
            direction=+1,
            meaning=meaning,
            missing=UNKNOWN,
            literature=(COUPS, TRAP, CIVIL_WAR),
            inputs=(table,),
            compute=partial(_number, table=table),
        )
        for table, unit, meaning in (
            (
                "coup_attempts",
                "coups and attempts",
                {
                    "en": f"Coups and attempted coups over the last {MEMORY} months",
                    "fr": f"Coups d’État et tentatives sur les {MEMORY} derniers mois",
                },
            ),
            (
                "coups",
                "coups",
                {
                    "en": f"Successful coups over the last {MEMORY} months",
                    "fr": f"Coups d’État réussis sur les {MEMORY} derniers mois",
                },
            ),
        )
    ),
    declare(
        name="military_government",
        unit="1 or 0",
        window=1,
        direction=+1,
        meaning={
            "en": "Military government at the end of the month (1: yes, 0: no)",
            "fr": "Gouvernement militaire à la fin du mois (1 : oui, 0 : non)",
        },
        missing=NO_GOVERNMENT,
        literature=(REGIMES, COUPS),
        inputs=("military",),
        compute=_military,
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
