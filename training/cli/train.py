"""`vigie train`: train a model and put it into service."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES
from training.cli.archive import open_view, realm_prefix
from training.cli.options import JOBS_OPTION, MODEL_OPTION, SEED_OPTION, chosen_model
from training.cli.progress import window_progress

if TYPE_CHECKING:
    from rich.console import Console

    from riskmodel.errors import BadInput
    from riskmodel.events.view import View
    from riskmodel.months import Month
    from training.train import TrainedModel
    from training.workers import Workers


@click.command()
@click.option(
    "--origin", type=options.MONTH, help="The last month of the training data (default: the region's origin)."
)
@MODEL_OPTION
@JOBS_OPTION
@click.option(
    "--mlflow", metavar="URI", help="Also log the model to an MLflow server or database: http://…, sqlite:///…."
)
@click.option(
    "--as-of", type=options.PAST_MOMENT, help="Use only what was known at a past day or moment; needs --into."
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Store the model in this folder, and do not put it into service.",
)
@click.option(
    "--refit",
    is_flag=True,
    help="Fit the configuration of the model in service again, with its seed; without one, Vigie's own.",
)
@click.option("--brief", is_flag=True, help="Print the steps and the result, and no scores.")
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice(OUTCOMES),
    multiple=True,
    help="The deaths to forecast. Can be repeated (default: both outcomes, as far as the archive knows them).",
)
@options.REGION_OPTION
@SEED_OPTION
@click.pass_obj
def train(
    home: Home,
    origin: "Month | None",
    model_name: str | None,
    jobs: int,
    mlflow: str | None,
    as_of: datetime | None,
    into: Path | None,
    refit: bool,
    brief: bool,
    outcomes: tuple[str, ...],
    region: str,
    seed: int,
) -> None:
    """Train a model of each outcome on all countries of the archive, and put them into service.

    The first model of an outcome is put into service at once. A later one is a refit, if it has the configuration of
    the model in service, or a challenger, which has to pass the gate (see `vigie promote`). A model that is refused is
    stored, and the one in service stays; this is no failure, and the exit code is 0.

    Without --outcome, an outcome that the archive does not know is left out, with the reason. With --jobs 2, the models
    are trained at the same time.

    With --into, standard output has only the paths of the models, and the report goes to standard error.
    """
    from riskmodel import bundle, geography
    from riskmodel.cli import terminal
    from riskmodel.errors import BadInput
    from training import tracking
    from training.train import refit_model, train_model
    from training.workers import Workers

    if as_of and into is None:
        raise click.UsageError("--as-of needs --into: a model of the past is not put into service")
    if refit and (model_name or into):
        raise click.UsageError("--refit takes the model in service: leave out --model and --into")
    started, console = time.monotonic(), terminal.console(stderr=into is not None)
    model, view = chosen_model(model_name, seed), open_view(home, as_of)
    members, now = geography.region(region).members, datetime.now(UTC)
    train_one = partial(train_model, home, view, members, now, origin=origin, model=model, seed=seed, into=into)
    if refit:
        train_one = partial(refit_model, home, view, members, now, origin=origin)
    trained_models = Workers(jobs).map_unordered(_train, [(train_one, each) for each in outcomes or OUTCOMES])
    reasons, last_lines = {}, {}
    for outcome, trained in trained_models:
        if isinstance(trained, BadInput):
            reasons[outcome] = trained
            continue
        if not brief:
            _report(trained, realm_prefix(view), time.monotonic() - started, console)
        into_service = into is None
        last_lines[trained.path] = (
            _offer(home, view, trained.path, Workers(jobs), console, is_refit=refit)
            if into_service
            else str(trained.path)
        )
    if reasons and (outcomes or not last_lines):
        raise next(reversed(reasons.values()))
    for outcome, reason in reasons.items():
        click.echo(f"no model of {OUTCOME_LABELS[outcome]['en']}: {reason}", err=True)
    try:
        for path in last_lines if mlflow else ():
            console.print(f"logged to MLflow: run {tracking.log_model(bundle.load(path), str(mlflow))}")
    finally:  # the last lines have to come also when MLflow does not answer
        for line in last_lines.values():
            click.echo(line)


def _train(train_one: "Callable[..., TrainedModel]", outcome: str) -> "TrainedModel | BadInput":
    """Train the model of an outcome, and print each step. Returns the reason where it cannot be trained."""
    from riskmodel.errors import BadInput

    label = OUTCOME_LABELS[outcome]["en"]
    try:
        return train_one(outcome, on_step=lambda step: click.echo(f"{label}: {step}", err=True))
    except BadInput as reason:
        return reason


def _report(trained: "TrainedModel", realm: str, seconds: float, console: "Console") -> None:
    from training.card import describe_escalation_choice
    from training.formatting import LABELS, format_outcome, format_value

    provenance = trained.provenance
    console.print(
        f"model {trained.path.name}: {realm}{format_outcome(provenance.outcome)} in {trained.countries} countries to "
        f"{provenance.origin}, reads {trained.indicators_read} of {len(provenance.features)} indicators, "
        f"{trained.megabytes:.1f} MB, {seconds:.1f} s"
    )
    scores = provenance.scores
    if reason := scores.get("unscored"):
        console.print(f"not scored: {reason}")
    else:
        ours, reference = scores[trained.model_name], scores["conflictology12"]
        console.print(
            f"the same configuration, fitted to {scores['origin']} and scored on {scores['months']} ({realm}"
            f"{format_outcome(provenance.outcome)}, all countries, final figures; conflictology12 in brackets; losses: "
            "lower is better):"
        )
        console.print(
            "  "
            + ", ".join(
                f"{LABELS[score]} {format_value(score, ours[score])} ({format_value(score, reference[score])})"
                for score in ours
            )
        )
    console.print(describe_escalation_choice(scores["escalation"]))


def _offer(home: Home, view: "View", path: Path, workers: "Workers", console: "Console", *, is_refit: bool) -> str:
    """Offer a new model to the service, and return a line that says which model is in service now."""
    from riskmodel import bundle
    from training import promotion
    from training.cli import console_tables
    from training.train import record_refit

    model = bundle.load(path)
    label = OUTCOME_LABELS[model.outcome]["en"]
    with window_progress(0) as on_window:
        offered = promotion.offer(home, view, model, datetime.now(UTC), workers, on_window)
    if is_refit:
        record_refit(home, view, model.outcome, offered.examination.refusal if offered.examination else None)
    if offered.examination is not None:
        console_tables.print_examination(offered.examination, model.outcome, console)
    if offered.action == "gate":
        return f"{model.id} passes the gate and is now in service for {label}"
    if offered.action == "refit":
        return f"{model.id} is a refit of {offered.champion} and is now in service for {label}"
    if offered.action is not None:
        return f"{model.id} is now in service for {label}"
    if offered.examination is None:
        return f"{model.id} is in service already for {label}"
    console.print(f"to put it into service all the same: vigie promote {model.id} --force WHY")
    console.print(f"to run it in the shadow of the model in service: vigie shadow {model.id}")
    refused = "is refused as a refit" if offered.examination.action == "refit" else "does not pass the gate"
    return f"{model.id} is stored but {refused}: {offered.champion} stays in service for {label}"
