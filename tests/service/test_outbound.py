"""The guard of outbound requests, against real receivers and host names that resolve to chosen addresses."""

import functools
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receivers import LOOPBACK, SECRET, HookReceiver, make_certificate

from riskmodel.home import Home
from service.outbound import RequestFailed, ResponseHead, Session, is_public

Resolver = Callable[..., list[str]]


def send_request(method: str, url: str, *, allowed: Sequence[Any] = (), **more: Any) -> ResponseHead:
    with Session(allowed) as session:
        return session.request(method, url, headers={}, **more)


post = functools.partial(send_request, "POST")


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Let a host name resolve to chosen addresses, one list for each look-up; return the list of look-ups so far."""
    real, names, lookups = socket.getaddrinfo, dict[str, list[list[str]]](), list[str]()

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in names:
            return list(real(host, port, *rest, **more))
        lookups.append(name)
        addresses = names[name].pop(0) if len(names[name]) > 1 else names[name][0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def set_name(host: str, *addresses: list[str]) -> list[str]:
        names[host] = list(addresses)
        return lookups

    return set_name


@contextmanager
def listening_at(address: str, port: int) -> Iterator[socket.socket]:
    """A server that must get no connection; `was_reached` tells whether it did."""
    with socket.create_server((address, port), family=socket.AF_INET) as server:
        server.settimeout(0.05)
        yield server


def was_reached(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


@contextmanager
def https_server(certificate: Path) -> Iterator[int]:
    """An HTTPS server on loopback that answers each GET with 404; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused certificate ends the handshake
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.1", "localhost", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("192.0.0.8", "198.18.0.1", "[fe80::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:0:1::1]"),
    ],
)
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    with HookReceiver().listening() as receiver, pytest.raises(RequestFailed) as failure:
        post(f"http://{host}:{receiver.port}/secret-path")
    assert receiver.paths == []
    assert "AddressRefused" in str(failure.value)
    assert "secret-path" not in str(failure.value)


def test_a_host_name_is_checked_by_its_addresses(resolve: Resolver) -> None:
    resolve("hooks.example.org", ["127.0.0.1"])
    with HookReceiver().listening() as receiver:
        url = f"http://hooks.example.org:{receiver.port}/"
        with pytest.raises(RequestFailed, match="allow_private_webhooks"):
            post(url)
        assert receiver.paths == []
        for allowed in (LOOPBACK, ("hooks.example.org",)):
            assert post(url, allowed=allowed).status == 204
        with pytest.raises(RequestFailed):
            post(url, allowed=(ip_network("10.0.0.0/8"), "example.org"))
    assert len(receiver.paths) == 2


def test_every_address_of_a_name_is_checked_and_only_allowed_ones_are_tried(resolve: Resolver) -> None:
    with HookReceiver().listening() as receiver, listening_at("127.0.0.2", receiver.port) as forbidden:
        resolve("many.example.org", ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"])
        allowed = (ip_network("127.0.0.1/32"), ip_network("127.0.0.3/32"))
        assert post(f"http://many.example.org:{receiver.port}/", allowed=allowed).status == 204
        assert not was_reached(forbidden)
    assert receiver.paths == ["/"], "127.0.0.3 refuses the connection, so the next allowed address gets the request"


def test_the_connection_goes_to_the_checked_address(resolve: Resolver) -> None:
    """A name that resolves to another address after the check (DNS rebinding) does not lead anywhere else."""
    with HookReceiver().listening() as receiver, listening_at("127.0.0.2", receiver.port) as inside:
        lookups = resolve("rebinds.example.org", ["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"])
        url, allowed = f"http://rebinds.example.org:{receiver.port}/", (ip_network("127.0.0.1/32"),)
        assert post(url, allowed=allowed).status == 204
        assert not was_reached(inside)
        assert lookups == ["rebinds.example.org"]
        with pytest.raises(RequestFailed, match="no public address"):
            post(url, allowed=allowed)
        assert not was_reached(inside)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_even_to_an_allowed_address(status: int) -> None:
    with HookReceiver(status).listening() as receiver:
        assert post(receiver.url("/hook"), allowed=LOOPBACK).status == status
    assert receiver.paths == ["/hook"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with HookReceiver().listening() as proxy, HookReceiver().listening() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        assert post(receiver.url("/hook"), allowed=LOOPBACK).status == 204
    assert (proxy.paths, receiver.paths) == ([], ["/hook"])


def test_the_receiver_gets_the_host_name_and_port_of_the_url(resolve: Resolver) -> None:
    resolve("hooks.example.org", ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(5)
        with pytest.raises(RequestFailed):
            post(f"http://hooks.example.org:{port}/a?b=c", allowed=LOOPBACK, deadline_seconds=0.3)
        request = server.accept()[0].recv(4096).decode()
    assert request.startswith("POST /a?b=c HTTP/1.1\r\n")
    assert f"\r\nhost: hooks.example.org:{port}\r\n" in request.lower()


@pytest.mark.parametrize(("host", "trusted"), [("hooks.example.org", True), ("other.example.org", False)])
def test_the_certificate_has_to_be_the_one_of_the_host_name(
    resolve: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    resolve(host, ["127.0.0.1"])
    certificate = make_certificate(tmp_path, "hooks.example.org")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with https_server(certificate) as port:
        url = f"https://{host}:{port}/"
        if trusted:
            assert send_request("GET", url, allowed=LOOPBACK).status == 404
        else:
            with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
                send_request("GET", url, allowed=LOOPBACK)


def test_an_unknown_certificate_is_refused(resolve: Resolver, tmp_path: Path) -> None:
    resolve("hooks.example.org", ["127.0.0.1"])
    with (
        https_server(make_certificate(tmp_path, "hooks.example.org")) as port,
        pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        send_request("GET", f"https://hooks.example.org:{port}/", allowed=LOOPBACK)


@pytest.mark.parametrize("address", ["8.8.8.8", "193.0.6.139", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_carries_an_ipv4_address_is_not_public(address: Any) -> None:
    low = int(address) & 0xFFFF_FFFF
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        assert not is_public(IPv6Address(int(IPv6Address(prefix)) | low))
    assert not is_public(IPv6Address(int(IPv6Address("2002::")) | low << 80))


def test_deliveries_use_the_guard_with_the_allowed_networks_of_the_settings(
    home: Home, vigie: Callable[..., Any]
) -> None:
    home.root.mkdir()
    with HookReceiver().listening() as receiver:
        route = f'[routes.duty]\ntype = "webhook"\nurl = "{receiver.url("/hook")}"\nsecret = "{SECRET}"\n'
        home.settings.write_text(route)
        refused = vigie("alerts", "test", "duty")
        assert (refused.code, receiver.paths) == (4, [])
        assert "allow_private_webhooks" in refused.err
        home.settings.write_text('allow_private_webhooks = ["127.0.0.0/8"]\n' + route)
        assert vigie("alerts", "test", "duty").code == 0
    assert receiver.paths == ["/hook"]
