"""`vigie models`, `card`, `promote`, `shadow`, `rollback`: the models of a home and which of them are in service."""

from datetime import UTC, datetime
from pathlib import Path

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES
from training.cli.archive import open_view
from training.cli.options import DASK_OPTION, JOBS_OPTION
from training.cli.progress import window_progress

SERVED_OUTCOME_OPTION = click.option("--outcome", type=click.Choice(OUTCOMES), help="The outcome whose model is meant.")
REASON_OPTION = click.option("--why", "reason", default="", help="The reason, recorded in the journal.")


@click.command("models")
@options.FORMAT_OPTION
@click.pass_obj
def list_models(home: Home, form: str) -> None:
    """List all models, the newest last: what they were trained on, and which are or were in service.

    For each model in service: how much newer the data are, and when it is due to be refitted.
    """
    import json

    from riskmodel.cli import terminal
    from training import refitting, registry
    from training.cli import console_tables

    models = refitting.with_refits(home, registry.list_models(home.models))
    if form == "json":
        click.echo(json.dumps(models, indent=1, ensure_ascii=False))
    elif not models:
        click.echo("there is no model yet: vigie train makes one")
    else:
        console_tables.print_models(models, terminal.console())


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to (default: cards/ in the home).",
)
@options.REGION_OPTION
@click.pass_obj
def card(home: Home, name: str | None, out: Path | None, region: str) -> None:
    """Write the card of a model as Markdown and HTML; without MODEL, of each outcome's model in service.

    The card shows the training data, the scores of the configuration on past years, calibration, how the model entered
    service, and its limits. Scores on past years come from stored back-tests.
    """
    from riskmodel import bundle
    from riskmodel.errors import BadInput
    from training.card import write_card

    view = open_view(home)
    paths = [_find_model(home, name)] if name else bundle.champions(home.models, simulated=view.simulated).values()
    if not paths:
        raise BadInput("no model is in service: vigie train makes one")
    for path in paths:
        for written in write_card(home, view, bundle.load(path), region, out or home.cards):
            click.echo(str(written))


