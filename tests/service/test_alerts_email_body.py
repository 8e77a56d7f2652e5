"""The HTML body of e-mails: it says what the plain text says, is small, and loads nothing."""

import re
import sys
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from typing import Any

import pytest
from alert_messages import LANGUAGES, NOW, sent
from receivers import MailReceiver, send_once

from service.alerts import email_body

CID = "chart@vigie"
MAX_BYTES = 30_000


def document(name: str, **more: Any) -> dict[str, Any]:
    data: Mapping[str, Any] = sent()[name]
    return {"type": f"alert.{name.partition('.')[0]}", "timestamp": "2023-01-10T08:30:00Z", "data": {**data, **more}}


def words_of(body: str) -> str:
    visible = re.sub(r"(?s)<head>.*</head>|<[^>]*>", " ", body)
    return " ".join(unescape(visible).split())


def test_the_body_says_all_that_the_plain_text_says() -> None:
    for name, data in sent().items():
        for language in LANGUAGES:
            body = email_body.html(document(name), language, CID if data.get("facts", {}).get("chart") else None)
            words = words_of(body)
            first, *lines = data["full"][language].splitlines()
            url = data["url"][language]
            for part in (*first.split(" – "), *(line for line in lines if line != url)):
                text = part.removeprefix("- ")
                assert " ".join(text.removesuffix(":").split()) in words, (name, part)
            assert f'href="{url}"' in body
            assert len(body.encode()) <= MAX_BYTES


def test_the_body_loads_nothing_and_runs_nothing() -> None:
    for name, cid in (("firing", CID), ("firing.simulated", CID), ("brief", None)):
        body = email_body.html(document(name), "en", cid)
        assert not re.search(r"<script|<link|@import|url\(|\son\w+=", body)
        assert set(re.findall(r'src="([^"]*)"', body)) <= {f"cid:{CID}"}


def test_marks_and_titles_stand_apart() -> None:
    body = email_body.html(document("firing.old"), "en")
    assert re.search(r">SIMULATED</p>\s*<p[^>]*>OLD DATA \(102 days\)</p>", body)
    assert re.search(r">ALERT</p>\s*<h1[^>]*>Niger – Deaths may double", body)
    assert "<strong>1 in 4:</strong> deaths double" in body


def test_a_text_of_an_operator_cannot_add_html() -> None:
    full = {"en": "ALERT – <b>x</b>\n\nNote: <img src=https://example.org> & more\n- <i>"}
    body = email_body.html(document("firing", full=full), "en")
    assert "&lt;b&gt;x&lt;/b&gt;" in body
    assert "&lt;img src=https://example.org&gt; &amp; more" in body
    assert "<img" not in body
    assert "<i>" not in body


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_chart_is_an_image_of_the_months_of_the_country(language: str) -> None:
    pytest.importorskip("resvg_py", reason="the extra chart is not installed")
    chart = email_body.chart_png(document("firing"), language)
    assert chart is not None
    assert chart.startswith(b"\x89PNG")
    assert int.from_bytes(chart[16:20]) == 1200
    assert len(chart) < MAX_BYTES
    quiet = email_body.chart_png(document("firing.onset"), language)
    assert quiet != chart


def test_messages_without_a_country_that_has_known_months_have_no_chart() -> None:
    for name in ("brief", "digest", "test", "expired", "firing.data_too_old", "firing.no_history"):
        assert email_body.chart_png(document(name), "en") is None, name


def test_without_the_extra_there_is_no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert email_body.chart_png(document("firing"), "en") is None


def received(name: str, **route: Any) -> EmailMessage:
    with MailReceiver().listening() as receiver:
        send_once(receiver.route(**route), "msg_1", document(name), NOW)
    (envelope,) = receiver.taken
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_an_email_has_a_plain_and_an_html_body_with_its_chart() -> None:
    pytest.importorskip("resvg_py", reason="the extra chart is not installed")
    message = received("firing", language="fr")
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]
    *_, image = message.walk()
    assert image["Content-ID"] == f"<{CID}>"
    body = message.get_body(("html",))
    assert isinstance(body, EmailMessage)
    assert f"cid:{CID}" in body.get_content()
    plain = message.get_body(("plain",))
    assert isinstance(plain, EmailMessage)
    text = sent()["firing"]["full"]["fr"].splitlines()
    assert plain.get_content().splitlines()[: len(text)] == text


def test_a_short_email_is_plain() -> None:
    message = received("firing", length="sms")
    assert message.get_content_type() == "text/plain"
    text = sent()["firing"]["sms"]["en"].splitlines()
    assert message.get_content().splitlines()[: len(text)] == text
