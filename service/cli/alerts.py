"""`vigie alerts …`: rules, tests of routes, and undelivered messages."""

import signal
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from riskmodel.cli.alerts import alerts
from riskmodel.errors import Unavailable
from riskmodel.home import Home

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.database import Store

__all__ = ["alerts"]


@alerts.command()
@click.pass_obj
def init(home: Home) -> None:
    """Write the shipped rules to the home, as a file to edit."""
    from riskmodel.alerting.rule_file import write_shipped

    write_shipped(home)
    click.echo(f"wrote {home.alert_rules}")
    click.echo(f"The home is {home.root}. To use another one, set VIGIE_HOME or pass --home.")
    click.echo("Next: edit the file and check it with `vigie alerts check`. The next recompute uses it.")


@alerts.command()
@click.option("--toml", is_flag=True, help="Print the file itself.")
@click.pass_obj
def rules(home: Home, toml: bool) -> None:
    """Print the alert rules in force."""
    from riskmodel.alerting import rule_file
    from service.settings import load

    settings = load(home)
    text, file = rule_file.read_file(home)
    in_force = rule_file.parse(text, file, settings.bands)
    if toml:
        click.echo(text, nl=False)
        return
    click.echo(f"{file}: {len(in_force)} rules")
    for rule in in_force:
        is_set = rule.route is None or rule.route in settings.routes
        missing = "" if is_set else " (NOT SET: the settings have no such route)"
        inhibitors = f"inhibited by {', '.join(rule.inhibited_by)}; " if rule.inhibited_by else ""
        click.echo(
            f"{rule.name}: {rule.severity}; {rule.metric} of {rule.outcome or 'the headline'} "
            f"fires at {rule.fire_at:g} for {rule.for_origins} origin(s), clears below {rule.clear_at:g}; "
            f"{f'cool-down {rule.cool_down} origin(s); ' if rule.cool_down else ''}"
            f"{f'{rule.min_settled:g} of recent months settled; ' if rule.min_settled else ''}"
            f"{' '.join(rule.countries or ['whole region'])}; "
            f"{f'repeated every {rule.repeat_every} day(s); ' if rule.repeat_every else ''}"
            f"{f'grouped by {rule.group_by}; ' if rule.group_by else ''}"
            f"{inhibitors}"
            f"route {rule.route or 'none: page and API only'}{missing}"
        )


@alerts.command()
@click.argument("route")
@click.pass_obj
def test(home: Home, route: str) -> None:
    """Send a test message by ROUTE, once."""
    from service.alerts import delivery

    settings, store = _open(home)
    if route not in settings.routes:
        raise click.BadParameter(_no_route(settings, route), param_hint="ROUTE")
    failure = delivery.send_test(store, settings, route, _now).failure
    if failure is not None:
        raise Unavailable(f"route {route!r}: {failure}")
    click.echo(f"route {route!r} accepted the test message")


@alerts.command()
@click.option("--enable", metavar="ROUTE", multiple=True, help="Send by this route again. Can be repeated.")
@click.pass_obj
def routes(home: Home, enable: tuple[str, ...]) -> None:
    """List the routes, and enable those that are disabled."""
    from service.alerts import routes as states
    from service.store.values import instant

    settings, store = _open(home)
    if unknown := [name for name in enable if name not in settings.routes]:
        raise click.BadParameter(_no_route(settings, unknown[0]), param_hint="--enable")
    with store.writing() as connection:
        states.enable(connection, enable)
        disabled = states.disabled(connection)
    for name, route in settings.routes.items():
        row = disabled.get(name)
        state = f"disabled since {instant(row.since)}: {row.error}" if row else "enabled"
        click.echo(f"{name}: {route.type}; {state}")
    if not settings.routes:
        click.echo("the settings have no routes")


@alerts.command()
@click.option("--retry", metavar="ID", multiple=True, help="Send this message again. Can be repeated.")
@click.option("--dismiss", metavar="ID", multiple=True, help="Give this message up and hide it. Can be repeated.")
@click.pass_obj
def undelivered(home: Home, retry: tuple[str, ...], dismiss: tuple[str, ...]) -> None:
    """List failed messages; retry or dismiss them."""
    from service.alerts import outbox

    _, store = _open(home)
    with store.reading() as connection:
        known = {message["id"]: message["problem"] for message in outbox.undelivered(connection)}
    if unknown := [delivery_id for delivery_id in (*retry, *dismiss) if delivery_id not in known]:
        raise click.UsageError(f"there is no undelivered message {unknown[0]!r}; `vigie alerts undelivered` lists them")
    if damaged := [delivery_id for delivery_id in retry if known[delivery_id] == "unreadable"]:
        raise click.UsageError(f"{damaged[0]!r}: {outbox.UNREADABLE}. Dismiss it with --dismiss")
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
        click.echo("all messages are delivered or dismissed")


@alerts.command()
@click.pass_obj
def deliver(home: Home) -> None:
    """Send the messages that are due, by all routes at once."""
    from service import logs
    from service.alerts import delivery, outbox
    from service.store.values import instant

    # On SIGTERM the messages under way are finished: a cut connection would leave open whether they were received.
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    settings, store = _open(home)
    logs.configure(settings.log_format)
    counts = delivery.deliver_due(store, settings, _now, ended=ended.is_set)
    click.echo(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no message was due")
    with store.reading() as connection:
        number, until = outbox.held(connection, _now())
    if until is not None:
        click.echo(f"{number} wait for the end of quiet hours or for the rate cap, the first until {instant(until)}")


def _no_route(settings: "Settings", name: str) -> str:
    known = ", ".join(sorted(settings.routes)) or "none"
    return f"the settings have no route {name!r}; they have: {known}"


def _open(home: Home) -> "tuple[Settings, Store]":
    from service.settings import load
    from service.store.database import Store

    return load(home), Store.of(home)


def _now() -> datetime:
    return datetime.now(UTC)
