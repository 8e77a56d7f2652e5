"""Judge alerts by what happened, and store the record of each rule: of issued alerts, and of a replay of hindcasts.

A judgement of an issued alert never changes. If later data change its result, a new row has the new one. A record is
computed again when alerts, rules, hindcasts or data have changed.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.alerting import rule_file
from riskmodel.alerting.judgement import (
    SEEN_MONTHS,
    TOO_EARLY,
    Announcement,
    DeathsByMonth,
    Judged,
    JudgedAlert,
    announced_by,
    announcement_of,
    judge,
    record_of,
)
from riskmodel.alerting.replay import RuleReplay, of_hindcast, past_scores, replay
from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import CORRECTED, FIRING
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.hindcast_payload import HINDCAST
from riskmodel.months import last_day, month
from service.alerts import records
from service.alerts.records import ALL_RULES, digest_of
from service.jobs import snapshot_chain
from service.snapshots.earlier_scores import ISSUED
from service.snapshots.outcome_parts import available, of_outcome
from service.store.context import Context
from service.store.leases import Fence, check
from service.store.tables import alert_records, alert_results, alerts, hindcasts, scores, snapshots, transitions
from service.store.values import canonical

ANY_RULE = Announcement("escalation", SEEN_MONTHS[0], seen=True)
"""What all rules together are judged by."""

IN_FORCE_SINCE = "in_force_since"
"""The key of the first origin that the service read with a rule as it is now. An edit starts a new record."""

Fired = list[tuple[str, str]]
"""Alerts as (country, origin at which it fired)."""

log = logging.getLogger("vigie.alerts")


def update(context: Context, view: View, fence: Fence | None = None) -> bool:
    """Judge the alerts of the region and store the records of its rules. Return whether anything had changed.

    Rules that cannot be read change nothing: a recompute reports them. Raises Superseded once another process has the
    lease of `fence`.
    """
    try:
        rules = rule_file.load(context.home, context.settings.bands)
    except BadInput as wrong:
        log.error("the records of alert rules stay as they are: %s", wrong)
        return False
    with context.store.reading() as connection:
        past = _Past.read(connection, context.settings.region, view, rules)
        if past is None or _newest_input(connection, past) == past.input_digest:
            return False
        results = _new_results(connection, past)
    document = {"rules": [past.record_of(rule) for rule in rules], ALL_RULES: past.of_all_rules(rules)}
    now = context.clock()
    with context.store.writing() as connection:
        check(connection, fence)
        if results:
            connection.execute(sa.insert(alert_results), [{**result, "at": now} for result in results])
        _replace(connection, past, document, now)
    return True


class _Definition(NamedTuple):
    """What a rule was when its alert fired."""

    metric: str
    fire_at: float
    clear_at: float
    for_origins: int

    @classmethod
    def of(cls, rule: Rule) -> Self:
        return cls(rule.metric, rule.fire_at, rule.clear_at, rule.for_origins)


class _FiredAlert(NamedTuple):
    """An issued alert that fired at `origin`."""

    id: str
    rule: str
    location_code: str
    outcome: str
    origin: str
    definition: _Definition


@dataclass(frozen=True)
class _Past:
    """What alerts are judged by. `hindcasts` has flat documents by outcome, `issued` the origins that were issued.

    `fired` has the issued alerts that fired, except those that a correction took back. `in_force_since` has the first
    origin of each rule whose record is stored, by the digest of the rule.
    """

    region: str
    view: View
    headline: str
    families: Mapping[str, Sequence[Mapping[str, Any]]]
    hindcasts: Mapping[str, Sequence[Mapping[str, Any]]]
    issued: Mapping[str, Sequence[str]]
    fired: Sequence[_FiredAlert]
    rules: Mapping[str, Rule]
    in_force_since: Mapping[str, str]
    input_digest: str

    @classmethod
    def read(cls, connection: sa.Connection, region: str, view: View, rules: Sequence[Rule]) -> "_Past | None":
        """Read it; None where there is no snapshot."""
        snapshot = snapshot_chain.in_service(connection, region, simulated=view.simulated)
        if snapshot is None:
            return None
        flat = {outcome: of_outcome(snapshot.document, outcome) for outcome in available(snapshot.document)}
        found, editions = _hindcasts(connection, region, view.simulated, flat)
        fired = _fired(connection, region, view.simulated)
        issued = _issued_origins(connection, region, view.simulated)
        content = {
            "data": view.digest,
            "rules": [digest_of(rule) for rule in rules],
            "hindcasts": editions,
            "issued": issued,
            "alerts": fired,
            "headline": snapshot.document["outcome"],
        }
        return cls(
            region=region,
            view=view,
            headline=snapshot.document["outcome"],
            families={outcome: document["indicator_families"] for outcome, document in flat.items()},
            hindcasts=found,
            issued=issued,
            fired=fired,
            rules={rule.name: rule for rule in rules},
            in_force_since={
                digest: stored[IN_FORCE_SINCE]
                for digest, stored in records.of_rules(connection, region, simulated=view.simulated).items()
            },
            input_digest=hashlib.sha256(canonical(content).encode()).hexdigest(),
        )

    def deaths(self, outcome: str, codes: Iterable[str]) -> DeathsByMonth:
        """Return the newest figures of some countries."""
        observed = self.view.outcomes()
        rows = [row for row, iso3 in enumerate(observed.iso3) if iso3 in set(codes)]
        iso3 = tuple(observed.iso3[row] for row in rows)
        return DeathsByMonth(iso3, observed.months, observed.deaths[outcome][rows])

    def outcome_of(self, rule: Rule) -> str:
        """Return the outcome whose forecast a rule reads."""
        return rule.outcome or self.headline

    def first_origin_of(self, rule: Rule) -> str | None:
        """Return the first issued origin that was read with a rule as it is now; None if none was issued."""
        origins = self.issued.get(self.outcome_of(rule), ())
        return self.in_force_since.get(digest_of(rule)) or max(origins, default=None)

    @cached_property
    def replays(self) -> Mapping[str, RuleReplay]:
        """The replay of each rule over the hindcasts of its outcome, by name; none where there are no hindcasts."""
        read = {outcome: past_scores(documents) for outcome, documents in self.hindcasts.items()}
        return {
            rule.name: replay(rule, read[self.outcome_of(rule)])
            for rule in self.rules.values()
            if announcement_of(rule) and self.outcome_of(rule) in read
        }

    def record_of(self, rule: Rule) -> dict[str, Any]:
        """Return the records of a rule, ready for JSON."""
        announced = announcement_of(rule)
        outcome = self.outcome_of(rule)
        record = {
            "rule": rule.name,
            "title": rule.title.model_dump(),
            "severity": rule.severity,
            "metric": rule.metric,
            "fire_at": rule.fire_at,
            "clear_at": rule.clear_at,
            "outcome": outcome,
            "digest": digest_of(rule),
            "announces": asdict(announced) if announced else None,
            IN_FORCE_SINCE: self.first_origin_of(rule),
        }
        if announced is None or outcome not in self.families:
            return {**record, HINDCAST: None, ISSUED: None}
        return {
            **record,
            HINDCAST: self._of_hindcasts([rule], announced, outcome),
            ISSUED: self._of_issued([rule], announced, outcome),
        }

    def of_all_rules(self, rules: Sequence[Rule]) -> dict[str, Any]:
        """Return the records of all rules of the headline together: their misses are events that no rule announced."""
        together = [rule for rule in rules if announcement_of(rule) and rule.outcome in (None, self.headline)]
        return {
            "outcome": self.headline,
            "announces": asdict(ANY_RULE),
            HINDCAST: self._of_hindcasts(together, ANY_RULE, self.headline),
            ISSUED: self._of_issued(together, ANY_RULE, self.headline),
        }

    def judgement_of(self, alert: _FiredAlert) -> tuple[Announcement, JudgedAlert] | None:
        """Return the judgement of an issued alert by what its rule announced then; None if that was a notice."""
        announced = announced_by(alert.definition.metric)
        if announced is None:
            return None
        deaths = self.deaths(alert.outcome, [alert.location_code])
        nothing = np.zeros(deaths.values.shape, dtype=bool)
        return announced, judge(announced, deaths, [(alert.location_code, alert.origin)], nothing).alerts[0]

    def _of_hindcasts(self, rules: Sequence[Rule], announced: Announcement, outcome: str) -> dict[str, Any] | None:
        if outcome not in self.hindcasts:
            return None
        replays = [self.replays[rule.name] for rule in rules]
        deaths = self.deaths(outcome, {iso3 for each in replays for iso3 in each.readings})
        read = np.zeros(deaths.values.shape, dtype=bool)
        for each in replays:
            for iso3, readings in each.readings.items():
                known = [
                    origin for origin, found in zip(each.origins, readings, strict=True) if found.value is not None
                ]
                _mark(read, deaths, iso3, known)
        fired = [(alert.location_code, alert.fired_origin) for each in replays for alert in each.alerts]
        return stored_record(announced, fired, deaths, read)

    def _of_issued(self, rules: Sequence[Rule], announced: Announcement, outcome: str) -> dict[str, Any] | None:
        """Return the record of rules as they are now: origins and alerts from before an edit are no part of it."""
        origins = self.issued.get(outcome, ())
        if not origins:
            return None
        members = geography.region(self.region).members
        deaths = self.deaths(outcome, members)
        read = np.zeros(deaths.values.shape, dtype=bool)
        fired: Fired = []
        for rule in rules:
            first, codes = self.first_origin_of(rule) or "", rule.countries or members
            for iso3 in codes:
                _mark(read, deaths, iso3, [origin for origin in origins if origin >= first])
            fired += [
                (alert.location_code, alert.origin)
                for alert in self.fired
                if (alert.rule, alert.outcome, alert.definition) == (rule.name, outcome, _Definition.of(rule))
                and alert.origin >= first
                and alert.location_code in codes
            ]
        return stored_record(announced, fired, deaths, read)


def stored_record(
    announced: Announcement, fired: Fired, deaths: DeathsByMonth, read: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return a record with its judged alerts and the events that no alert announced."""
    judged: Judged = judge(announced, deaths, sorted(set(fired)), read)
    return {
        **record_of(judged).as_dict(),
        "judged": [{**_period(announced, alert.origin), **alert._asdict()} for alert in judged.alerts],
        "missed": [episode._asdict() for episode in judged.episodes if not episode.announced],
    }


