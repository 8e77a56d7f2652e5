"""The sub-commands that the service brings."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riskmodel import geography, options
from riskmodel.home import Home
from service.alerts.commands import alerts
from service.store.commands import db

if TYPE_CHECKING:
    from datetime import datetime

    from service.keys import Scope
    from service.payloads import Served
    from service.settings import Settings

REGION = click.option("--region", type=options.ISO3, help="The focal country of the region (default: as set, MLI).")
HOST = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
NICE = 10
"""How much a task yields to everything else: 19 is the most."""
THREADS = 32
"""How many requests the web server answers at once; more than may wait for news (`waiters` in the settings)."""
PORT = click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)


def _settings(home: Home, region: str | None = None) -> "Settings":
    """The settings of a home; a region chosen here is handed on to the processes that are started."""
    from service.settings import load

    if region:
        os.environ["VIGIE_REGION"] = region
    return load(home)


@click.command()
@HOST
@PORT
@REGION
@click.option(
    "--pull",
    multiple=True,
    type=click.Choice(["ucdp", "acled", "gdelt"]),
    help="Ask this provider for real data, now and regularly. May be repeated.",
)
@click.pass_obj
def up(home: Home, host: str, port: int, region: str | None, pull: tuple[str, ...]) -> None:
    """Prepare the home if need be, then serve it and keep it up to date until Ctrl-C."""
    from service.up import up as serve

    if pull:
        os.environ["VIGIE_PULL"] = json.dumps(pull)
    settings = _settings(home, region)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    home.root.mkdir(parents=True, exist_ok=True)
    serve(home, settings, host, port, lambda text: click.echo(f"vigie: {text}"), ended.is_set)


@click.command()
@HOST
@PORT
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes answer.")
@click.pass_obj
def web(home: Home, host: str, port: int, workers: int) -> None:
    """Serve what the home holds: the web server alone, without the scheduler."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from service import logs, processes, telemetry
    from service.addresses import loopback
    from service.up import free, reach

    settings = _settings(home)
    limits = settings.limits
    free(host, port)
    if not loopback(host):
        click.echo(f"vigie: {reach(home, settings, host)}")
    os.environ["VIGIE_HOME"] = str(home.root)
    os.environ[processes.LISTENS_ON] = host
    processes.allow_open_files(2 * limits.connections + 256)
    os.environ[telemetry.FOLDER] = str(telemetry.fresh_folder(home))
    logs.start(settings.log_format)
    processes.end_with_parent()
    os.environ[processes.PARENT] = str(os.getpid())  # workers are ours, and may come to life after we have died
    server = Granian(
        "service.app:worker",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=THREADS,
        backpressure=limits.connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=1000 * limits.header_seconds, max_buffer_size=limits.header_bytes
        ),
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        log_level=LogLevels.error,
        log_dictconfig=logs.GRANIAN,
    )
    server.serve()


@click.command()
@click.pass_obj
def scheduler(home: Home) -> None:
    """Run the jobs on schedule, without the web server."""
    from service import logs
    from service.schedule import run

    settings = _settings(home)
    logs.start(settings.log_format)
    run(home, settings)


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def jobs(home: Home, form: str) -> None:
    """Print the jobs of the scheduler: how each went last, and when it runs next."""
    from datetime import UTC, datetime

    from service.jobs import listing
    from service.store.database import Store

    with Store.of(home).reading() as connection:
        entries = listing(connection, datetime.now(UTC))
    if form == "json":
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_jobs(entries)


def _print_jobs(entries: list[dict[str, Any]]) -> None:
    """A line for each job; what is overdue says so."""
    from rich.table import Table

    from riskmodel import terminal

    table = Table(box=None, pad_edge=False)
    for heading in ("job", "status", "last success", "age, s", "next run", "deadline, s", "holder", "error"):
        table.add_column(heading, justify="right" if heading.endswith(", s") else "left")
    for job in entries:
        table.add_row(
            job["name"],
            f"{job['status']}, OVERDUE" if job["overdue"] else job["status"],
            job["succeeded_at"] or "never",
            "–" if job["age_seconds"] is None else f"{job['age_seconds']:,}",
            job["next_run_at"] or "not scheduled",
            f"{job['deadline_seconds']:,}",
            job["holder"] or "–",
            job["error"] or "",
        )
    terminal.console().print(table if entries else "no scheduler has run here yet: vigie up")


