"""Train a model on the archive of a home and store it as a bundle.

It knows the home and the archive, and no terminal. The service starts `vigie train` as a child process and does not
import this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from riskmodel import bundle
from riskmodel.assessment import region_origin
from riskmodel.bundle import Provenance
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.forecasting.component import Explainable
from riskmodel.home import Home
from riskmodel.months import Month
from riskmodel.outcomes import MIN_HISTORY, OUTCOME_LABELS
from training.backtest_runner import build_inputs
from training.fit import fit_model


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained and stored."""

    path: Path
    provenance: Provenance
    countries: int

    @property
    def megabytes(self) -> float:
        """The size of the bundle [MB]."""
        return sum(file.stat().st_size for file in self.path.iterdir()) / 1e6


def train_model(
    home: Home,
    view: View,
    region: Sequence[str],
    now: datetime,
    outcome: str,
    *,
    origin: Month | None = None,
    model: Explainable | None = None,
    seed: int = 1,
    into: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> TrainedModel:
    """Fit a model on all countries of the archive and store it among the home's models, or in the folder `into`.

    `region` are the ISO alpha-3 codes of the countries served: without an `origin`, the model learns up to their
    origin. `model` is the served pool by default. `now` is in UTC. `on_step` receives the name of each step before it
    begins. Nothing is put into service. A bundle appears only when complete: a training that is killed leaves none.
    Raises BadInput where no country of the region has a history, or none has one up to `origin`, and what `fit_model`
    raises.
    """
    origin = origin or region_origin(view, region, outcome)
    observed = view.outcomes().with_history(outcome, origin)
    if not observed.iso3:
        label = OUTCOME_LABELS[outcome]["en"]
        raise BadInput(f"no country has {MIN_HISTORY} unbroken months of deaths in {label} up to {origin}")
    on_step(f"computing the indicators of {len(observed.iso3)} countries to {origin}")
    inputs = build_inputs(view, observed, outcome)
    fitted = fit_model(
        observed,
        outcome,
        origin,
        seed=seed,
        data_digest=view.digest,
        shipped_only=view.shipped_only,
        simulated=view.simulated,
        trained_at=iso_seconds(now),
        inputs=inputs,
        model=model,
        on_step=on_step,
    )
    folder = into or home.models
    on_step(f"storing the model in {folder}")
    name = bundle.save(fitted.model, fitted.provenance, folder, fitted.escalation, fitted.golden_prediction)
    return TrainedModel(folder / name, fitted.provenance, len(observed.iso3))


def iso_seconds(moment: datetime) -> str:
    """Write a moment in UTC as ISO 8601, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
