"""Channels that send a message: signed webhook and e-mail; and the heartbeat to a monitor outside.

A call returns within a deadline or raises DeliveryError. A channel knows the message and the receiver; it knows no
rule, no state and no database. Errors and log lines are single lines without control characters, whatever a server
answers. They never contain a key, a password or a URL, which can hold a token.
"""

import contextlib
import logging
import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from riskmodel.errors import BadInput
from riskmodel.network import tls_context
from service import logs
from service.outbound import RequestFailed, ResponseHead, connect, send_request
from service.settings import EmailRoute, Network, WebhookRoute
from service.store.values import canonical

STEP_SECONDS = 10.0
"""Longest wait for one step of a delivery: to resolve the name, to connect, to get a reply, to get the next bytes
[s]."""

DEADLINE_SECONDS = 30.0
"""Longest time for one delivery [s]: a receiver that sends a byte now and then keeps no sender for hours."""

log = logging.getLogger(__name__)

for _name in ("httpx2", "httpcore2"):  # they log whole URLs, and a receiver's URL can contain a token
    logging.getLogger(_name).setLevel(logging.WARNING)


MAX_WAIT_SECONDS = 10**9
"""A longer `Retry-After` counts as this one, which the outbox shortens anyway [s]."""

HeartbeatSignal = Literal["start", "success", "fail"]


