"""How indicators are declared: each as data that carries its own computation, in families.

Each family is declared in a module of its own. Citations and texts that several families use are here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, TypedDict, Unpack

from riskmodel.indicators.inputs import Indices, Inputs
from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.windows import Rectangle

Text: TypeAlias = Mapping[str, str]
"""A text by language: `en` and `fr`."""

MAX_KEY_EVENTS = 5
"""The events that are shown for a family's values are at most this many."""
MIN_SIGNAL_EVENTS = 5
"""A signal needs at least this many events behind it, where they are known [events]."""
MIN_SIGNAL_DEATHS = 25
"""A signal that counts deaths needs at least this many of them [deaths]."""


@dataclass(frozen=True)
class Citation:
    """A publication by its reference and DOI."""

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

DEATHS_NOT_COVERED: Text = {
    "en": "a month of the window lies outside the coverage of every source",
    "fr": "un mois de la fenêtre n’est couvert par aucune source",
}
EVENTS_NOT_COVERED: Text = {
    "en": "a month of the window lies outside the coverage of every event file",
    "fr": "un mois de la fenêtre n’est couvert par aucun fichier d’événements",
}


def either(reason: Text, en: str, fr: str) -> Text:
    """Return a reason why a value is absent, extended by a second one."""
    return {"en": f"{reason['en']}, or {en}", "fr": f"{reason['fr']}, ou {fr}"}


def last_months(months: int, language: str) -> str:
    """Return the words for the last months: `the last month`, `the last 3 months`."""
    if months == 1:
        return {"en": "the last month", "fr": "le dernier mois"}[language]
    return {"en": f"the last {months} months", "fr": f"les {months} derniers mois"}[language]


Scale: TypeAlias = Literal["log1p", "share", "number"]
Compute: TypeAlias = Callable[[Inputs], Rectangle]
EventsBehind: TypeAlias = Callable[[Inputs, int, int], Indices]
"""Takes the indices of a country and a month, and returns those of the events that a value counts, sorted by day."""


@dataclass(frozen=True)
class SignalRule:
    """Declares that an indicator can be a signal: a count over some `months` for which higher means more violence.

    `minimum` is the lowest count that can be a signal. `events` returns the events that are counted; `of_neighbours`
    says that they are those of the neighbouring countries.
    """

    months: int
    minimum: int
    events: EventsBehind
    of_neighbours: bool = False


def signals_of(
    months: int, events: Callable[..., Indices], *, minimum: int = MIN_SIGNAL_EVENTS, of_neighbours: bool = False
) -> SignalRule:
    """Return the rule of an indicator that counts over some months; `events` takes them as `months`."""
    return SignalRule(months, minimum, partial(events, months=months), of_neighbours)


@dataclass(frozen=True)
class Indicator:
    """One declared indicator.

    `window` [months] is how much of the past a value needs, the month itself included. `missing` says what an absent
    value means. `direction` is +1 if higher values go with more violence, -1 if they go with less, and 0 if no sign is
    claimed; it is an association, not a cause. `scale` is how a person reads the value: `log1p` values as the count
    that they are the log of, `share` in per cent. `inputs` are the tables that it needs: names of `Inputs.tables`, or
    `events`. `compute` returns float64 of shape (country, month). Its column t uses nothing after month t, and is NaN
    where the window is not fully known or the value has no meaning. `signal` is None for an indicator that is no count
    of violence, or that others tell better: it is never a signal.
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
    compute: Compute
    scale: Scale = "number"
    signal: SignalRule | None = None

    def meaning_for(self, outcome: str) -> Text:
        """Return its meaning, with the type of deaths that it counts where these are not all deaths."""
        if "deaths" not in self.inputs or outcome == "all":
            return self.meaning
        return {
            language: f"{meaning} ({OUTCOME_LABELS[outcome][language]})" for language, meaning in self.meaning.items()
        }


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
    key_events: Callable[[Inputs, int, int], Indices] | None = None
    abroad: bool = False


class _Own(TypedDict, total=False):
    """What an indicator can declare for itself instead of its family's common value."""

    direction: int
    missing: Text
    literature: tuple[Citation, ...]
    inputs: tuple[str, ...]
    signal: SignalRule | None


@dataclass(frozen=True)
class Declarations:
    """Declares the indicators of one family: the fields are what its indicators have in common.

    `en` and `fr` of the methods are the meaning of the indicator; every field can be replaced for one indicator.
    """

    family: str
    missing: Text
    literature: tuple[Citation, ...] = ()
    inputs: tuple[str, ...] = ()
    direction: int = 0

    def log_count(
        self, name: str, counted: str, *, window: int, en: str, fr: str, compute: Compute, **own: Unpack[_Own]
    ) -> Indicator:
        """Declare the log of 1 + a count; people read the count."""
        return self.value(
            name, f"log(1 + {counted})", window=window, en=en, fr=fr, compute=compute, scale="log1p", **own
        )

    def share(
        self, name: str, of: str, *, window: int, en: str, fr: str, compute: Compute, **own: Unpack[_Own]
    ) -> Indicator:
        """Declare a share of something; people read per cent."""
        return self.value(name, f"share of {of}", window=window, en=en, fr=fr, compute=compute, scale="share", **own)

    def value(
        self,
        name: str,
        unit: str,
        *,
        window: int,
        en: str,
        fr: str,
        compute: Compute,
        scale: Scale = "number",
        **own: Unpack[_Own],
    ) -> Indicator:
        """Declare a value with its unit."""
        return Indicator(
            name=name,
            family=self.family,
            unit=unit,
            window=window,
            direction=own.get("direction", self.direction),
            meaning={"en": en, "fr": fr},
            missing=own.get("missing", self.missing),
            literature=own.get("literature", self.literature),
            inputs=own.get("inputs", self.inputs),
            compute=compute,
            scale=scale,
            signal=own.get("signal"),
        )
