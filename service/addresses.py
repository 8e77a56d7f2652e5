"""What an address on the network is: this machine, a network somebody has named, or a place the whole world may see.

Pure: it resolves no name and opens no connection.
"""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given to anybody; outside lie loopback, link-local, ULA, multicast, NAT64 and mapped IPv4."""

_NOT_PUBLIC = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    ipaddress.IPv6Network("2002::/16"),  # 6to4 carries an IPv4 address, which may be a private one
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)


def parsed(text: str) -> Address | None:
    """The address that a text spells, or None where it spells none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def loopback(host: str) -> bool:
    """Whether nobody but this machine can reach a server that listens on this host."""
    address = parsed(host)
    return host == "localhost" if address is None else address.is_loopback


def public(address: Address) -> bool:
    """Whether an address is one of the public network: not private, local, shared or multicast."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not within(address, _NOT_PUBLIC)


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def neighbourhood(address: Address) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of IPv6 that one household has."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
