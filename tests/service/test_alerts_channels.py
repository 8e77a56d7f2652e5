"""The channels against real receivers: signatures, e-mail, deadlines, and no secrets in errors or logs."""

import logging
import ssl
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from receivers import LOOPBACK, PASSWORD, SECRET, HookReceiver, MailReceiver, make_certificate, send_once, silent_port

from riskmodel.home import Home
from service.alerts import delivery, outbox, wording
from service.alerts.channels import attempt
from service.alerts.channels import heartbeat as calls
from service.alerts.channels.attempt import DeliveryError
from service.settings import EmailRoute, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import alerts

ID = "msg_0123456789abcdef"
PAYLOAD = {"type": "alert.test", "timestamp": "2026-11-22T08:15:00Z", "data": wording.test("duty")}
SIMULATED = {
    "type": "alert.firing",
    "timestamp": "2026-11-22T08:15:00Z",
    "data": {
        "headline": {"en": "SIMULATED – ALERT\r\nBcc: all@example.org\u2028x", "fr": "SIMULATED – Escalade à Bamako"},
        "full": {"en": "SIMULATED – as text.\n- Côte d’Ivoire", "fr": "SIMULATED – en texte.\n- Côte d’Ivoire"},
    },
}


send = send_once
heartbeat = partial(calls.heartbeat, allowed=LOOPBACK)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(attempt, "DEADLINE_SECONDS", 0.6)


def test_a_webhook_is_signed_and_carries_its_id() -> None:
    with HookReceiver().listening() as receiver:
        send(receiver.route(), ID, PAYLOAD, now())
    assert receiver.taken == [(ID, PAYLOAD)]


def test_the_signature_is_valid_in_any_time_zone() -> None:
    with HookReceiver().listening() as receiver:
        send(receiver.route(), ID, PAYLOAD, now().astimezone(timezone(timedelta(hours=-9))))
    assert receiver.taken == [(ID, PAYLOAD)]


def test_every_attempt_sends_the_same_bytes() -> None:
    with HookReceiver(500).listening() as receiver:
        with pytest.raises(DeliveryError):
            send(receiver.route(), ID, PAYLOAD, now())
        send(receiver.route(), ID, dict(reversed(PAYLOAD.items())), now())
    assert receiver.bodies[0] == receiver.bodies[1]
    assert receiver.ids == [ID, ID]


@pytest.mark.parametrize(
    ("answer", "gone"), [(500, False), (503, False), (400, False), (401, False), (404, False), (410, True)]
)
def test_only_410_means_that_the_receiver_is_gone(answer: int, gone: bool) -> None:
    with HookReceiver(answer).listening() as receiver, pytest.raises(DeliveryError, match=str(answer)) as failure:
        send(receiver.route(), ID, PAYLOAD, now())
    assert (failure.value.gone, failure.value.permanent, failure.value.maybe_received) == (gone, False, False)


def test_redirects_are_not_followed() -> None:
    with HookReceiver(307).listening() as receiver, pytest.raises(DeliveryError, match="307"):
        send(receiver.route(), ID, PAYLOAD, now())
    assert receiver.paths == ["/hook"]


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize("fault", ["hang", "cut", "drip"])
def test_a_failing_receiver_is_left_within_the_deadline(fault: str) -> None:
    with HookReceiver(fault).listening() as receiver:
        start = monotonic()
        with pytest.raises(DeliveryError) as failure:
            send(receiver.route(), ID, PAYLOAD, now())
        assert monotonic() - start < 2
    assert (failure.value.permanent, failure.value.maybe_received) == (False, True)
    assert receiver.taken == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/hook/token-in-path", "http://no-such-host.invalid/token-in-path"])
def test_the_error_of_a_missing_receiver_does_not_contain_its_url(url: str) -> None:
    route = WebhookRoute.model_validate({"type": "webhook", "url": url, "secret": SECRET})
    with pytest.raises(DeliveryError) as failure:
        send(route, ID, PAYLOAD, now())
    assert (failure.value.permanent, failure.value.maybe_received) == (False, False)
    assert "token-in-path" not in str(failure.value)


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with HookReceiver(204, 500, 500).listening() as receiver:
            route = receiver.route("/token-in-path")
            send(route, ID, PAYLOAD, now())
            with pytest.raises(DeliveryError):
                send(route, ID, PAYLOAD, now())
            heartbeat(receiver.url("/token-in-path"))
        with MailReceiver().listening(auth=True) as mail, pytest.raises(DeliveryError) as refused:
            send(mail.route(username="vigie", password=SecretStr("wrong-password")), ID, PAYLOAD, now())
    our_lines = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("mail", "asyncio")))
    assert "heartbeat failed: the monitor answered 500" in our_lines
    assert "token-in-path" not in our_lines
    assert SECRET.removeprefix("whsec_") not in our_lines
    assert "wrong-password" not in our_lines + str(refused.value)
    assert SECRET not in repr(route)


