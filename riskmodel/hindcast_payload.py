"""A country's scores in a hindcast, with the keys that they have in a snapshot."""

from collections.abc import Mapping
from typing import Any, Final

HINDCAST: Final = "hindcast"
"""The basis of what comes from a hindcast, and the reason for what a hindcast does not have."""

NOT_IN_HINDCAST = ("latest_month", "data_quality", "sources", "indicators", "indicators_before", "drivers")
"""The keys of a country in a snapshot that a hindcast does not have."""


def as_in_snapshot(country: Mapping[str, Any]) -> dict[str, Any]:
    """Return a country of a hindcast with all keys that it has in a snapshot: those missing are None, with a reason."""
    missing = dict.fromkeys(NOT_IN_HINDCAST, HINDCAST)
    return {**country, **dict.fromkeys(NOT_IN_HINDCAST), "reasons": {**country["reasons"], **missing}}
