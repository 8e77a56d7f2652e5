"""The sub-commands that training brings: fitting a model, and judging one on the past."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from riskmodel.events.archive import View
    from riskmodel.forecasting.forecast import Forecast
    from riskmodel.months import Month
    from training.backtest import Judged
    from training.windows import Window

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


@click.command()
@click.option("--origin", type=options.MONTH, help="The last month to learn from (default: the region's origin).")
@OUTCOME
@REGION
@SEED
@click.pass_obj
def train(home: Home, origin: "Month | None", outcome: str, region: str, seed: int) -> None:
    """Fit a model on all countries of the archive and put it into service."""
    import time
    from datetime import UTC, datetime

    from riskmodel import bundle, geography, terminal
    from riskmodel.errors import BadInput
    from riskmodel.indicators.gathering import gather
    from riskmodel.reporting.precision import spread
    from training import fit

    view, members = _view(home), geography.region(region).members
    last = origin or view.origin(members, outcome)
    if last is None:
        raise BadInput(
            f"no country of the region of {region} has a history of {outcome} deaths: "
            "take one in (vigie ingest …), or name another --region or --outcome"
        )
    began, observed, console = time.monotonic(), view.outcomes().histories(outcome, last), terminal.console()
    with terminal.console(stderr=True).status(f"training on {len(observed.iso3)} countries to {last}"):
        model, provenance = fit.train(
            observed,
            outcome,
            last,
            seed=seed,
            data_digest=view.digest,
            simulated=view.simulated,
            trained_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            inputs=gather(view, observed, outcome, spread(view).only(observed.iso3).deaths[outcome]),
        )
        name = bundle.save(model, provenance, home.models)
        bundle.set_champion(home.models, name)
    size = sum(file.stat().st_size for file in (home.models / name).iterdir()) / 1e6
    console.print(
        f"model {name}: {_realm(view)}{outcome} deaths of {len(observed.iso3)} countries to {last}, "
        f"{len(provenance.features)} indicators, {size:.1f} MB, {time.monotonic() - began:.1f} s; now in service"
    )
    if why := provenance.scores.get("unscored"):
        console.print(f"not scored: {why}")
    else:
        ours, theirs = provenance.scores["pool"], provenance.scores["conflictology12"]
        scores = ", ".join(f"{_heading(score)} {ours[score]:.4g} ({theirs[score]:.4g})" for score in ours)
        console.print(
            f"the same, fitted to {provenance.scores['origin']} and judged on {provenance.scores['months']} "
            f"({_realm(view)}{outcome} deaths, all countries, final figures; the last twelve months again in brackets):"
        )
        console.print(f"  {scores}")


@click.command()
@click.option(
    "--windows", "years", required=True, metavar="YEAR[:YEAR]", help="Calendar years to forecast, as in 2018:2022."
)
@click.option("--scope", type=click.Choice(["region", "africa", "world"]), default="region", show_default=True)
@click.option(
    "--forecasts-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the forecasts as Parquet."
)
@OUTCOME
@REGION
@SEED
@click.pass_obj
def backtest(
    home: Home, years: str, scope: str, forecasts_out: Path | None, outcome: str, region: str, seed: int
) -> None:
    """Judge the model on past years, beside the baselines: data to October of the year before, leads 3-14.

    It is fitted anew for each year, on all countries of the archive, and judged on those of the scope.
    """
    from contextlib import nullcontext

    import numpy as np

    from riskmodel import geography, terminal
    from riskmodel.forecasting.pool import served
    from riskmodel.indicators.gathering import gather
    from riskmodel.indicators.panel import assemble
    from riskmodel.reporting.precision import spread
    from training import export
    from training.backtest import run
    from training.windows import challenges

    try:
        windows = challenges(years)
    except ValueError as unreadable:
        raise click.BadParameter(str(unreadable), param_hint="--windows") from None
    view = _view(home)
    observed = view.outcomes().histories(outcome, windows[-1].origin)
    inside = {
        "region": lambda: geography.region(region).members,
        "africa": lambda: geography.continent("Africa"),
        "world": lambda: observed.iso3,
    }[scope]()
    panel = assemble(
        observed, outcome, gather(view, observed, outcome, spread(view).only(observed.iso3).deaths[outcome])
    )
    with terminal.progress() as bars, export.writing(forecasts_out) if forecasts_out else nullcontext() as write:
        bar = bars.add_task("windows", total=len(windows))

        def issued(window: "Window", forecast: "Forecast") -> None:
            if write:
                write(forecast.only([code for code in forecast.iso3 if code in inside]), window)
            bars.advance(bar)

        judged = run(panel, windows, inside, served(seed), issued=issued)
    console = terminal.console()
    where = f"the region of {region}" if scope == "region" else scope.capitalize()
    console.print(
        f"{_realm(view)}{outcome} deaths, {where} ({len(judged.iso3)} countries), final figures; "
        "data to October of the year before, leads 3-14"
    )
    _show_means(judged, console)
    _show_differences(judged, console, np.random.default_rng(seed))
    if forecasts_out:
        console.print(f"forecasts written to {forecasts_out}")


def _view(home: Home) -> "View":
    from riskmodel.errors import BadInput
    from riskmodel.events.archive import Archive

    view = Archive(home.archive).view()
    if not view.ingests:
        raise BadInput("the archive is empty: vigie ingest takes files in")
    return view


def _realm(view: "View") -> str:
    return "SIMULATED " if view.simulated else ""


def _heading(score: str) -> str:
    return {"Brier": "Brier ≥ 25", "50 %": "in 50 %", "90 %": "in 90 %"}.get(score, score)


def _show_means(judged: "Judged", console: "Console") -> None:
    from rich.table import Table

    from training.backtest import COVERAGES, LOSSES

    table = Table("window", "forecast", box=None, pad_edge=False)
    for score in (*LOSSES, *COVERAGES):
        table.add_column(_heading(score), justify="right")
    means = {score: judged.means(score) for score in judged.cells}
    shown: dict[str, Callable[[float], str]] = {
        "CRPS": "{:.3f}".format,
        "MIS": "{:.1f}".format,
        "50 %": "{:.1%}".format,
        "90 %": "{:.1%}".format,
    }
    for w, window in enumerate([*(window.name for window in judged.windows), "mean"]):
        for c, component in enumerate(judged.components):
            values = [
                shown.get(score, "{:.4f}".format)(value) if (value := means[score][c, w]) == value else "–"
                for score in (*LOSSES, *COVERAGES)
            ]
            table.add_row(window if c == 0 else "", component, *values, end_section=c == len(judged.components) - 1)
    console.print(table)
    console.print(
        "in 50 %, in 90 %: share of outcomes inside the interval, where the country had deaths in the year before\n"
        "ew4s: the last 84 months, weight halving every 4, smoothed; conflictology12: the last twelve months again;\n"
        "history60: the last 60, weight halving every 9; last: Poisson around the last month; zero: certain peace\n"
    )


def _show_differences(judged: "Judged", console: "Console", rng: "np.random.Generator") -> None:
    from rich.table import Table

    from training.backtest import AGAINST, LOSSES

    table = Table(f"against {AGAINST}", "score", box=None, pad_edge=False)
    for heading in ("difference", "90 % interval", "windows won"):
        table.add_column(heading, justify="right")
    for component in judged.components:
        for score in LOSSES if component != AGAINST else ():
            found, won = judged.difference(score, component, rng)
            table.add_row(
                component if score == LOSSES[0] else "",
                score,
                f"{found.value:+.1%}",
                f"{found.low:+.1%} to {found.high:+.1%}",
                f"{won} of {len(judged.windows)}",
            )
    console.print(table)
    console.print("the interval is that of a paired bootstrap over countries; a window is won by the lower mean")


commands = [train, backtest]