def test_a_heartbeat_is_one_get_request_to_the_address_of_its_signal() -> None:
    with HookReceiver().listening() as receiver:
        heartbeat(receiver.url("/ping/1"))
        heartbeat(receiver.url("/ping/1/?rid=2"), "start")
        heartbeat(receiver.url("/ping/1"), "fail")
    assert receiver.paths == ["/ping/1", "/ping/1/start?rid=2", "/ping/1/fail"]


def test_a_monitor_without_addresses_for_start_and_failure_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    with HookReceiver(404, 404).listening() as receiver:
        heartbeat(receiver.url("/ping"), "start")
        assert caplog.records == []
        heartbeat(receiver.url("/ping"))
        assert len(caplog.records) == 1


@pytest.mark.usefixtures("short_deadlines")
def test_a_failed_heartbeat_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    with HookReceiver("hang").listening() as receiver:
        heartbeat(receiver.url("/ping"))
    heartbeat("http://127.0.0.1:9/ping")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def received_email(receiver: MailReceiver) -> EmailMessage:
    (envelope,) = receiver.taken
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_an_email_is_in_the_language_of_its_route() -> None:
    with MailReceiver().listening() as receiver:
        send(receiver.route(["a@example.org", "b@example.org"], language="fr"), ID, SIMULATED, now())
    message = received_email(receiver)
    assert message["Subject"] == "SIMULATED – Escalade à Bamako"
    body = message.get_body(("plain",))
    assert isinstance(body, EmailMessage)
    assert body.get_content().splitlines()[:2] == ["SIMULATED – en texte.", "- Côte d’Ivoire"]
    assert message["Message-ID"] == f"<{ID}@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert receiver.taken[0].rcpt_tos == ["a@example.org", "b@example.org"]
    assert receiver.taken[0].mail_from == "vigie@example.org"


def test_a_headline_cannot_add_a_header() -> None:
    with MailReceiver().listening() as receiver:
        send(receiver.route(), ID, SIMULATED, now())
    message = received_email(receiver)
    assert message["Bcc"] is None
    assert message["Subject"] == "SIMULATED – ALERT Bcc: all@example.org x"


def test_addresses_as_people_type_them_reach_the_mail_server() -> None:
    with MailReceiver().listening() as receiver:
        to = ["Duty officer <duty@example.org>", "duty@sécurité.example"]
        send(receiver.route(to, sender="Veille, Bamako <v@example.org>"), ID, PAYLOAD, now())
    assert receiver.taken[0].rcpt_tos == ["duty@example.org", "duty@xn--scurit-bvaf.example"]
    assert receiver.taken[0].mail_from == "v@example.org"
    assert received_email(receiver)["From"].addresses[0].display_name == "Veille, Bamako"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "VIGIE_CA_BUNDLE"])
def test_certificates_that_cannot_be_read_are_named_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/missing.pem")
    with MailReceiver().listening() as mail, pytest.raises(DeliveryError, match=variable):
        send(mail.route(security="starttls"), ID, PAYLOAD, now())
    with HookReceiver().listening() as hook, pytest.raises(DeliveryError, match=variable):
        send(hook.route(), ID, PAYLOAD, now())


