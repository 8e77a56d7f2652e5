"""The command `vigie signals`."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from riskmodel.cli import options
from riskmodel.cli.explanation import LANGUAGE_OPTION
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOME_LABELS, OUTCOMES

if TYPE_CHECKING:
    from riskmodel.months import Month


@click.command()
@click.argument("iso3", type=options.ISO3, required=False)
@click.option("--month", type=options.MONTH, help="The month at whose end signals are found (default: the newest).")
@click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    help="The deaths that are counted (default: all, where the archive knows them).",
)
@options.REGION_OPTION
@LANGUAGE_OPTION
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.pass_obj
def signals(
    home: Home, iso3: str | None, month: "Month | None", outcome: str | None, region: str, language: str, form: str
) -> None:
    """Print what stands out in the events of a country, or of each country of the region, against its own past.

    Signals are observations: neither a forecast nor a cause.
    """
    from riskmodel import geography, signal_table
    from riskmodel.events.archive import Archive
    from riskmodel.explanation.signals import signals_of_month

    members = geography.region(region).members
    found = signals_of_month(Archive(home.archive).view(), (iso3,) if iso3 else members, month, outcome)
    if form == "json":
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif form == "csv":
        facts = {name: found[name] for name in ("outcome", "simulated")}
        rows = ({**row, **facts} for row in signal_table.rows(found["data"]))
        click.echo(_csv(rows, (*signal_table.COLUMNS, *facts)), nl=False)
    else:
        _show(found, language)


def _csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_cell(row[name]) for name in columns)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "; ".join(f"{name}={code}" for name, code in sorted(value.items()))
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _show(found: Mapping[str, Any], language: str) -> None:
    from riskmodel import geography
    from riskmodel.cli import terminal

    console = terminal.console()
    simulated = {"en": "SIMULATED ", "fr": "SIMULÉ "}[language] if found["simulated"] else ""
    console.print(f"{simulated}{OUTCOME_LABELS[found['outcome']][language]}, {found['month']}")
    for country in found["data"]:
        console.print(f"\n{geography.country(country['location_code']).name(language)}")
        for signal in country["signals"] or ():
            console.print(f"- {signal['sentence'][language]}")
            if ids := ", ".join(event["event_id"] for event in signal["events"]):
                console.print(f"  {_EVENTS[language].format(ids=ids)}")
            console.print(f"  {signal['base_rate_sentence'][language]}")
        if country["signals"] is None:
            console.print(_UNKNOWN[country["reasons"]["signals"]][language])
        elif not country["signals"]:
            console.print(_NONE[language])
        if country["signals"] is not None and country["not_compared"]:
            names = ", ".join(each["indicator"] for each in country["not_compared"])
            console.print(f"  {_NOT_COMPARED[language].format(names=names)}")
    console.print(f"\n{found['note'][language]}")


_EVENTS = {"en": "Events: {ids}", "fr": "Événements : {ids}"}
_NONE = {"en": "Nothing stands out.", "fr": "Rien ne ressort."}
_NOT_COMPARED = {
    "en": "Unknown, because the month or its past is not covered: {names}",
    "fr": "Inconnu, car le mois ou son passé n’est pas couvert : {names}",
}
_UNKNOWN = {
    "value_unknown": {
        "en": "Unknown: no source covers the month.",
        "fr": "Inconnu : aucune source ne couvre ce mois.",
    },
    "past_too_short": {
        "en": "Unknown: fewer than five years before the month are covered.",
        "fr": "Inconnu : moins de cinq ans avant ce mois sont couverts.",
    },
}
