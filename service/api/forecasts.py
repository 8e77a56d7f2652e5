"""Forecasts: a country's twelve months at `/v1/forecasts/{iso3}`, and the draws that they are made from beside it."""

import gzip
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import Blueprint, Response

from service.api.openapi import OF_PAST, UNSERVED, Payload, offers
from service.api.schemas import Called, Lead, Meta, Said, key
from service.api.tabular import as_csv
from service.api.tasks import ON_ITS_WAY, OfPast
from service.http.problems import Problem
from service.http.request_context import ReadSession, request_session
from service.snapshots import read_model, snapshot_view
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import forecasts as table
from service.store.values import instant

resource = Blueprint("forecasts", __name__)

SERVED = "served"
PARQUET = "application/vnd.apache.parquet"


class Month(Lead):
    """The forecast of one month, with its days."""

    reference_period_start: str
    reference_period_end: str


class Draws(Said):
    """Where the draws behind the forecast stand."""

    parquet: str | None
    csv: str | None


class Months(Called):
    """One country's forecast."""

    leads: list[Month] = key("leads 1-12; empty, with a reason, for a country that is not forecast")
    draws: Draws
    reasons: dict[str, str]


class Forecast(Meta):
    """One country's forecast."""

    data: Months


def _leads(payload: Payload) -> list[dict[str, Any]]:
    named = {name: payload["data"][name] for name in Called.model_fields}
    return [{**named, **lead} for lead in payload["data"]["leads"]]


@offers(
    resource,
    "/v1/forecasts/<iso3>",
    "A country's forecast: quantiles and probabilities by month",
    Forecast,
    forms=[as_csv(_leads, [*Called.model_fields, *Month.model_fields])],
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country"),
)
def forecast(asked: OfPast, iso3: str) -> Payload:
    """One country's twelve months."""
    with request_session() as session:
        served = session.served(asked.as_of)
        payload = read_model.forecast_payload(served, iso3)
        if payload is None:
            raise Problem("unknown-country", location_code=iso3)
        kept = _kept(session, served.id, iso3, table.c.csv.is_not(None).label("csv"))
        at = f"/v1/forecasts/{iso3}/draws"
        then = f"?{urlencode({'as_of': asked.as_of})}" if asked.as_of else ""
        draws = {
            "parquet": f"{at}.parquet{then}" if kept else None,
            "csv": f"{at}.csv{then}" if kept and kept.csv else None,
        }
        reasons = payload["data"]["reasons"] | ({} if kept else {"draws": _why_not(served, iso3)})
        payload["data"] |= {"draws": draws, "reasons": reasons}
        return payload


@offers(
    resource,
    "/v1/forecasts/<iso3>/draws.parquet",
    "The draws behind a country's forecast, as Parquet",
    PARQUET,
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country", "no-draws"),
)
def draws_parquet(asked: OfPast, iso3: str) -> Response:
    """Origin, country, month, draw, deaths, simulated; files of an older Vigie lack the last."""
    with request_session() as session:
        served, content = _content(session, asked, iso3, table.c.parquet)
        return _file(served, iso3, content, "parquet", PARQUET)


@offers(
    resource,
    "/v1/forecasts/<iso3>/draws.csv",
    "The draws behind a country's forecast, as CSV",
    "text/csv",
    more=ON_ITS_WAY,
    asks=OfPast,
    problems=(*UNSERVED, *OF_PAST, "unknown-country", "no-draws"),
)
def draws_csv(asked: OfPast, iso3: str) -> Response:
    """The same as text."""
    with request_session() as session:
        served, content = _content(session, asked, iso3, table.c.csv)
        return _file(served, iso3, gzip.decompress(content), "csv", "text/csv; charset=utf-8")


def _kept(session: ReadSession, snapshot: int | None, iso3: str, column: sa.ColumnElement[Any]) -> sa.Row[Any] | None:
    """One column of the draws that are served; None where none are kept."""
    of_country = (table.c.snapshot_id == snapshot) & (table.c.location_code == iso3) & (table.c.role == SERVED)
    return session.connection.execute(sa.select(column).where(of_country)).first()


def _content(
    session: ReadSession, asked: OfPast, iso3: str, column: sa.ColumnElement[Any]
) -> tuple[SnapshotView, bytes]:
    served = session.served(asked.as_of)
    if not any(row["location_code"] == iso3 for row in served.document["countries"]):
        raise Problem("unknown-country", location_code=iso3)
    kept = _kept(session, served.id, iso3, column)
    if kept is None or kept[0] is None:
        raise Problem("no-draws", location_code=iso3, reason=_why_not(served, iso3))
    content: bytes = kept[0]
    return served, content


def _why_not(served: SnapshotView, iso3: str) -> str:
    """Why there are no draws: it was recomputed, the country is not forecast, or the snapshot kept none."""
    if served.id is None:
        return "recomputed"
    row = next(row for row in served.document["countries"] if row["location_code"] == iso3)
    reason: str = snapshot_view.NOT_IN_SNAPSHOT if row["forecast"] else row["reasons"].get("risk_score", "unknown")
    return reason


def _file(served: SnapshotView, iso3: str, content: bytes, suffix: str, media: str) -> Response:
    """A file that says in its name, and in headers, what it is: its bytes cannot be added to."""
    simulated = bool(served.document["simulated"])
    name = "-".join(
        ("vigie", *(("SIMULATED",) if simulated else ()), iso3, served.document["origin"], f"snapshot-{served.id}")
    )
    return Response(
        content,
        HTTPStatus.OK,
        {
            "Content-Disposition": f'attachment; filename="{name}.{suffix}"',
            "Vigie-Snapshot": str(served.id),
            "Vigie-Simulated": "true" if simulated else "false",
            **({"Vigie-As-Of": instant(served.as_of.moment)} if served.as_of else {}),
        },
        content_type=media,
    )
