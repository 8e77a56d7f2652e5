"""Guard of outbound requests: they go to public addresses, and to private ones only where the settings allow it.

An operator writes the URL of a webhook, so a mistake in it must not let Vigie call services of the local network
(server-side request forgery). The guard resolves a name once, checks every address, and connects to a checked one: a
second look-up could return another address (DNS rebinding). It follows no redirect and uses no proxy from the
environment, because both would choose an address that the guard does not see.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import httpx2

from riskmodel.errors import BadInput
from riskmodel.network import tls_context
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
        super().__init__(reason)
        self.sent = sent


class AddressRefused(httpx2.ConnectError):
    """A host has no address that the guard allows."""


def is_public(address: Address) -> bool:
    """Return whether an address is on the public network: not private, local, shared, reserved or multicast."""
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not reserved


def request_status(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    allowed: Sequence[Network | str] = (),
    step_seconds: float = 10.0,
    deadline_seconds: float = 30.0,
) -> int:
    """Send one request and return the status of the response, whose body is not read.

    `allowed` lists the private networks and host names that the request can reach. `step_seconds` limits each step
    (connect, write, wait for bytes) and `deadline_seconds` limits the whole request. Raises RequestFailed.
    """

    async def send() -> int:
        async with (
            # The limit per step starts again with each byte, so a slow receiver needs the limit on the whole.
            asyncio.timeout(deadline_seconds),
            httpx2.AsyncClient(
                transport=GuardedTransport(allowed), timeout=step_seconds, follow_redirects=False
            ) as client,
            client.stream(method, url, headers=headers, content=body) as response,
        ):
            return response.status_code

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
        addresses = [address for address in await _resolve(host, port) if self._allows(host, address)]
        if not addresses:
            raise AddressRefused("the host has no public address, and allow_private_webhooks does not name it")
        request.extensions["sni_hostname"] = host  # TLS checks the certificate against the name, not the address
        for address in addresses[:-1]:
            with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._send(request, address)
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


async def _resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host in the order to try them. Raises ConnectError if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [ipaddress.ip_address(str(sockaddr[0])) for *_, sockaddr in found]
    except (OSError, ValueError) as failure:  # ValueError: the name is not valid in DNS
        raise httpx2.ConnectError(str(failure)) from None
