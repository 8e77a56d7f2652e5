"""The sub-commands that training brings: fitting a model, judging it on the past, and putting it into service."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    from rich.console import Console

    from riskmodel.events.archive import View
    from riskmodel.forecasting.component import Explainable
    from riskmodel.months import Month
    from training.judged import Judged
    from training.promotion import Verdict
    from training.trial import Trial
    from training.windows import Window
    from training.workers import Workers

OUTCOME = click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    default=OUTCOMES[0],
    show_default=True,
    help="The deaths that are forecast.",
)
REGION = click.option(
    "--region", type=options.ISO3, default="MLI", show_default=True, help="The focal country of the region served."
)
SEED = click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same model."
)
MODEL = click.option(
    "--model",
    "written",
    metavar="MODULE:FUNCTION",
    help="A model of your own: a function of a module here that makes a component from a seed.",
)
JOBS = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes at work on windows, one thread each; with 1, this process with its threads.",
)
DASK = click.option("--dask", metavar="ADDRESS", help="Work on a Dask cluster: tcp://host:8786 of its scheduler.")
SCOPE = click.option(
    "--scope",
    "scopes",
    type=options.Written("SCOPE", lambda text: _scope(text)),
    multiple=True,
    default=("region",),
    show_default=True,
    help="What is judged: region, africa, world, or ISO alpha-3 codes, as in MLI,NER. May be said several times.",
)


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
    from riskmodel import bundle, geography, terminal
    from riskmodel.errors import BadInput
    from training import figures, fit, tables, tracking
    from training.trial import inputs_of
    from training.workers import Workers

    if as_of and into is None:
        raise click.UsageError("a model of the past is put into no service: --as-of needs --into")
    model, view, members = _model(written, seed), _view(home, as_of), geography.region(region).members
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
        f"model {name}: {_realm(view)}{outcome} deaths of {len(observed.iso3)} countries to {last}, "
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
            f"({_realm(view)}{outcome} deaths, all countries, final figures; the last twelve months again in brackets):"
        )
        console.print(f"  {scores}")
    console.print(tables.voices(provenance.scores["escalation"]))
    if into is None:
        _into_service(home, view, name, Workers(jobs))
    if mlflow:
        console.print(f"told MLflow: run {tracking.log(bundle.load((into or home.models) / name), mlflow)}")


@click.command()
@click.option("--windows", "years", metavar="YEAR[:YEAR]", help="Calendar years to forecast, as in 2018:2022.")
@click.option(
    "--rolling", "rolled", metavar="YEAR[:YEAR]", help="Every month-end of these years instead, refitted each January."
)
@SCOPE
@JOBS
@DASK
@MODEL
@click.option(
    "--without",
    type=options.Written("FAMILY", lambda text: _family(text)),
    multiple=True,
    help="Hide a family of indicators from the model, to see what it is worth. May be said several times.",
)
@click.option(
    "--forecasts-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the forecasts as Parquet."
)
@OUTCOME
@REGION
@SEED
@click.pass_obj
def backtest(
    home: Home,
    years: str | None,
    rolled: str | None,
    scopes: "tuple[str | tuple[str, ...], ...]",
    jobs: int,
    dask: str | None,
    written: str | None,
    without: tuple[str, ...],
    forecasts_out: Path | None,
    outcome: str,
    region: str,
    seed: int,
) -> None:
    """Judge the model on past years, beside the baselines.

    With --windows, data to October of the year before, leads 3-14, fitted anew for each year. With --rolling, what the
    service issues: every month-end, leads 1-12, fitted anew each January. It learns from all countries of the archive.
    Each window's result is kept in the home, so that a back-test that was stopped goes on, and is read the next time.
    The thresholds of a rolling back-test's alerts are fixed on earlier years, as far as these are kept.
    """
    from riskmodel import terminal
    from training import ablation, export, windows
    from training.trial import Trial
    from training.workers import Workers

    if (years is None) == (rolled is None):
        raise click.UsageError("name the years: --windows YEAR[:YEAR], or --rolling YEAR[:YEAR]")
    try:
        asked = windows.challenges(years) if years else windows.rolling(rolled or "")
    except ValueError as unreadable:
        raise click.BadParameter(str(unreadable), param_hint="--windows" if years else "--rolling") from None
    model, view = _model(written, seed), _view(home)
    kind = "challenge" if years else "rolling"
    trial = Trial(view, outcome, ablation.without(model, without), seed, kind)
    found = _run(home, trial, asked, Workers(jobs, dask), draws=forecasts_out is not None)
    record, console, iso3 = trial.record(home), terminal.console(), set[str]()
    earlier = [window for window in record.windows if window.origin < asked[0].origin]
    for scope in scopes:
        judged, where = _within(found, scope, region)
        iso3.update(judged.iso3)
        console.print(
            f"back-test {record.name}: {_realm(view)}{outcome} deaths, {where} ({_countries(judged)}), final figures; "
            + (
                "data to October of the year before, leads 3-14"
                if years
                else "every month-end, refitted each January, leads 1-12"
            )
        )
        if years:
            _losses(judged, console, seed)
        else:
            with_earlier = record.read([*earlier, *asked]) if earlier else found
            _rolled(judged, _within(with_earlier, scope, region)[0], console, seed)
    if forecasts_out:
        export.join([record.forecasts(window) for window in asked], sorted(iso3), forecasts_out)
        console.print(f"forecasts written to {forecasts_out}")


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--rolling", is_flag=True, help="Look for a forecast by its name in rolling back-tests.")
@SCOPE
@OUTCOME
@REGION
@SEED
@click.pass_obj
def compare(
    home: Home,
    one: str,
    other: str,
    rolling: bool,
    scopes: "tuple[str | tuple[str, ...], ...]",
    outcome: str,
    region: str,
    seed: int,
) -> None:
    """Hold two forecasts against each other, on the country-months that both have.

    Each is a back-test (the first digits of its name), a forecast within one (pool, ew4s, conflictology12, …), or a
    Parquet of somebody else's forecasts: origin, iso3, month, draw, deaths, as `vigie backtest --forecasts-out` writes
    them.
    """
    from riskmodel import terminal
    from riskmodel.events import manifest
    from training import comparison, tables
    from training.figures import LEADS_SHOWN

    realm = "SIMULATED " if manifest.realm(home.archive) == "simulated" else ""
    kind = "rolling" if rolling else "challenge"
    found, kept = comparison.compare(home, lambda: _view(home), one, other, outcome, kind)
    console = terminal.console()
    for scope in scopes:
        judged, where = _within(found, scope, region)
        known = int((judged.came["deaths"] >= 0).sum())
        console.print(
            f"{realm}{where} ({_countries(judged)}), {judged.outcome} deaths, {known:,} forecasts that both made "
            f"of {len(judged.windows)} windows: {', '.join(window.name for window in judged.windows)}"
            + (f"; from {', '.join(kept)}" if kept else "")
        )
        for first, last in LEADS_SHOWN if judged.windows[0].issues > 1 else ():
            console.print(f"leads {first}-{last}")
            tables.comparison(judged.within(first, last), console, seed)
        if judged.windows[0].issues == 1:
            tables.comparison(judged, console, seed)


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
    from riskmodel import bundle, terminal
    from riskmodel.errors import Refused
    from training import promotion, windows
    from training.workers import Workers

    if force is not None and not force.strip():
        raise click.BadParameter("needs a reason in words", param_hint="--force")
    try:
        asked = windows.challenges(years) if years else ()
    except ValueError as unreadable:
        raise click.BadParameter(str(unreadable), param_hint="--windows") from None
    model, view, console = bundle.load(_path(home, name)), _view(home), terminal.console()
    with _progress(len(asked)) as done:
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
    simulated = _view(home).simulated
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

    before, now = registry.rollback(home.models, simulated=_view(home).simulated, at=_now(), why=why)
    click.echo(f"{now} is in service again, in place of {before}")


@click.command("models")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def list_models(home: Home, form: str) -> None:
    """All models of the home, the newest last: what they were trained on, and which are or were in service."""
    import json

    from riskmodel import terminal
    from training import registry, tables

    listed = registry.listed(home.models)
    if form == "json":
        click.echo(json.dumps(listed, indent=1, ensure_ascii=False))
    elif not listed:
        click.echo("there is no model yet: vigie train makes one")
    else:
        tables.models(listed, terminal.console())


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

    path = _path(home, name) if name else bundle.champion(home.models, simulated=_view(home).simulated)
    if path is None:
        raise BadInput("no model is in service: vigie train makes one")
    for written in cards.write(home, _view(home), bundle.load(path), region, out or home.cards):
        click.echo(str(written))


def _into_service(home: Home, view: "View", name: str, workers: "Workers") -> None:
    """Put a new model into service: as it is where none can serve, else through the gate."""
    from riskmodel import bundle, terminal
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
    with _progress(0) as done:
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
    from training import tables

    if verdict.windows:
        names = ", ".join(window.name for window in verdict.windows)
        console.print(f"the gate: all countries, windows {names}, data to October of the year before, leads 3-14")
    for note in verdict.notes:
        console.print(note)
    if verdict.checks:
        tables.verdict(verdict.checks, console)


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


def _view(home: Home, as_of: datetime | None = None) -> "View":
    from riskmodel.errors import BadInput
    from riskmodel.events.archive import Archive

    view = Archive(home.archive).view(as_of)
    if not view.ingests:
        then = f" had nothing in it by {as_of:%Y-%m-%d}" if as_of else " is empty"
        raise BadInput(f"the archive{then}: vigie ingest takes files in")
    return view


def _realm(view: "View") -> str:
    return "SIMULATED " if view.simulated else ""


def _model(written: str | None, seed: int) -> "Explainable":
    from training import models

    try:
        return models.named(written or models.OURS, seed)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--model") from None


def _scope(text: str) -> str | tuple[str, ...]:
    from riskmodel import geography

    if text in ("region", "africa", "world"):
        return text
    return tuple(geography.country(code.strip()).iso3 for code in text.split(","))


def _family(text: str) -> str:
    from riskmodel.indicators.panel import FAMILIES

    if text not in (names := [family.name for family in FAMILIES]):
        raise ValueError(f"{text!r} is no family of indicators: {', '.join(names)}")
    return text


def _countries(judged: "Judged") -> str:
    return "1 country" if len(judged.iso3) == 1 else f"{len(judged.iso3)} countries"


def _losses(judged: "Judged", console: "Console", seed: int) -> None:
    from training import tables

    tables.means(judged, console)
    tables.differences(judged, console, seed)
    tables.coverage(judged, console, seed)


def _rolled(judged: "Judged", with_earlier: "Judged", console: "Console", seed: int) -> None:
    """The tables of a rolling back-test; `with_earlier` has the windows before it, to fix the alerts' thresholds."""
    from training import tables
    from training.figures import LEADS_SHOWN
    from training.judged import BATTLE

    for first, last in LEADS_SHOWN:
        console.print(f"\nleads {first}-{last}")
        _losses(judged.within(first, last), console, seed)
    tables.events(judged, console, seed)
    console.print("the same at leads 1-3\n")
    tables.events(judged.within(1, 3), console, seed, [BATTLE])
    tables.alerts(with_earlier, console, seed)


