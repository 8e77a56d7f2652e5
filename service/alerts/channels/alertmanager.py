"""Channel to a Prometheus Alertmanager (API v2), which groups, silences and repeats alerts itself.

Alertmanager identifies an alert by its labels and forgets it at `endsAt`, and when it restarts. So an alert that fires
has an end far ahead and is posted again every few minutes (`service.alerts.refresh`); one that has ended is posted with
its end. What is no alert of a rule (a test, the loss of an outcome) is posted as an alert that ends by itself.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from riskmodel.alerting.states import FIRING
from service.alerts.channels.attempt import Outgoing, post_json
from service.outbound import Session
from service.settings import AlertmanagerRoute
from service.store.values import instant

VALID = timedelta(hours=24)
"""How long Alertmanager keeps an alert that is not posted again. If Vigie stops, that must not look like an all-clear
at once."""

NOTICE = timedelta(minutes=30)
"""How long Alertmanager keeps what is no alert of a rule."""


class AlertmanagerChannel:
    """Posts the alerts that a message is about."""

    def __init__(self, route: AlertmanagerRoute, session: Session) -> None:
        self._url, self._session = f"{str(route.url).rstrip('/')}/api/v2/alerts", session
        self._headers = {}
        if route.username is not None:
            password = route.password.get_secret_value() if route.password else ""
            self._headers["authorization"] = f"Basic {b64encode(f'{route.username}:{password}'.encode()).decode()}"

    def send(self, message: Outgoing, now: datetime) -> None:
        """Post the alerts of a message. Raises DeliveryError."""
        data = message.document["data"]
        entries = list(_entries(data))
        alerts = [_alert(entry, data, now) for entry in entries]
        if not entries and "alerts" not in data:
            alerts = [_notice(message.document, now)]
        self._post(alerts, now)

    def refresh(self, entries: Iterable[Mapping[str, Any]], now: datetime) -> None:
        """Post alerts that still fire again. `entries` are their facts. Raises DeliveryError."""
        self._post([_alert(entry, entry, now) for entry in entries], now)

    def _post(self, alerts: list[dict[str, Any]], now: datetime) -> None:
        if alerts:  # a summary without alerts has nothing to post
            post_json(self._session, self._url, self._headers, json.dumps(alerts), now)


def _entries(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the facts of each alert of a rule that a message is about."""
    for entry in data.get("alerts", [data]):
        if "rule" in entry and "to_state" in entry:
            yield entry


def _alert(entry: Mapping[str, Any], data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return an alert. `data` is that of its message, which has the link."""
    labels = {
        "alertname": entry["rule"],
        "rule": entry["rule"],
        "job": "vigie",
        "region": entry["region"],
        "country": entry["location_code"],
        "severity": entry["severity"],
        "outcome": entry["outcome"],
        "simulated": str(entry["simulated"]).lower(),
    }
    # An alert that has ended gets no start: Alertmanager keeps the one that it knows.
    times = (
        {"startsAt": entry["at"], "endsAt": instant(now.astimezone(UTC) + VALID)}
        if entry["to_state"] == FIRING
        else {"endsAt": entry["at"]}
    )
    return {"labels": labels, **times, **_texts(entry, data)}


def _notice(document: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    data = document["data"]
    labels = {
        "alertname": document["type"],
        "job": "vigie",
        **{key: data[key] for key in ("problem", "route", "region", "outcome") if isinstance(data.get(key), str)},
        "simulated": str(data.get("simulated", False)).lower(),
    }
    times = {"startsAt": document["timestamp"], "endsAt": instant(now.astimezone(UTC) + NOTICE)}
    return {"labels": labels, **times, **_texts(data, data)}


def _texts(entry: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {"summary": "headline", "description": "text"}
    annotations = {
        f"{name}{suffix}": entry.get(key, entry["headline"])[language]  # the parts of a digest have no text
        for name, key in names.items()
        for language, suffix in (("en", ""), ("fr", "_fr"))
    }
    return {"annotations": annotations, **({"generatorURL": data["url"]["en"]} if "url" in data else {})}