@click.command()
@click.pass_obj
def prune(home: Home) -> None:
    """Delete what is past and older than `keep_days` says; never snapshots, forecasts or verifications."""
    from datetime import UTC, datetime

    from service import processes
    from service.jobs import Fence
    from service.prune import prune as run
    from service.store.database import Store

    processes.end_with_parent()
    settings = _settings(home)
    gone = run(home, Store.of(home), settings.keep_days, datetime.now(UTC), Fence.given())
    told = ", ".join(f"{count:,} {name}" for name, count in gone.items() if count)
    click.echo(f"deleted: {told or 'nothing was old enough'}")


@click.command()
@REGION
@click.pass_obj
def recompute(home: Home, region: str | None) -> None:
    """Compute the scores anew from what the archive holds, and issue a snapshot if anything has changed."""
    from datetime import UTC, datetime

    from service import logs, processes
    from service.alerts.channels import heartbeat
    from service.alerts.rules import load
    from service.jobs import Fence
    from service.recompute import recompute as run
    from service.store.database import Store

    processes.end_with_parent()
    settings, fence = _settings(home, region), Fence.given()
    if fence:  # the scheduler reads the lines, which carry the number of the run
        logs.start(settings.log_format)
    done = run(home, settings, Store.of(home), load(home), lambda: datetime.now(UTC), fence)
    if not fence:
        click.echo(done.said)
    if settings.heartbeat_url:
        heartbeat(str(settings.heartbeat_url), settings.allow_private_webhooks)


@click.command(hidden=True)
@click.argument("number", metavar="ID")
@click.pass_obj
def task(home: Home, number: str) -> None:
    """Answer one task of the queue; the scheduler calls this for those that wait."""
    from datetime import UTC, datetime

    from service import logs, processes
    from service.answers import Bench, work
    from service.jobs import Fence
    from service.store.database import Store

    processes.end_with_parent()
    os.nice(NICE)
    settings = _settings(home)
    logs.start(settings.log_format)
    work(Bench(home, settings, Store.of(home), lambda: datetime.now(UTC), Fence.given()), number)


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@REGION
@click.pass_obj
def export_(home: Home, folder: Path, region: str | None) -> None:
    """Write all that the service answers as files into FOLDER, for a server of files or a CDN."""
    from datetime import UTC, datetime

    from service import processes
    from service.export import CURRENT, export

    processes.end_with_parent()
    _settings(home, region)
    done = export(home, folder, datetime.now(UTC))
    said = done.manifest
    what = f"snapshot {said['snapshot_id']}{' (SIMULATED)' if said['simulated'] else ''}"
    if not done.changed:
        click.echo(f"{folder / CURRENT} says all of {what} already; nothing was written")
        return
    sizes = [f"{done.bytes(coding) / 1e6:.1f} MB{coding and ' ' + coding}" for coding in ("", *done.codings)]
    if "br" not in done.codings:
        click.echo("no br twins: they take pip install 'vigie[export]'")
    click.echo(f"{folder / CURRENT}: {len(said['files']):,} addresses of {what}, {', '.join(sizes)}")
    for path in done.left:
        click.echo(f"{path} is no longer served, and stays: it holds files that are of no export")


@click.command()
@REGION
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option(
    "--as-of",
    type=options.PAST,
    help="As a past day or moment knew it: from a snapshot of then, else computed from what was known then.",
)
@click.pass_obj
def scores(home: Home, region: str | None, form: str, as_of: "datetime | None") -> None:
    """Print the scores in service, as a table, JSON or CSV."""
    from datetime import UTC, datetime

    from riskmodel.errors import BadInput
    from riskmodel.events import manifest
    from service import payloads
    from service.store.database import Store

    settings, store = _settings(home, region), Store.of(home)
    simulated = manifest.realm(home.archive) == "simulated"
    if as_of is not None:
        from service.answers import Bench, then

        bench = Bench(home, settings, store, lambda: datetime.now(UTC))
        served: Served | None = then(bench, as_of, simulated=simulated)
    else:
        with store.reading() as connection:
            served = payloads.served(connection, settings, simulated=simulated, now=datetime.now(UTC))
    if served is None:
        kind = "SIMULATED" if simulated else "real"
        raise BadInput(
            f"there is no snapshot from {kind} data of the region of {settings.region} yet: "
            f"run vigie recompute --region {settings.region}"
        )
    if form == "table":
        _print(served)
    elif form == "json":
        click.echo(payloads.json_text(served), nl=False)
    else:
        click.echo(payloads.csv_text(payloads.scores_payload(served)), nl=False)


