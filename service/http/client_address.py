"""Address of a client, and the network that counts as one client."""

import ipaddress
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Return the IP address in a text, or None if the text is not one."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def client_network(address: Address) -> str:
    """Return what one limit applies to: an IPv4 address, or the /64 of an IPv6 address, which one household has."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
