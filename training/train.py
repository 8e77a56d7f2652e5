"""Train a model on the archive of a home and store it as a bundle.

It knows the home and the archive, and no terminal. The service starts `vigie train` as a child process and does not
import this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from riskmodel import __version__, bundle, refits
from riskmodel.assessment import region_origin
from riskmodel.bundle import Provenance
from riskmodel.errors import BadInput, Refused
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
    model_name: str
    indicators_read: int

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
    read = len(getattr(fitted.model, "used_indicators", ()))
    return TrainedModel(folder / name, fitted.provenance, len(observed.iso3), fitted.model.name, read)


def refit_model(
    home: Home,
    view: View,
    region: Sequence[str],
    now: datetime,
    outcome: str,
    *,
    origin: Month | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> TrainedModel:
    """Fit the configuration of an outcome's model in service again, with its seed, and store it as `train_model` does.

    The attempt is recorded, so that the scheduler does not repeat one that fails. Without a model in service that can
    be loaded, the served pool is trained. Raises what `train_model` raises.
    """
    champion = _champion(home, view, outcome)
    if champion is None:
        return train_model(home, view, region, now, outcome, origin=origin, on_step=on_step)
    attempt = refits.Attempt(iso_seconds(now), champion.id, view.digest, __version__)
    record = partial(refits.record_attempt, home.models, simulated=view.simulated, outcome=outcome)
    record(attempt)
    model, seed = champion.model, champion.provenance.seed
    try:
        return train_model(home, view, region, now, outcome, origin=origin, model=model, seed=seed, on_step=on_step)
    except Exception as failure:
        record(replace(attempt, result="failed", reason=str(failure) or type(failure).__name__))
        raise


def record_refit(home: Home, view: View, outcome: str, refusal: str | None) -> None:
    """Record how the attempt of `refit_model` ended: the refit is in service, or why it was refused."""
    attempt = refits.last_attempt(home.models, simulated=view.simulated, outcome=outcome)
    if attempt is not None and attempt.result == "started":
        ended = replace(attempt, result="done" if refusal is None else "refused", reason=refusal or "")
        refits.record_attempt(home.models, ended, simulated=view.simulated, outcome=outcome)


def _champion(home: Home, view: View, outcome: str) -> bundle.Bundle | None:
    path = bundle.champion(home.models, simulated=view.simulated, outcome=outcome)
    try:
        return bundle.load(path) if path else None
    except Refused:
        return None


def iso_seconds(moment: datetime) -> str:
    """Write a moment in UTC as ISO 8601, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
