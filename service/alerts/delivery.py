"""Delivery: sends what is due in the outbox, by all routes at the same time.

Each route has a thread of its own. A receiver that is slow, dead or cannot be resolved holds up the messages of its own
route and no others. New messages are seen while some route is still busy.
"""

import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from service.alerts import channels, claims, outbox, refresh, routes, silences, wording
from service.alerts.at_sending import at_sending
from service.alerts.channels.alertmanager import AlertmanagerChannel
from service.alerts.channels.attempt import DeliveryError, Outgoing
from service.alerts.claims import Attempt
from service.alerts.outbox import Message
from service.settings import Route, Settings
from service.store.database import Store
from service.store.tables import deliveries

ROUND_SECONDS = 120.0
"""Time after which a call of `deliver_due` ends as soon as each busy route has finished its message [s]. It is far
below the deadline of the job, and below the time after which the job is overdue."""

LOOK_EVERY = 0.5
"""How often new messages are looked for while a route is busy [s]."""

REST_SECONDS = 15.0
"""How long a route is left alone after a failure [s]. Its next message would fail too."""

FIRST_BATCH, LARGEST_BATCH = 8, 200
"""How many messages of a route are claimed together. Each batch has twice as many messages as the one before sent."""

BATCH_SECONDS = 1.0
"""Time after which a batch ends, and messages that are not sent yet are released [s]. If a sender is killed, it has
sent so many seconds' messages that another one sends again."""

Clock: TypeAlias = Callable[[], datetime]
Send: TypeAlias = Callable[[Route, str, Mapping[str, Any], datetime], None]
"""A replacement of the channels: sends a document under its id by a route at a moment, or raises DeliveryError."""

_Sender: TypeAlias = Callable[[Outgoing, datetime], None]

log = logging.getLogger(__name__)
_rng = random.SystemRandom()


