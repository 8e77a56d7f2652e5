"""Forecasts: a country's twelve months at `/v1/forecasts/{iso3}`, and the draws behind them as files."""

import gzip
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import Blueprint, Response

from service.api.endpoints import AS_OF_PROBLEMS, OUTCOME_PROBLEMS, Payload, endpoint
from service.api.shared_schemas import CountryRef, ForecastLead, Meta, Schema, described
from service.api.tabular import as_csv
from service.api.tasks import TASK_ACCEPTED, AsOfQuery
from service.http.links import link
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import read_model
from service.snapshots.snapshot_view import NOT_IN_SNAPSHOT, SnapshotView
from service.store.tables import forecasts as table
from service.store.values import instant

resource = Blueprint("forecasts", __name__)

SERVED_ROLE = "served"
PARQUET_MEDIA_TYPE = "application/vnd.apache.parquet"


class ForecastMonth(ForecastLead):
    """The forecast of one month, with its first and last day."""

    reference_period_start: str
    reference_period_end: str


class DrawsAddresses(Schema):
    """The addresses of the draws behind the forecast."""

    parquet: str | None
    csv: str | None


class CountryForecast(CountryRef):
    """The forecast of one country."""

    leads: list[ForecastMonth] = described("leads 1-12; empty, with a reason, for a country without a forecast")
    draws: DrawsAddresses
    reasons: dict[str, str]


class ForecastResponse(Meta):
    """The forecast of one country."""

    data: CountryForecast


def _rows(payload: Payload) -> list[dict[str, Any]]:
    country = {name: payload["data"][name] for name in CountryRef.model_fields}
    return [{**country, **lead} for lead in payload["data"]["leads"]]


@endpoint(
    resource,
    "/v1/forecasts/<iso3>",
    "Get the forecast of a country: quantiles and probabilities by month",
    ForecastResponse,
    formats=[as_csv(_rows, [*CountryRef.model_fields, *ForecastMonth.model_fields])],
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country"),
)
def forecast(query: AsOfQuery, iso3: str) -> Payload:
    """Return the twelve months of one country."""
    with request_session() as session:
        view = session.served(query.as_of, query.outcome, hindcast=True)
        payload = read_model.forecast_payload(view, iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        stored = _draws_column(session, view, iso3, table.c.csv.is_not(None).label("csv"))
        address = link(f"/v1/forecasts/{iso3}/draws")
        chosen = query.model_dump(exclude_none=True)
        same = f"?{urlencode(chosen)}" if chosen else ""
        draws = {
            "parquet": f"{address}.parquet{same}" if stored else None,
            "csv": f"{address}.csv{same}" if stored and stored.csv else None,
        }
        reasons = payload["data"]["reasons"] | ({} if stored else {"draws": _no_draws_reason(view, iso3)})
        payload["data"] |= {"draws": draws, "reasons": reasons}
        return payload


@endpoint(
    resource,
    "/v1/forecasts/<iso3>/draws.parquet",
    "Download the draws behind a country's forecast as Parquet",
    PARQUET_MEDIA_TYPE,
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country", "no-draws"),
)
def draws_parquet(query: AsOfQuery, iso3: str) -> Response:
    """Return the columns origin, iso3, month, draw, deaths, outcome and simulated."""
    with request_session() as session:
        view, content = _draws(session, query, iso3, table.c.parquet)
        return _download(view, iso3, content, "parquet", PARQUET_MEDIA_TYPE)


@endpoint(
    resource,
    "/v1/forecasts/<iso3>/draws.csv",
    "Download the draws behind a country's forecast as CSV",
    "text/csv",
    other_responses=TASK_ACCEPTED,
    query=AsOfQuery,
    problems=(*OUTCOME_PROBLEMS, *AS_OF_PROBLEMS, "unknown-country", "no-draws"),
)
def draws_csv(query: AsOfQuery, iso3: str) -> Response:
    """Return the same columns as CSV."""
    with request_session() as session:
        view, content = _draws(session, query, iso3, table.c.csv)
        return _download(view, iso3, gzip.decompress(content), "csv", "text/csv; charset=utf-8")


def _draws_column(
    session: ReadSession, view: SnapshotView, iso3: str, column: sa.ColumnElement[Any]
) -> sa.Row[Any] | None:
    """Return one column of the served draws; None if the snapshot has none of this country."""
    of_outcome = (table.c.snapshot_id == view.id) & (table.c.outcome == view.document["outcome"])
    of_country = of_outcome & (table.c.location_code == iso3) & (table.c.role == SERVED_ROLE)
    return session.connection.execute(sa.select(column).where(of_country)).first()


def _draws(
    session: ReadSession, query: AsOfQuery, iso3: str, column: sa.ColumnElement[Any]
) -> tuple[SnapshotView, bytes]:
    """Return the snapshot and one of its draws files. Raises Problem if there is none."""
    view = session.served(query.as_of, query.outcome, hindcast=True)
    if not any(row["location_code"] == iso3 for row in view.document["countries"]):
        raise Problem("unknown-country", location_code=iso3)
    stored = _draws_column(session, view, iso3, column)
    if stored is None or stored[0] is None:
        raise Problem("no-draws", location_code=iso3, reason=_no_draws_reason(view, iso3))
    content: bytes = stored[0]
    return view, content


def _no_draws_reason(view: SnapshotView, iso3: str) -> str:
    """Return why there are no draws: recomputed snapshots, hindcasts and countries without a forecast have none."""
    if view.as_of is not None and view.as_of.basis != "issued":
        return view.as_of.basis
    row = next(row for row in view.document["countries"] if row["location_code"] == iso3)
    reason: str = NOT_IN_SNAPSHOT if row["forecast"] else row["reasons"].get("risk_score", "unknown")
    return reason


def _download(view: SnapshotView, iso3: str, content: bytes, suffix: str, media_type: str) -> Response:
    """Return a file. Its name and headers say what it is, because its bytes are served as they were issued."""
    simulated = bool(view.document["simulated"])
    prefix = ("vigie", "SIMULATED") if simulated else ("vigie",)
    outcome = view.document["outcome"]
    name = "-".join((*prefix, iso3, outcome, view.document["origin"], f"snapshot-{view.id}"))
    return Response(
        content,
        HTTPStatus.OK,
        {
            "Content-Disposition": f'attachment; filename="{name}.{suffix}"',
            "Vigie-Snapshot": str(view.id),
            "Vigie-Outcome": outcome,
            "Vigie-Simulated": "true" if simulated else "false",
            **({"Vigie-As-Of": instant(view.as_of.moment)} if view.as_of else {}),
        },
        content_type=media_type,
    )
