"""Digests: one message in place of several by the same route.

The messages stay in the outbox as parts of the digest. So nothing is lost: what asks for the message about a change
finds it, and follows it to its digest.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import SEVEREST_FIRST, Rule
from riskmodel.alerting.states import ENDED, FIRING
from service.alerts import digest_wording, outbox, wording
from service.alerts.known_alerts import REMINDER
from service.alerts.outbox import DIGEST, Message
from service.store.tables import deliveries
from service.store.values import instant

MERGEABLE = (FIRING, REMINDER, *ENDED)
"""Kinds of messages that can be parts of a digest."""

MAX_SINGLE = 5
"""If one run has more messages for a route than this, they become one digest."""

ENTRY_KEYS = (
    *("alert_id", "rule", "severity", "title", "region", "location_code", "name", "outcome", "of_headline"),
    *("metric", "metric_label", "value", "reason", "bands", "fire_at", "clear_at", "for", "from_state", "to_state"),
    *("earlier", "record", "causes", "origin", "data_as_of", "snapshot_id", "at", "since", "simulated", "headline"),
)
"""What a digest has of each of its parts: their texts would make the digest of a storm too long."""

GROUPS: Mapping[str, Callable[[Mapping[str, Any]], Hashable]] = {
    "rule": lambda data: data["rule"],
    "country": lambda data: data["location_code"],
    "region": lambda data: None,
}
"""What messages of one group have in common, by the value of `group_by`."""


def is_fresh(now: datetime) -> sa.ColumnElement[bool]:
    """Select the messages that can still become parts of a digest: nobody has tried to send them.

    One that waits for an earlier message about the same alert which is being tried again stays alone, or a digest
    would overtake that one.
    """
    earlier = deliveries.alias("tried").c
    behind_tried = sa.exists().where(
        earlier.alert == deliveries.c.alert,
        earlier.route == deliveries.c.route,
        earlier.status == "waiting",
        earlier.attempts > 0,
        earlier.created_at <= deliveries.c.created_at,
    )
    waiting = (deliveries.c.status == "waiting") & (deliveries.c.not_before <= now)
    return waiting & (deliveries.c.attempts == 0) & ~deliveries.c.maybe_received & ~behind_tried


def group(connection: sa.Connection, rules: Sequence[Rule], now: datetime) -> None:
    """Merge the messages that were made at this moment: those of a group of their rules, or all if they are many."""
    group_by = {rule.name: rule.group_by for rule in rules}
    made = is_fresh(now) & (deliveries.c.created_at == now) & deliveries.c.kind.in_(MERGEABLE)
    by_route: dict[str, dict[Hashable, list[Message]]] = defaultdict(lambda: defaultdict(list))
    for message in outbox.read(connection, made):
        data = message.document["data"]
        by = group_by.get(data.get("rule", ""))
        key = (by, GROUPS[by](data)) if by else message.id
        by_route[message.route][key].append(message)
    for groups in by_route.values():
        together = [[message for each in groups.values() for message in each]]
        for messages in together if len(groups) > MAX_SINGLE else groups.values():
            merge(connection, messages, now)


def merge(connection: sa.Connection, messages: Iterable[Message], now: datetime) -> None:
    """Put one digest in the place of several messages by a route, or of digests. One message stays as it is."""
    messages = [message for message in messages if message.readable]
    if len(messages) < 2:
        return
    inner = [message.id for message in messages if message.kind == DIGEST]
    parts_of_inner = outbox.read(connection, deliveries.c.digest_id.in_(inner)) if inner else []
    outbox.dissolve(connection, inner)
    single = [message for message in messages if message.kind != DIGEST]
    parts = sorted((*single, *parts_of_inner), key=lambda message: (message.created_at, message.id))
    entries = [_entry(message) for message in parts]
    severity = min((entry["severity"] for entry in entries), key=SEVEREST_FIRST.index)
    data = {
        "region": entries[0]["region"],
        "simulated": any(entry["simulated"] for entry in entries),
        "severity": severity,
        "at": instant(now),
        "name": wording.name("*", entries[0]["region"]),
        "alerts": entries,
    }
    digest_id = outbox.enqueue(
        connection, route=parts[0].route, kind=DIGEST, data=data | digest_wording.digest(data), now=now
    )
    outbox.merge(connection, [message.id for message in parts], digest_id)


def _entry(message: Message) -> dict[str, Any]:
    data = message.document["data"]
    return {"delivery_id": message.id, "kind": message.kind, **{key: data[key] for key in ENTRY_KEYS if key in data}}
