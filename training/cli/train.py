"""`vigie train`: train a model and put it into service."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from training.cli.archive import open_view, realm_prefix
from training.cli.options import (
    JOBS_OPTION,
    MODEL_OPTION,
    OUTCOME_OPTION,
    SEED_OPTION,
    chosen_model,
)
from training.cli.progress import window_progress

if TYPE_CHECKING:
    from rich.console import Console

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
@click.option("--brief", is_flag=True, help="Print the steps and the result, and no scores.")
@OUTCOME_OPTION
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
    brief: bool,
    outcome: str,
    region: str,
    seed: int,
) -> None:
    """Train a model on all countries of the archive, and put it into service.

    The first model is put into service at once. A later one has to pass the gate (see `vigie promote`). A model that
    does not pass is stored, and the one in service stays; this is no failure, and the exit code is 0.

    With --into, standard output has only the path of the model, and the report goes to standard error.
    """
    from riskmodel import bundle, geography
    from riskmodel.cli import terminal
    from training import tracking
    from training.train import train_model
    from training.workers import Workers

    if as_of and into is None:
        raise click.UsageError("--as-of needs --into: a model of the past is not put into service")
    started, console = time.monotonic(), terminal.console(stderr=into is not None)
    model, view = chosen_model(model_name, seed), open_view(home, as_of)
    trained = train_model(
        home,
        view,
        geography.region(region).members,
        datetime.now(UTC),
        outcome=outcome,
        origin=origin,
        model=model,
        seed=seed,
        into=into,
        on_step=lambda step: click.echo(step, err=True),
    )
    if not brief:
        _report(trained, model.name, realm_prefix(view), time.monotonic() - started, console)
    last_line = str(trained.path) if into is not None else _offer(home, view, trained.path, Workers(jobs), console)
    try:
        if mlflow:
            console.print(f"logged to MLflow: run {tracking.log_model(bundle.load(trained.path), mlflow)}")
    finally:  # the last line has to come also when MLflow does not answer
        click.echo(last_line)


def _report(trained: "TrainedModel", model_name: str, realm: str, seconds: float, console: "Console") -> None:
    from training.card import describe_escalation_choice
    from training.formatting import LABELS, format_value

    provenance = trained.provenance
    console.print(
        f"model {trained.path.name}: {realm}{provenance.outcome} deaths of {trained.countries} countries to "
        f"{provenance.origin}, {len(provenance.features)} indicators, {trained.megabytes:.1f} MB, {seconds:.1f} s"
    )
    scores = provenance.scores
    if reason := scores.get("unscored"):
        console.print(f"not scored: {reason}")
    else:
        ours, reference = scores[model_name], scores["conflictology12"]
        console.print(
            f"the same configuration, fitted to {scores['origin']} and scored on {scores['months']} ({realm}"
            f"{provenance.outcome} deaths, all countries, final figures; conflictology12 in brackets; losses: lower "
            "is better):"
        )
        console.print(
            "  "
            + ", ".join(
                f"{LABELS[score]} {format_value(score, ours[score])} ({format_value(score, reference[score])})"
                for score in ours
            )
        )
    console.print(describe_escalation_choice(scores["escalation"]))


def _offer(home: Home, view: "View", path: Path, workers: "Workers", console: "Console") -> str:
    """Offer a new model to the service, and return a line that says which model is in service now."""
    from riskmodel import bundle
    from training import promotion
    from training.cli import console_tables

    model = bundle.load(path)
    with window_progress(0) as on_window:
        offered = promotion.offer(home, view, model, datetime.now(UTC), workers, on_window)
    if offered.gate_result is not None:
        console_tables.print_gate_result(offered.gate_result, console)
    if offered.action == "gate":
        return f"{model.id} passes the gate and is now in service"
    if offered.action is not None:
        return f"{model.id} is now in service"
    if offered.gate_result is None:
        return f"{model.id} is in service already"
    console.print(f"to put it into service all the same: vigie promote {model.id} --force WHY")
    console.print(f"to run it in the shadow of the model in service: vigie shadow {model.id}")
    return f"{model.id} is stored but does not pass the gate: {offered.champion} stays in service"
