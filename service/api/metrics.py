"""`/metrics` for Prometheus: ages and counts from the database, and the requests of all web workers."""

from collections.abc import Iterable, Iterator, Sequence
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
from riskmodel.outcomes import OUTCOMES
from service.alerts import outbox, routes
from service.api.endpoints import endpoint
from service.http.request_context import ReadSession, request_session
from service.http.telemetry import BUCKETS, Totals
from service.snapshots import snapshot_view
from service.store import leases
from service.store.tables import deliveries, tasks

resource = Blueprint("metrics", __name__)

SECONDS_PER_DAY = 86_400


class CollectedMetrics(Collector):
    """The metrics of one scrape, already collected."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        return self._metrics


@endpoint(resource, "/metrics", "Get ages and counts for Prometheus", ("text/plain", "application/openmetrics-text"))
def metrics() -> Response:
    """Return all metrics in the format that the client prefers.

    While the database is away, the metrics that do not need it are still there, and `vigie_database_up` is 0.
    """
    collected: list[Metric] = [InfoMetricFamily("vigie_build", "Version of Vigie.", value={"version": __version__})]
    if counts := current_app.extensions.get("vigie_request_metrics"):
        collected.append(request_durations(counts.total()))
    try:
        with request_session() as session:
            collected += store_metrics(session)
        up = 1
    except (sa.exc.SQLAlchemyError, VigieError) as failure:
        current_app.logger.error("the database or the archive cannot be read: %s", type(failure).__name__)
        up = 0
    collected.append(gauge("vigie_database_up", "1 if the database and the archive's manifest can be read.", up))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CollectedMetrics(collected))
    encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encoder(registry), content_type=content_type, headers={"Cache-Control": "no-store"})


def request_durations(totals: Totals) -> Metric:
    """Return the histogram of response times, by route and status, over all workers."""
    family = HistogramMetricFamily(
        "vigie_http_request_duration_seconds",
        "Time until a response begins, by route and status.",
        labels=("route", "status"),
    )
    for labels, (seconds, *counts) in sorted(totals.items()):
        family.add_metric(labels, _cumulated(BUCKETS, counts), seconds)
    return family


def delivery_durations(session: ReadSession) -> Metric:
    """Return the histogram of attempts to deliver, by alert route and result."""
    family = HistogramMetricFamily(
        "vigie_delivery_duration_seconds",
        "Duration of the attempts to deliver a message, by route and result.",
        labels=("route", "result"),
    )
    for labels, (seconds, counts) in routes.attempts(session.connection).items():
        family.add_metric(labels, _cumulated(routes.BUCKETS, counts), seconds)
    return family


def _cumulated(upper_bounds: Sequence[float], counts: Iterable[float]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus has them: each includes those below it."""
    return list(zip([*map(str, upper_bounds), "+Inf"], accumulate(counts), strict=True))


def store_metrics(session: ReadSession) -> Iterator[Metric]:
    """Yield the ages and counts from the database. An unknown value is left out."""
    if session.simulated is not None:
        yield gauge("vigie_simulated", "1 if the data in service are SIMULATED.", int(session.simulated))
    if view := session.find_served():
        yield gauge(
            "vigie_data_age_seconds",
            "Time since the last day of the data used (whole days).",
            view.data_age_days * SECONDS_PER_DAY,
        )
        issued_at = datetime.fromisoformat(view.document["issued_at"])
        yield gauge(
            "vigie_snapshot_age_seconds", "Time since the snapshot in service was issued.", _since(session, issued_at)
        )
        yield gauge("vigie_snapshot_id", "Number of the snapshot in service.", view.document["id"])
        forecast = GaugeMetricFamily(
            "vigie_outcome_forecast", "1 if the snapshot in service forecasts an outcome.", labels=("outcome",)
        )
        for outcome in OUTCOMES:
            forecast.add_metric((outcome,), int(outcome in view.document["available_outcomes"]))
        yield forecast
        yield from refit_metrics(session)
    if last_success_at := snapshot_view.last_success_at(session.connection, session.settings):
        yield gauge(
            "vigie_run_success_age_seconds", "Time since a run last succeeded.", _since(session, last_success_at)
        )
    yield from job_metrics(session)
    yield count_by_status(
        session, deliveries, "vigie_deliveries", "Messages in the outbox, by status.", ("waiting", "sent", "failed")
    )
    undelivered, oldest = outbox.count_undelivered(session.connection)
    yield gauge("vigie_undelivered_messages", "Messages that have not reached their receiver.", undelivered)
    age = _since(session, oldest or session.now)
    yield gauge("vigie_undelivered_age_seconds", "Age of the oldest undelivered message; 0 if none.", age)
    yield delivery_durations(session)
    disabled = GaugeMetricFamily("vigie_route_disabled", "1 if an alert route is disabled.", labels=("route",))
    disabled_routes = routes.disabled(session.connection)
    for route in session.settings.routes:
        disabled.add_metric((route,), int(route in disabled_routes))
    yield disabled
    yield count_by_status(session, tasks, "vigie_tasks", "Tasks, by status.", ("waiting", "running", "done", "failed"))


def refit_metrics(session: ReadSession) -> Iterator[Metric]:
    """Yield the age of each model, and whether its refit is overdue."""
    age = GaugeMetricFamily(
        "vigie_model_age_months", "How much newer the data are than those of the training.", labels=("outcome",)
    )
    overdue = GaugeMetricFamily(
        "vigie_refit_overdue", "1 if a model should have been refitted to newer data.", labels=("outcome",)
    )
    for outcome, state in session.refits().items():
        age.add_metric((outcome,), state.age_months)
        overdue.add_metric((outcome,), int(state.overdue))
    yield age
    yield overdue


def job_metrics(session: ReadSession) -> Iterator[Metric]:
    """Yield the age of the last success of each job, and whether the job is overdue."""
    age = GaugeMetricFamily("vigie_job_success_age_seconds", "Time since a job last succeeded.", labels=("job",))
    overdue = GaugeMetricFamily("vigie_job_overdue", "1 if a job has not succeeded for too long.", labels=("job",))
    for job in leases.listing(session.connection, session.now):
        overdue.add_metric((job["name"],), int(job["overdue"]))
        if job["age_seconds"] is not None:
            age.add_metric((job["name"],), job["age_seconds"])
    yield age
    yield overdue


def gauge(name: str, description: str, value: float) -> Metric:
    """Return a metric with one value."""
    return GaugeMetricFamily(name, description, value=value)


def count_by_status(
    session: ReadSession, table: sa.Table, name: str, description: str, statuses: Iterable[str]
) -> Metric:
    """Return the number of rows of a table in each status. A status without rows is 0, so that no series is missing."""
    family = GaugeMetricFamily(name, description, labels=("status",))
    status: sa.Column[Any] = table.c.status
    query = sa.select(status, sa.func.count()).group_by(status)
    counts = dict.fromkeys(statuses, 0) | {row[0]: row[1] for row in session.connection.execute(query)}
    for status_name, count in sorted(counts.items()):
        family.add_metric((status_name,), count)
    return family


def _since(session: ReadSession, moment: datetime) -> float:
    """Return the time since a moment [s]. It is never negative, even if the clock was set back."""
    return max(0.0, (session.now - moment).total_seconds())