@click.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "--windows", "years", metavar="YEAR[:YEAR]", help="The calendar years to score it on (default: the latest five)."
)
@click.option(
    "--force", "force_reason", metavar="WHY", help="Put it into service whatever the gate finds; record the reason."
)
@JOBS_OPTION
@DASK_OPTION
@click.pass_obj
def promote(home: Home, name: str, years: str | None, force_reason: str | None, jobs: int, dask: str | None) -> None:
    """Put a model into service: a refit if it forecasts as it should, a challenger if it passes the gate.

    A refit has the configuration of the model in service, seeds apart. It has to forecast finitely, and must not be far
    worse than the model in service on the months since.

    The configuration of a challenger is fitted again for each year, on the data before it, and scored on all countries;
    so is the configuration in service. It has to be better than that one on IGN or log-CRPS, and not worse on either
    and on CRPS. It has to be better than conflictology12 on IGN, and otherwise not worse than conflictology12 and ew4s.
    """
    from riskmodel import bundle
    from riskmodel.cli import terminal
    from riskmodel.errors import Refused
    from training import promotion, windows
    from training.cli import console_tables
    from training.workers import Workers

    if force_reason is not None and not force_reason.strip():
        raise click.BadParameter("needs a reason in words", param_hint="--force")
    try:
        chosen_windows = windows.challenge_windows(years) if years else ()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--windows") from None
    model, view = bundle.load(_find_model(home, name)), open_view(home)
    with window_progress(len(chosen_windows)) as on_window:
        found = promotion.examine(home, view, model, chosen_windows, Workers(jobs, dask), on_window)
    console_tables.print_examination(found, model.outcome, terminal.console())
    if not found.passed and force_reason is None:
        refused = "is refused as a refit" if found.action == "refit" else "does not pass the gate"
        raise Refused(f"{model.id} {refused}; the model in service stays (--force WHY overrules)")
    action = found.action if found.passed else "force"
    promotion.put_into_service(home, model, datetime.now(UTC), action, force_reason or "", found)
    click.echo(f"{model.id} is now in service for {OUTCOME_LABELS[model.outcome]['en']}")


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--off", is_flag=True, help="Take the models out of the shadow, or with --outcome one of them.")
@SERVED_OUTCOME_OPTION
@REASON_OPTION
@click.pass_obj
def shadow(home: Home, name: str | None, off: bool, outcome: str | None, reason: str) -> None:
    """Run a model in the shadow of the one of its outcome in service, or take it out; without MODEL, say which run.

    From the next snapshot on, the model forecasts next to the one in service. Its forecasts are stored and scored when
    their months are over, and the scorecard shows them; they are not served.
    """
    from riskmodel import bundle
    from riskmodel.errors import Refused
    from training import registry
    from training.train import iso_seconds

    if off and name:
        raise click.UsageError("name a model, or use --off, not both")
    if name and outcome:
        raise click.UsageError("a model is of one outcome: leave out --outcome")
    simulated, now = open_view(home).simulated, iso_seconds(datetime.now(UTC))
    running = {
        each: path.name
        for each in ([outcome] if outcome else OUTCOMES)
        if (path := bundle.challenger(home.models, simulated=simulated, outcome=each))
    }
    if off:
        if not running:
            raise Refused("no model runs in the shadow")
        for each in running:
            stopped = registry.stop_shadow(home.models, each, simulated=simulated, at=now, reason=reason)
            click.echo(f"{stopped} no longer runs in the shadow for {OUTCOME_LABELS[each]['en']}")
    elif name:
        model = bundle.load(_find_model(home, name))
        if model.provenance.simulated != simulated:
            realm = "simulated" if simulated else "real"
            raise Refused(f"{model.id} cannot run in the shadow: the archive has {realm} data, the model had not")
        entry = registry.JournalEntry(now, model.id, simulated, model.outcome, "shadow", reason)
        registry.start_shadow(home.models, entry)
        click.echo(f"{model.id} runs in the shadow for {OUTCOME_LABELS[model.outcome]['en']} from the next snapshot on")
    else:
        for each, running_name in running.items():
            click.echo(f"{running_name} runs in the shadow for {OUTCOME_LABELS[each]['en']}")
        if not running:
            click.echo("no model runs in the shadow")


@click.command()
@SERVED_OUTCOME_OPTION
@REASON_OPTION
@click.pass_obj
def rollback(home: Home, outcome: str | None, reason: str) -> None:
    """Put the model that was in service before the present one back into service.

    Each outcome has its own model in service. Where there are several, --outcome chooses.
    """
    from riskmodel import bundle
    from riskmodel.errors import Refused
    from training import registry
    from training.train import iso_seconds

    simulated, now = open_view(home).simulated, iso_seconds(datetime.now(UTC))
    served = [outcome] if outcome else list(bundle.champions(home.models, simulated=simulated))
    if not served:
        raise Refused("no model is in service, so there is no earlier model to go back to")
    if len(served) > 1:
        raise click.UsageError(f"models of {len(served)} outcomes are in service: choose with --outcome")
    left, restored = registry.rollback(home.models, served[0], simulated=simulated, at=now, reason=reason)
    click.echo(f"{restored} is in service again for {OUTCOME_LABELS[served[0]]['en']}, in place of {left}")


def _find_model(home: Home, name: str) -> Path:
    """Return the folder of the model with this name, or with a name that begins or ends so."""
    from riskmodel.errors import BadInput
    from training import registry

    names = registry.model_names(home.models)
    found = [name] if name in names else [known for known in names if known.startswith(name) or known.endswith(name)]
    if len(found) != 1:
        raise BadInput(f"{len(found) or 'no'} models are called {name}; there are: {', '.join(names) or 'none'}")
    return home.models / found[0]
