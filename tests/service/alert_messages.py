"""One example of each kind of message, and the files that contain their texts.

Run `python tests/service/alert_messages.py` after a change of the texts, and read the difference aloud.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from snapshot_documents import BANDS, document

from riskmodel.alerting import rule_file
from riskmodel.geography import WHOLE_REGION
from service.alerts import digest_wording, facts, metric_words, wording
from service.alerts.at_sending import at_sending
from service.store.values import instant

FOLDER = Path(__file__).parent / "messages"
NOW = datetime(2023, 1, 10, 8, 30, tzinfo=UTC)
FORECAST = document()
LANGUAGES = ("en", "fr")
TITLES = {rule.metric: rule.title.model_dump() for rule in rule_file.shipped()}
"""Titles of shipped rules by metric. The forecast of the examples has another indicator near the capital."""
TITLES["signal:events_near_12m"] = TITLES["signal:capital_events_250km_12m"]

RECORD = {
    "alerts": 23,
    "hits": 9,
    "false_alarms": 12,
    "first_month": "2016-01",
    "last_month": "2022-06",
    "median_lead_months": 2,
    "base_rate": 0.063,
}


def data(iso3: str = "MLI", metric: str = "escalation_probability", **more: Any) -> dict[str, Any]:
    """Return the data of an alert, without its texts."""
    name = metric.partition(":")[0]
    probabilities = {
        "value": 0.271,
        "fire_at": 0.17,
        "clear_at": 0.15,
        "earlier": {"value": 0.124, "origin": "2022-11"},
    }
    numbers = {"value": 78.1, "fire_at": 70, "clear_at": 65, "earlier": {"value": 64.8, "origin": "2022-11"}}
    made = {
        "region": "MLI",
        "simulated": False,
        "outcome": "all",
        "of_headline": True,
        "bands": BANDS,
        "origin": "2022-12",
        "data_as_of": "2022-12-31",
        "at": instant(NOW),
        "snapshot_id": 7,
        "run_id": 7,
        "rule": "escalation",
        "severity": "severe",
        "note": None,
        "for": 1,
        "reason": None,
        "causes": ["new_month"],
        "title": TITLES.get(metric, TITLES["escalation_probability"]),
        "location_code": iso3,
        "name": wording.name(iso3, "MLI"),
        "metric": metric,
        "metric_label": metric_words.metric_label(metric, FORECAST),
        **(probabilities if "probability" in name else numbers),
        **more,
    }
    return {"facts": _facts(iso3, metric, made["value"]), **made}


def _facts(iso3: str, metric: str, value: float | None) -> dict[str, Any]:
    """Return the facts of a forecast that has this value of the metric."""
    found = facts.of_location(FORECAST, iso3, metric)
    if metric == "escalation_probability":
        found["escalation"]["probability"] = value
    changed = {"onset_probability": {metric: value}, CAPITAL["metric"]: {} if value else {"watched": None}}
    return found | changed.get(metric, {})


NOTE = {"en": "Call the desk officer.", "fr": "Appelez le chargé de dossier."}
CAPITAL: dict[str, Any] = {"metric": "signal:events_near_12m", "value": 1, "fire_at": 1, "clear_at": 1, "earlier": None}
AGE = {
    "value": 123,
    "fire_at": 101,
    "clear_at": 101,
    "earlier": None,
    "causes": ["clock"],
    "data_as_of": "2022-09-09",
    "origin": "2022-08",
}
MONTHS = ("2022-10", "2022-12", "2022-04")
ENDED = {"value": None, "facts": {}, "earlier": None}


def changes() -> dict[str, dict[str, Any]]:
    """Return the data of changes of one alert by name; the kind is the name up to the first dot."""
    return {
        "firing": data(record=RECORD, note=NOTE),
        "firing.simulated": data("BFA", simulated=True, record={"reason": "too_few_cases"}, causes=["model"]),
        "firing.old": data("NER", simulated=True, data_as_of="2022-09-30", causes=["revision"]),
        "firing.capital": data(**CAPITAL, record=RECORD),
        "resolved.capital": data(**CAPITAL | {"value": 0}, record=RECORD),
        "firing.onset": data("GIN", "onset_probability"),
        "firing.no_history": data("MRT", "reported_deaths", value=31, fire_at=25, clear_at=25, earlier=None),
        "firing.data_too_old": data(WHOLE_REGION, "data_age_days", **AGE),
        "resolved": data(value=0.08, earlier={"value": 0.16, "origin": "2022-11"}, record=RECORD),
        "corrected": data(value=0.12, earlier={"value": 0.271, "origin": "2022-12"}, causes=["revision"]),
        "expired": data(**ENDED, causes=["unknown"]),
        "reminder": data(since="2022-12-05T07:45:00Z", earlier=None, record=RECORD),
    }


def messages() -> dict[str, dict[str, Any]]:
    """Return the data of one message of each kind, with its texts."""
    made = {name: each | wording.change(name.partition(".")[0], each) for name, each in changes().items()}
    shared = {key: made["firing"][key] for key in ("region", "simulated", "outcome", "origin", "data_as_of", "at")}
    shared |= {"name": wording.name(WHOLE_REGION, "MLI"), "snapshot_id": 7}
    firing = [made["firing"], made["firing.capital"], made["firing.onset"]]
    parts = ("resolved", "firing.capital", "reminder", "firing")
    digest = [made[name] | {"kind": name.partition(".")[0]} for name in parts]
    brief = {
        "data_age_days": 10,
        "data_status": "fresh",
        "reason": None,
        "last_month": {"began": 3, "firing": 2, "hits": 1, "false_alarms": 2},
        "moved": [
            {"name": wording.name("BFA", "MLI"), "risk_score": 86.2, "band": "extreme", "change_1m": 16.1},
            {"name": wording.name("CIV", "MLI"), "risk_score": 22.7, "band": "low", "change_1m": -8.3},
        ],
        "firing": [each | {"since_origin": month} for each, month in zip(firing, MONTHS, strict=True)],
    }
    summary = {**shared, "outcomes": ["all", "state_based"], "alerts": firing}
    loss = {**shared, "outcome": "all", "reason": "no_model"}
    correction = {**shared, "alerts": firing, "withdrawn_reason": "a file of another country.", "outcomes": ["all"]}
    ended = {**shared, "alerts": [data(**ENDED), data("NER", **ENDED)]}
    nothing = {"moved": [], "firing": [], "last_month": {"began": 1, "firing": 0, "hits": 0, "false_alarms": 0}}
    quiet = {**shared, **brief, **nothing, "data_as_of": "2022-09-30", "data_status": "stale"}
    return {
        **made,
        "summary": summary | wording.summary(summary),
        "summary.nothing": {**summary, "alerts": []} | wording.summary({**summary, "alerts": []}),
        "missing": loss | wording.loss(loss, of_forecast="state_based"),
        "correction": correction | wording.correction(correction),
        "rule_changed": ended | wording.rule_change(ended),
        "digest": {"alerts": digest} | digest_wording.digest({**shared, "alerts": digest}),
        "brief": shared | brief | digest_wording.monthly_brief({**shared, **brief}),
        "brief.quiet": quiet | digest_wording.monthly_brief(quiet),
        "test": wording.test("duty"),
    }


@cache
def sent() -> dict[str, Mapping[str, Any]]:
    """Return the data of all messages as they are sent."""
    base = "https://vigie.example.org"
    return {name: at_sending({"data": each}, base, 100, NOW)["data"] for name, each in messages().items()}


def files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the content of the file of each message and language."""
    for name, message in sent().items():
        for language in LANGUAGES:
            parts = [f"[{length}]\n{message[length][language]}\n" for length in ("headline", "sms", "text", "full")]
            yield FOLDER / f"{name}.{language}.txt", "\n".join(parts)


if __name__ == "__main__":
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for path, content in files():
        path.write_text(content, encoding="utf-8")
