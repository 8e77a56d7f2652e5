"""Quiet hours, rate caps and digests: what waits, until when, and what arrives in its place."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from alert_histories import rule
from receivers import SECRET

from riskmodel.home import Home
from service.alerts import delivery, digests, outbox, quiet_hours, wording
from service.alerts.channels.attempt import DeliveryError
from service.settings import QuietHours, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries
from service.store.values import instant

EVENING = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
MORNING = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
QUIET = {"quiet_hours": {"warning": "22:00-06:00"}}


class Outbox:
    """An outbox with one route, a clock, and a receiver that notes what it gets."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, EVENING
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.broken = False

    def add(self, rule: str = "r", severity: str = "warning", kind: str = "firing", iso3: str = "MLI") -> str:
        headline = dict.fromkeys(("en", "fr"), f"{kind} {rule} {iso3}")
        data = {
            "rule": rule,
            "severity": severity,
            "location_code": iso3,
            "region": "MLI",
            "simulated": False,
            "name": wording.name(iso3, "MLI"),
            "headline": headline,
            "text": headline,
            "at": instant(self.now),
        }
        with self.store.writing() as connection:
            return outbox.enqueue(
                connection, route="duty", kind=kind, data=data, now=self.now, alert=f"MLI/{rule}/{iso3}"
            )

    def deliver(self, **options: Any) -> list[str]:
        """Send what is due. Return what has arrived: the kind, or for a digest its parts."""
        url = {"type": "webhook", "url": "https://example.org", "secret": SECRET}
        settings = Settings(routes={"duty": WebhookRoute.model_validate(url | options)})
        before = len(self.got)
        delivery.deliver_due(self.store, settings, lambda: self.now, self._send)
        return [self.describe(document) for _, document in self.got[before:]]

    @staticmethod
    def describe(document: dict[str, Any]) -> str:
        if document["type"] != "alert.digest":
            return str(document["data"]["headline"]["en"])
        return "digest: " + ", ".join(entry["headline"]["en"] for entry in document["data"]["alerts"])

    def _send(self, route: Any, delivery_id: str, document: Any, now: datetime) -> None:
        if self.broken:
            raise DeliveryError("no")
        self.got.append((delivery_id, document))

    def rows(self) -> dict[str, Any]:
        with self.store.reading() as connection:
            return {row.id: row for row in connection.execute(sa.select(deliveries))}


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Store:
    return Store.of(Home(tmp_path_factory.mktemp("home")))


@pytest.fixture
def box(one_store: Store) -> Outbox:
    with one_store.writing() as connection:
        connection.execute(sa.delete(deliveries))
    return Outbox(one_store)


@pytest.mark.parametrize(
    ("zone", "hours", "now", "end"),
    [
        ("UTC", "22:00-06:00", "2026-11-22T21:59Z", None),
        ("UTC", "22:00-06:00", "2026-11-22T22:00Z", "2026-11-23T06:00Z"),
        ("UTC", "22:00-06:00", "2026-11-23T05:59Z", "2026-11-23T06:00Z"),
        ("UTC", "22:00-06:00", "2026-11-23T06:00Z", None),
        ("UTC", "12:00-14:00", "2026-11-23T13:00Z", "2026-11-23T14:00Z"),
        ("UTC", "12:00-14:00", "2026-11-23T23:00Z", None),
        ("Africa/Bamako", "22:00-06:00", "2026-07-01T23:00Z", "2026-07-02T06:00Z"),
        ("Europe/Paris", "22:00-06:00", "2026-07-01T20:30Z", "2026-07-02T04:00Z"),
        ("Europe/Paris", "22:00-06:00", "2026-12-01T20:30Z", None),
        ("Europe/Paris", "22:00-06:00", "2026-03-28T22:00Z", "2026-03-29T04:00Z"),  # clocks go forward
        ("Europe/Paris", "22:00-02:30", "2026-03-29T00:45Z", "2026-03-29T01:30Z"),  # over the end
        ("Europe/Paris", "22:00-06:00", "2026-10-24T22:00Z", "2026-10-25T05:00Z"),  # clocks go back
        ("Europe/Paris", "22:00-02:30", "2026-10-25T01:10Z", "2026-10-25T01:30Z"),  # the second time
        ("America/New_York", "22:00-06:00", "2026-11-23T04:00Z", "2026-11-23T11:00Z"),
    ],
)
def test_quiet_hours_follow_the_clock_of_their_time_zone(zone: str, hours: str, now: str, end: str | None) -> None:
    start, stop = map(time.fromisoformat, hours.split("-"))
    found = quiet_hours.end_of(QuietHours(start, stop), ZoneInfo(zone), datetime.fromisoformat(now))
    assert found == (datetime.fromisoformat(end) if end else None)


