"""Where a request may go that a person has written the address of: asked of real receivers, with names that lie."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receivers import LOOPBACK, SECRET, HookReceiver

from riskmodel.errors import BadInput
from riskmodel.home import Home
from service.addresses import neighbourhood, public
from service.alerts import channels
from service.alerts.channels import TransportError
from service.settings import load

Answers = Callable[..., list[str]]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Give names of our own invention the addresses we say, one list for each time they are asked for."""
    real, names, asked = socket.getaddrinfo, dict[str, list[list[str]]](), list[str]()

    def resolver(host: Any, port: Any, *rest: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in names:
            return list(real(host, port, *rest, **more))
        asked.append(name)
        answer = names[name].pop(0) if len(names[name]) > 1 else names[name][0]
        return [
            (socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, int(port)))
            for at in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)

    def name(host: str, *answers: list[str]) -> list[str]:
        names[host] = list(answers)
        return asked

    return name


@contextmanager
def listening_at(address: str, port: int) -> Iterator[socket.socket]:
    """A server that nobody should come to; `came` says whether somebody did."""
    with socket.create_server((address, port), family=socket.AF_INET) as server:
        server.settimeout(0.05)
        yield server


def came(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "written",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.1", "localhost", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("192.0.0.8", "198.18.0.1", "[fe80::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:0:1::1]"),
    ],
)
def test_a_request_does_not_go_to_an_address_that_is_not_public(written: str) -> None:
    with HookReceiver().listening() as receiver, pytest.raises(TransportError) as failure:
        channels._status("POST", f"http://{written}:{receiver.port}/secret-path", {}, b"", ())
    assert receiver.paths == []
    assert not failure.value.permanent, "it goes out once the operator has allowed it"
    assert "AddressRefused" in str(failure.value)
    assert "secret-path" not in str(failure.value)


def test_a_name_is_judged_by_its_addresses(named: Answers) -> None:
    named("hooks.example.org", ["127.0.0.1"])
    with HookReceiver().listening() as receiver:
        url = f"http://hooks.example.org:{receiver.port}/"
        with pytest.raises(TransportError, match="allow_private_webhooks"):
            channels._status("POST", url, {}, b"", ())
        assert receiver.paths == []
        for allowed in (LOOPBACK, ("hooks.example.org",)):
            assert channels._status("POST", url, {}, b"", allowed) == 204
        with pytest.raises(TransportError):
            channels._status("POST", url, {}, b"", (ip_network("10.0.0.0/8"), "example.org"))
    assert len(receiver.paths) == 2


def test_every_address_of_a_name_is_checked_and_only_the_allowed_are_tried(named: Answers) -> None:
    with HookReceiver().listening() as receiver, listening_at("127.0.0.2", receiver.port) as forbidden:
        named("many.example.org", ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"])
        allowed = (ip_network("127.0.0.1/32"), ip_network("127.0.0.3/32"))
        assert channels._status("POST", f"http://many.example.org:{receiver.port}/", {}, b"", allowed) == 204
        assert not came(forbidden)
    assert receiver.paths == ["/"], "127.0.0.3 does not answer, and the next allowed address does"


def test_the_address_that_was_checked_is_the_one_that_is_asked(named: Answers) -> None:
    """A name that changes its mind after the check (DNS rebinding) reaches nobody else."""
    with HookReceiver().listening() as receiver, listening_at("127.0.0.2", receiver.port) as inside:
        asked = named("rebinds.example.org", ["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"])
        allowed = (ip_network("127.0.0.1/32"),)
        assert channels._status("POST", f"http://rebinds.example.org:{receiver.port}/", {}, b"", allowed) == 204
        assert not came(inside)
        assert asked == ["rebinds.example.org"]
        with pytest.raises(TransportError, match="no public address"):
            channels._status("POST", f"http://rebinds.example.org:{receiver.port}/", {}, b"", allowed)
        assert not came(inside)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_even_to_what_is_allowed(status: int) -> None:
    with HookReceiver(status).listening() as receiver:
        assert channels._status("POST", receiver.url("/hook"), {}, b"", LOOPBACK) == status
    assert receiver.paths == ["/hook"]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with HookReceiver().listening() as proxy, HookReceiver().listening() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert channels._status("POST", receiver.url("/hook"), {}, b"", LOOPBACK) == 204
    assert (proxy.paths, receiver.paths) == ([], ["/hook"])


def test_the_host_and_the_port_of_the_name_are_told_to_the_receiver(
    named: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    named("hooks.example.org", ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(5)
        monkeypatch.setattr(channels, "DEADLINE_SECONDS", 0.3)
        with pytest.raises(TransportError):
            channels._status("POST", f"http://hooks.example.org:{port}/a?b=c", {}, b"", LOOPBACK)
        said = server.accept()[0].recv(4096).decode()
    assert said.startswith("POST /a?b=c HTTP/1.1\r\n")
    assert f"\r\nhost: hooks.example.org:{port}\r\n" in said.lower()


@pytest.mark.parametrize("address", ["8.8.8.8", "193.0.6.139", "2606:4700::1111", "2a00:1450::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert public(ip_address(address))


@given(st.ip_addresses(v=6))
def test_no_disguise_of_an_ipv4_address_is_public(address: Any) -> None:
    low = int(address) & 0xFFFF_FFFF
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        assert not public(IPv6Address(int(IPv6Address(prefix)) | low))
    assert not public(IPv6Address(int(IPv6Address("2002::")) | low << 80))


def test_a_household_is_one_client() -> None:
    assert neighbourhood(ip_address("2001:db8::1")) == neighbourhood(ip_address("2001:db8::ffff:1")) == "2001:db8::/64"
    assert neighbourhood(ip_address("::ffff:192.0.2.1")) == neighbourhood(ip_address("192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "a b", "http://x", ""])
def test_what_is_neither_a_network_nor_a_host_is_refused(home: Home, entry: str) -> None:
    home.root.mkdir()
    home.settings.write_text(f'allow_private_webhooks = ["{entry}"]\n')
    with pytest.raises(BadInput, match="neither a network such as"):
        load(home)


def test_the_settings_reach_the_channel(home: Home, vigie: Callable[..., Any]) -> None:
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
