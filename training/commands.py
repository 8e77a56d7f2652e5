"""The sub-commands that training brings; here those of a model's life: fitted, put into service, taken out of it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from training.backtest_cli import backtest, compare
from training.options import DASK, JOBS, MODEL, OUTCOME, REGION, SEED, component, look, marked, progress

if TYPE_CHECKING:
    from rich.console import Console

    from riskmodel.events.view import View
    from riskmodel.months import Month
    from training.promotion import Verdict
    from training.workers import Workers


@click.command()
@click.option("--origin", type=options.MONTH, help="The last month to learn from (default: the region's origin).")
@MODEL
@JOBS
@click.option("--mlflow", metavar="URI", help="Tell an MLflow server or database of it: http://…, sqlite:///….")
@click.option("--as-of", type=options.PAST, help="Learn only from what was known at a past day or moment; with --into.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the model in this folder, and put it into no service.",
)
@OUTCOME
@REGION
@SEED
@click.pass_obj
def train(
    home: Home,
    origin: "Month | None",
    written: str | None,
    jobs: int,
    mlflow: str | None,
    as_of: datetime | None,
    into: Path | None,
    outcome: str,
    region: str,
    seed: int,
) -> None:
    """Fit a model on all countries of the archive, and put it into service if it may be.

    The first model is put into service as it is. A later one has to pass the gate (see `vigie promote`); if it does
    not, it is kept, and the one before stays in service.
    """
    from riskmodel import bundle, geography
    from riskmodel.cli import terminal
    from riskmodel.errors import BadInput
    from training import console_tables, figures, fit, tracking
    from training.backtest_runner import inputs_of
    from training.workers import Workers

    if as_of and into is None:
        raise click.UsageError("a model of the past is put into no service: --as-of needs --into")
    model, view, members = component(written, seed), look(home, as_of), geography.region(region).members
    last = origin or view.origin(members, outcome)
    if last is None:
        raise BadInput(
            f"no country of the region of {region} has a history of {outcome} deaths: "
            "take one in (vigie ingest …), or name another --region or --outcome"
        )
    began, observed, console = time.monotonic(), view.outcomes().histories(outcome, last), terminal.console()
    with terminal.console(stderr=True).status(f"training on {len(observed.iso3)} countries to {last}"):
        fitted, escalation, provenance = fit.train(
            observed,
            outcome,
            last,
            seed=seed,
            data_digest=view.digest,
            simulated=view.simulated,
            trained_at=_now(),
            inputs=inputs_of(view, observed, outcome),
            model=model,
        )
        name = bundle.save(fitted, provenance, into or home.models, escalation)
    size = sum(file.stat().st_size for file in ((into or home.models) / name).iterdir()) / 1e6
    console.print(
        f"model {name}: {marked(view)}{outcome} deaths of {len(observed.iso3)} countries to {last}, "
        f"{len(provenance.features)} indicators, {size:.1f} MB, {time.monotonic() - began:.1f} s"
    )
    if why := provenance.scores.get("unscored"):
        console.print(f"not scored: {why}")
    else:
        ours, theirs = provenance.scores[model.name], provenance.scores["conflictology12"]
        scores = ", ".join(
            f"{figures.HEADINGS.get(score, score)} {ours[score]:.4g} ({theirs[score]:.4g})" for score in ours
        )
        console.print(
            f"the same, fitted to {provenance.scores['origin']} and judged on {provenance.scores['months']} "
            f"({marked(view)}{outcome} deaths, all countries, final figures; the last twelve months again in brackets):"
        )
        console.print(f"  {scores}")
    console.print(console_tables.voices(provenance.scores["escalation"]))
    if into is None:
        _into_service(home, view, name, Workers(jobs))
    if mlflow:
        console.print(f"told MLflow: run {tracking.log(bundle.load((into or home.models) / name), mlflow)}")


@click.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "--windows", "years", metavar="YEAR[:YEAR]", help="The calendar years it is judged on (default: the latest five)."
)
@click.option("--force", metavar="WHY", help="Put it into service whatever the gate says; the reason is kept.")
@JOBS
@DASK
@click.pass_obj
def promote(home: Home, name: str, years: str | None, force: str | None, jobs: int, dask: str | None) -> None:
    """Put a model into service, if it is good enough.

    Its configuration is fitted anew for each year, on what lay before, and judged on all countries. It has to be better
    than conflictology12 and ew4s by IGN and log-CRPS, and not worse by CRPS; and not worse than the model in service by
    any of the three.
    """
    from riskmodel import bundle
    from riskmodel.cli import terminal
    from riskmodel.errors import Refused
    from training import promotion, windows
    from training.workers import Workers

    if force is not None and not force.strip():
        raise click.BadParameter("needs a reason in words", param_hint="--force")
    try:
        asked = windows.challenges(years) if years else ()
    except ValueError as unreadable:
        raise click.BadParameter(str(unreadable), param_hint="--windows") from None
    model, view, console = bundle.load(_path(home, name)), look(home), terminal.console()
    with progress(len(asked)) as done:
        verdict = promotion.judge(home, view, model, asked, Workers(jobs, dask), done)
    _show(verdict, console)
    if not verdict.passed and force is None:
        raise Refused(f"{model.id} does not pass the gate; the model in service stays (--force WHY overrules)")
    promotion.enter(home, model, _now(), "gate" if verdict.passed else "force", force or "", verdict)
    console.print(f"{model.id} is now in service")


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--off", is_flag=True, help="Let none run in the shadow any more.")
@click.option("--why", default="", help="The reason, kept in the journal.")
@click.pass_obj
def shadow(home: Home, name: str | None, off: bool, why: str) -> None:
    """Let a model run in the shadow of the one in service, or none any more.

    From the next snapshot on it forecasts beside the model in service. Nobody is served what it says; it is kept,
    scored when its months have come, and shown on the scorecard. Without MODEL, say which one it is.
    """
    from riskmodel import bundle
    from riskmodel.errors import Refused
    from training import registry
    from training.registry import Promotion

    if off and name:
        raise click.UsageError("name a model, or say --off")
    simulated = look(home).simulated
    if off:
        click.echo(
            f"{registry.unshadow(home.models, simulated=simulated, at=_now(), why=why)} is in the shadow no more"
        )
    elif name:
        model = bundle.load(_path(home, name))
        if model.provenance.simulated != simulated:
            held = "simulated" if simulated else "real"
            raise Refused(f"{model.id} saw other data than the archive's, which are {held}")
        registry.shadow(home.models, Promotion(_now(), model.id, simulated, "shadow", why))
        click.echo(f"{model.id} runs in the shadow from the next snapshot on")
    else:
        path = bundle.challenger(home.models, simulated=simulated)
        click.echo(f"{path.name} runs in the shadow" if path else "no model runs in the shadow")


@click.command()
@click.option("--why", default="", help="The reason, kept in the journal.")
@click.pass_obj
def rollback(home: Home, why: str) -> None:
    """Put the model that was in service before the present one back into service."""
    from training import registry

    before, now = registry.rollback(home.models, simulated=look(home).simulated, at=_now(), why=why)
    click.echo(f"{now} is in service again, in place of {before}")


@click.command("models")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def list_models(home: Home, form: str) -> None:
    """All models of the home, the newest last: what they were trained on, and which are or were in service."""
    import json

    from riskmodel.cli import terminal
    from training import console_tables, registry

    listed = registry.listed(home.models)
    if form == "json":
        click.echo(json.dumps(listed, indent=1, ensure_ascii=False))
    elif not listed:
        click.echo("there is no model yet: vigie train makes one")
    else:
        console_tables.models(listed, terminal.console())


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to (default: the home's cards).",
)
@REGION
@click.pass_obj
def card(home: Home, name: str | None, out: Path | None, region: str) -> None:
    """Write the card of a model, the one in service by default, as Markdown and HTML.

    It tells what the model was trained on, how well its configuration did on past years (as far as back-tests of it are
    kept), whether its probabilities can be trusted, how it came into service, and what it cannot do.
    """
    from riskmodel import bundle
    from riskmodel.errors import BadInput
    from training import card as cards

    path = _path(home, name) if name else bundle.champion(home.models, simulated=look(home).simulated)
    if path is None:
        raise BadInput("no model is in service: vigie train makes one")
    for written in cards.write(home, look(home), bundle.load(path), region, out or home.cards):
        click.echo(str(written))


def _into_service(home: Home, view: "View", name: str, workers: "Workers") -> None:
    """Put a new model into service: as it is where none can serve, else through the gate."""
    from riskmodel import bundle
    from riskmodel.cli import terminal
    from riskmodel.errors import Refused
    from training import promotion

    console, champion = terminal.console(), bundle.champion(home.models, simulated=view.simulated)
    model = bundle.load(home.models / name)
    if champion and champion.name == name:
        console.print("it is in service already")
        return
    try:
        unusable = bundle.outgrown(champion) if champion else "there was none"
    except Refused as altered:
        unusable = str(altered)
    if unusable:
        promotion.enter(home, model, _now(), "replacement" if champion else "first", "" if not champion else unusable)
        console.print("now in service")
        return
    with progress(0) as done:
        verdict = promotion.judge(home, view, model, workers=workers, done=done)
    _show(verdict, console)
    if verdict.passed:
        promotion.enter(home, model, _now(), "gate", "", verdict)
        console.print("it passes the gate and is now in service")
    else:
        console.print(
            f"it does not pass the gate: {champion.name if champion else ''} stays in service\n"
            f"vigie promote {name} --force WHY puts it into service all the same\n"
            f"vigie shadow {name} lets it run beside, unserved, to be judged by what comes"
        )


def _show(verdict: "Verdict", console: "Console") -> None:
    from training import console_tables

    if verdict.windows:
        names = ", ".join(window.name for window in verdict.windows)
        console.print(f"the gate: all countries, windows {names}, data to October of the year before, leads 3-14")
    for note in verdict.notes:
        console.print(note)
    if verdict.checks:
        console_tables.verdict(verdict.checks, console)


def _path(home: Home, name: str) -> Path:
    """The folder of the model whose name is so, or begins or ends so."""
    from riskmodel.errors import BadInput
    from training import registry

    names = registry.names(home.models)
    found = [name] if name in names else [known for known in names if known.startswith(name) or known.endswith(name)]
    if len(found) != 1:
        raise BadInput(f"{len(found) or 'no'} models are called {name}; there are: {', '.join(names) or 'none'}")
    return home.models / found[0]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


commands = [train, backtest, compare, list_models, card, promote, shadow, rollback]