def _period(announced: Announcement, origin: str) -> dict[str, str]:
    """Return the months that an alert is about."""
    first = announced.months if announced.event == "deaths" else 1
    return {"first_month": str(month(origin) + first), "last_month": str(month(origin) + announced.months)}


def _mark(read: NDArray[np.bool_], deaths: DeathsByMonth, iso3: str, origins: Iterable[str]) -> None:
    """Mark the country-months of some origins that the figures have."""
    if iso3 not in deaths.iso3:
        return
    columns = [column for column in map(deaths.column, origins) if 0 <= column < deaths.months.size]
    read[deaths.iso3.index(iso3), columns] = True


def _hindcasts(
    connection: sa.Connection, region: str, simulated: bool, flat: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, list[dict[str, Any]]], list[list[str]]]:
    """Return the stored hindcasts as flat documents by outcome, and what identifies them."""
    found: dict[str, list[dict[str, Any]]] = {}
    editions = []
    c = hindcasts.c
    rows = sa.select(c.outcome, c.origin, c.digest, c.document).where(c.region == region, c.simulated == simulated)
    for row in connection.execute(rows.order_by(c.outcome, c.origin)):
        editions.append([row.outcome, row.origin, row.digest])
        if row.outcome in flat:
            of = flat[row.outcome]
            hindcast = {"origin": row.origin, "countries": row.document["countries"]}
            found.setdefault(row.outcome, []).append(of_hindcast(hindcast, of["bands"], of["indicator_families"]))
    return found, editions


