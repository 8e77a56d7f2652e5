"""`vigie alerts backtest` and `vigie alerts tune`: what alert rules would have done, and how to set them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from riskmodel.cli import options
from riskmodel.cli.alerts import alerts
from riskmodel.home import Home
from training.cli.archive import open_view, realm_prefix
from training.cli.options import JOBS_OPTION, SEED_OPTION

if TYPE_CHECKING:
    from rich.console import Console

    from riskmodel.alerting.rule import Rule
    from riskmodel.events.view import View
    from riskmodel.months import Month
    from training.alert_past import AlertPast, HindcastPast, RollingPast
    from training.alert_tuning import Goal
    from training.tuning_report import Tuning

__all__ = ["alerts"]

FROM_OPTION = click.option(
    "--from", "first", type=options.MONTH, help="The first origin (default: the first hindcast)."
)
TO_OPTION = click.option("--to", "last", type=options.MONTH, help="The last origin (default: the last hindcast).")
RUN_ROLLING = "run vigie backtest --rolling 2008:2022 first"
TUNE_YEARS = 15
"""How far back `vigie alerts tune` goes by default [years]."""


@alerts.command()
@FROM_OPTION
@TO_OPTION
@JOBS_OPTION
@options.REGION_OPTION
@options.FORMAT_OPTION
@SEED_OPTION
@click.pass_obj
def backtest(
    home: Home, first: "Month | None", last: "Month | None", jobs: int, region: str, form: str, seed: int
) -> None:
    """Show how the alert rules in force would have done at past origins.

    The rules are replayed over the hindcasts of the region; missing ones are computed first. Rules about
    probabilities are replayed over all countries too, if the home has a rolling back-test of their outcome. A rule
    that forecasts an event stands beside rivals that only read the deaths. A rule about something seen is judged by
    how often an escalation followed within 6 and 12 months, against its base rate.
    """
    import json

    from riskmodel.alerting import rule_file
    from riskmodel.cli import terminal
    from riskmodel.home_settings import bands_of
    from training import alert_report
    from training.cli.console_tables import print_rows

    view = open_view(home)
    rules = rule_file.load(home, bands_of(home))
    headline = view.outcomes().default_outcome
    outcomes = dict.fromkeys(rule.outcome or headline for rule in rules)
    pasts: list[HindcastPast | RollingPast] = []
    for outcome in outcomes:
        pasts.append(hindcast_past(home, view, region, outcome, first, jobs))
        pasts += _rolling_past(home, view, outcome)
    reports = alert_report.all_reports(rules, pasts, headline, first, last)
    if form == "json":
        content = {"simulated": view.simulated, "data": [alert_report.document(each, seed) for each in reports]}
        click.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
        return
    console = terminal.console()
    for each in reports:
        console.print(f"{realm_prefix(view)}{alert_report.heading(each)}", soft_wrap=True)
        if each.contenders:
            print_rows(alert_report.rows(each, seed), console)
        console.print()
    console.print("\n".join(alert_report.NOTES), soft_wrap=True)


@alerts.command()
@click.option("--rule", "names", multiple=True, help="Tune this rule. Can be repeated (default: all that forecast).")
@click.option(
    "--budget",
    type=options.ParsedType("ALERTS", lambda text: _parse_budget(text)),
    help='The most alerts, as in "1 per country-year", which is the default.',
)
@click.option(
    "--cost-ratio", type=click.FloatRange(0, min_open=True), help="How many false alarms a missed event is worth."
)
@click.option(
    "--scope",
    type=click.Choice(["region", "world"]),
    default="region",
    show_default=True,
    help="Choose on the hindcasts of the region, or on all countries of the newest rolling back-test.",
)
@click.option("--from", "first", type=options.MONTH, help=f"The first origin (default: {TUNE_YEARS} years back).")
@TO_OPTION
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the curves as CSV.")
@click.option("--svg", "svg_path", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves as SVG.")
@JOBS_OPTION
@options.REGION_OPTION
@click.pass_obj
def tune(
    home: Home,
    names: tuple[str, ...],
    budget: float | None,
    cost_ratio: float | None,
    scope: str,
    first: "Month | None",
    last: "Month | None",
    csv_path: Path | None,
    svg_path: Path | None,
    jobs: int,
    region: str,
) -> None:
    """Propose `fire_at`, `clear_at` and `for` of alert rules, from the past alone.

    With --budget, the settings catch most of the events that the rule announces with no more alerts than that. With
    --cost-ratio, they make missed events and false alarms together cost least.

    The hindcasts of the region are used; missing ones are computed first. A region has few events. With --scope world,
    settings are chosen on all countries of the newest rolling back-test, and the budget still counts in the region.

    How well this works is shown too: each year is judged with settings that were chosen on the years before.
    """
    from riskmodel import geography
    from riskmodel.alerting import rule_file
    from riskmodel.cli import terminal
    from riskmodel.errors import BadInput
    from riskmodel.home_settings import bands_of
    from riskmodel.outcomes import OUTCOME_LABELS
    from training import tuning_report
    from training.alert_tuning import DEFAULT_BUDGET, Goal
    from training.cli.console_tables import print_rows

    if budget is not None and cost_ratio is not None:
        raise click.UsageError("choose one: --budget or --cost-ratio")
    goal = Goal(cost_ratio=cost_ratio, budget=None) if cost_ratio else Goal(budget or DEFAULT_BUDGET)
    view = open_view(home)
    in_force = rule_file.load(home, bands_of(home))
    rules = _rules_to_tune(in_force, names)
    console, found = terminal.console(), []
    headline = view.outcomes().default_outcome
    for rule in rules:
        outcome = rule.outcome or headline
        past: AlertPast
        if scope == "world":
            if not (stored := _rolling_past(home, view, outcome)):
                raise BadInput(f"there is no rolling back-test of {OUTCOME_LABELS[outcome]['en']}: {RUN_ROLLING}")
            past = stored[0]
        else:
            past = hindcast_past(home, view, region, outcome, first, jobs, years=TUNE_YEARS)
        found.append(tuning_report.tune(rule, past, goal, first, last, geography.region(region).members))
    for each in found:
        _print_tuning(each, realm_prefix(view), goal, console)
        print_rows(tuning_report.curve_rows(each), console)
        console.print()
        print_rows(tuning_report.nested_rows(each), console)
        console.print()
    console.print("\n".join(tuning_report.NOTES), soft_wrap=True)
    if csv_path:
        csv_path.write_text(tuning_report.csv_text(found), encoding="utf-8")
    if svg_path:
        svg_path.write_text(tuning_report.svg(found, simulated=view.simulated), encoding="utf-8")


def hindcast_past(
    home: Home,
    view: "View",
    region: str,
    outcome: str,
    first: "Month | None",
    jobs: int,
    years: int = 0,
) -> "HindcastPast":
    """Return what rules read from the hindcasts of an outcome in a region; missing ones are computed first.

    Hindcasts go back to `first`, without it to `years` before the newest origin, and at least as far as
    `vigie hindcast` does. Raises BadInput where no model of the outcome is in service.
    """
    from datetime import UTC, datetime

    from riskmodel import geography, hindcasts
    from riskmodel.alerting.hindcast_scores import newest_deaths
    from riskmodel.assessment import region_origin
    from riskmodel.cli import terminal
    from riskmodel.errors import BadInput
    from riskmodel.home_settings import bands_of
    from riskmodel.outcomes import OUTCOME_LABELS
    from training import hindcast as hindcasting
    from training.alert_past import HindcastPast
    from training.cli.hindcast import in_service
    from training.workers import Workers

    [wanted] = in_service(home, view, region, (outcome,))
    if first is None and years:
        first = region_origin(view, wanted.members, outcome) - 12 * years
    missing = wanted.missing(home, wanted.origins(home, hindcasting.DEFAULT_MONTHS, first))
    if missing:
        with terminal.progress() as bars:
            bar = bars.add_task("hindcasts", total=len(missing))
            hindcasting.run(
                home,
                [(wanted, missing)],
                lambda: datetime.now(UTC),
                Workers(jobs),
                lambda outcome, origin: bars.update(bar, advance=1),
            )
    stored = wanted.stored(home)
    if not stored:
        raise BadInput(f"no hindcast of the region of {region} can be computed: its history is too short")
    return HindcastPast(
        where=f"region of {region} ({len(wanted.members)} countries), {OUTCOME_LABELS[outcome]['en']}",
        source="hindcasts",
        outcome=outcome,
        deaths=newest_deaths(view, outcome, geography.region(region).members),
        hindcasts=[hindcasts.load(path) for path in stored.values()],
        bands=bands_of(home),
    )


def _rolling_past(home: Home, view: "View", outcome: str) -> "list[RollingPast]":
    """Return what rules read from the newest rolling back-test of an outcome, if the home has one of its data."""
    from riskmodel.alerting.hindcast_scores import newest_deaths
    from riskmodel.outcomes import OUTCOME_LABELS
    from training.alert_past import RollingPast
    from training.result_store import stored_backtests

    stored = [
        each
        for each in stored_backtests(home)
        if (each.setup.kind, each.setup.outcome, each.setup.simulated) == ("rolling", outcome, view.simulated)
        and each.setup.data_digest == view.digest
    ]
    if not stored:
        return []
    result = stored[-1].read(stored[-1].windows)
    where = f"world ({len(result.iso3)} countries), {OUTCOME_LABELS[outcome]['en']}"
    deaths = newest_deaths(view, outcome, result.iso3)
    return [RollingPast(where, f"rolling back-test {stored[-1].name}", outcome, deaths, result)]


def _rules_to_tune(in_force: "tuple[Rule, ...]", names: tuple[str, ...]) -> "list[Rule]":
    from riskmodel.alerting.judgement import announcement_of
    from riskmodel.alerting.metrics import BAND

    by_name = {rule.name: rule for rule in in_force}
    if unknown := [name for name in names if name not in by_name]:
        raise click.BadParameter(f"there is no rule {unknown[0]!r}: {', '.join(by_name)}", param_hint="--rule")
    for name in names:
        if announcement_of(by_name[name]) is None or by_name[name].metric == BAND:
            reason = (
                f"the rule {name!r} cannot be tuned: {by_name[name].metric} announces nothing, or has names of bands"
            )
            raise click.BadParameter(reason, param_hint="--rule")
    forecasting = [rule for rule in in_force if (event := announcement_of(rule)) and not event.seen]
    return [by_name[name] for name in names] or forecasting


def _print_tuning(tuning: "Tuning", prefix: str, goal: "Goal", console: "Console") -> None:
    if goal.cost_ratio:
        wanted = f"a missed event costs as much as {goal.cost_ratio:g} false alarms"
    else:
        wanted = f"at most {goal.budget:g} alerts per country-year in the region"
    console.print(
        f"{prefix}{tuning.rule.name}: {tuning.rule.metric}; {tuning.where}, origins {tuning.first} to {tuning.last}; "
        f"goal: {wanted}",
        soft_wrap=True,
    )
    if tuning.chosen is None:
        console.print("no threshold reaches the goal in these months")
    else:
        fire_at, clear_at, needed, _ = tuning.chosen
        console.print(f"fire_at = {fire_at:g}\nclear_at = {clear_at:g}\nfor = {needed}")


def _parse_budget(text: str) -> float:
    import re

    if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)(?: per country-year)?", text.strip())) or not float(match[1]):
        raise ValueError(f"{text!r} is no budget: write '1 per country-year'")
    return float(match[1])
