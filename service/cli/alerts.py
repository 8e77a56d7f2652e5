"""`vigie alerts …`: what fires, the rules in force, trying a route, and messages that did not get through."""

import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.home import Home

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.database import Store


@click.group()
def alerts() -> None:
    """Alerts: what fires now, the rules, and the routes they are sent by."""


@alerts.command("list")
@click.pass_obj
def list_(home: Home) -> None:
    """List the alerts that fire now."""
    from riskmodel.events import manifest
    from service.alerts import lifecycle, wording
    from service.snapshots import snapshot_view

    settings, store = _open(home)
    simulated = manifest.realm(home.archive) == "simulated"
    with store.reading() as connection:
        served = snapshot_view.in_service(connection, settings, simulated=simulated, now=_now())
        if served is None:
            raise BadInput(f"there is no snapshot of the region of {settings.region} yet: run vigie recompute")
        firing = lifecycle.firing(connection, settings.region, simulated)
    click.echo(f"{'SIMULATED. ' if simulated else ''}Data as of {served.document['data_as_of']}, {served.status}.")
    for alert in firing:
        value = alert["reason"] if alert["value"] is None else wording.amount(alert["metric"], alert["value"], "en")
        click.echo(
            f"{alert['severity']:8} {alert['location_code']:4} {alert['title']['en']}: {alert['metric']} {value}, "
            f"since {alert['since']}"
        )
    if not firing:
        click.echo("no alert fires")


@alerts.command()
@click.option("--toml", is_flag=True, help="Print the file itself: a start for one of your own.")
@click.pass_obj
def rules(home: Home, toml: bool) -> None:
    """Check the alert rules in force and print them."""
    from service import settings
    from service.alerts import rules as alert_rules

    text, where = alert_rules.source(home)
    in_force = alert_rules.parse(text, where)
    if toml:
        click.echo(text, nl=False)
        return
    routes = settings.load(home).routes
    click.echo(f"{where}: {len(in_force)} rules")
    for rule in in_force:
        unset = (
            "" if rule.route is None or rule.route in routes else " (NOT SET: no route of this name in the settings)"
        )
        click.echo(
            f"{rule.name}: {rule.severity}; {rule.metric} fires at {rule.fire_at:g} for {rule.for_origins} origin(s), "
            f"clears below {rule.clear_at:g}; {' '.join(rule.countries or ['the region'])}; "
            f"route {rule.route or 'none: page and API only'}{unset}"
        )


@alerts.command()
@click.argument("route")
@click.pass_obj
def test(home: Home, route: str) -> None:
    """Send a message marked as a test by ROUTE, now."""
    from service.alerts import outbox

    settings, store = _open(home)
    if route not in settings.routes:
        known = ", ".join(sorted(settings.routes)) or "none"
        raise click.BadParameter(f"the settings have no route {route!r}; there are: {known}", param_hint="ROUTE")
    outcome = outbox.send_test(store, settings, route, _now)
    if outcome.error is not None:
        raise SourceUnavailable(f"route {route!r}: {outcome.error}")
    click.echo(f"route {route!r} took the test")


@alerts.command()
@click.option("--retry", metavar="ID", multiple=True, help="Make this message due again at once.")
@click.option("--dismiss", metavar="ID", multiple=True, help="Give this message up for good, and say no more of it.")
@click.pass_obj
def undelivered(home: Home, retry: tuple[str, ...], dismiss: tuple[str, ...]) -> None:
    """List the messages that did not get through, and settle them."""
    from service.alerts import outbox

    _, store = _open(home)
    with store.reading() as connection:
        known = {message["id"] for message in outbox.undelivered(connection)}
    if unknown := [delivery_id for delivery_id in (*retry, *dismiss) if delivery_id not in known]:
        raise click.UsageError(f"{unknown[0]!r} is not the id of an undelivered message")
    outbox.retry(store, retry, _now())
    outbox.dismiss(store, dismiss)
    with store.reading() as connection:
        messages, errors = outbox.undelivered(connection), outbox.last_errors(connection)
    for message in messages:
        click.echo(
            f"{message['id']} {message['status']} after {message['attempts']} attempt(s) by {message['route']!r}: "
            f"{errors[message['id']]}; {message['headline']['en']}"
        )
    if not messages:
        click.echo("no message is undelivered")


@alerts.command()
@click.pass_obj
def deliver(home: Home) -> None:
    """Send the messages that are due, once; asked to stop, end with the message under way."""
    from service import logs
    from service.alerts import outbox
    from service.jobs import processes

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    processes.end_with_parent()
    settings, store = _open(home)
    logs.start(settings.log_format)
    counts = outbox.deliver_due(store, settings, _now, ended=ended.is_set)
    click.echo(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing was due")


commands = [alerts]


def _open(home: Home) -> "tuple[Settings, Store]":
    from service.settings import load
    from service.store.database import Store

    settings = load(home)
    return settings, Store.of(home)


def _now() -> datetime:
    return datetime.now(UTC)
