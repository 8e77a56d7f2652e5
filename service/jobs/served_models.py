"""The models that a snapshot is made with: for each outcome the model in service, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from riskmodel import assessment, geography
from riskmodel.bundle import champions, usable_digest
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES
from service.snapshots.outcome_parts import NO_HISTORY, NO_MODEL


@dataclass(frozen=True)
class ServedModels:
    """The bundle in service of each outcome. `missing` says why an outcome has none: a reason by outcome."""

    bundles: Mapping[str, Path]
    missing: Mapping[str, str]

    @classmethod
    def of_home(cls, home: Home, *, simulated: bool) -> "ServedModels":
        """Return the models in service for simulated or real data. Raises BadInput where there is none."""
        return cls._checked(champions(home.models, simulated=simulated), {}, simulated=simulated)

    def digests(self) -> dict[str, list[str]]:
        """Return the name and the digest of each model; none is loaded.

        A refit of a model that stores nothing has the same digest as before. Raises Refused if one was altered or
        cannot be used.
        """
        return {outcome: [path.name, usable_digest(path)] for outcome, path in self.bundles.items()}

    def of_view(self, view: View, region: str) -> "ServedModels":
        """Return only the models of the outcomes that a view knows for a region.

        Raises BadInput where none of its countries has a history of any outcome, or of one that has a model.
        """
        members = geography.region(region).members
        known = [outcome for outcome in OUTCOMES if view.origin(members, outcome) is not None]
        if not known:
            assessment.region_origin(view, members, OUTCOMES[-1])  # raises BadInput, with the way out
        bundles = {outcome: path for outcome, path in self.bundles.items() if outcome in known}
        unknown = {outcome: NO_HISTORY[outcome] for outcome in OUTCOMES if outcome not in known}
        return self._checked(bundles, unknown, simulated=view.simulated)

    @classmethod
    def _checked(cls, bundles: Mapping[str, Path], unknown: Mapping[str, str], *, simulated: bool) -> "ServedModels":
        if not bundles:
            kind = "simulated" if simulated else "real"
            raise BadInput(f"there is no model trained on {kind} data: train one with vigie train")
        without_model = {outcome: NO_MODEL for outcome in OUTCOMES if outcome not in bundles}
        return cls(bundles, without_model | dict(unknown))