def test_in_quiet_hours_warnings_wait_for_the_morning_and_arrive_as_one_digest(box: Outbox) -> None:
    first = box.add("a")
    second = box.add("b", iso3="NER")
    box.add("c", severity="severe")
    assert box.deliver(**QUIET) == ["firing c MLI"], "severe alerts never wait"
    with box.store.reading() as connection:
        assert outbox.held(connection, box.now) == (2, MORNING)
    box.now = MORNING - timedelta(minutes=1)
    box.add("d")
    assert box.deliver(**QUIET) == []
    box.now = MORNING
    assert box.deliver(**QUIET) == ["digest: firing a MLI, firing b NER, firing d MLI"]
    digest_id, document = box.got[-1]
    assert [entry["delivery_id"] for entry in document["data"]["alerts"][:2]] == [first, second]
    rows = box.rows()
    assert {rows[part].digest_id for part in (first, second)} == {digest_id}
    assert {rows[part].status for part in (first, second)} == {"sent"}
    assert "3 new alerts" in document["data"]["headline"]["en"]
    assert box.deliver(**QUIET) == []


def test_one_message_that_has_waited_arrives_as_it_is(box: Outbox) -> None:
    box.add("a")
    assert box.deliver(**QUIET) == []
    box.now = MORNING
    assert box.deliver(**QUIET) == ["firing a MLI"]


def test_quiet_hours_are_those_of_the_settings_when_a_message_is_read(box: Outbox) -> None:
    box.add("a")
    assert box.deliver() == ["firing a MLI"]
    box.add("b")
    assert box.deliver(quiet_hours={"warning": "22:00-06:00"}, time_zone="Asia/Tokyo") == ["firing b MLI"]


def test_a_message_that_is_tried_again_waits_in_quiet_hours_too(box: Outbox) -> None:
    box.now = EVENING - timedelta(hours=2)
    box.add("a")
    box.broken = True
    assert box.deliver(**QUIET) == []
    box.broken, box.now = False, EVENING
    assert box.deliver(**QUIET) == []
    box.now = MORNING
    assert box.deliver(**QUIET) == ["firing a MLI"]


def test_after_the_clock_was_set_back_nothing_waits_for_longer_than_a_day(box: Outbox) -> None:
    box.add("a")
    box.deliver(**QUIET)
    box.now = EVENING - timedelta(days=3, hours=10)
    assert box.deliver(**QUIET) == ["firing a MLI"]


def test_above_the_rate_cap_the_rest_is_one_digest(box: Outbox) -> None:
    for number in range(6):
        box.add(f"r{number}")
    digest = "digest: " + ", ".join(f"firing r{number} MLI" for number in (2, 3, 4, 5))
    assert box.deliver(max_messages=3) == ["firing r0 MLI", "firing r1 MLI", digest]
    box.now += timedelta(minutes=20)
    box.add("late")
    box.add("later")
    assert box.deliver(max_messages=3) == []
    box.now += timedelta(minutes=39)
    assert box.deliver(max_messages=3) == []
    box.now += timedelta(minutes=1)
    assert box.deliver(max_messages=3) == ["digest: firing late MLI, firing later MLI"]