@pytest.mark.parametrize(
    ("refused", "reply", "mark", "error"),
    [
        ({"a@example.org": "550 5.1.1 unknown", "b@example.org": "550 5.1.1 unknown"}, "250 OK", "gone", "2 of 2"),
        ({"a@example.org": "451 4.7.1 greylisted", "b@example.org": "550 no"}, "250 OK", None, "2 of 2"),
        ({"a@example.org": "550 5.1.1 unknown"}, "250 OK", "permanent", "1 of 2 recipients refused: 550 5.1.1 unknown"),
        ({}, "554 5.7.1 spam", "permanent", "554 5.7.1 spam"),
        ({}, "451 4.3.0 later", None, "451 4.3.0 later"),
    ],
)
def test_a_refusal_of_a_mail_server_is_permanent_if_it_says_so(
    refused: dict[str, str], reply: str, mark: str | None, error: str
) -> None:
    server = MailReceiver(refused=refused, reply=reply)
    with server.listening(), pytest.raises(DeliveryError) as failure:
        send(server.route(["a@example.org", "b@example.org"]), ID, PAYLOAD, now())
    assert [name for name in ("gone", "permanent") if getattr(failure.value, name)] == ([mark] if mark else [])
    assert failure.value.maybe_received is ("1 of 2" in error), "the other recipient has it"
    assert error in str(failure.value)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize(
    ("security", "drip"),
    [
        ("none", b""),
        ("none", b"2"),
        ("none", b"220-more to come\r\n"),
        ("tls", b"\x16\x03\x03\x40\x00"),  # the beginning of a long TLS record, and then more of it
    ],
)
def test_a_mail_server_that_does_not_answer_is_left_within_the_deadline(security: str, drip: bytes) -> None:
    with silent_port(drip) as port:
        route = EmailRoute.model_validate(
            {
                "type": "email",
                "to": ["a@example.org"],
                "sender": "v@example.org",
                "host": "127.0.0.1",
                "port": port,
                "security": security,
            }
        )
        start = monotonic()
        with pytest.raises(DeliveryError) as failure:
            send(route, ID, PAYLOAD, now())
        assert monotonic() - start < 2
    assert not failure.value.permanent


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` and its key, in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost")


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_email_is_sent_encrypted_to_a_server_with_a_valid_certificate(
    certificate: Path, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with MailReceiver().listening(**{security: server_side(certificate)}, auth=True) as receiver:
        route = receiver.route(security=security, username="vigie", password=SecretStr(PASSWORD))
        send(route, ID, PAYLOAD, now())
    assert receiver.encrypted == [True]
    assert receiver.logins == ["vigie"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_email_is_not_sent_to_a_server_with_an_unknown_certificate(certificate: Path, security: str) -> None:
    server = MailReceiver()
    with (
        server.listening(**{security: server_side(certificate)}),
        pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED") as failure,
    ):
        send(server.route(security=security), ID, PAYLOAD, now())
    assert not failure.value.permanent
    assert server.taken == []


def test_an_email_is_not_sent_unencrypted_to_a_server_without_starttls() -> None:
    with MailReceiver().listening() as receiver, pytest.raises(DeliveryError, match="STARTTLS"):
        send(receiver.route(security="starttls"), ID, PAYLOAD, now())
    assert receiver.taken == []


def test_the_emails_of_an_alert_are_one_conversation(tmp_path: Path) -> None:
    store, first = Store.of(Home(tmp_path)), datetime.now(UTC)
    texts = SIMULATED["data"]
    with store.writing() as connection:
        common = {"run_id": None, "region": "MLI", "rule": "r", "location_code": "MLI", "outcome": "all"}
        for name in ("alr_1", "alr_2"):
            row = {"id": name, "simulated": True, "severity": "info", "state": "firing", "opened_at": first}
            values = {key: value for key, value in {**common, **row}.items() if key in alerts.c}
            connection.execute(sa.insert(alerts).values(values))
        ids = [
            outbox.enqueue(connection, route=route, kind="firing", data={**texts, **about}, now=first)
            for route, about in (
                ("other", {"alert_id": "alr_1"}),
                ("mail", {"alert_id": "alr_1"}),
                ("mail", {"alert_id": "alr_2"}),
                ("mail", {"alert_id": "alr_1"}),
                ("mail", {"alerts": [{"alert_id": "alr_1"}, {"alert_id": "alr_2"}]}),
                ("mail", {}),
            )
        ]
    with MailReceiver().listening() as receiver:
        settings = Settings(routes={"mail": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"sent": 5}
    sent = [message_from_bytes(envelope.content, policy=policy.default) for envelope in receiver.taken]
    assert [mail["Message-ID"] for mail in sent] == [f"<{name}@example.org>" for name in ids[1:]]
    assert [mail["In-Reply-To"] for mail in sent] == [None, None, f"<{ids[1]}@example.org>", None, None]
    assert sent[2]["References"] == sent[2]["In-Reply-To"]
