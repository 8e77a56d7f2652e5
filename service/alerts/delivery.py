"""Delivery: sends what is due in the outbox, by all routes at the same time.

Each route has a thread of its own. A receiver that is slow, dead or cannot be resolved holds up the messages of its own
route and no others. New messages are seen while some route is still busy.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from service.alerts import channels, outbox, wording
from service.alerts.channels import DeliveryError
from service.alerts.outbox import AttemptResult, Message
from service.settings import EmailRoute, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries

ROUND_SECONDS = 120.0
"""Time after which a call of `deliver_due` ends as soon as each busy route has finished its message [s]. It is far
below the deadline of the job, and below the time after which the job is overdue."""

LOOK_EVERY = 0.5
"""How often new messages are looked for while a route is busy [s]."""

REST_SECONDS = 15.0
"""How long a route is left alone after a failure [s]. Its next message would fail too."""

BATCH = 50
"""How many messages of a route are read together."""

Clock: TypeAlias = Callable[[], datetime]
Send: TypeAlias = Callable[[WebhookRoute | EmailRoute, str, Mapping[str, Any], datetime], None]

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
    """Send the messages that are due, and count the results: `sent`, `retry`, `failed`.

    The messages of a route are sent one after another, oldest first. After a failure the route rests: a dead receiver
    is not asked for each of its messages. A message whose route is not in the settings waits, and its error says so.
    No message is started once `ended` returns true.
    """
    outbox.note_missing_routes(store, settings)
    return _Round(store, settings, clock, send, rng, ended).run()


def send_test(store: Store, settings: Settings, route: str, clock: Clock, send: Send | None = None) -> AttemptResult:
    """Send a test message by a route of the settings, once. It is a row of the outbox like any other."""
    with store.writing() as connection:
        delivery_id = outbox.enqueue(
            connection, route=route, kind="test", data=wording.test(route), now=clock(), claimed=True
        )
        (message,) = outbox.read(connection, deliveries.c.id == delivery_id)
    return _attempt(store, settings, message, message.attempts, clock, send, _rng)


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
        with self._store.reading() as connection:
            found = outbox.routes_with_ready(connection, self._settings, self._clock())
        now = time.monotonic()
        return [
            route
            for route in found
            if route not in busy and route not in self._spent and self._rests_until.get(route, now) <= now
        ]

    def _deliver(self, route: str) -> Counter[str]:
        """Send what is due by one route, until a message fails."""
        counts: Counter[str] = Counter()
        while messages := self._next_messages(route):
            progress = False
            for message in messages:
                if self._ended() or route in self._spent:
                    return counts
                result = self._deliver_message(message)
                if result is None:
                    continue
                progress = True
                counts[result.status] += 1
                if result.status != "sent" and message.readable:
                    self._rests_until[route] = time.monotonic() + REST_SECONDS
                    return counts
            if not progress:  # another sender works on this route
                self._rests_until[route] = time.monotonic() + REST_SECONDS
                return counts
        return counts

    def _next_messages(self, route: str) -> list[Message]:
        with self._store.reading() as connection:
            return outbox.read(connection, outbox.ready(self._clock()) & (deliveries.c.route == route), limit=BATCH)

    def _deliver_message(self, message: Message) -> AttemptResult | None:
        """Claim a message and send it once. Return None if another sender has it."""
        if not message.readable:
            log.error("delivery %s by route %r: %s", message.id, message.route, outbox.UNREADABLE)
            given_up = outbox.give_up_unreadable(self._store, message)
            return AttemptResult("failed", outbox.UNREADABLE) if given_up else None
        if not outbox.claim(self._store, message, self._clock()):
            return None
        return _attempt(self._store, self._settings, message, message.attempts + 1, self._clock, self._send, self._rng)


def _attempt(
    store: Store,
    settings: Settings,
    message: Message,
    attempts: int,
    clock: Clock,
    send: Send | None,
    rng: random.Random,
) -> AttemptResult:
    """Send a claimed message once and record the result. `message` is as it was read before the claim."""
    send = send or partial(channels.send, allowed=settings.allow_private_webhooks)
    failure: DeliveryError | None = None
    started = time.monotonic()
    try:
        document = wording.with_links(message.document, settings.base_url)
        send(settings.routes[message.route], message.id, document, clock())
    except DeliveryError as refused:
        failure = refused
    except Exception as fault:
        log.exception("delivery %s by route %r: internal error", message.id, message.route)
        failure = DeliveryError(f"internal error: {type(fault).__name__}", maybe_received=True)
    seconds = time.monotonic() - started
    result = outbox.record(store, message, attempts, failure, seconds=seconds, now=clock(), rng=rng)
    if failure is not None:
        log.warning("delivery %s by route %r: attempt %d failed: %s", message.id, message.route, attempts, failure)
    return result
