"""What an indicator is: one declaration, as data, that carries its own computation; and a family of them.

A family is declared in a module of its own; the works and words that several of them use stand here. Nothing here knows
which families there are, where the tables come from, or what is forecast from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from riskmodel.indicators.inputs import Inputs, Places, Rectangle

Text: TypeAlias = Mapping[str, str]
"""What is said, by language."""

MAX_KEY_EVENTS = 5
"""How many events are shown of those key_events a family's values, at the most."""


@dataclass(frozen=True)
class Citation:
    """A work by its reference and DOI."""

    reference: str
    doi: str


VIEWS = Citation(
    "Hegre et al. (2019), ViEWS: A political Violence Early-Warning System, JPR 56(2): 155-174",
    "10.1177/0022343319823860",
)
GED = Citation(
    "Sundberg & Melander (2013), Introducing the UCDP Georeferenced Event Dataset, JPR 50(4): 523-532",
    "10.1177/0022343313484347",
)
DIFFUSION = Citation(
    "Schutte & Weidmann (2011), Diffusion patterns of violence in civil wars, Political Geography 30(3): 143-152",
    "10.1016/j.polgeo.2011.03.005",
)

OF_OUTCOME: Mapping[str, Text] = {
    "state_based": {"en": "state-based", "fr": "violence impliquant un État"},
}
"""Which deaths an outcome counts, where it does not count them all."""
UNCOVERED: Text = {
    "en": "a month of the window lies outside the coverage of every source",
    "fr": "un mois de la fenêtre n’est couvert par aucune source",
}
UNTOLD: Text = {
    "en": "a month of the window lies outside the coverage of every event file",
    "fr": "un mois de la fenêtre n’est couvert par aucun fichier d’événements",
}


def either(reason: Text, en: str, fr: str) -> Text:
    """A reason for an absent value, with one more."""
    return {"en": f"{reason['en']}, or {en}", "fr": f"{reason['fr']}, ou {fr}"}


def last(months: int, language: str) -> str:
    """The words for the last months: `the last month`, `the last 3 months`."""
    if months == 1:
        return {"en": "the last month", "fr": "le dernier mois"}[language]
    return {"en": f"the last {months} months", "fr": f"les {months} derniers mois"}[language]


@dataclass(frozen=True)
class Indicator:
    """One declared indicator.

    `window` [months] is how much of the past a value needs, the month itself included. `missing` is what an absent
    value says. `direction` is +1 where more of it goes with more violence, -1 with less,
    0 where no sign is claimed; it is an association, not a cause. `scale` is how a person reads the value: `log1p`
    values are told as the count they are the log of, `share` as per cent. `inputs` are the tables it needs: names of
    `Inputs.tables`, or `events`. `compute` gives float64 of shape (country, month), whose column t uses nothing after
    month t and is NaN where the window is not wholly known or the value has no meaning.
    """

    name: str
    family: str
    unit: str
    window: int
    direction: int
    meaning: Text
    missing: Text
    literature: tuple[Citation, ...]
    inputs: tuple[str, ...]
    compute: Callable[[Inputs], Rectangle]
    scale: Literal["log1p", "share", "number"] = "number"

    def meaning_for(self, outcome: str) -> Text:
        """Its meaning, saying which deaths it counts where it counts those of the outcome and these are not all."""
        if "deaths" not in self.inputs or outcome == "all":
            return self.meaning
        return {language: f"{said} ({OF_OUTCOME[outcome][language]})" for language, said in self.meaning.items()}


@dataclass(frozen=True)
class Family:
    """Indicators of one theme.

    The sentence about the family always gives the values of the `headline` indicators. `key_events` takes the indices
    of a country and a month and returns those of the events that its values depend on most, at most `MAX_KEY_EVENTS`;
    None for a family that is not computed from events. `abroad` says whether the family reads other countries.
    """

    name: str
    title: Text
    theme: Text
    headline: tuple[str, ...]
    indicators: tuple[Indicator, ...]
    key_events: Callable[[Inputs, int, int], Places] | None = None
    abroad: bool = False
