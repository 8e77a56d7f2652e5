"""How people read the value of an indicator that a snapshot stores as a logarithm."""

from math import expm1

SNAPSHOT_ROUNDING = 1e-4
"""Largest error of a stored log1p value: snapshots round to four decimals, which may turn 3 into 2.9998."""


def count_of(log1p_value: float) -> float:
    """Return the count of which a stored value is log(1 + count); whole if it can be."""
    count = expm1(log1p_value)
    whole = round(count)
    return float(whole) if abs(count - whole) <= SNAPSHOT_ROUNDING * (1 + count) else count