def test_a_cap_of_one_sends_one_message_an_hour(box: Outbox) -> None:
    box.add("a")
    box.add("b")
    assert box.deliver(max_messages=1) == ["digest: firing a MLI, firing b MLI"]
    box.add("c")
    box.now += timedelta(minutes=30)
    assert box.deliver(max_messages=1) == []
    box.add("d")
    box.now += timedelta(minutes=30)
    assert box.deliver(max_messages=1) == ["digest: firing c MLI, firing d MLI"]


def test_a_digest_that_fails_is_sent_again_with_the_same_parts_and_id(box: Outbox) -> None:
    box.add("a")
    box.add("b")
    box.deliver(**QUIET)
    box.now, box.broken = MORNING, True
    assert box.deliver(**QUIET) == []
    box.now, box.broken = MORNING + timedelta(minutes=5), False
    box.add("c")
    arrived = box.deliver(**QUIET)
    assert sorted(arrived) == ["digest: firing a MLI, firing b MLI", "firing c MLI"]


def test_a_message_about_an_alert_waits_for_the_digest_with_the_one_before(box: Outbox) -> None:
    box.add("a")
    box.add("b")
    box.deliver(**QUIET)
    box.now, box.broken = MORNING, True
    box.deliver(**QUIET)
    box.broken = False
    box.now = MORNING + timedelta(seconds=20)
    box.add("a", kind="resolved")
    box.add("other")
    assert box.deliver(**QUIET) == ["firing other MLI"], "the digest is tried again later"
    box.now = MORNING + timedelta(minutes=5)
    assert box.deliver(**QUIET) == ["digest: firing a MLI, firing b MLI", "resolved a MLI"]


def test_a_digest_waits_for_earlier_messages_about_its_alerts(box: Outbox) -> None:
    box.add("a")
    box.add("b")
    box.deliver(**QUIET)
    box.now = MORNING
    box.add("a", kind="resolved")
    box.add("c")
    with box.store.writing() as connection:
        together = [rule(name=name, group_by="region") for name in ("a", "c")]
        digests.group(connection, together, box.now)
    box.now, box.broken = MORNING + timedelta(minutes=1), True
    assert box.deliver(**QUIET) == []
    box.now, box.broken = MORNING + timedelta(minutes=10), False
    assert box.deliver(**QUIET) == ["digest: firing a MLI, firing b MLI", "digest: resolved a MLI, firing c MLI"]


def test_parts_of_one_digest_do_not_wait_for_each_other(box: Outbox) -> None:
    box.add("a", kind="resolved")
    box.add("a")
    with box.store.writing() as connection:
        digests.group(connection, [rule(name="a", group_by="rule")], box.now)
    assert box.deliver() == ["digest: resolved a MLI, firing a MLI"]


def test_a_part_that_is_cancelled_leaves_its_digest(box: Outbox) -> None:
    parts = [box.add(rule) for rule in ("a", "b", "c")]
    box.deliver(**QUIET)
    box.now, box.broken = MORNING, True
    box.deliver(**QUIET)
    with box.store.writing() as connection:
        assert outbox.cancel(connection, deliveries.c.id == parts[1], "withdrawn") == 1
    box.broken = False
    assert box.deliver(**QUIET) == ["digest: firing a MLI, firing c MLI"]
    assert [box.rows()[part].status for part in parts] == ["sent", "dismissed", "sent"]


def test_dismissing_a_digest_dismisses_its_parts(box: Outbox) -> None:
    parts = [box.add(rule) for rule in ("a", "b")]
    box.deliver(**QUIET)
    box.now, box.broken = MORNING, True
    box.deliver(**QUIET)
    (digest,) = (row for row in box.rows().values() if row.kind == "digest")
    outbox.dismiss(box.store, [digest.id])
    assert {row.status for row in box.rows().values()} == {"dismissed"}
    assert box.rows().keys() >= set(parts)
