"""How each route does: how many attempts took how long, and until when its receiver asked to be left alone."""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from service.alerts.backoff import LONGEST_PAUSE
from service.store.tables import route_attempts, route_pauses

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
"""Upper bounds of the histogram of durations of attempts [s]."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of two machines can differ."""


def record_attempt(connection: sa.Connection, route: str, result: str, seconds: float) -> None:
    """Count one attempt, with its result (`sent`, `retry` or `failed`) and its duration [s]."""
    key = {"route": route, "result": result, "bucket": bisect_left(BUCKETS, seconds)}
    counts = route_attempts.c
    counted = connection.execute(
        sa.update(route_attempts)
        .where(*(counts[name] == value for name, value in key.items()))
        .values(attempts=counts.attempts + 1, seconds=counts.seconds + seconds)
    )
    if not counted.rowcount:  # the caller's transaction has the write lock, so no other process inserts the row
        connection.execute(sa.insert(route_attempts).values(**key, attempts=1, seconds=seconds))


def attempts(connection: sa.Connection) -> dict[tuple[str, str], tuple[float, list[int]]]:
    """Return by route and result the sum of the durations [s], and the number of attempts in each bucket.

    The last bucket has no upper bound.
    """
    found: dict[tuple[str, str], tuple[float, list[int]]] = {}
    for row in connection.execute(sa.select(route_attempts).order_by("route", "result", "bucket")):
        total, counts = found.get((row.route, row.result), (0.0, [0] * (len(BUCKETS) + 1)))
        counts[row.bucket] = row.attempts
        found[row.route, row.result] = (total + row.seconds, counts)
    return found


def pause(connection: sa.Connection, route: str, until: datetime) -> None:
    """Send nothing by a route until a moment."""
    resume(connection, [route])
    connection.execute(sa.insert(route_pauses).values(route=route, paused_until=until))


def resume(connection: sa.Connection, routes: Iterable[str]) -> None:
    """End the pauses of routes."""
    connection.execute(sa.delete(route_pauses).where(route_pauses.c.route.in_(list(routes))))


def paused(now: datetime) -> sa.Select[tuple[str]]:
    """Select the routes that are paused. A longer pause than there can be does not count: the clock was set back."""
    until = route_pauses.c.paused_until
    return sa.select(route_pauses.c.route).where(until > now, until <= now + LONGEST_PAUSE + CLOCK_SKEW)
