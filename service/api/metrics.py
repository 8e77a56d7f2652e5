"""`/metrics` for Prometheus: the ages and counts that the store tells when asked, and the requests of all workers."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, Response, current_app, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from riskmodel import __version__
from riskmodel.errors import VigieError
from service.alerts import outbox
from service.api.openapi import offers
from service.http.request_context import ReadSession, request_session
from service.http.telemetry import BUCKETS, Totals
from service.snapshots import snapshot_view
from service.store import leases
from service.store.tables import deliveries, tasks

resource = Blueprint("metrics", __name__)

DAY = 86_400


class Told(Collector):
    """What is told at one scrape."""

    def __init__(self, told: Iterable[Metric]) -> None:
        self._told = tuple(told)

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._told


@offers(resource, "/metrics", "Ages and counts for Prometheus", ("text/plain", "application/openmetrics-text"))
def metrics() -> Response:
    """Everything, in the form the client prefers. Where the store is away, that is told, and what needs no store."""
    told: list[Metric] = [InfoMetricFamily("vigie_build", "The version of Vigie.", value={"version": __version__})]
    if counts := current_app.extensions.get("vigie_counts"):
        told.append(requests(counts.total()))
    try:
        with request_session() as session:
            told += of_store(session)
        up = 1
    except (sa.exc.OperationalError, VigieError) as away:
        current_app.logger.error("the store or the archive cannot be read: %s", type(away).__name__)
        up = 0
    told.append(gauge("vigie_store_up", "Whether the store and the archive's list can be read.", up))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told(told))
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encoder(registry), content_type=content_type, headers={"Cache-Control": "no-store"})


def requests(totals: Totals) -> Metric:
    """The time to an answer, by route and status, over all workers."""
    family = HistogramMetricFamily(
        "vigie_http_request_duration_seconds",
        "The time until an answer begins, by route and status.",
        labels=("route", "status"),
    )
    for (route, status), (seconds, *counts) in sorted(totals.items()):
        ends = [*map(str, BUCKETS), "+Inf"]
        family.add_metric((route, status), list(zip(ends, accumulate(counts), strict=True)), seconds)
    return family


def of_store(session: ReadSession) -> Iterator[Metric]:
    """The ages and counts that the store tells. What is unknown is left out."""
    if session.simulated is not None:
        yield gauge("vigie_simulated", "1 where everything served is SIMULATED.", int(session.simulated))
    if served := session.find_served():
        yield gauge(
            "vigie_data_age_seconds", "Since the last day of data used (whole days).", served.data_age_days * DAY
        )
        issued = datetime.fromisoformat(served.document["issued_at"])
        yield gauge("vigie_snapshot_age_seconds", "Since the snapshot in service was issued.", _since(session, issued))
        yield gauge("vigie_snapshot_id", "The snapshot in service.", served.document["id"])
    if renewed := snapshot_view.last_success_at(session.connection, session.settings):
        yield gauge("vigie_run_success_age_seconds", "Since a run last ended well.", _since(session, renewed))
    yield from of_jobs(session)
    yield counted(
        session, deliveries, "vigie_deliveries", "Messages in the outbox, by status.", ("waiting", "sent", "failed")
    )
    waiting = outbox.undelivered(session.connection)
    yield gauge("vigie_undelivered_messages", "Messages that have not reached their receiver.", len(waiting))
    oldest = min((datetime.fromisoformat(message["created_at"]) for message in waiting), default=session.now)
    yield gauge(
        "vigie_undelivered_age_seconds", "The age of the oldest of them; 0 without any.", _since(session, oldest)
    )
    yield counted(session, tasks, "vigie_tasks", "Tasks, by status.", ("waiting", "running", "done", "failed"))


def of_jobs(session: ReadSession) -> Iterator[Metric]:
    """How the jobs go."""
    age = GaugeMetricFamily("vigie_job_success_age_seconds", "Since a job last succeeded.", labels=("job",))
    late = GaugeMetricFamily("vigie_job_overdue", "1 where a job has not succeeded for too long.", labels=("job",))
    for job in leases.listing(session.connection, session.now):
        late.add_metric((job["name"],), int(job["overdue"]))
        if job["age_seconds"] is not None:
            age.add_metric((job["name"],), job["age_seconds"])
    yield age
    yield late


def gauge(name: str, meaning: str, value: float) -> Metric:
    """One value."""
    return GaugeMetricFamily(name, meaning, value=value)


def counted(session: ReadSession, table: sa.Table, name: str, meaning: str, states: Iterable[str]) -> Metric:
    """How many rows of a table are in each state, those without any included."""
    family = GaugeMetricFamily(name, meaning, labels=("status",))
    status: sa.Column[Any] = table.c.status
    query = sa.select(status, sa.func.count()).group_by(status)
    there = dict.fromkeys(states, 0) | {row[0]: row[1] for row in session.connection.execute(query)}
    for state, count in sorted(there.items()):
        family.add_metric((state,), count)
    return family


def _since(session: ReadSession, moment: datetime) -> float:
    """How long ago [s]; never less than nothing, whatever was done to the clock."""
    return max(0.0, (session.now - moment).total_seconds())
