"""Proxies and certificates of offices: what works, and what the message says about what does not."""

import logging
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from providers import Files
from proxy import ESCAPED, Proxy

from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.network import CA_BUNDLE, tls_context
from riskmodel.sources.client import Client


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    files = Files()
    files.files["/x"] = b"{}"
    with files.listening() as address:
        yield address


class Authority:
    """A certificate authority of its own, and a TLS server with a certificate from it."""

    def __init__(self, folder: Path, openssl: str) -> None:
        self.bundle, key, leaf = folder / "office.pem", folder / "office.key", folder / "server.pem"
        new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        subprocess.run(
            [*new, "-subj", "/CN=Office", "-keyout", key, "-out", self.bundle], check=True, capture_output=True
        )
        subprocess.run(
            [*new, "-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-CA", self.bundle, "-CAkey", key,
             "-keyout", folder / "server.key", "-out", leaf],
            check=True, capture_output=True,
        )  # fmt: skip
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(leaf, folder / "server.key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, openssl: str) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), openssl)


@pytest.fixture
def secure_url(authority: Authority) -> Iterator[str]:
    files = Files()
    files.files["/x"] = b"{}"
    with files.listening(authority.tls) as address:
        yield address


def get(url: str) -> object:
    """Return the JSON at a URL, without waiting between attempts."""
    return Client(sleep=lambda _: None, patience=20).get_json(f"{url}/x")


@pytest.mark.parametrize(
    "entry", ["localhost,[::1]", "fd00::/8", "[fd00::]/8, exa mple, [zz,:,192.168.0.0/99", "10.0.0.0/8,*.lan,a:b:c"]
)
def test_entries_of_no_proxy_that_cannot_be_used_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, url: str, entry: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", f"{entry},127.0.0.1")
    assert get(url) == {}


@pytest.mark.parametrize(
    ("variable", "value", "way_out"),
    [
        ("ALL_PROXY", "socks5://me:hunter22@127.0.0.1:9", "pip install socksio"),
        ("ALL_PROXY", "socks://me:hunter22@127.0.0.1:9", "write http://host:port"),
        ("all_proxy", "gopher://me:hunter22@127.0.0.1:9", "write http://host:port"),
        ("HTTPS_PROXY", "http://me:hunter/22@127.0.0.1", "write http://host:port"),
        ("https_proxy", "http://me:hunter22@proxy:port", "write http://host:port"),
        ("SSL_CERT_FILE", "/missing.pem", "No such file"),
        ("SSL_CERT_FILE", __file__, "no certificate in PEM format"),
        ("SSL_CERT_DIR", "/missing", "there is no folder"),
        (CA_BUNDLE, "/missing.pem", "No such file"),
        (CA_BUNDLE, __file__, "no certificate in PEM format"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, way_out: str
) -> None:
    if value.startswith("socks5") and _is_installed("socksio"):
        pytest.skip("SOCKS proxies work here")
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInput, match=f"^{variable}.*{way_out}") as failure:
        Client()
    assert "hunter" not in str(failure.value)


def _is_installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def test_a_proxy_with_user_and_password_works_and_they_are_never_logged(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, url: str, secure_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(CA_BUNDLE, str(authority.bundle))
    proxy = Proxy()
    with proxy.listening() as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{ESCAPED}@{address}")
        monkeypatch.setenv("http_proxy", f"{ESCAPED}@{address}")
        assert (get(url), get(secure_url)) == ({}, {})
    assert proxy.served == [f"{url}/x", secure_url.removeprefix("https://")]
    assert "amadou" not in caplog.text
    assert "ss:w" not in caplog.text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_the_credentials_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, secure_url: str, scheme: str
) -> None:
    with Proxy().listening() as address:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://amadou:hunter22@{address}")
        with pytest.raises(SourceUnavailable, match=rf"{scheme.upper()}_PROXY .*\(407\): write .*user:pass") as failure:
            get(url if scheme == "http" else secure_url)
    assert "hunter22" not in str(failure.value)
    assert "ss:w" not in str(failure.value)


def test_a_proxy_that_does_not_connect_is_named(monkeypatch: pytest.MonkeyPatch, secure_url: str) -> None:
    proxy = Proxy()
    with proxy.listening() as address:
        monkeypatch.setenv("ALL_PROXY", f"http://{address}")
        proxy.refusal = 403
        with pytest.raises(SourceUnavailable, match=r"ALL_PROXY does not connect to 127\.0\.0\.1 \(403\): ask those"):
            get(secure_url)
        proxy.refusal = 502
        with pytest.raises(SourceUnavailable, match=r"ALL_PROXY does not connect to it \(502\).*try again later"):
            get(secure_url)


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy().listening() as address:
        pass
    monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
    with pytest.raises(SourceUnavailable, match="the proxy of HTTPS_PROXY cannot be reached"):
        get("https://ucdp.invalid")


def test_certificates_of_an_office_are_trusted(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, secure_url: str
) -> None:
    with pytest.raises(SourceUnavailable, match=f"cannot be trusted.*{CA_BUNDLE}"):
        get(secure_url)
    monkeypatch.setenv(CA_BUNDLE, str(authority.bundle))
    assert get(secure_url) == {}


def test_the_bundle_of_an_office_adds_to_the_certificates_of_the_system(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    system = len(tls_context().get_ca_certs())
    monkeypatch.setenv(CA_BUNDLE, str(authority.bundle))
    assert len(tls_context().get_ca_certs()) == system + 1
