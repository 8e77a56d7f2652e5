"""Guard of outbound requests: they go to public addresses, and to private ones only where the settings allow it.

An operator writes the URL of a webhook, so a mistake in it must not let Vigie call services of the local network
(server-side request forgery). The guard resolves a name once, checks every address, and connects to a checked one: a
second look-up could return another address (DNS rebinding). It follows no redirect and uses no proxy from the
environment, because both would choose an address that the guard does not see.

Every wait is bounded, that for DNS included.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import NamedTuple, TypeAlias

import httpx2

from riskmodel.errors import BadInput
from riskmodel.network import tls_context
from service import logs
from service.settings import Network

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The part of IPv6 that is assigned to networks. Loopback, link-local, ULA, multicast, NAT64 and mapped IPv4 are not
in it."""

RESERVED = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.IPv6Network("2001::/23"),  # protocol assignments, including Teredo
    ipaddress.IPv6Network("2002::/16"),  # 6to4 carries an IPv4 address, which can be a private one
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
"""Networks that `is_global` of the standard library calls global in some versions of Python, and that we refuse."""

MIN_CONNECT_SECONDS = 2.0
"""Shortest wait for one of several addresses of a host [s]: a lost packet is sent again after a second."""

NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
)
"""Failures before the first byte of a request."""


class RequestFailed(Exception):
    """A request got no response. `sent`: the receiver may have got it. The text has no URL, which can hold a token."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(logs.one_line(reason))
        self.sent = sent


class ResponseHead(NamedTuple):
    """The part of a response that is read: its status, and the time that it asks to wait (`Retry-After`), as text."""

    status: int
    retry_after: str | None


class AddressRefused(httpx2.ConnectError):
    """A host has no address that the guard allows."""


def is_public(address: Address) -> bool:
    """Return whether an address is on the public network: not private, local, shared, reserved or multicast."""
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def send_request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    allowed: Sequence[Network | str] = (),
    step_seconds: float = 10.0,
    deadline_seconds: float = 30.0,
) -> ResponseHead:
    """Send one request and return the head of the response, whose body is not read.

    `allowed` lists the private networks and host names that the request can reach. `step_seconds` limits each step
    (resolve, connect, write, wait for bytes) and `deadline_seconds` limits the whole request. Raises RequestFailed.
    """

    async def send() -> ResponseHead:
        async with (
            # The limit per step starts again with each byte, so a slow receiver needs the limit on the whole.
            asyncio.timeout(deadline_seconds),
            httpx2.AsyncClient(
                transport=GuardedTransport(allowed), timeout=step_seconds, follow_redirects=False
            ) as client,
            client.stream(method, url, headers=headers, content=body) as response,
        ):
            return ResponseHead(response.status_code, response.headers.get("retry-after"))

    try:
        return asyncio.run(send())
    except TimeoutError:
        raise RequestFailed(f"no response within {deadline_seconds:g} s", sent=True) from None
    except BadInput as wrong_variable:
        raise RequestFailed(str(wrong_variable), sent=False) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
        sent = not isinstance(failure, NOT_SENT)
        raise RequestFailed(f"{type(failure).__name__}: {failure}", sent=sent) from None


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Transport that connects to public addresses, and to the private networks and hosts in `allowed`.

    Building one raises BadInput if the environment names certificates that cannot be read.
    """

    def __init__(self, allowed: Sequence[Network | str] = ()) -> None:
        self._networks = [entry for entry in allowed if not isinstance(entry, str)]
        self._hosts = {entry for entry in allowed if isinstance(entry, str)}
        self._transport = httpx2.AsyncHTTPTransport(verify=tls_context())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the first allowed address that accepts a connection. Raises AddressRefused if none is."""
        host, port = request.url.raw_host.decode("ascii"), request.url.port or DEFAULT_PORTS[request.url.scheme]
        timeout = request.extensions["timeout"]
        addresses = [
            address for address in await _resolve(host, port, timeout["connect"]) if self._allows(host, address)
        ]
        if not addresses:
            raise AddressRefused("the host has no public address, and allow_private_webhooks does not name it")
        request.extensions["sni_hostname"] = host  # TLS checks the certificate against the name, not the address
        until = time.monotonic() + timeout["connect"]
        for left in range(len(addresses), 1, -1):
            timeout["connect"] = connect_seconds(until, left)
            with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._send(request, addresses[-left])
        timeout["connect"] = connect_seconds(until, 1)
        return await self._send(request, addresses[-1])

    async def aclose(self) -> None:
        """Close open connections."""
        await self._transport.aclose()

    async def _send(self, request: httpx2.Request, address: Address) -> httpx2.Response:
        # Only the URL changes: the Host header was set from the name and stays.
        request.url = request.url.copy_with(host=str(address))
        return await self._transport.handle_async_request(request)

    def _allows(self, host: str, address: Address) -> bool:
        return (
            is_public(address) or host.lower() in self._hosts or any(address in network for network in self._networks)
        )


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address of a host that accepts a connection, public or not. Raises OSError.

    To resolve the name and to connect take at most `seconds` each. The socket waits as long for its peer.
    """
    try:
        addresses = look_up(host, port).result(seconds)
    except TimeoutError:
        raise TimeoutError(_unresolved(seconds)) from None
    until, failure = time.monotonic() + seconds, OSError("the host has no address")
    for left in range(len(addresses), 0, -1):
        try:
            connection = socket.create_connection((str(addresses[-left]), port), connect_seconds(until, left))
        except OSError as refused:
            failure = refused
        else:
            connection.settimeout(seconds)
            return connection
    raise failure


def connect_seconds(until: float, addresses: int) -> float:
    """Return how long to wait for the next of so many addresses, so that each gets its turn before `until` [s].

    One address that drops packets must not use up the time of those behind it.
    """
    remaining = max(0.001, until - time.monotonic())  # 0 would mean not to wait for an answer at all
    return min(remaining, max(MIN_CONNECT_SECONDS, remaining / addresses))


def look_up(host: str, port: int) -> Future[list[Address]]:
    """Resolve a host in a thread of its own. The result is its addresses in the order to try them, or an OSError.

    Nothing can interrupt `getaddrinfo`, which can take a minute. Whoever gives up the result leaves the thread behind:
    it is a daemon, so neither an event loop nor the end of the process waits for it.
    """
    future: Future[list[Address]] = Future()

    def resolve() -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits any more
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                future.set_result([ipaddress.ip_address(str(sockaddr[0])) for *_, sockaddr in found])
            except OSError as failure:
                future.set_exception(failure)
            except ValueError as failure:  # the name is not valid in DNS
                future.set_exception(OSError(str(failure)))

    threading.Thread(target=resolve, daemon=True, name="look-up").start()
    return future


async def _resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Return the addresses of a host in the order to try them. Raises ConnectError or ConnectTimeout if it has none."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(look_up(host, port)), seconds)
    except TimeoutError:
        raise httpx2.ConnectTimeout(_unresolved(seconds)) from None
    except OSError as failure:
        raise httpx2.ConnectError(str(failure)) from None


def _unresolved(seconds: float) -> str:
    return f"the name of the host was not resolved within {seconds:g} s"
