"""How a request leaves for an address that a person has written down: only to where the settings let it go.

Every address of the name is checked after it was resolved, and the connection goes to the very address that was
checked, so that a name cannot answer one thing to the check and another to the connection. It follows no redirect and
uses no proxy of the environment, for both choose the address out of our sight.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

import httpx

from service.addresses import Address, Network, parsed, public, within

_PORTS = {"http": 80, "https": 443}


class AddressRefused(httpx.ConnectError):
    """A name has no address that a request may go to."""


class Guarded(httpx.AsyncBaseTransport):
    """Sends to public addresses, and to the networks and hosts that `private` names."""

    def __init__(self, private: Sequence[Network | str] = ()) -> None:
        self._networks = [entry for entry in private if not isinstance(entry, str)]
        self._hosts = {entry for entry in private if isinstance(entry, str)}
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send to the first allowed address that takes the connection. Raises AddressRefused if none is allowed."""
        host, port = request.url.raw_host.decode("ascii"), request.url.port or _PORTS[request.url.scheme]
        allowed = [address for address in await _addresses(host, port) if self._may_go_to(host, address)]
        if not allowed:
            raise AddressRefused("the host has no public address, and allow_private_webhooks does not name it")
        request.extensions["sni_hostname"] = host  # the certificate is still that of the name
        for address in allowed[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._sent(request, address)
        return await self._sent(request, allowed[-1])

    async def _sent(self, request: httpx.Request, address: Address) -> httpx.Response:
        request.url = request.url.copy_with(host=str(address))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()

    def _may_go_to(self, host: str, address: Address) -> bool:
        return public(address) or host.lower() in self._hosts or within(address, self._networks)


async def _addresses(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which to try them. Raises ConnectError if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as unknown:
        raise httpx.ConnectError(str(unknown)) from None
    return [address for *_, where in found if (address := parsed(str(where[0]))) is not None]