def _issued_origins(connection: sa.Connection, region: str, simulated: bool) -> dict[str, list[str]]:
    """Return the origins with an issued snapshot that is not withdrawn, by outcome."""
    c = scores.c
    of_region = (c.region == region) & (c.simulated == simulated) & snapshots.c.withdrawn_at.is_(None)
    joined = sa.select(c.outcome, c.origin).join(snapshots, snapshots.c.id == c.snapshot_id).where(of_region).distinct()
    found: dict[str, list[str]] = {}
    for row in connection.execute(joined.order_by(c.outcome, c.origin)):
        found.setdefault(row.outcome, []).append(row.origin)
    return found


def _fired(connection: sa.Connection, region: str, simulated: bool) -> list[_FiredAlert]:
    """Return the alerts that fired. One that a revision or a withdrawal took back was no alert."""
    c = alerts.c
    of_region = (c.region == region) & (c.simulated == simulated)
    columns = (c[name] for name in ("id", "rule", "location_code", "outcome", "fired_origin"))
    fired = (
        sa.select(*columns, transitions.c.document)
        .join(transitions, (transitions.c.alert_id == c.id) & (transitions.c.to_state == FIRING))
        .where(of_region, c.fired_origin.is_not(None), c.state != CORRECTED)
        .order_by(c.id)
    )
    return [
        _FiredAlert(
            *(row.id, row.rule, row.location_code, row.outcome, row.fired_origin),
            _Definition(*(row.document[key] for key in ("metric", "fire_at", "clear_at", "for"))),
        )
        for row in connection.execute(fired)
    ]


