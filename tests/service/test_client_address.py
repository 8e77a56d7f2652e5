"""Which addresses count as one client."""

from ipaddress import ip_address

import pytest

from service.http.client_address import client_network


@pytest.mark.parametrize(
    ("first", "second", "network"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_addresses_of_one_household_count_as_one_client(first: str, second: str, network: str) -> None:
    assert client_network(ip_address(first)) == client_network(ip_address(second)) == network


@pytest.mark.parametrize(("first", "second"), [("192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:2::1")])
def test_other_addresses_count_as_other_clients(first: str, second: str) -> None:
    assert client_network(ip_address(first)) != client_network(ip_address(second))
