"""The models that a snapshot is made with: for each outcome the model in service, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass

from riskmodel import assessment, geography
from riskmodel.bundle import Bundle, champions, load
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.snapshots.outcome_parts import NO_HISTORY, NO_MODEL


@dataclass(frozen=True)
class ServedModels:
    """The model in service of each outcome. `missing` says why an outcome has none: a reason by outcome."""

    bundles: Mapping[str, Bundle]
    missing: Mapping[str, str]

    @classmethod
    def load(cls, home: Home, *, simulated: bool) -> "ServedModels":
        """Load the models in service for simulated or real data. Raises BadInput where there is none."""
        bundles = {outcome: load(path) for outcome, path in champions(home.models, simulated=simulated).items()}
        return cls._checked(bundles, {}, simulated=simulated)

    def of_view(self, view: View, region: str) -> "ServedModels":
        """Return only the models of the outcomes that a view knows for a region.

        Raises BadInput where none of its countries has a history of any outcome, or of one that has a model.
        """
        members = geography.region(region).members
        known = [outcome for outcome in OUTCOMES if view.origin(members, outcome) is not None]
        if not known:
            assessment.region_origin(view, members, OUTCOMES[-1])  # raises BadInput, with the way out
        bundles = {outcome: bundle for outcome, bundle in self.bundles.items() if outcome in known}
        unknown = {outcome: NO_HISTORY[outcome] for outcome in OUTCOMES if outcome not in known}
        return self._checked(bundles, unknown, simulated=view.simulated)

    @classmethod
    def _checked(cls, bundles: Mapping[str, Bundle], unknown: Mapping[str, str], *, simulated: bool) -> "ServedModels":
        if not bundles:
            kind = "simulated" if simulated else "real"
            raise BadInput(f"there is no model trained on {kind} data: train one with vigie train")
        without_model = {outcome: NO_MODEL for outcome in OUTCOMES if outcome not in bundles}
        return cls(bundles, without_model | dict(unknown))