def _within(judged: "Judged", scope: str | tuple[str, ...], region: str) -> "tuple[Judged, str]":
    """The results for a scope, and what it is called."""
    from riskmodel import geography
    from riskmodel.errors import BadInput

    if scope == "world":
        return judged, "World"
    if scope == "region":
        iso3, where = geography.region(region).members, f"the region of {region}"
    elif scope == "africa":
        iso3, where = geography.continent("Africa"), "Africa"
    else:
        iso3, where = tuple(scope), ", ".join(scope)
    part = judged.only(iso3)
    if (part.came["deaths"] >= 0).any():
        return part, where
    raise BadInput(f"nothing can be judged in {where}: no {judged.outcome} deaths of it are known in these windows")


def _run(
    home: Home, trial: "Trial", windows: "Sequence[Window]", workers: "Workers", *, draws: bool = False
) -> "Judged":
    """Run a back-test with the time left on the terminal."""
    with _progress(len(trial.lacking(home, windows, draws=draws))) as done:
        return trial.run(home, windows, workers, draws=draws, done=done)


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[Window], None]]":
    """Give a function that is told each window that is done; the terminal tells the time left."""
    from riskmodel import terminal

    began, number = time.monotonic(), 0
    with terminal.progress() as bars:
        bar = bars.add_task("windows", total=total or None)

        def done(window: "Window") -> None:
            nonlocal number
            number += 1
            left = (time.monotonic() - began) / number * (total - number)
            bars.update(bar, advance=1, description=f"windows, {_duration(left)} left" if total else "windows")

        yield done


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


commands = [train, backtest, compare, list_models, card, promote, shadow, rollback]
