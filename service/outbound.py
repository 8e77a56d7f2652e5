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
from typing import Any, NamedTuple, Self, TypeAlias

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


CONNECTION_LOST = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
"""Failures of a connection that the peer has closed."""

RESOLVED_SECONDS = 30.0
"""How long the addresses of a host are used without another look-up [s]."""

BODY_SECONDS, BODY_BYTES = 0.5, 65_536
"""How much of the body of a response is read, to keep its connection [s, bytes]."""


class RequestFailed(Exception):
    """A request got no response. `sent`: the receiver may have got it. The text has no URL, which can hold a token."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(logs.one_line(reason))
        self.sent = sent


class ResponseHead(NamedTuple):
    """The part of a response that is read: its status, and the time that it asks to wait (`Retry-After`), as text."""

    status: int
    retry_after: str | None


class _Resolved(NamedTuple):
    """The allowed addresses of a host, and until when they are used (monotonic) [s]."""

    addresses: list[Address]
    until: float


class AddressRefused(httpx2.ConnectError):
    """A host has no address that the guard allows."""


def is_public(address: Address) -> bool:
    """Return whether an address is on the public network: not private, local, shared, reserved or multicast."""
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def is_allowed(host: str, address: Address, allowed: Sequence[Network | str]) -> bool:
    """Return whether a request to a host can go to one of its addresses.

    `allowed` lists the private networks and host names that it can reach besides public addresses.
    """
    named = any(host.lower() == entry if isinstance(entry, str) else address in entry for entry in allowed)
    return named or is_public(address)


class Session:
    """Requests that keep their connection open from one to the next. Closing it closes the connection.

    `allowed` lists the private networks and host names that the requests can reach. A session belongs to one thread.
    """

    def __init__(self, allowed: Sequence[Network | str] = ()) -> None:
        self._allowed = allowed
        self._runner = asyncio.Runner()
        self._client: httpx2.AsyncClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._runner:
            self._runner.run(self._disconnect())

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        step_seconds: float = 10.0,
        deadline_seconds: float = 30.0,
    ) -> ResponseHead:
        """Send one request and return the head of the response.

        `step_seconds` limits each step (resolve, connect, write, wait for bytes) and `deadline_seconds` limits the
        whole request. Raises RequestFailed.
        """
        content = {"method": method, "url": url, "headers": headers, "content": body}
        try:
            return self._runner.run(self._within(deadline_seconds, content, step_seconds))
        except TimeoutError:
            raise RequestFailed(f"no response within {deadline_seconds:g} s", sent=True) from None
        except BadInput as wrong_variable:
            raise RequestFailed(str(wrong_variable), sent=False) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
            sent = not isinstance(failure, NOT_SENT)
            raise RequestFailed(f"{type(failure).__name__}: {failure}", sent=sent) from None

    async def _within(self, seconds: float, content: Mapping[str, Any], step_seconds: float) -> ResponseHead:
        # The limit per step starts again with each byte, so a slow receiver needs the limit on the whole.
        async with asyncio.timeout(seconds):
            used_before = self._client is not None
            try:
                return await self._exchange(content, step_seconds)
            except CONNECTION_LOST:
                await self._disconnect()
                # A receiver can close a connection that it kept open just when the next request is on its way.
                if not used_before:
                    raise
                return await self._exchange(content, step_seconds)
            except BaseException:
                await self._disconnect()
                raise

    async def _exchange(self, content: Mapping[str, Any], step_seconds: float) -> ResponseHead:
        if self._client is None:
            self._client = httpx2.AsyncClient(transport=GuardedTransport(self._allowed), follow_redirects=False)
        async with self._client.stream(**content, timeout=step_seconds) as response:
            # The next request can use the connection only if the body was read. Its end is not waited for.
            with contextlib.suppress(TimeoutError, httpx2.HTTPError):
                async with asyncio.timeout(BODY_SECONDS):
                    size = 0
                    async for part in response.aiter_raw():
                        if (size := size + len(part)) > BODY_BYTES:
                            break
            return ResponseHead(response.status_code, response.headers.get("retry-after"))

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Transport that connects to public addresses, and to the private networks and hosts in `allowed`.

    Building one raises BadInput if the environment names certificates that cannot be read.
    """

    def __init__(self, allowed: Sequence[Network | str] = ()) -> None:
        self._allowed = allowed
        self._transport = httpx2.AsyncHTTPTransport(verify=tls_context())
        self._known: dict[tuple[str, int], _Resolved] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the first allowed address that accepts a connection. Raises AddressRefused if none is."""
        host, port = request.url.raw_host.decode("ascii"), request.url.port or DEFAULT_PORTS[request.url.scheme]
        timeout = request.extensions["timeout"]
        addresses = await self._addresses(host, port, timeout["connect"])
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

    async def _addresses(self, host: str, port: int, seconds: float) -> list[Address]:
        """Return the allowed addresses of a host. They are used for some time, as the connection to one of them is."""
        known = self._known.get((host, port))
        if known is None or known.until < time.monotonic():
            allowed = [
                address for address in await _resolve(host, port, seconds) if is_allowed(host, address, self._allowed)
            ]
            known = self._known[host, port] = _Resolved(allowed, time.monotonic() + RESOLVED_SECONDS)
        return known.addresses

    async def aclose(self) -> None:
        """Close open connections."""
        await self._transport.aclose()

    async def _send(self, request: httpx2.Request, address: Address) -> httpx2.Response:
        # Only the URL changes: the Host header was set from the name and stays.
        request.url = request.url.copy_with(host=str(address))
        return await self._transport.handle_async_request(request)


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
