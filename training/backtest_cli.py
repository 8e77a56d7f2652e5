"""`vigie backtest` and `vigie compare`: forecasts judged on past years, and held against each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from training.options import DASK, JOBS, MODEL, OUTCOME, REGION, SEED, component, look, marked, progress

if TYPE_CHECKING:
    from rich.console import Console

    from training.backtest_runner import Trial
    from training.results import Judged
    from training.windows import Window
    from training.workers import Workers

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
    from riskmodel.cli import terminal
    from training import ablation, export, windows
    from training.backtest_runner import Trial
    from training.workers import Workers

    if (years is None) == (rolled is None):
        raise click.UsageError("name the years: --windows YEAR[:YEAR], or --rolling YEAR[:YEAR]")
    try:
        asked = windows.challenges(years) if years else windows.rolling(rolled or "")
    except ValueError as unreadable:
        raise click.BadParameter(str(unreadable), param_hint="--windows" if years else "--rolling") from None
    model, view = component(written, seed), look(home)
    kind = "challenge" if years else "rolling"
    trial = Trial(view, outcome, ablation.without(model, without), seed, kind)
    found = _run(home, trial, asked, Workers(jobs, dask), draws=forecasts_out is not None)
    record, console, iso3 = trial.record(home), terminal.console(), set[str]()
    earlier = [window for window in record.windows if window.origin < asked[0].origin]
    for scope in scopes:
        judged, where = _within(found, scope, region)
        iso3.update(judged.iso3)
        console.print(
            f"back-test {record.name}: {marked(view)}{outcome} deaths, {where} ({_countries(judged)}), final figures; "
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
        files = [record.forecasts(window) for window in asked]
        export.join(files, sorted(iso3), forecasts_out, simulated=view.simulated)
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
    from riskmodel.cli import terminal
    from riskmodel.events import manifest
    from training import comparison, console_tables
    from training.figures import LEADS_SHOWN

    realm = "SIMULATED " if manifest.realm(home.archive) == "simulated" else ""
    kind = "rolling" if rolling else "challenge"
    found, kept = comparison.compare(home, lambda: look(home), one, other, outcome, kind)
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
            console_tables.comparison(judged.within(first, last), console, seed)
        if judged.windows[0].issues == 1:
            console_tables.comparison(judged, console, seed)


def _run(
    home: Home, trial: "Trial", windows: "Sequence[Window]", workers: "Workers", *, draws: bool = False
) -> "Judged":
    """Run a back-test with the time left on the terminal."""
    with progress(len(trial.lacking(home, windows, draws=draws))) as done:
        return trial.run(home, windows, workers, draws=draws, done=done)


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


def _countries(judged: "Judged") -> str:
    return "1 country" if len(judged.iso3) == 1 else f"{len(judged.iso3)} countries"


def _losses(judged: "Judged", console: "Console", seed: int) -> None:
    from training import console_tables

    console_tables.means(judged, console)
    console_tables.differences(judged, console, seed)
    console_tables.coverage(judged, console, seed)


def _rolled(judged: "Judged", with_earlier: "Judged", console: "Console", seed: int) -> None:
    """The tables of a rolling back-test; `with_earlier` has the windows before it, to fix the alerts' thresholds."""
    from training import console_tables
    from training.figures import LEADS_SHOWN
    from training.results import BATTLE

    for first, last in LEADS_SHOWN:
        console.print(f"\nleads {first}-{last}")
        _losses(judged.within(first, last), console, seed)
    console_tables.events(judged, console, seed)
    console.print("the same at leads 1-3\n")
    console_tables.events(judged.within(1, 3), console, seed, [BATTLE])
    console_tables.alerts(with_earlier, console, seed)


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