def _print(served: "Served") -> None:
    """The table of scores, highest first, under what it is made from."""
    from rich.table import Table

    from riskmodel import terminal

    said, console = served.document, terminal.console()
    simulated = "SIMULATED  " if said["simulated"] else ""
    console.print(
        f"{simulated}{said['outcome']} deaths, data as of {said['data_as_of']} ({served.status}, "
        f"{served.data_age_days:,} days old), from {said['source']}; {_of(served)}, model {said['model']['id']}"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "risk", "band", "escalation", "onset", "expected deaths, 3 months"):
        table.add_column(heading, justify="left" if heading in ("country", "", "band") else "right")
    for row in served.countries:
        table.add_row(
            row["location_code"],
            geography.country(row["location_code"]).name(),
            _shown(row, "risk_score", "{:.1f}"),
            row["band"] or "–",
            _shown(row, "escalation_probability", "{:.0%}"),
            _shown(row, "onset_probability", "{:.0%}"),
            _shown(row, "expected_deaths", "{:,.0f}"),
        )
    console.print(table)


def _of(served: "Served") -> str:
    """The snapshot, and what it is if it tells of the past."""
    if served.past is None:
        return f"snapshot {served.id}"
    then = f"as of {served.past.as_of:%Y-%m-%d %H:%M:%S} UTC"
    if served.past.basis == "issued":
        return f"{then}: snapshot {served.id}, issued then"
    return f"{then}: recomputed from what was known then"


def _shown(row: dict[str, Any], field: str, form: str) -> str:
    """A value as a person reads it, or the reason there is none."""
    if row[field] is None:
        return str(row["reasons"].get(field, "unknown")).replace("_", " ")
    return form.format(row[field])


@click.group("runs")
def runs_() -> None:
    """Look at what has been issued, and take a wrong snapshot back."""


@runs_.command()
@click.argument("snapshot", type=int)
@click.option("--why", required=True, help="The reason: it is kept, and told to whoever was sent an alert from it.")
@click.pass_obj
def withdraw(home: Home, snapshot: int, why: str) -> None:
    """Take back a wrong snapshot: it is kept and marked, and a correction goes to whoever was told."""
    from datetime import UTC, datetime

    from service.alerts.rules import load
    from service.store.database import Store
    from service.withdrawal import withdraw as take_back

    done = take_back(Store.of(home), load(home), snapshot, why, datetime.now(UTC))
    click.echo(f"snapshot {snapshot} is withdrawn: {done.held_back} messages held back, {done.messages} corrected")
    if done.routes:
        click.echo(f"the correction goes to {', '.join(done.routes)}")


@click.group("ledger")
def ledger_() -> None:
    """The chain of all that was issued."""


@ledger_.command("verify")
@click.option("--head", metavar="DIGEST", help="A digest that you kept elsewhere: it has to be in the chain.")
@click.pass_obj
def verify_ledger(home: Home, head: str | None) -> None:
    """Hold every byte of every snapshot and of its draws against its digest; exit code 3 if one is not as issued."""
    from riskmodel.errors import Refused
    from service import ledger
    from service.store.database import Store

    with Store.of(home).reading() as connection:
        walked = ledger.walk(connection, head)
    for fault in walked.faults:
        click.echo(fault, err=True)
    if walked.faults:
        raise Refused(f"the ledger is not as it was written: {len(walked.faults)} faults")
    newest = f"; the head is snapshot {walked.head[0]}, {walked.head[1]}" if walked.head else ""
    click.echo(f"{walked.snapshots} snapshots with {walked.forecasts} forecasts, every byte as it was issued{newest}")


@click.command()
@click.pass_obj
def verify(home: Home) -> None:
    """Score the forecasts whose months have come, or were revised, and bring the scorecard up to date."""
    from datetime import UTC, datetime

    from service import processes
    from service.jobs import Fence
    from service.store.database import Store
    from service.verification import verify as run

    processes.end_with_parent()
    click.echo(run(home, Store.of(home), lambda: datetime.now(UTC), Fence.given()).said)


