"""The life-cycle of an alert: ok → pending → firing → resolved. It reads no data and knows no clock."""

from dataclasses import dataclass, replace

from riskmodel.alerting.rule import Rule
from riskmodel.months import month

OK, PENDING, FIRING, RESOLVED = "ok", "pending", "firing", "resolved"

ACTIVE = (PENDING, FIRING)
"""The states of an alert that has not ended."""


@dataclass(frozen=True)
class AlertState:
    """State of one alert. `origins` counts the origins at or above `fire_at`, and `last_origin` is the newest of them.

    In the state `resolved`, `last_origin` is the origin that resolved the alert. `peak` is the highest value of the
    alert that fires, or of the last one, and `resolved_origin` the origin that resolved the last one.
    """

    state: str = OK
    origins: int = 0
    last_origin: str | None = None
    peak: float | None = None
    resolved_origin: str | None = None

    def without_cool_down(self) -> "AlertState":
        """Return the state without a memory of the last alert: the next one can fire at once."""
        return replace(self, peak=None, resolved_origin=None)


def next_state(current: AlertState, rule: Rule, value: float | None, origin: str) -> AlertState:
    """Return the next state of an alert whose metric has this value at `origin` (YYYY-MM).

    An unknown value changes nothing. An origin that is read again counts once. A value below `fire_at` ends the count,
    and so does any value during the cool-down that is not above the peak of the last alert.
    A resolved alert stays so until a later origin, so that a recompute of the same month does not hide it.
    """
    if value is None:
        return current
    if current.state == FIRING:
        if value >= rule.clear_at:
            return replace(current, peak=max(value, value if current.peak is None else current.peak))
        return AlertState(RESOLVED, 0, origin, current.peak, origin)
    last_origin = current.last_origin or ""
    if value < rule.fire_at or _cools_down(current, rule, value, origin):
        if current.state == RESOLVED and origin <= last_origin:
            return current
        return AlertState(peak=current.peak, resolved_origin=current.resolved_origin)
    origins = current.origins + (origin > last_origin) if current.origins else 1
    last_origin = max(origin, last_origin)
    if origins >= rule.for_origins:
        return AlertState(FIRING, origins, last_origin, peak=value)
    return AlertState(PENDING, origins, last_origin, current.peak, current.resolved_origin)


def _cools_down(current: AlertState, rule: Rule, value: float, origin: str) -> bool:
    """Return whether an alert ended fewer than `cool_down` origins ago and this value is no worse than it was."""
    if not rule.cool_down or current.resolved_origin is None or current.peak is None:
        return False
    return value <= current.peak and bool(month(origin) - month(current.resolved_origin) < rule.cool_down)