def deliver_due(
    store: Store,
    settings: Settings,
    clock: Clock,
    send: Send | None = None,
    rng: random.Random = _rng,
    ended: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Send the messages that are due, and count the results: `sent`, `retry`, `failed`, `refused`.

    The messages of a route are sent one after another, oldest first. After a failure the route rests: a dead receiver
    is not asked for each of its messages. A message whose route is not in the settings waits, and its error says so.
    No message is started once `ended` returns true.
    """
    silences.end_due_of(store, clock())
    outbox.note_missing_routes(store, settings)
    return _Round(store, settings, clock, send, rng, ended).run()


def has_work(store: Store, settings: Settings, now: datetime) -> bool:
    """Return whether `deliver_due` would find something to do."""
    if outbox.has_due(store, settings, now):
        return True
    with store.reading() as connection:
        return silences.is_due(connection, now) or bool(refresh.due(connection, settings, now))


def send_test(store: Store, settings: Settings, route: str, clock: Clock) -> Attempt:
    """Send a test message by a route of the settings, once. It is a row of the outbox like any other.

    If the receiver accepts it, the route is no longer paused or disabled.
    """
    with store.writing() as connection:
        delivery_id = outbox.enqueue(
            connection, route=route, kind="test", data=wording.test(route), now=clock(), claimed=True
        )
        (message,) = outbox.read(connection, deliveries.c.id == delivery_id)
    message = message._replace(attempts=0)  # as it was before its claim
    with _opened(settings, route) as send:
        attempt = _attempt(settings, message, clock, send)
    claims.store_results(store, settings, route, [attempt], [], now=clock(), rng=_rng)
    if attempt.failure is None:
        with store.writing() as connection:
            routes.enable(connection, [route])
    return attempt


class _Round:
    """One call of `deliver_due`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        send: Send | None,
        rng: random.Random,
        ended: Callable[[], bool],
    ) -> None:
        self._store, self._settings, self._clock, self._send, self._rng = store, settings, clock, send, rng
        self._ended = ended
        self._counts: Counter[str] = Counter()
        self._rests_until: dict[str, float] = {}
        self._spent: set[str] = set()

    def run(self) -> Counter[str]:
        """Deliver until no route is busy."""
        time_over = time.monotonic() + ROUND_SECONDS
        busy: dict[str, Future[Counter[str]]] = {}
        with ThreadPoolExecutor(max(1, len(self._settings.routes)), thread_name_prefix="route") as threads:
            while True:
                for route in self._routes_to_start(busy):
                    busy[route] = threads.submit(self._deliver, route)
                if not busy:
                    return self._counts
                if time.monotonic() >= time_over:
                    # The other routes can still start until these have finished their messages.
                    self._spent.update(busy)
                wait(busy.values(), LOOK_EVERY, FIRST_COMPLETED)
                for route in [route for route, work in busy.items() if work.done()]:
                    self._counts += busy.pop(route).result()

    def _routes_to_start(self, busy: Mapping[str, object]) -> list[str]:
        if self._ended():
            return []
        now = time.monotonic()
        free = [
            route
            for route in self._settings.routes
            if route not in busy and route not in self._spent and self._rests_until.get(route, now) <= now
        ]
        with self._store.reading() as connection:
            found = outbox.routes_with_ready(connection, free, self._clock())
            return [*found, *(name for name in self._to_refresh(connection) if name in free and name not in found)]

    def _to_refresh(self, connection: sa.Connection) -> list[str]:
        return [] if self._send else refresh.due(connection, self._settings, self._clock())

    def _deliver(self, route: str) -> Counter[str]:
        """Send what is due by one route, until a message fails."""
        counts: Counter[str] = Counter()
        size = FIRST_BATCH
        with _opened(self._settings, route, self._send) as send:
            while not self._over(route):
                claim = claims.take(self._store, self._settings, route, size, self._clock())
                if not claim.messages and not claim.damaged:
                    break
                attempts = self._send_batch(route, claim.messages, send)
                counts.update(attempt.result for attempt in attempts)
                counts["failed"] += claim.damaged
                if attempts and attempts[-1].failure is not None:
                    self._rests_until[route] = time.monotonic() + REST_SECONDS
                    break
                size = min(max(FIRST_BATCH, 2 * len(attempts)), LARGEST_BATCH)
        self._refresh(route)
        return +counts

    def _refresh(self, route: str) -> None:
        """Post the alerts that fire again, if the route is to an Alertmanager and it is time.

        The thread that sends the messages of the route does this: an alert must not be posted after its end.
        """
        with self._store.reading() as connection:
            if route not in self._to_refresh(connection):
                return
            entries = refresh.firing(connection, route)
        with channels.opened(self._settings.routes[route], self._settings.allow_private_webhooks) as channel:
            try:
                if isinstance(channel, AlertmanagerChannel):
                    channel.refresh(entries, self._clock())
            except DeliveryError as failure:
                log.warning("refresh of the alerts of route %r failed: %s", route, failure)
        with self._store.writing() as connection:
            refresh.note(connection, route, self._clock())

    def _send_batch(self, route: str, messages: list[Message], send: _Sender) -> list[Attempt]:
        """Send claimed messages until one fails or the time of the batch is over, and record the results."""
        attempts: list[Attempt] = []
        started, batch_over = 0, time.monotonic() + BATCH_SECONDS
        try:
            for message in messages:
                if self._over(route) or time.monotonic() > batch_over:
                    break
                started += 1
                attempts.append(_attempt(self._settings, message, self._clock, send))
                if attempts[-1].failure is not None:
                    break
        finally:
            unsent = messages[started:]
            now = self._clock()
            claims.store_results(self._store, self._settings, route, attempts, unsent, now=now, rng=self._rng)
        return attempts

    def _over(self, route: str) -> bool:
        return self._ended() or route in self._spent


@contextlib.contextmanager
def _opened(settings: Settings, route: str, send: Send | None = None) -> Iterator[_Sender]:
    """Open the channel of a route, unless something else sends."""
    target = settings.routes[route]
    if send is not None:
        yield lambda message, now: send(target, message.id, message.document, now)
        return
    with channels.opened(target, settings.allow_private_webhooks) as channel:
        yield channel.send


def _attempt(settings: Settings, message: Message, clock: Clock, send: _Sender) -> Attempt:
    """Send a claimed message once. `message` is as it was read before the claim."""
    failure: DeliveryError | None = None
    started = time.monotonic()
    try:
        document = at_sending(message.document, settings.base_url, settings.stale_after_days, clock())
        send(Outgoing(message.id, document, message.thread), clock())
    except DeliveryError as refused:
        failure = refused
    except Exception as fault:
        log.exception("delivery %s by route %r: internal error", message.id, message.route)
        failure = DeliveryError(f"internal error: {type(fault).__name__}", maybe_received=True)
    if failure is not None:
        number = message.attempts + 1
        log.warning("delivery %s by route %r: attempt %d failed: %s", message.id, message.route, number, failure)
    return Attempt(message, failure, time.monotonic() - started)
