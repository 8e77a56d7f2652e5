"""The route by Apprise, against receivers that Apprise reaches by its own plugins."""

import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from time import monotonic
from typing import Any

import pytest
from receivers import HookReceiver, send_once

from service.alerts import channels
from service.alerts.channels import attempt
from service.alerts.channels.attempt import DeliveryError, Outgoing
from service.settings import AppriseRoute

DATA = {
    "headline": {"en": "ALERT – Mali", "fr": "ALERTE – Mali"},
    "sms": {"en": "VIGIE Mali", "fr": "VIGIE Mali fr"},
    "text": {"en": "Deaths may double.", "fr": "Les morts peuvent doubler."},
    "full": {"en": "Long.", "fr": "Long, en français."},
    "url": {"en": "https://vigie.example.org/en/", "fr": "https://vigie.example.org/fr/"},
}
MESSAGE = {"type": "alert.firing", "timestamp": "2026-11-22T08:15:00Z", "data": DATA}


def now() -> datetime:
    return datetime.now(UTC)


def route(url: str, **more: Any) -> AppriseRoute:
    return AppriseRoute.model_validate({"type": "apprise", "url": url, **more})


def json_url(receiver: HookReceiver) -> str:
    return f"json://127.0.0.1:{receiver.port}/token-in-path"


@pytest.mark.parametrize(
    ("options", "title", "body"),
    [
        ({}, "ALERT – Mali", "Deaths may double."),
        ({"language": "fr", "length": "full"}, "ALERTE – Mali", "Long, en français."),
        ({"length": "sms"}, "", "VIGIE Mali"),
    ],
)
def test_a_message_is_sent_in_the_language_and_length_of_its_route(
    options: dict[str, str], title: str, body: str
) -> None:
    with HookReceiver(secret=None).listening() as receiver:
        send_once(route(json_url(receiver), **options), "msg_1", MESSAGE, now())
    ((_, payload),) = receiver.taken
    assert (payload["title"], payload["message"]) == (title, body)


def test_a_service_of_the_own_network_gets_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with HookReceiver(200, secret=None).listening() as receiver:
        send_once(route(f"ntfy://127.0.0.1:{receiver.port}/duty"), "msg_1", MESSAGE, now())
    ((_, payload),) = receiver.taken
    assert (payload["topic"], payload["title"]) == ("duty", "ALERT – Mali")


@pytest.fixture
def log_lines() -> Iterator[StringIO]:
    """What a service that logs everything writes. (`caplog` also sees loggers that pass nothing on.)"""
    lines, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(lines), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize(("answer", "gone"), [(500, False), (404, False), (410, True)])
def test_an_answer_is_named_without_the_address(
    answer: int, gone: bool, log_lines: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    with HookReceiver(answer, secret=None).listening() as receiver, pytest.raises(DeliveryError) as failure:
        send_once(route(json_url(receiver)), "msg_1", MESSAGE, now())
    assert str(failure.value) == f"JSON answered {answer}"
    assert (failure.value.gone, failure.value.permanent) == (gone, False)
    assert "token-in-path" not in log_lines.getvalue() + "".join(capfd.readouterr())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_not_reached_unless_it_is_allowed(host: str) -> None:
    with HookReceiver(secret=None).listening() as receiver:
        target = route(f"json://{host}:{receiver.port}/")
        with channels.opened(target) as channel, pytest.raises(DeliveryError, match="no public address") as failure:
            channel.send(Outgoing("msg_1", MESSAGE), now())
        assert (failure.value.maybe_received, receiver.paths) == (False, [])
        with channels.opened(target, [host, "127.0.0.1", "localhost"]) as channel:
            channel.send(Outgoing("msg_1", MESSAGE), now())
    assert len(receiver.taken) == 1


def test_a_redirect_is_not_followed() -> None:
    with HookReceiver(307, secret=None).listening() as receiver, pytest.raises(DeliveryError):
        send_once(route(json_url(receiver)), "msg_1", MESSAGE, now())
    assert receiver.paths == ["/token-in-path"]


def test_a_service_that_answers_too_slowly_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "DEADLINE_SECONDS", 0.5)
    with HookReceiver("drip", secret=None).listening() as receiver:
        start = monotonic()
        with pytest.raises(DeliveryError, match=r"no answer within 0\.5 s") as failure:
            send_once(route(json_url(receiver)), "msg_1", MESSAGE, now())
        assert monotonic() - start < 20
    assert failure.value.maybe_received


@pytest.mark.parametrize("url", ["nothing://secret-token", "slack://secret-token"])
def test_an_address_that_apprise_does_not_know_is_an_error_without_the_address(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeliveryError, match="Apprise does not understand the url") as failure:
        send_once(route(url), "msg_1", MESSAGE, now())
    assert "secret-token" not in str(failure.value) + "".join(capfd.readouterr())


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryError, match=r"pip install 'vigie\[notify\]'"):
        send_once(route("json://127.0.0.1/"), "msg_1", MESSAGE, now())


def test_the_settings_refuse_what_is_no_address_without_showing_it() -> None:
    with pytest.raises(ValueError, match="an address of Apprise") as failure:
        route("secret-token")
    assert "secret-token" not in repr(route("slack://secret-token"))
    assert "secret-token" not in failure.value.errors(include_input=False).__repr__()  # type: ignore[attr-defined]
