"""`vigie backtest` and `vigie compare`: score forecasts on past years, and compare two of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.home import Home
from training.cli.archive import open_view, realm_prefix
from training.cli.options import (
    DASK_OPTION,
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
    from riskmodel.forecasting.component import Component
    from training.backtest_runner import Backtest
    from training.results import BacktestResult
    from training.windows import Window
    from training.workers import Workers

    Scope = str | tuple[str, ...]
    """`region`, `africa`, `world`, or ISO alpha-3 codes."""

SCOPE_OPTION = click.option(
    "--scope",
    "scopes",
    type=options.ParsedType("SCOPE", lambda text: _parse_scope(text)),
    multiple=True,
    default=("region",),
    show_default=True,
    help="The countries to score: region, africa, world, or ISO alpha-3 codes, as in MLI,NER. Can be repeated.",
)


@click.command()
@click.option("--windows", "challenge_years", metavar="YEAR[:YEAR]", help="Forecast these calendar years: 2018:2022.")
@click.option(
    "--rolling", "rolling_years", metavar="YEAR[:YEAR]", help="Forecast at every month-end of these years instead."
)
@SCOPE_OPTION
@JOBS_OPTION
@DASK_OPTION
@MODEL_OPTION
@click.option(
    "--without",
    "hidden_families",
    type=options.ParsedType("FAMILY", lambda text: _parse_family(text)),
    multiple=True,
    help="Hide a family of indicators from the model, to measure what it is worth. Can be repeated.",
)
@click.option(
    "--forecasts-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the forecasts as Parquet."
)
@click.option(
    "--as-known",
    is_flag=True,
    help="Forecast from what had been published by each origin, and say what not knowing the final figures costs.",
)
@OUTCOME_OPTION
@options.REGION_OPTION
@SEED_OPTION
@click.pass_obj
def backtest(
    home: Home,
    challenge_years: str | None,
    rolling_years: str | None,
    scopes: "tuple[Scope, ...]",
    jobs: int,
    dask: str | None,
    model_name: str | None,
    hidden_families: tuple[str, ...],
    forecasts_out: Path | None,
    as_known: bool,
    outcome: str | None,
    region: str,
    seed: int,
) -> None:
    """Score the model and the baselines on past years.

    With --windows, each year is forecast from data to October of the year before, leads 3-14; the model is fitted for
    each year. With --rolling, it is what the service issues: a forecast every month-end, leads 1-12; the model is
    fitted each January. The model learns from all countries of the archive.

    With --as-known, the model forecasts from what had been published by each origin, with the revision model and
    without, and from the final figures. The archive needs the releases of that time. These results are not stored.

    The results of each year are stored in the home. A back-test that was stopped continues where it stopped, and the
    same back-test is read, not run. The alert thresholds of a rolling back-test come from earlier years, if stored.
    """
    from riskmodel.cli import terminal
    from training import ablation, export, windows
    from training.backtest_runner import Backtest
    from training.formatting import format_outcome
    from training.result_tables import KIND_DESCRIPTIONS
    from training.workers import Workers

    if (challenge_years is None) == (rolling_years is None):
        raise click.UsageError("name the years: --windows YEAR[:YEAR], or --rolling YEAR[:YEAR]")
    try:
        if challenge_years:
            chosen_windows = windows.challenge_windows(challenge_years)
        else:
            chosen_windows = windows.service_windows(rolling_years or "")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--windows" if challenge_years else "--rolling") from None
    model, view = ablation.without_families(chosen_model(model_name, seed), hidden_families), open_view(home)
    outcome = outcome or view.outcomes().default_outcome
    if as_known:
        if forecasts_out:
            raise click.UsageError("--as-known stores no forecasts: leave --forecasts-out out")
        _run_as_known(view, outcome, model, chosen_windows, scopes, region, seed)
        return
    run = Backtest(view, outcome, model, seed, "challenge" if challenge_years else "rolling")
    result = _run(home, run, chosen_windows, Workers(jobs, dask), draws=forecasts_out is not None)
    stored, console, iso3 = run.stored(home), terminal.console(), set[str]()
    earlier = [window for window in stored.windows if window.origin < chosen_windows[0].origin]
    for scope in scopes:
        part, where = _for_scope(result, scope, region)
        iso3.update(part.iso3)
        console.print(
            f"back-test {stored.name}: {realm_prefix(view)}{format_outcome(outcome)}, {where} "
            f"({_count_countries(part)}), final figures; {KIND_DESCRIPTIONS[run.kind]}"
        )
        if challenge_years:
            _print_losses(part, console, seed)
        else:
            with_earlier = stored.read([*earlier, *chosen_windows]) if earlier else result
            _print_rolling(part, _for_scope(with_earlier, scope, region)[0], console, seed)
    if forecasts_out:
        files = [stored.draws_path(window) for window in chosen_windows]
        export.join_files(files, sorted(iso3), forecasts_out, simulated=view.simulated)
        console.print(f"forecasts written to {forecasts_out}")


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option("--rolling", is_flag=True, help="Look for a forecaster's name in rolling back-tests.")
@SCOPE_OPTION
@OUTCOME_OPTION
@options.REGION_OPTION
@SEED_OPTION
@click.pass_obj
def compare(
    home: Home,
    one: str,
    other: str,
    rolling: bool,
    scopes: "tuple[Scope, ...]",
    outcome: str | None,
    region: str,
    seed: int,
) -> None:
    """Compare two forecasts on the country-months that both have.

    Each is a back-test (the first digits of its name), a forecaster in a back-test (pool, ew4s, conflictology12, …), or
    a Parquet file. A forecaster is looked for in the newest back-test, with --outcome in the newest of that outcome. A
    file has the columns origin, iso3, month, draw, deaths; `vigie backtest --forecasts-out` writes such files.
    """
    from riskmodel.cli import terminal
    from riskmodel.events import manifest
    from training import comparison
    from training.cli import console_tables
    from training.formatting import format_outcome
    from training.result_tables import LEAD_RANGES
    from training.results import DEATHS

    realm = "SIMULATED " if manifest.realm(home.archive) == "simulated" else ""
    kind = "rolling" if rolling else "challenge"
    result, backtests = comparison.compare(home, lambda: open_view(home), one, other, outcome, kind)
    console = terminal.console()
    for scope in scopes:
        part, where = _for_scope(result, scope, region)
        number = int((part.observed[DEATHS] >= 0).sum())
        console.print(
            f"{realm}{where} ({_count_countries(part)}), {format_outcome(part.outcome)}, {number:,} forecasts that "
            f"both have in {len(part.windows)} windows: {', '.join(window.name for window in part.windows)}"
            + (f"; from {', '.join(backtests)}" if backtests else "")
        )
        if part.windows[0].issues == 1:
            console_tables.print_comparison(part, console, seed)
            continue
        for first, last in LEAD_RANGES:
            console.print(f"leads {first}-{last}")
            console_tables.print_comparison(part.for_leads(first, last), console, seed)


def _run(
    home: Home, run: "Backtest", windows: "Sequence[Window]", workers: "Workers", *, draws: bool
) -> "BacktestResult":
    """Run a back-test and show the progress."""
    with window_progress(len(run.missing_windows(home, windows, draws=draws))) as on_window:
        return run.run(home, windows, workers, draws=draws, on_window=on_window)


def _run_as_known(
    view: "View",
    outcome: str,
    model: "Component",
    windows: "Sequence[Window]",
    scopes: "Sequence[Scope]",
    region: str,
    seed: int,
) -> None:
    """Run a back-test on what was known, and print what not knowing costs."""
    from riskmodel.cli import terminal
    from training import as_known
    from training.cli import console_tables
    from training.formatting import format_outcome
    from training.result_tables import LEAD_RANGES

    countries = {iso3 for scope in scopes for iso3 in _scope_members(scope, region, view.outcomes().iso3)[0]}
    with window_progress(len(windows)) as on_window:
        result = as_known.run(view, outcome, model, windows, sorted(countries), on_window)
    console = terminal.console()
    for scope in scopes:
        part, where = _for_scope(result, scope, region)
        console.print(
            f"back-test as known: {realm_prefix(view)}{format_outcome(outcome)}, {where} ({_count_countries(part)}), "
            f"scored on the newest figures; windows {', '.join(window.name for window in part.windows)}"
        )
        for first, last in LEAD_RANGES if windows[0].issues > 1 else ((windows[0].first_lead, windows[0].last_lead),):
            console.print(f"leads {first}-{last}")
            console_tables.print_cost_of_not_knowing(part.for_leads(first, last), console, seed)


def _for_scope(result: "BacktestResult", scope: "Scope", region: str) -> "tuple[BacktestResult, str]":
    """Return the results of a scope, and its name. Raises BadInput where no deaths are known in it."""
    from riskmodel.errors import BadInput
    from training.formatting import format_outcome

    iso3, where = _scope_members(scope, region, result.iso3)
    part = result.for_countries(iso3)
    if part.has_outcomes:
        return part, where
    raise BadInput(f"{where} cannot be scored: no {format_outcome(result.outcome)} are known in these windows")


def _scope_members(scope: "Scope", region: str, world: "Sequence[str]") -> "tuple[Sequence[str], str]":
    """Return the countries of a scope, and its name."""
    from riskmodel import geography

    if scope == "world":
        return world, "World"
    if scope == "region":
        return geography.region(region).members, f"the region of {region}"
    if scope == "africa":
        return geography.continent("Africa"), "Africa"
    return tuple(scope), ", ".join(scope)


def _count_countries(result: "BacktestResult") -> str:
    return "1 country" if len(result.iso3) == 1 else f"{len(result.iso3)} countries"


def _print_losses(result: "BacktestResult", console: "Console", seed: int) -> None:
    from training.cli import console_tables

    console_tables.print_means(result, console)
    console_tables.print_differences(result, console, seed)
    console_tables.print_coverage(result, console, seed)


def _print_rolling(result: "BacktestResult", with_earlier: "BacktestResult", console: "Console", seed: int) -> None:
    """Print the tables of a rolling back-test; `with_earlier` has earlier windows too, for the alert thresholds."""
    from training.cli import console_tables
    from training.result_tables import LEAD_RANGES
    from training.results import BATTLE_MONTH

    for first, last in LEAD_RANGES:
        console.print(f"\nleads {first}-{last}")
        _print_losses(result.for_leads(first, last), console, seed)
    console_tables.print_events(result, console, seed)
    console.print("the same at leads 1-3\n")
    console_tables.print_events(result.for_leads(1, 3), console, seed, [BATTLE_MONTH])
    console_tables.print_alerts(result, with_earlier, console, seed)


def _parse_scope(text: str) -> "Scope":
    from riskmodel import geography

    if text in ("region", "africa", "world"):
        return text
    return tuple(geography.country(code.strip()).iso3 for code in text.split(","))


def _parse_family(text: str) -> str:
    from riskmodel.indicators.panel import FAMILIES

    if text not in (names := [family.name for family in FAMILIES]):
        raise ValueError(f"{text!r} is no family of indicators: {', '.join(names)}")
    return text
