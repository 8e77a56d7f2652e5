"""The HTTP client and downloads against a real server with faults: bounded, resumable, and silent about secrets."""

import email.utils
import hashlib
import json
import logging
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from providers import HTML, TOKEN, Fault, Files, Request, Response, certificate

from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.sources.client import REDIRECTS, Client
from riskmodel.sources.download import download
from riskmodel.sources.responses import ATTEMPTS, NotFound, Rejected, Unauthorised

CONTENT = b"a,b\n" + bytes(range(48, 58)) * 20_000
SECRET = {"Authorization": f"Bearer {TOKEN}"}


class Json(Files):
    """Also responds to `/json` with an object that says which page was requested."""

    def respond(self, request: Request) -> Response:
        if request.path == "/json":
            return Response(200, json.dumps({"page": request.query.get("page")}).encode())
        return super().respond(request)


class Waits(list[float]):
    """Replaces `time.sleep`, and records the waits [s]."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(waits: Waits) -> Client:
    return Client(sleep=waits, patience=1.5)


@pytest.fixture
def provider() -> Json:
    provider = Json()
    provider.files["/data.csv"] = CONTENT
    return provider


@pytest.fixture
def url(provider: Json) -> Iterator[str]:
    with provider.listening() as address:
        yield address


def test_json_is_requested_with_parameters_and_our_user_agent(client: Client, provider: Json, url: str) -> None:
    assert client.get_json(f"{url}/json", params={"page": 3}) == {"page": "3"}
    assert provider.requests[0].headers["user-agent"].startswith("Vigie/")
    assert "https://github.com/vigie" in provider.requests[0].headers["user-agent"]


def test_a_form_is_posted_and_answered_with_json(client: Client, provider: Json, url: str) -> None:
    assert client.post_form(f"{url}/json", {"username": "me", "password": "x y"}) == {"page": None}
    assert (provider.requests[0].method, provider.requests[0].body) == ("POST", b"username=me&password=x+y")


@pytest.mark.parametrize(
    "fault",
    [
        Response(500),
        Response(503, headers={"Retry-After": "7"}),
        Response(429, headers={"Retry-After": "7"}),
        Response(200, b'{"page": "3"}', cut=5),
        Response(200, b'{"page": "3"}', announced=5),
        Response(200, b'{"page": "3"}', announced=500),
        Response(200, b'{"page": "3"}', drip=0.4),
        Response(200, b'{"page": "3"}', late=0.4),
        Response(200, b"no gzip", {"Content-Encoding": "gzip"}),
    ],
    ids=["500", "503", "429", "cut", "announced too short", "announced too long", "drip", "dripping header", "no gzip"],
)
def test_transient_faults_are_tried_again(
    client: Client, waits: Waits, provider: Json, url: str, fault: Response
) -> None:
    provider.faults["/json"].append(fault)
    assert client.get_json(f"{url}/json") == {"page": None}
    assert len(waits) == 1
    assert (7 <= waits[0] <= 8) if "Retry-After" in fault.headers else (0 <= waits[0] <= 1)


def test_attempts_are_bounded_and_the_waits_grow(client: Client, waits: Waits, provider: Json, url: str) -> None:
    provider.faults["/json"].extend([Response(502)] * 99)
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1: it has a fault \(502\).*/json.*try again later"):
        client.get_json(f"{url}/json")
    assert len(provider.requests) == ATTEMPTS
    assert all(wait <= 2**n for n, wait in enumerate(waits))


def test_a_new_attempt_takes_a_new_connection(client: Client, provider: Json, url: str) -> None:
    for _ in range(2):
        client.get_json(f"{url}/json")
    assert provider.connections == 1, "the connection is reused while there is no fault"
    provider.faults["/json"].append(Response(200, b'{"page": '))
    client.get_json(f"{url}/json")
    assert provider.connections == 2


@pytest.mark.parametrize("moment", [False, True])
def test_a_provider_that_asks_for_a_long_wait_is_not_asked_again(
    client: Client, waits: Waits, provider: Json, url: str, moment: bool
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    asks = email.utils.format_datetime(tomorrow, usegmt=True) if moment else "86400"
    provider.faults["/json"].append(Response(429, headers={"Retry-After": asks}))
    with pytest.raises(SourceUnavailable, match="asks to wait 86,"):
        client.get_json(f"{url}/json")
    assert waits == []


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        (Response(401), Unauthorised, "does not accept the credentials"),
        (Response(403), Unauthorised, "a proxy or firewall of your network can be the reason"),
        (Response(404), NotFound, "/json is not there"),
        (Response(410), NotFound, "/json is not there"),
        (Response(400, b"Invalid  object\nname"), Rejected, "Invalid object name"),
        (HTML, SourceUnavailable, "a web page came instead of data"),
        (Response(200, b"\xef\xbb\xbf <html>"), SourceUnavailable, "a web page came instead of data"),
        (Response(200, b'"' + b"x" * 2000 + b'"'), SourceUnavailable, "larger than 1,000 bytes"),
        (Response(302, headers={"Location": "ftp://127.0.0.1/x"}), SourceUnavailable, "which is not followed"),
        (Response(304), SourceUnavailable, "304, which is not expected"),
    ],
)
def test_lasting_faults_are_reported_at_once(
    client: Client, waits: Waits, provider: Json, url: str, fault: Response, error: type[Exception], text: str
) -> None:
    provider.faults["/json"].append(fault)
    with pytest.raises(error, match=text):
        client.get_json(f"{url}/json", limit=1000)
    assert waits == []


def test_a_host_that_does_not_answer_is_tried_three_times(client: Client, waits: Waits, provider: Json) -> None:
    with provider.listening() as gone:
        pass
    with pytest.raises(SourceUnavailable, match="cannot be reached; is there a network"):
        client.get_json(f"{gone}/json")
    assert len(waits) == 2


def test_redirects_are_followed_and_limited(client: Client, provider: Json, url: str) -> None:
    provider.faults["/json"].extend([Response(302, headers={"Location": "/json?page=9"})] * REDIRECTS)
    assert client.get_json(f"{url}/json") == {"page": "9"}
    provider.faults["/json"].extend([Response(302, headers={"Location": "/json"})] * 99)
    with pytest.raises(SourceUnavailable, match="more than 5 times"):
        client.get_json(f"{url}/json")


def test_credentials_do_not_cross_to_another_host(client: Client, provider: Json, url: str) -> None:
    elsewhere = Json()
    with elsewhere.listening() as other:
        provider.faults["/json"].append(Response(307, headers={"Location": f"{other}/json"}))
        client.get_json(f"{url}/json", headers=SECRET | {"Accept": "application/json"})
    assert provider.requests[0].headers["authorization"] == SECRET["Authorization"]
    assert "authorization" not in elsewhere.requests[0].headers
    assert elsewhere.requests[0].headers["accept"] == "application/json"


def test_a_login_is_never_redirected(client: Client, provider: Json, url: str) -> None:
    provider.faults["/json"].append(Response(307, headers={"Location": "/json"}))
    with pytest.raises(SourceUnavailable, match="answers a login with a redirect"):
        client.post_form(f"{url}/json", {"password": "x"})
    assert len(provider.requests) == 1


@pytest.mark.usefixtures("openssl")
def test_tls_is_verified_and_never_downgraded(
    tmp_path: Path, provider: Json, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    assert pem is not None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with Json().listening(tls) as safe, pytest.raises(SourceUnavailable, match="certificate cannot be trusted"):
        Client(sleep=Waits()).get_json(f"{safe}/json")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    downgrading = Json()
    with downgrading.listening(tls) as safe:
        client = Client(sleep=Waits())
        assert client.get_json(f"{safe}/json") == {"page": None}
        downgrading.faults["/json"].append(Response(302, headers={"Location": f"{url}/json"}))
        with pytest.raises(SourceUnavailable, match="redirects from https to http, which is not followed"):
            client.get_json(f"{safe}/json", headers=SECRET)
    assert provider.requests == []


def test_credentials_are_sent_encrypted_or_not_at_all(client: Client) -> None:
    with pytest.raises(BadInput, match="sent encrypted or not at all"):
        client.get_json("http://192.0.2.1/json", headers=SECRET)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://192.0.2.1/x", "ucdp.uu.se"])
def test_only_http_urls_are_accepted(client: Client, address: str) -> None:
    with pytest.raises(BadInput, match="no address that begins with https"):
        client.get_json(address)


def test_no_secret_in_errors_or_logs(
    client: Client, provider: Json, url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)

    def echo(status: int) -> Fault:
        def response(request: Request, _: Response) -> Response:
            who = " for hunter22" if request.method == "POST" else ""
            return Response(status, f"{{bad token {TOKEN}{who}".encode(), {"Location": f"//{TOKEN}@x/"})

        return response

    messages: list[str] = []
    for status in (400, 401, 404, 429, 500, 200, 302):
        provider.faults["/json"].extend([echo(status)] * 3 * ATTEMPTS)
        for ask in (
            lambda: client.get_json(f"{url}/json?key={TOKEN}", headers=SECRET),
            lambda: client.post_form(f"{url}/json", {"username": "hunter22", "password": TOKEN}),
            lambda: download(client, f"{url}/json?key={TOKEN}", tmp_path / "x", headers=SECRET, limit=9),
        ):
            try:
                ask()
            except SourceUnavailable as failure:
                messages.append(str(failure))
        provider.faults["/json"].clear()
    with pytest.raises(BadInput) as unsendable:
        client.get_json(f"{url}/json", headers={"Authorization": f"{TOKEN}\n"})
    assert any("bad token … for …" in text for text in messages)
    assert TOKEN not in " ".join([*messages, str(unsendable.value), caplog.text])
    assert "hunter22" not in " ".join([*messages, caplog.text])


def test_an_unchanged_file_is_not_downloaded_again(client: Client, provider: Json, url: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "data.csv"
    fetched = download(client, f"{url}/data.csv", target, limit=1 << 20)
    assert (fetched.changed, fetched.last_modified) == (True, datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert target.read_bytes() == CONTENT
    again = download(client, f"{url}/data.csv", target, limit=1 << 20)
    assert (again.changed, again.last_modified) == (False, fetched.last_modified)
    provider.files["/data.csv"] = CONTENT[::-1]
    assert download(client, f"{url}/data.csv", target, limit=1 << 20).changed
    assert target.read_bytes() == CONTENT[::-1]
    assert {path.name for path in target.parent.iterdir()} == {"data.csv", "data.csv.http.json"}


def test_a_file_that_was_changed_here_is_downloaded_again(
    client: Client, provider: Json, url: str, tmp_path: Path
) -> None:
    target = tmp_path / "data.csv"
    download(client, f"{url}/data.csv", target, limit=1 << 20)
    target.write_bytes(CONTENT[:100])
    assert download(client, f"{url}/data.csv", target, limit=1 << 20).changed
    assert target.read_bytes() == CONTENT


def test_a_cut_download_is_continued_within_the_call(client: Client, provider: Json, url: str, tmp_path: Path) -> None:
    provider.faults["/data.csv"].extend([cut_at(50_000), cut_at(60_000)])
    seen: list[tuple[int, int | None]] = []
    client.watch = lambda name, done, total: seen.append((done, total))
    assert download(client, f"{url}/data.csv", tmp_path / "data.csv", limit=1 << 20).changed
    assert (tmp_path / "data.csv").read_bytes() == CONTENT
    assert [request.headers.get("range") for request in provider.requests] == [None, "bytes=50000-", "bytes=110000-"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def cut_at(count: int) -> Fault:
    """Return the correct response, cut off after some bytes."""
    return lambda request, response: Response(response.status, response.body, response.headers, cut=count)


def test_an_interrupted_download_is_continued_later_or_restarted(
    client: Client, provider: Json, url: str, tmp_path: Path
) -> None:
    target = tmp_path / "data.csv"
    for after in (CONTENT, CONTENT.swapcase()[::-1]):
        target.unlink(missing_ok=True)
        provider.faults["/data.csv"].extend([cut_at(1000), *[Response(503)] * 4])
        with pytest.raises(SourceUnavailable, match="503"):
            download(client, f"{url}/data.csv", target, limit=1 << 20)
        assert not target.exists()
        assert (tmp_path / "data.csv.part").stat().st_size == 1000
        provider.files["/data.csv"] = after
        download(client, f"{url}/data.csv", target, limit=1 << 20)
        assert provider.requests[-1].headers["range"] == "bytes=1000-"
        assert target.read_bytes() == after


def test_a_download_restarts_if_the_server_cannot_continue_it(
    client: Client, provider: Json, url: str, tmp_path: Path
) -> None:
    wrong_part = Response(206, CONTENT[5:], {"Content-Range": "bytes 5-9/10"})
    for fault in (Response(416), wrong_part, Response(206, CONTENT[1000:])):
        (tmp_path / "data.csv").unlink(missing_ok=True)
        provider.faults["/data.csv"].extend([cut_at(1000), fault])
        download(client, f"{url}/data.csv", tmp_path / "data.csv", limit=1 << 20)
        assert (tmp_path / "data.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (HTML, "a web page came"),
        (Response(200, b"  <html>"), "a web page came"),
        (Response(200, b"x" * 3000, announced=3000), "larger than 2,000 bytes"),
        (
            lambda request, response: Response(200, b"", {"Transfer-Encoding": "chunked"}, announced=0),
            "broke off|empty",
        ),
        (Response(200, b""), "it sent an empty file"),
        (Response(200, b"x" * 90, announced=100), "broke off"),
        (Response(200, b"x" * 100, drip=0.05), "less than 1024 bytes a second"),
    ],
)
def test_a_failed_download_leaves_the_target_unchanged(
    client: Client, provider: Json, url: str, tmp_path: Path, fault: Fault, text: str
) -> None:
    target = tmp_path / "data.csv"
    target.write_bytes(b"unchanged")
    provider.faults["/data.csv"].extend([fault] * ATTEMPTS)
    with pytest.raises(SourceUnavailable, match=text):
        download(client, f"{url}/data.csv", target, limit=2000)
    assert target.read_bytes() == b"unchanged"


def test_size_and_md5_are_compared_with_the_published_ones(
    client: Client, provider: Json, url: str, tmp_path: Path
) -> None:
    target, md5 = tmp_path / "data.csv", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    provider.faults["/data.csv"].extend([Response(200, CONTENT[:-1]), Response(200, CONTENT[::-1])])
    assert download(client, f"{url}/data.csv", target, limit=1 << 20, md5=md5.upper(), size=len(CONTENT)).changed
    assert len(provider.requests) == 3
    assert not download(client, f"{url}/data.csv", target, limit=1 << 20, md5=md5).changed
    assert len(provider.requests) == 3
    with pytest.raises(SourceUnavailable, match="does not have the md5"):
        download(client, f"{url}/data.csv", tmp_path / "b", limit=1 << 20, md5="0" * 32)
    with pytest.raises(SourceUnavailable, match="200,004 bytes where 5 were announced"):
        download(client, f"{url}/data.csv", tmp_path / "b", limit=1 << 20, size=5)
    assert not (tmp_path / "b").exists()
