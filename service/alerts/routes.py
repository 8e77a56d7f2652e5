"""How each route does: how many attempts took how long, and which routes are paused or disabled.

A route is *paused* until a moment because its receiver asked to be left alone. It is *disabled* because its receiver is
gone; only an operator enables it again. The messages of both wait.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from service.alerts.backoff import LONGEST_PAUSE
from service.store.tables import route_attempts, route_pauses

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
"""Upper bounds of the histogram of durations of attempts [s]."""

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of two machines can differ."""


def record_attempts(connection: sa.Connection, route: str, results: Iterable[tuple[str, float]]) -> None:
    """Count attempts, each with its result (`sent`, `retry`, `failed` or `refused`) and its duration [s]."""
    totals: dict[tuple[str, int], list[float]] = defaultdict(list)
    for result, seconds in results:
        totals[result, bisect_left(BUCKETS, seconds)].append(seconds)
    counts = route_attempts.c
    for (result, bucket), durations in totals.items():
        key = {"route": route, "result": result, "bucket": bucket}
        counted = connection.execute(
            sa.update(route_attempts)
            .where(*(counts[name] == value for name, value in key.items()))
            .values(attempts=counts.attempts + len(durations), seconds=counts.seconds + sum(durations))
        )
        if not counted.rowcount:  # the caller's transaction has the write lock, so no other process inserts the row
            values = {"attempts": len(durations), "seconds": sum(durations)}
            connection.execute(sa.insert(route_attempts).values(**key, **values))


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


def pause(connection: sa.Connection, route: str, now: datetime, until: datetime) -> None:
    """Send nothing by a route until a moment. A disabled route stays disabled."""
    pauses = route_pauses.c
    connection.execute(sa.delete(route_pauses).where(pauses.route == route, pauses.paused_until.is_not(None)))
    if route not in disabled(connection):
        connection.execute(sa.insert(route_pauses).values(route=route, since=now, paused_until=until))


def disable(connection: sa.Connection, route: str, now: datetime, error: str) -> bool:
    """Send nothing by a route until an operator enables it. Return false if it is disabled already."""
    if route in disabled(connection):
        return False
    enable(connection, [route])
    connection.execute(sa.insert(route_pauses).values(route=route, since=now, error=error))
    return True


def enable(connection: sa.Connection, names: Iterable[str]) -> int:
    """End the pauses of routes, and enable those that are disabled. Return how many were paused or disabled."""
    return connection.execute(sa.delete(route_pauses).where(route_pauses.c.route.in_(list(names)))).rowcount


def paused(now: datetime) -> sa.Select[tuple[str]]:
    """Select the routes that are paused or disabled.

    A longer pause than there can be does not count: the clock was set back.
    """
    until = route_pauses.c.paused_until
    is_paused = sa.and_(until > now, until <= now + LONGEST_PAUSE + CLOCK_SKEW)
    return sa.select(route_pauses.c.route).where(until.is_(None) | is_paused)


def disabled(connection: sa.Connection) -> dict[str, sa.Row[Any]]:
    """Return `since` and `error` of each disabled route by its name. The error can name hosts: show it to operators
    only."""
    query = sa.select(route_pauses).where(route_pauses.c.paused_until.is_(None)).order_by(route_pauses.c.route)
    return {row.route: row for row in connection.execute(query)}
