"""The life-cycle of an alert: ok → pending → firing → resolved. It reads no data and knows no clock."""

from dataclasses import dataclass, replace

from riskmodel.alerting.metrics import REGION_METRIC
from riskmodel.alerting.rule import Rule
from riskmodel.months import month

OK, PENDING, FIRING, RESOLVED = "ok", "pending", "firing", "resolved"

CORRECTED = "corrected"
"""The alert ended because the figures that it fired on were revised: it should not have fired."""
EXPIRED = "expired"
"""The alert ended, and it is not known whether the danger is over: its value was unknown for long, or its rule
changed."""

ACTIVE = (PENDING, FIRING)
"""The states of an alert that has not ended."""

ENDED = (RESOLVED, CORRECTED, EXPIRED)
"""How an alert that fired can end. Such a state lasts until a later origin."""

EXPIRES_AFTER = 3
"""An alert whose value has been unknown for so many origins expires: the forecast that it fired on was about the three
months after that [months]."""


@dataclass(frozen=True)
class AlertState:
    """State of one alert. `origins` counts the origins at or above `fire_at`, and `last_origin` is the newest of them.

    In a state of `ENDED`, `last_origin` is the origin that ended the alert. `peak` is the highest value of the
    alert that fires, or of the last one, and `resolved_origin` the origin that resolved the last one. `fired_origin` is
    the origin with which the alert began to fire, and `known_origin` the newest one with a known value.
    """

    state: str = OK
    origins: int = 0
    last_origin: str | None = None
    peak: float | None = None
    resolved_origin: str | None = None
    fired_origin: str | None = None
    known_origin: str | None = None

    def without_cool_down(self) -> "AlertState":
        """Return the state without a memory of the last alert: the next one can fire at once."""
        return replace(self, peak=None, resolved_origin=None)


def next_state(current: AlertState, rule: Rule, value: float | None, origin: str) -> AlertState:
    """Return the next state of an alert whose metric has this value at `origin` (YYYY-MM).

    An unknown value changes nothing until `EXPIRES_AFTER`. An origin that is read again counts once. A value below
    `fire_at` ends the count, and so does any value during the cool-down that is not above the peak of the last alert.
    An alert that ends at the origin with which it began to fire is corrected, and has no cool-down. An alert that has
    ended stays so until a later origin, so that a recompute of the same month does not hide it.
    """
    if value is None:
        return ended(current, origin) if _is_forgotten(current, origin) else current
    known = replace(current, known_origin=max(origin, current.known_origin or ""))
    if current.state == FIRING:
        if value >= rule.clear_at:
            return replace(known, peak=max(value, value if current.peak is None else current.peak))
        # The age of the data changes with the clock: new data in the same month correct nothing.
        if origin <= (current.fired_origin or "") and rule.metric != REGION_METRIC:
            return AlertState(CORRECTED, 0, origin)
        return AlertState(RESOLVED, 0, origin, current.peak, origin)
    last_origin = current.last_origin or ""
    if value < rule.fire_at or _cools_down(current, rule, value, origin):
        if current.state in ENDED and origin <= last_origin:
            return current
        return AlertState(peak=current.peak, resolved_origin=current.resolved_origin)
    origins = current.origins + (origin > last_origin) if current.origins else 1
    last_origin = max(origin, last_origin)
    if origins >= rule.for_origins:
        return AlertState(FIRING, origins, last_origin, value, fired_origin=origin, known_origin=origin)
    return replace(known, state=PENDING, origins=origins, last_origin=last_origin, fired_origin=None)


def ended(current: AlertState, origin: str) -> AlertState:
    """Return the state of an alert that ends at an origin without being known to be over. It has no cool-down."""
    return AlertState(EXPIRED, 0, origin) if current.state == FIRING else AlertState()


def _is_forgotten(current: AlertState, origin: str) -> bool:
    if current.state not in ACTIVE or current.known_origin is None:
        return False
    return bool(month(origin) - month(current.known_origin) >= EXPIRES_AFTER)


def _cools_down(current: AlertState, rule: Rule, value: float, origin: str) -> bool:
    """Return whether an alert ended fewer than `cool_down` origins ago and this value is no worse than it was."""
    if not rule.cool_down or current.resolved_origin is None or current.peak is None:
        return False
    return value <= current.peak and bool(month(origin) - month(current.resolved_origin) < rule.cool_down)
