"""The record of each alert rule: how often its alerts were right, in hindcasts and as issued."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.hindcast_payload import HINDCAST
from service.snapshots.earlier_scores import ISSUED
from service.store.tables import alert_records, alert_results
from service.store.values import canonical, instant

ALL_RULES = "all_rules"
"""The key of what all rules together announced and missed."""

RecordReason: TypeAlias = Literal[
    "announces_nothing",  # the rule is about the data
    "not_computed",  # the rule is new or was edited, or there is no data yet
    "nothing_in_past",  # there are no hindcasts, and no forecast has been issued
    "too_few_cases",  # fewer alerts are judged than `judgement.MIN_JUDGED`
]
"""The codes that say why a rule has no record."""

MESSAGE_KEYS = frozenset({"note", "route", "repeat_every", "group_by", "inhibited_by"})
"""The keys of a rule that decide about its messages only."""


RESULT_KEYS = (
    *("result", "reason", "event", "first_month", "last_month", "lead_months", "deaths"),
    *("data_as_of", "data_digest"),
)
"""The columns of a result that the API shows."""


def digest_of(rule: Rule) -> str:
    """Return a digest of what the record of a rule depends on."""
    content = rule.model_dump(mode="json", exclude=set(MESSAGE_KEYS))
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def stored(connection: sa.Connection, region: str, *, simulated: bool) -> sa.Row[Any] | None:
    """Return the newest records of a region: when they were computed (`at`), and their `document`."""
    c = alert_records.c
    newest = sa.select(*(c[name] for name in ("at", "document"))).where(c.region == region, c.simulated == simulated)
    return connection.execute(newest.order_by(c.id.desc()).limit(1)).first()


def results_of(connection: sa.Connection, alert_id: str) -> list[dict[str, Any]]:
    """Return how an issued alert was judged, oldest first: the newest counts, the others were by earlier figures."""
    c = alert_results.c
    rows = connection.execute(sa.select(alert_results).where(c.alert_id == alert_id).order_by(c.id))
    return [{**{key: row._mapping[key] for key in RESULT_KEYS}, "judged_at": instant(row.at)} for row in rows]


def of_rules(connection: sa.Connection, region: str, *, simulated: bool) -> dict[str, Mapping[str, Any]]:
    """Return what is stored of each rule by the digest of the rule."""
    row = stored(connection, region, simulated=simulated)
    return {record["digest"]: record for record in row.document["rules"]} if row else {}


def of_rule(records: Mapping[str, Mapping[str, Any]], rule: Rule) -> dict[str, Any]:
    """Return the record of a rule to show beside its alerts, from the result of `of_rules`.

    It is that of issued alerts if enough of these are judged, else that of hindcasts; `basis` says which. Where there
    is none, it has only a `reason`, one of `RecordReason`; with too few cases the counts are there too.
    """
    record = records.get(digest_of(rule))
    if record is None:
        return {"reason": "not_computed"}
    return shown(record)


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one record of a rule to show, from its two; see `of_rule`."""
    if record["announces"] is None:
        return {"reason": "announces_nothing"}
    both = {basis: record[basis] for basis in (ISSUED, HINDCAST) if record[basis] is not None}
    basis = next((basis for basis, of_basis in both.items() if of_basis["reason"] is None), None)
    basis = basis or (HINDCAST if HINDCAST in both else ISSUED if both else None)
    if basis is None:
        return {"reason": "nothing_in_past"}
    counts = {key: value for key, value in both[basis].items() if key not in ("judged", "missed")}
    return {"basis": basis, "seen": record["announces"]["seen"], "months": record["announces"]["months"], **counts}