@click.command()
@click.argument("before", metavar="A", type=int)
@click.argument("after", metavar="B", type=int)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="JSON is unrounded and tells the escalation probability too.",
)
@click.pass_obj
def changed(home: Home, before: int, after: int, form: str) -> None:
    """Say why the scores of snapshot B differ from those of snapshot A: the change split by cause."""
    from service.comparison import between
    from service.store.database import Store

    said = between(home, Store.of(home), before, after)
    if form == "json":
        click.echo(json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_change(said)


def _print_change(said: dict[str, Any]) -> None:
    """The change of each country's risk score, what each cause adds to it, and what the causes mean."""
    from rich.table import Table

    from riskmodel import terminal

    console = terminal.console()
    one, other = said["before"], said["after"]
    console.print(
        f"{'SIMULATED  ' if said['simulated'] else ''}risk score of {said['outcome']} deaths, in points: from snapshot "
        f"{one['snapshot_id']} (data as of {one['data_as_of']}) to {other['snapshot_id']} ({other['data_as_of']})"
    )
    for note in said["notes"]:
        console.print(f"NOTE: {note['text']['en']}")
    if one["snapshot_id"] > other["snapshot_id"]:
        console.print("NOTE: the first is the later one: this tells the change backwards")
    named = [(cause["name"], cause["meaning"]["en"]) for cause in said["causes"]]
    if any(country["risk_score"]["not_reproduced"] for country in said["countries"]):
        named.append(("not_reproduced", said["not_reproduced"]["meaning"]["en"]))
    table = Table(box=None, pad_edge=False)
    for heading in ("country", "", "before", "after", "change", *(name.replace("_", " ") for name, _ in named)):
        table.add_column(heading, justify="left" if heading in ("country", "") else "right")
    for country in said["countries"]:
        score = country["risk_score"]
        table.add_row(
            country["location_code"],
            geography.country(country["location_code"]).name(),
            *("–" if score[side] is None else f"{score[side]:.1f}" for side in ("before", "after")),
            *(
                [f"{score['after'] - score['before']:+.1f}", *(_points(score, name) for name, _ in named)]
                if score["causes"] is not None
                else [country["reasons"]["risk_score"].replace("_", " ")]
            ),
        )
    console.print(table)
    scores = [country["risk_score"] for country in said["countries"]]
    if not any(cause["present"] for cause in said["causes"]) and all(s["before"] == s["after"] for s in scores):
        console.print("nothing that these scores are made from differs between the two")
    for name, meaning in named:
        console.print(f"{name.replace('_', ' ')}: {meaning}")


def _points(score: dict[str, Any], cause: str) -> str:
    """What a cause adds, signed; nothing is a dot, so that the eye finds what is not."""
    part = score["not_reproduced"] if cause == "not_reproduced" else score["causes"][cause]
    return f"{part:+.1f}" if part else "·"


@click.group()
def keys() -> None:
    """Keys of the API: who may read from a server that is not open, and who may write."""


@keys.command()
@click.option("--scope", type=click.Choice(["read", "write"]), required=True, help="A key that may write may read too.")
@click.option("--label", required=True, help="Who holds it: shown in the list, so that the right one is revoked.")
@click.pass_obj
def add(home: Home, scope: "Scope", label: str) -> None:
    """Make a key and print it, this once: only its digest is kept."""
    from datetime import UTC, datetime

    from service import keys
    from service.store.database import Store

    made = keys.add(Store.of(home), scope, label, datetime.now(UTC))
    click.echo("this key is shown once and kept nowhere; whoever has it may ask in its name:", err=True)
    click.echo(made)


@keys.command("list")
@click.pass_obj
def list_(home: Home) -> None:
    """List the keys by their prefixes."""
    from service import keys
    from service.store.database import Store
    from service.store.values import instant

    rows = keys.listed(Store.of(home))
    for row in rows:
        revoked = f", revoked {instant(row.revoked_at)}" if row.revoked_at else ""
        click.echo(f"{row.prefix} {row.scope:5} {row.label}: made {instant(row.created_at)}{revoked}")
    if not rows:
        click.echo("there are no keys: vigie keys add makes one")


@keys.command()
@click.argument("prefix")
@click.pass_obj
def revoke(home: Home, prefix: str) -> None:
    """Let the key with this PREFIX hold no more, at once and for good."""
    from datetime import UTC, datetime

    from service import keys
    from service.store.database import Store

    keys.revoke(Store.of(home), prefix, datetime.now(UTC))
    click.echo(f"key {prefix} is revoked; web workers turn it away within a second")


commands = [
    up,
    web,
    scheduler,
    jobs,
    prune,
    recompute,
    task,
    export_,
    scores,
    changed,
    runs_,
    ledger_,
    verify,
    alerts,
    db,
    keys,
]
