"""What the attempts of all channels share: their deadlines and their failure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from service import logs
from service.outbound import RequestFailed, ResponseHead, Session

STEP_SECONDS = 10.0
"""Longest wait for one step of a delivery: to resolve the name, to connect, to get a reply, to get the next bytes
[s]."""

DEADLINE_SECONDS = 30.0
"""Longest time for one delivery [s]: a receiver that sends a byte now and then keeps no sender for hours."""

MAX_WAIT_SECONDS = 10**9
"""A longer `Retry-After` counts as this one, which the outbox shortens anyway [s]."""


class DeliveryError(Exception):
    """A delivery failed. `permanent`: the receiver refused this message for good. `maybe_received`: it may have it.

    `gone`: the receiver will accept no message until an operator repairs it. `retry_after` is how long the receiver
    asks to be left alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        gone: bool = False,
        maybe_received: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(logs.one_line(reason))
        self.permanent = permanent
        self.gone = gone
        self.maybe_received = maybe_received
        self.retry_after = retry_after


class Outgoing(NamedTuple):
    """A message as a channel sends it. Every attempt carries the same `id`.

    `document` has `type`, `timestamp` and `data`. `thread` is the id of the first message about the same alert.
    """

    id: str
    document: Mapping[str, Any]
    thread: str | None = None


class Channel(Protocol):
    """A way to one receiver, which keeps its connection open between messages."""

    def send(self, message: Outgoing, now: datetime) -> None:
        """Send one message, or raise DeliveryError within the deadline."""


def post_json(session: Session, url: str, headers: Mapping[str, str], body: str, now: datetime) -> None:
    """POST a JSON text. Any 2xx is success.

    410 Gone means that the receiver is gone; every other failure is temporary, because an operator can repair it.
    Raises DeliveryError.
    """
    headers = {"content-type": "application/json", "user-agent": "vigie", **headers}
    try:
        head = request(session, "POST", url, headers, body.encode())
    except RequestFailed as failure:
        raise DeliveryError(str(failure), maybe_received=failure.sent) from None
    if not 200 <= head.status < 300:
        raise DeliveryError(
            f"the receiver answered {head.status}",
            gone=head.status == HTTPStatus.GONE,
            retry_after=_retry_after(head.retry_after, now.astimezone(UTC)),
        )


def request(session: Session, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> ResponseHead:
    """Send a request within the deadlines of an attempt. Raises RequestFailed."""
    return session.request(
        method, url, headers=headers, body=body, step_seconds=STEP_SECONDS, deadline_seconds=DEADLINE_SECONDS
    )


def _retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Return how long a receiver asks to wait. `Retry-After` is a number of seconds or a date; else return None."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), MAX_WAIT_SECONDS))
    try:
        wait = parsedate_to_datetime(text).astimezone(UTC) - now
    except (ValueError, OverflowError):
        return None
    return max(wait, timedelta())
