"""The parts of a snapshot's document, one for each outcome, and the flat document of one outcome.

A document has what its outcomes share, and under `outcomes` the part of each. Most readers need one outcome: they take
the flat document.
"""

from collections.abc import Mapping
from typing import Any

from riskmodel.errors import BadInput
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES

NO_MODEL, NOT_COMPUTED = "no_model", "not_computed"

MISSING_REASONS: Mapping[str, str] = {
    "only_state_based": "no source in the archive counts the deaths of all types of violence",
    "only_all": "no source in the archive counts the deaths of state-based conflict apart",
    NO_MODEL: "no model of these deaths is in service",
    NOT_COMPUTED: "not computed for this moment",
}
"""Why a snapshot does not have an outcome. These texts are the keys of their translations."""

MISSING_ACTIONS: Mapping[str, str] = {
    "only_state_based": "Take in UCDP’s events or a table of all deaths with vigie ingest, then run vigie train.",
    "only_all": "Take in UCDP’s events with vigie ingest, then run vigie train.",
    NO_MODEL: "After a first start, Vigie trains it within minutes. To train it by hand: vigie train.",
    NOT_COMPUTED: "Ask for the present, or for another moment.",
}
"""What can be done about it."""

NO_HISTORY: Mapping[str, str] = {"all": "only_state_based", "state_based": "only_all"}
"""The reason where the data of a region do not have an outcome: they have the other one."""


class OutcomeMissing(BadInput):
    """A snapshot does not have an outcome. `reason` is its code in `missing_outcomes`; `available` are those it has."""

    def __init__(self, document: Mapping[str, Any], outcome: str) -> None:
        self.outcome, self.available = outcome, available(document)
        self.reason: str = document["missing_outcomes"].get(outcome, NOT_COMPUTED)
        snapshot = f"snapshot {document['id']}" if "id" in document else "the snapshot"
        label = OUTCOME_LABELS[outcome]["en"]
        why = f"{MISSING_REASONS[self.reason]}. {MISSING_ACTIONS[self.reason]}"
        super().__init__(f"{snapshot} has no forecast of {label} ({outcome}): {why}")


def available(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the outcomes of a document, the headline first."""
    first: str = document["outcome"]
    return (first, *(outcome for outcome in OUTCOMES if outcome in document["outcomes"] and outcome != first))


def of_outcome(document: Mapping[str, Any], outcome: str | None = None) -> dict[str, Any]:
    """Return the flat document of one outcome, by default of the headline.

    It has the shared keys, those of the outcome's part, `outcome`, and `available_outcomes`, the headline first. Raises
    OutcomeMissing.
    """
    outcome = outcome or document["outcome"]
    if outcome not in document["outcomes"]:
        raise OutcomeMissing(document, outcome)
    shared = {key: value for key, value in document.items() if key != "outcomes"}
    part = document["outcomes"][outcome]
    return {**shared, **part, "outcome": outcome, "available_outcomes": available(document)}
