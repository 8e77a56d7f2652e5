"""`vigie alerts list | check | ack | silence | history`: alerts, and what people do about them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from riskmodel.cli.alerts import alerts
from riskmodel.errors import BadInput
from riskmodel.home import Home

if TYPE_CHECKING:
    import sqlalchemy as sa

    from service.settings import Settings

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@alerts.command("list")
@click.option("--state", default="firing", help="States, separated by commas; firing by default.")
@click.pass_obj
def list_(home: Home, state: str) -> None:
    """List the alerts that are firing, or those in other states."""
    from service.alerts import alert_list
    from service.snapshots import snapshot_view

    states = state.split(",")
    if unknown := [each for each in states if each not in alert_list.STATES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(alert_list.STATES)}", param_hint="--state")
    with _reading(home) as (connection, settings, simulated):
        served = snapshot_view.in_service(connection, settings, simulated=simulated, now=_now())
        if served is None:
            raise BadInput(f"there is no snapshot of the region {settings.region} yet; run `vigie recompute` first")
        found = alert_list.listed(connection, settings.region, simulated, states)
    click.echo(f"{'SIMULATED. ' if simulated else ''}Data as of {served.document['data_as_of']}, {served.status}.")
    for alert in found:
        click.echo(_line(alert, settings))
    if not found:
        click.echo("no alert is firing" if states == ["firing"] else f"no alert is {' or '.join(states)}")


@alerts.command()
@click.pass_obj
def check(home: Home) -> None:
    """Check the file of alert rules. The exit code is 3 if it has an error."""
    from riskmodel.alerting import rule_file
    from service.settings import load

    settings = load(home)
    text, file = rule_file.read_file(home)
    rules = rule_file.parse(text, file, settings.bands)
    for rule in rules:
        if rule.route is not None and rule.route not in settings.routes:
            raise BadInput(f"{file}: rule {rule.name!r}: route: the settings have no route {rule.route!r}")
    click.echo(f"{file}: {len(rules)} rules, no error")


@alerts.command()
@click.argument("alert_id", metavar="ID")
@click.option("--by", required=True, help="Who deals with the alert.")
@click.option("--note", help="What is done about it, in one line.")
@click.option("--undo", is_flag=True, help="Take the acknowledgement back.")
@click.pass_obj
def ack(home: Home, alert_id: str, by: str, note: str | None, undo: bool) -> None:
    """Acknowledge the alert ID: no more reminders are sent."""
    from service.alerts import episodes

    with _writing(home) as (connection, _, _):
        if undo:
            episodes.unacknowledge(connection, alert_id, by, _now())
        else:
            episodes.acknowledge(connection, alert_id, by, note, _now())
    click.echo(f"the acknowledgement of {alert_id} is taken back" if undo else f"{alert_id} is acknowledged by {by}")


@alerts.command()
@click.option("--rule", help="Silence the alerts of this rule.")
@click.option("--country", help="Silence those of this country: ISO alpha-3 code, or * for the region as a whole.")
@click.option("--severity", type=click.Choice(["info", "warning", "severe"]))
@click.option("--outcome", type=click.Choice(["all", "state_based"]))
@click.option("--for", "how_long", metavar="TIME", help="How long: 30m, 8h or 2d.")
@click.option("--until", metavar="MOMENT", help="Until when: 2026-12-01 or 2026-12-01T08:00, in UTC.")
@click.option("--reason", help="Why, in one line.")
@click.option("--by", required=True, help="Who does it.")
@click.option("--end", metavar="ID", help="End this silence.")
@click.pass_obj
def silence(
    home: Home,
    rule: str | None,
    country: str | None,
    severity: str | None,
    outcome: str | None,
    how_long: str | None,
    until: str | None,
    reason: str | None,
    by: str,
    end: str | None,
) -> None:
    """Send no messages about some alerts for some time, or end such a silence."""
    from service.alerts import silences
    from service.store.values import instant

    now = _now()
    if end is not None:
        with _writing(home) as (connection, _, _):
            silences.end(connection, end, by, now)
        click.echo(f"{end} has ended; the alerts that still fire are announced")
        return
    if (how_long is None) == (until is None) or reason is None:
        raise click.UsageError("give --reason, and either --for or --until; or --end ID")
    ends = now + _duration(how_long) if how_long is not None else _moment(str(until))
    with _writing(home) as (connection, settings, simulated):
        silence_id = silences.create(
            connection,
            region=settings.region,
            simulated=simulated,
            matcher={"rule": rule, "location_code": country, "severity": severity, "outcome": outcome},
            until=ends,
            reason=reason,
            by=by,
            now=now,
        )
    click.echo(
        f"{silence_id} lasts until {instant(ends)}; end it with `vigie alerts silence --end {silence_id} --by NAME`"
    )


@alerts.command()
@click.argument("alert_id", metavar="[ID]", required=False)
@click.option("--country", help="List the alerts of this country, also those that have ended.")
@click.pass_obj
def history(home: Home, alert_id: str | None, country: str | None) -> None:
    """Show what happened to the alert ID, or list all alerts and silences so far."""
    from service.alerts import alert_list
    from service.alerts.silence_matching import MATCHER

    with _reading(home) as (connection, settings, simulated):
        if alert_id is None:
            found = alert_list.listed(connection, settings.region, simulated, alert_list.STATES)
            for alert in sorted(found, key=lambda each: str(each["since"])):
                if country in (None, alert["location_code"]):
                    click.echo(_line(alert, settings))
            for each in alert_list.list_silences(connection, settings.region, simulated):
                named = " ".join(f"{key}={each[key]}" for key in MATCHER if each[key])
                ended = f"ended {each['ended_at']}" if each["ended_at"] else f"lasts until {each['until']}"
                click.echo(f"{each['silence_id']} {named}: {each['reason']}, by {each['by']}, {ended}")
            return
        details = alert_list.find(connection, settings.region, simulated, alert_id)
    if details is None:
        raise BadInput(f"there is no alert {alert_id}: `vigie alerts history` lists them")
    click.echo(_line(details, settings))
    for event in details["history"]:
        facts = [f"value {event['value']:g}" if event["value"] is not None else "", ", ".join(event["causes"])]
        facts += [f"by {event['by']}" if event["by"] else "", event["note"] or "", event["silence_id"] or ""]
        click.echo(f"  {event['at']} {event['event']}: {'; '.join(filter(None, facts))}".rstrip(": "))
    for message in details["deliveries"]:
        click.echo(f"  {message['created_at']} message {message['kind']} by {message['route']}: {message['status']}")


def _line(alert: dict[str, Any], settings: "Settings") -> str:
    """Return an alert in one line."""
    from riskmodel.outcomes import OUTCOME_LABELS
    from service.alerts import metric_words
    from service.snapshots import outcome_parts

    if alert["value"] is None:
        reason = outcome_parts.MISSING_REASONS.get(alert["reason"], alert["reason"].replace("_", " "))
        value = f"unknown: {reason}"
    else:
        value = metric_words.amount(alert["metric"], alert["value"], "en", settings.bands)
    state = "" if alert["state"] == "firing" else f"{alert['state']}, "
    marks = [f", acknowledged by {alert['acknowledged']['by']}" if alert["acknowledged"] else ""]
    marks += [f", silenced until {alert['silence']['until']}" if alert["silence"] else ""]
    marks += [f", inhibited by {alert['inhibited_by']}" if alert["inhibited_by"] else ""]
    return (
        f"{alert['severity']:8} {alert['location_code']:4} {alert['title']['en']} "
        f"({OUTCOME_LABELS[alert['outcome']]['en']}): {alert['metric']} {value}, {state}since {alert['since']}"
        f"{''.join(marks)} [{alert['alert_id']}]"
    )


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is not a time such as 30m, 8h or 2d", param_hint="--for")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a moment such as 2026-12-01T08:00", param_hint="--until") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def _reading(home: Home) -> "Iterator[tuple[sa.Connection, Settings, bool]]":
    from riskmodel.events import manifest
    from service.settings import load
    from service.store.database import Store

    with Store.of(home).reading() as connection:
        yield connection, load(home), manifest.realm(home.archive) == "simulated"


@contextmanager
def _writing(home: Home) -> "Iterator[tuple[sa.Connection, Settings, bool]]":
    from riskmodel.events import manifest
    from service.settings import load
    from service.store.database import Store

    with Store.of(home).writing() as connection:
        yield connection, load(home), manifest.realm(home.archive) == "simulated"


def _now() -> datetime:
    return datetime.now(UTC)
