"""The page of an alert: who can open it, and what its forms do, over the gate and the application."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from inprocess import FrontClient
from snapshot_documents import NOW
from snapshots_support import ALERT, SettableClock, SnapshotHome, full_home
from werkzeug.test import TestResponse

from service.alerts import signed_links
from service.cli.app import create_app
from service.http import keys
from service.settings import Settings
from service.store.tables import alerts, silences

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> Iterator[SnapshotHome]:
    made = full_home(tmp_path_factory.mktemp("alert") / "home")
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def ack_key(home: SnapshotHome) -> str:
    return keys.add(home.store, "ack", "duty phone", NOW)


def client(home: SnapshotHome, *, public: bool = False, days: int = 0) -> FrontClient:
    """A client from afar of a server on which reading needs a key, unless it is public."""
    clock = SettableClock()
    clock.now = clock.now + timedelta(days=days)
    app = create_app(home.home, clock=clock)
    return FrontClient(app, Settings(public_read=public), remote="203.0.113.9")


@pytest.fixture(scope="module")
def link(home: SnapshotHome) -> str:
    with home.store.writing() as connection:
        return signed_links.path(connection, ALERT, NOW.date())


def send(client: FrontClient, address: str, **fields: str) -> TestResponse:
    return client.post(address, headers=FORM, data=urlencode(fields).encode())


def test_a_signed_link_opens_the_page_of_its_alert_and_nothing_more(home: SnapshotHome, link: str) -> None:
    far = client(home)
    for language in ("", "/en", "/fr"):
        page = far.get(language + link)
        assert page.status_code == 200
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert len(page.data) < 20_000
    english, french = (" ".join(far.get(f"/{language}{link}").text.split()) for language in ("en", "fr"))
    assert "Hit.</strong> Period: January – March 2023. Judged on 10 January 2023, 08:30 UTC, by data to" in english
    assert "It happened 2 months after the alert. Revised data changed the result. Before: false alarm." in english
    assert "L’événement est survenu 2 mois après l’alerte." in french
    query = link.partition("?")[2]
    assert far.get(f"/alerts/{ALERT}").status_code == 401
    for path in ("/", "/v1/alerts", f"/v1/alerts/{ALERT}", "/country/MLI"):
        assert far.get(f"{path}?{query}").status_code == 401, path
    assert far.get(f"/alerts/{ALERT[:-1]}1?{query}").status_code == 403
    assert far.get(link.replace("signature=", "signature=a")).status_code == 403
    assert client(home, days=signed_links.VALID_DAYS).get(link).status_code == 200
    assert client(home, days=signed_links.VALID_DAYS + 30).get(link).status_code == 403


def test_the_page_is_public_where_reading_is(home: SnapshotHome) -> None:
    public = client(home, public=True)
    page = public.get(f"/fr/alerts/{ALERT}")
    assert page.status_code == 200
    assert "Historique" in page.text
    assert "<script" not in page.text
    assert public.get(f"/alerts/alr_{'f' * 32}").status_code == 404


def test_the_form_acknowledges_and_silences_with_a_key_in_its_body(home: SnapshotHome, link: str, ack_key: str) -> None:
    far = client(home)
    done = send(far, f"/en{link}", action="acknowledge", note="called <Mopti>", by="", key=ack_key)
    assert (done.status_code, done.headers["Location"]) == (303, f"/en{link}")
    page = far.get(f"/en{link}").text
    assert "Acknowledged by duty phone" in page
    assert "called &lt;Mopti&gt;" in page
    assert ack_key not in page
    assert send(far, link, action="unacknowledge", by="Awa", key=ack_key).status_code == 303
    assert send(far, link, action="silence", hours="8", reason="exercise", by="Awa", key=ack_key).status_code == 303
    with home.store.reading() as connection:
        silence = connection.execute(sa.select(silences).order_by(silences.c.id.desc()).limit(1)).one()
        row = connection.execute(sa.select(alerts).where(alerts.c.id == ALERT)).one()
    assert (silence.rule, silence.location_code, silence.reason) == (row.rule, row.location_code, "exercise")
    assert "Silenced by Awa" in far.get(f"/en{link}").text


def test_the_form_refuses_a_wrong_key_and_shows_nothing_without_a_link(
    home: SnapshotHome, link: str, ack_key: str
) -> None:
    far, reader = client(home), keys.add(home.store, "read", "a reader", NOW)
    wrong = send(far, f"/en{link}", action="acknowledge", key="vigie_no_key")
    assert wrong.status_code == 403
    assert "unknown, revoked or mistyped" in wrong.text
    assert "This key can only read" in send(far, f"/en{link}", action="acknowledge", key=reader).text
    assert send(far, f"/alerts/{ALERT}", action="acknowledge", key="vigie_no_key").status_code == 401
    blank = send(far, f"/en{link}", action="silence", hours="8", reason="", key=ack_key)
    assert blank.status_code == 400
    assert "reason: must be one line" in blank.text
    assert send(far, f"/en{link}", action="silence", hours="9999", reason="x", key=ack_key).status_code == 400


def test_a_key_of_the_scope_ack_reads_acknowledges_and_silences_only(home: SnapshotHome, ack_key: str) -> None:
    reader = {"Authorization": f"Bearer {keys.add(home.store, 'read', 'another reader', NOW)}"}
    far, header = client(home), {"Authorization": f"Bearer {ack_key}"}
    assert far.get("/v1/scores", headers=header).status_code == 200
    assert far.post(f"/v1/alerts/{ALERT}/ack", headers=header, json={}).status_code == 200
    assert far.open(f"/v1/alerts/{ALERT}/ack", "DELETE", headers=header).status_code == 200
    assert far.post("/v1/recompute", headers=header).status_code == 403
    assert far.post("/v1/silences", headers=header, json={"rule": "x", "hours": 1, "reason": "x"}).status_code == 400
    assert far.post(f"/v1/alerts/{ALERT}/ack", headers=reader, json={}).status_code == 403


def test_the_pages_say_that_another_rule_inhibits_an_alert(home: SnapshotHome) -> None:
    of_alert = sa.update(alerts).where(alerts.c.id == ALERT)
    with home.store.writing() as connection:
        connection.execute(of_alert.values(inhibited_by="graver-rule"))
    try:
        public = client(home, public=True)
        assert "while the rule graver-rule fires" in public.get(f"/en/alerts/{ALERT}").text
        assert "tant que la règle graver-rule est en alerte" in public.get("/fr/alerts").text
    finally:
        with home.store.writing() as connection:
            connection.execute(of_alert.values(inhibited_by=None))
