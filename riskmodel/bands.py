"""The bands of the risk score: named ranges that pages and alerts show beside the number."""

from collections.abc import Mapping

DEFAULT_BANDS = {"minimal": 0.0, "low": 10.0, "moderate": 30.0, "high": 50.0, "very high": 70.0, "extreme": 85.0}
"""The lowest risk score of each band. The setting `bands` replaces them."""


def band_of(score: float, bands: Mapping[str, float]) -> str:
    """Return the band of a risk score [0-100]. `bands` gives the lowest score of each band; one must be 0."""
    return max((floor, name) for name, floor in bands.items() if floor <= score)[1]