class DeliveryError(Exception):
    """A delivery failed. `permanent`: the receiver refused the message for good. `maybe_received`: it may have it.

    `retry_after` is how long the receiver asks to be left alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        maybe_received: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(logs.one_line(reason))
        self.permanent = permanent
        self.maybe_received = maybe_received
        self.retry_after = retry_after


def send(
    route: WebhookRoute | EmailRoute,
    delivery_id: str,
    payload: Mapping[str, Any],
    now: datetime,
    allowed: Sequence[Network | str] = (),
) -> None:
    """Send one message by a route. Every attempt of a message carries the same `delivery_id`. Raises DeliveryError.

    `allowed` lists the private networks and host names that a webhook can go to.
    """
    if isinstance(route, WebhookRoute):
        send_webhook(route, delivery_id, payload, now, allowed)
    else:
        send_email(route, delivery_id, payload, now)


def send_webhook(
    route: WebhookRoute,
    delivery_id: str,
    payload: Mapping[str, Any],
    now: datetime,
    allowed: Sequence[Network | str] = (),
) -> None:
    """POST a message, signed as Standard Webhooks specifies. Raises DeliveryError.

    Any 2xx is success. 410 Gone is permanent; every other failure is temporary, because an operator can repair it.
    """
    body = canonical(dict(payload))
    now = now.astimezone(UTC)
    headers = {
        "content-type": "application/json",
        "user-agent": "vigie",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(route.secret.get_secret_value()).sign(delivery_id, now, body),
    }
    try:
        head = _request("POST", str(route.url), headers, body.encode(), allowed)
    except RequestFailed as failure:
        raise DeliveryError(str(failure), maybe_received=failure.sent) from None
    if not 200 <= head.status < 300:
        raise DeliveryError(
            f"the receiver answered {head.status}",
            permanent=head.status == HTTPStatus.GONE,
            retry_after=_retry_after(head.retry_after, now),
        )


def heartbeat(url: str, signal: HeartbeatSignal = "success", allowed: Sequence[Network | str] = ()) -> None:
    """Tell an outside monitor that work starts, has succeeded or has failed, as the pinging API of Healthchecks does.

    Success is a GET of the URL itself; the others have `/start` or `/fail` at the end of its path. A failed call is
    only logged: the monitor notices the missing call itself.
    """
    parts = urlsplit(url)
    path = parts.path if signal == "success" else f"{parts.path.rstrip('/')}/{signal}"
    try:
        status = _request("GET", parts._replace(path=path).geturl(), {"user-agent": "vigie"}, b"", allowed).status
    except RequestFailed as failure:
        log.warning("heartbeat failed: %s", failure)
    else:
        # A simple monitor has no address for the start and for failures.
        if not 200 <= status < 300 and (signal == "success" or status != HTTPStatus.NOT_FOUND):
            log.warning("heartbeat failed: the monitor answered %d", status)


@contextlib.contextmanager
def monitored(url: object | None, allowed: Sequence[Network | str] = ()) -> Iterator[None]:
    """Tell an outside monitor, if there is one, when a piece of work starts, succeeds or fails."""
    if url is None:
        yield
        return
    heartbeat(str(url), "start", allowed)
    try:
        yield
    except Exception:
        heartbeat(str(url), "fail", allowed)
        raise
    heartbeat(str(url), "success", allowed)


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


def _request(
    method: str, url: str, headers: Mapping[str, str], body: bytes, allowed: Sequence[Network | str]
) -> ResponseHead:
    return send_request(
        method,
        url,
        headers=headers,
        body=body,
        allowed=allowed,
        step_seconds=STEP_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
    )


def send_email(route: EmailRoute, delivery_id: str, payload: Mapping[str, Any], now: datetime) -> None:
    """Send the text of a message by SMTP, in the language of the route. Raises DeliveryError.

    A 5yz reply about the message or about all refused recipients is permanent.
    """
    email = _email(route, delivery_id, payload, now)
    deadline, sending = time.monotonic() + DEADLINE_SECONDS, False
    try:
        with _session(route, deadline) as smtp:
            sending = True
            refused = smtp.send_message(email)
    except smtplib.SMTPRecipientsRefused as failure:
        raise _recipients_refused(failure.recipients, len(failure.recipients)) from None
    except smtplib.SMTPResponseException as failure:
        permanent = isinstance(failure, smtplib.SMTPDataError) and failure.smtp_code >= 500
        reply = _reply(failure.smtp_code, failure.smtp_error)
        raise DeliveryError(f"{type(failure).__name__}: {reply}", permanent=permanent) from None
    except BadInput as wrong_variable:
        raise DeliveryError(str(wrong_variable)) from None
    except (OSError, smtplib.SMTPException) as failure:
        late = time.monotonic() >= deadline
        reason = f"not done within {DEADLINE_SECONDS:g} s" if late else f"{type(failure).__name__}: {failure}"
        raise DeliveryError(reason, maybe_received=sending) from None
    if refused:
        raise _recipients_refused(refused, len(route.to))


def _email(route: EmailRoute, delivery_id: str, payload: Mapping[str, Any], now: datetime) -> EmailMessage:
    """Build the e-mail of a message."""
    data = payload["data"]
    email = EmailMessage(policy=SMTP)
    email["From"] = route.sender
    email["To"] = ", ".join(route.to)
    email["Subject"] = " ".join(data["headline"][route.language].split())  # a line break would start a new header
    email["Date"] = now
    email["Message-ID"] = f"<{delivery_id}@{email['From'].addresses[0].domain}>"
    email["Auto-Submitted"] = "auto-generated"  # keeps out-of-office replies away (RFC 3834)
    page = f"\n\n{data['url'][route.language]}" if "url" in data else ""
    signature = f"\n\n-- \nVigie, {payload['timestamp']}, {delivery_id}\n"
    email.set_content(data["text"][route.language] + page + signature, cte="quoted-printable")
    return email


class _Session(smtplib.SMTP):
    """A session over a socket that is connected already, because smtplib does not bound the time to connect."""

    def __init__(self, host: str, connection: socket.socket) -> None:
        self._connection = connection
        # By default smtplib looks up the name of this machine in DNS, which can hang.
        address = connection.getsockname()[0]
        own_name = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        super().__init__(host, local_hostname=own_name)

    def connect(self, host: str = "", port: int = 0, source_address: object = None) -> tuple[int, bytes]:
        """Take the socket and read the greeting."""
        self.sock = self._connection
        return self.getreply()


@contextlib.contextmanager
def _session(route: EmailRoute, deadline: float) -> Iterator[smtplib.SMTP]:
    """Open a session with the mail server of a route, and cut its connection at the deadline."""
    tls = tls_context()
    connection = connect(route.host, route.port, STEP_SECONDS)
    with _cut_at(deadline, connection), contextlib.ExitStack() as opened:
        opened.callback(connection.close)
        if route.security == "tls":
            connection = tls.wrap_socket(connection, server_hostname=route.host)
            opened.callback(connection.close)
        smtp = _Session(route.host, connection)
        opened.callback(smtp.close)
        if route.security == "starttls":
            smtp.starttls(context=tls)
        if route.username is not None:
            smtp.login(route.username, route.password.get_secret_value() if route.password else "")
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError):  # the server has accepted the message by now
            smtp.quit()


@contextlib.contextmanager
def _cut_at(deadline: float, connection: socket.socket) -> Iterator[None]:
    # TLS takes a socket over and leaves the old object without one. A duplicate is cut all the same: `shutdown` acts on
    # the connection, and wakes the thread that reads from it.
    with connection.dup() as duplicate:
        timer = threading.Timer(deadline - time.monotonic(), _shut_down, [duplicate])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _recipients_refused(refused: Mapping[str, tuple[int, bytes]], recipients: int) -> DeliveryError:
    replies = "; ".join(sorted({_reply(code, text) for code, text in refused.values()}))
    return DeliveryError(
        f"{len(refused)} of {recipients} recipients refused: {replies}",
        permanent=all(code >= 500 for code, _ in refused.values()),
        maybe_received=len(refused) < recipients,  # the others have the e-mail
    )


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