def _new_results(connection: sa.Connection, past: _Past) -> list[dict[str, Any]]:
    """Return a row for each issued alert whose period is over and whose result is new or another one."""
    c = alert_results.c
    known = {
        row.alert_id: row
        for row in connection.execute(
            sa.select(c.alert_id, c.result, c.reason, c.lead_months, c.deaths)
            .where(c.alert_id.in_([alert.id for alert in past.fired]))
            .order_by(c.id)
        )
    }
    rows = []
    for alert in past.fired:
        found = past.judgement_of(alert)
        if found is None or found[1].result == TOO_EARLY:
            continue
        announced, judged = found
        row = {
            "result": judged.result,
            "reason": judged.reason,
            "lead_months": judged.lead,
            "deaths": list(judged.deaths),
        }
        before = known.get(alert.id)
        if before is not None and all(before._mapping[name] == value for name, value in row.items()):
            continue
        rows.append(
            {
                **row,
                "alert_id": alert.id,
                "event": announced.event,
                **_period(announced, judged.origin),
                "data_as_of": _data_as_of(past, alert.outcome),
                "data_digest": past.view.digest,
            }
        )
    return rows


def _data_as_of(past: _Past, outcome: str) -> str | None:
    last = past.deaths(outcome, geography.region(past.region).members).last_known
    return None if last is None else last_day(last)


def _newest_input(connection: sa.Connection, past: _Past) -> str | None:
    c = alert_records.c
    newest = sa.select(c.input_digest).where(c.region == past.region, c.simulated == past.view.simulated)
    return connection.scalar(newest.order_by(c.id.desc()).limit(1))


def _replace(connection: sa.Connection, past: _Past, document: Mapping[str, Any], now: datetime) -> None:
    """Replace the records of the region."""
    c = alert_records.c
    of_region = {"region": past.region, "simulated": past.view.simulated}
    connection.execute(sa.delete(alert_records).where(*(c[name] == value for name, value in of_region.items())))
    row = {**of_region, "input_digest": past.input_digest, "at": now, "document": document}
    connection.execute(sa.insert(alert_records).values(row))
