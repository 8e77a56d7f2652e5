"""The sub-commands that explain: what the indicators are, and what the model would say of another past."""

import json
from typing import Any

import click

from riskmodel.cli import options
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES

LANGUAGE = click.option("--lang", "language", type=click.Choice(["en", "fr"]), default="en", show_default=True)


@click.command()
@click.argument("names", metavar="[FAMILY]…", nargs=-1)
@click.option("--outcome", type=click.Choice(OUTCOMES), default="state_based", show_default=True)
@LANGUAGE
@options.FORMAT_OPTION
def indicators(names: tuple[str, ...], outcome: str, language: str, form: str) -> None:
    """What the indicators are, of all families or some: name, window, meaning, and what they need."""
    from rich.table import Table

    from riskmodel.cli import terminal
    from riskmodel.explanation.narrative import families_payload

    families = families_payload(outcome)
    if unknown := set(names) - {family["name"] for family in families}:
        known = ", ".join(family["name"] for family in families)
        raise click.BadParameter(f"there is no family {', '.join(sorted(unknown))}; there are {known}")
    families = [family for family in families if not names or family["name"] in names]
    if form == "json":
        click.echo(json.dumps(families, indent=1, ensure_ascii=False))
        return
    table = Table("family", "indicator", "unit", "months", "meaning", "needs", box=None, pad_edge=False)
    for family in families:
        for i, one in enumerate(family["indicators"]):
            title = family["title"][language] if i == 0 else ""
            needs = ", ".join(one["inputs"])
            table.add_row(title, one["name"], one["unit"], str(one["window"]), one["meaning"][language], needs)
    terminal.console().print(table)


@click.command()
@click.argument("iso3", type=options.ISO3)
@click.option("--deaths", "factor", type=options.FACTOR, required=True, help="Times what: x2, x0.5.")
@click.option("--months", type=click.IntRange(1, 60), default=3, show_default=True, help="Of the last so many months.")
@options.REGION_OPTION
@options.FORMAT_OPTION
@click.pass_obj
def whatif(home: Home, iso3: str, factor: float, months: int, region: str, form: str) -> None:
    """What the model would say of the region had a country seen more violence, or less. An association, not a cause."""
    from riskmodel.explanation.what_if import what_if

    told = what_if(home, iso3, factor, months, region)
    if form == "json":
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        _show(told)


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table

    from riskmodel import geography
    from riskmodel.cli import terminal
    from riskmodel.explanation.neighbour_effects import CAVEAT
    from riskmodel.indicators.declaration import last_months
    from riskmodel.targets import BATTLE_DEATHS, HORIZON

    table = Table("country", box=None, pad_edge=False)
    for heading in ("risk score", "then", "difference", "90 % interval", "escalation %", "then", "difference"):
        table.add_column(heading, justify="right")
    for row in told["data"]:
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
    scenario, console = told["scenario"], terminal.console()
    name = geography.country(scenario["location_code"]).name()
    console.print(
        f"{_realm(told['simulated'])}{told['outcome']} deaths of {name} in {last_months(scenario['months'], 'en')} to "
        f"{told['origin']} times {scenario['deaths']:g}, those of its events included:"
    )
    if not told["deaths"]:
        what = "are not all known" if told["deaths"] is None else "are none"
        console.print(f"NOTE: the deaths of {name} in these months {what}; there is nothing to multiply")
    console.print(table)
    console.print(f"{CAVEAT['en']} The interval is that of the model's ensemble, resampled; not that of what may come.")
    console.print(
        f"Escalation is that of the draws. It needs twice the deaths of the last {HORIZON} months, and at least "
        f"{BATTLE_DEATHS}: multiplying these deaths raises the threshold too."
    )


def _realm(simulated: bool) -> str:
    return "SIMULATED " if simulated else ""
