"""The commands `vigie indicators` and `vigie whatif`."""

import json
from typing import Any

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

LANGUAGE_OPTION = click.option(
    "--lang", "language", type=click.Choice(["en", "fr"]), default="en", show_default=True, help="English or French."
)


@click.command()
@click.argument("names", metavar="[FAMILY]…", nargs=-1)
@click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    default=OUTCOMES[0],
    show_default=True,
    help="The deaths whose indicators are listed.",
)
@LANGUAGE_OPTION
@options.FORMAT_OPTION
def indicators(names: tuple[str, ...], outcome: str, language: str, form: str) -> None:
    """List the indicators, of all families or some: name, unit, window, meaning and the data they need."""
    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.explanation.narrative import families_payload

    families = families_payload(outcome)
    if unknown := set(names) - {family["name"] for family in families}:
        known = ", ".join(family["name"] for family in families)
        raise click.BadParameter(f"there is no family {', '.join(sorted(unknown))}; the families are {known}")
    families = [family for family in families if not names or family["name"] in names]
    if form == "json":
        click.echo(json.dumps(families, indent=1, ensure_ascii=False))
        return
    table = Table("family", "indicator", "unit", "months", "meaning", "needs", box=None, pad_edge=False)
    for family in families:
        for i, indicator in enumerate(family["indicators"]):
            title = family["title"][language] if i == 0 else ""
            needs = ", ".join(indicator["inputs"])
            meaning = indicator["meaning"][language]
            table.add_row(title, indicator["name"], indicator["unit"], str(indicator["window"]), meaning, needs)
    terminal.console().print(table)


@click.command()
@click.argument("iso3", type=options.ISO3)
@click.option("--deaths", "factor", type=options.FACTOR, required=True, help="The factor: x2, x0.5.")
@click.option("--months", type=click.IntRange(1, 60), default=3, show_default=True, help="How many of the last months.")
@click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    help="The deaths to score (default: all, where a model of it is in service).",
)
@options.REGION_OPTION
@options.FORMAT_OPTION
@click.pass_obj
def whatif(home: Home, iso3: str, factor: float, months: int, outcome: str | None, region: str, form: str) -> None:
    """Show the scores of the region if a country had had more deaths, or fewer, in the last months.

    The difference is an association that the model has learned, not a cause.
    """
    from riskmodel.explanation.what_if import what_if

    effects = what_if(home, iso3, factor, months, region, outcome)
    if form == "json":
        click.echo(json.dumps(effects, indent=1, ensure_ascii=False))
    else:
        _show(effects)


def _show(effects: dict[str, Any]) -> None:
    from rich.table import Table

    from riskmodel import geography
    from riskmodel.cli import terminal
    from riskmodel.explanation.neighbour_effects import CAVEAT
    from riskmodel.indicators.declaration import last_months
    from riskmodel.targets import BATTLE_DEATHS, HORIZON

    table = Table("country", box=None, pad_edge=False)
    for heading in ("risk score", "changed", "difference", "90 % interval", "escalation %", "changed", "difference"):
        table.add_column(heading, justify="right")
    for row in effects["data"]:
        risk, escalation = row["risk_score"], row["escalation_from_draws"]
        if risk["before"] is None:
            table.add_row(geography.country(row["location_code"]).name(), *["–"] * 7)
            continue
        table.add_row(
            geography.country(row["location_code"]).name(),
            f"{risk['before']:.1f}",
            f"{risk['after']:.1f}",
            f"{risk['difference']:+.2f}",
            f"{risk['low']:+.2f} to {risk['high']:+.2f}",
            f"{escalation['before']:.1f}",
            f"{escalation['after']:.1f}",
            f"{escalation['difference']:+.2f}",
        )
    scenario, console = effects["scenario"], terminal.console()
    name = geography.country(scenario["location_code"]).name()
    period = f"{last_months(scenario['months'], 'en')} to {effects['origin']}"
    console.print(
        f"{'SIMULATED ' if effects['simulated'] else ''}{effects['outcome_label']['en']}: deaths in {name} in {period} "
        f"times {scenario['deaths']:g}, deaths of single events included:"
    )
    if not effects["deaths"]:
        reason = "are not all known" if effects["deaths"] is None else "are zero"
        console.print(f"NOTE: the deaths of {name} in these months {reason}; there is nothing to multiply")
    console.print(table)
    console.print(
        f"{CAVEAT['en']} The interval shows how much the model's ensemble varies, not how much the future does."
    )
    console.print(
        f"Escalation is that of the draws. It needs twice the deaths of the last {HORIZON} months, and at least "
        f"{BATTLE_DEATHS}: multiplying these deaths raises the threshold too."
    )
