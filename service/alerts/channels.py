"""Channels that send a message: signed webhook and e-mail; and the heartbeat to a monitor outside.

A call returns within a deadline or raises DeliveryError. A channel knows the message and the receiver; it knows no
rule, no state and no database. Errors and log lines never contain a key, a password or a URL, which can hold a token.
"""

import contextlib
import logging
import smtplib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from http import HTTPStatus
from typing import Any

from standardwebhooks import Webhook

from riskmodel.errors import BadInput
from riskmodel.network import tls_context
from service.outbound import RequestFailed, request_status
from service.settings import EmailRoute, Network, WebhookRoute
from service.store.values import canonical

STEP_SECONDS = 10.0
"""Longest wait for one step of a delivery: to connect, to get a reply, to get the next bytes [s]."""

DEADLINE_SECONDS = 30.0
"""Longest time for one delivery [s]: a receiver that sends a byte now and then keeps no sender for hours."""

log = logging.getLogger(__name__)

for _name in ("httpx2", "httpcore2"):  # they log whole URLs, and a receiver's URL can contain a token
    logging.getLogger(_name).setLevel(logging.WARNING)


class DeliveryError(Exception):
    """A delivery failed. `permanent`: the receiver refused the message for good. `maybe_received`: it may have it."""

    def __init__(self, reason: str, *, permanent: bool = False, maybe_received: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.maybe_received = maybe_received


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
        status = _request("POST", str(route.url), headers, body.encode(), allowed)
    except RequestFailed as failure:
        raise DeliveryError(str(failure), maybe_received=failure.sent) from None
    if not 200 <= status < 300:
        raise DeliveryError(f"the receiver answered {status}", permanent=status == HTTPStatus.GONE)


def heartbeat(url: str, allowed: Sequence[Network | str] = ()) -> None:
    """Call the URL of an outside monitor. A failure is only logged: the monitor notices the missing call itself."""
    try:
        status = _request("GET", url, {"user-agent": "vigie"}, b"", allowed)
    except RequestFailed as failure:
        log.warning("heartbeat failed: %s", failure)
    else:
        if not 200 <= status < 300:
            log.warning("heartbeat failed: the monitor answered %d", status)


def _request(method: str, url: str, headers: Mapping[str, str], body: bytes, allowed: Sequence[Network | str]) -> int:
    return request_status(
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
    sending = False
    try:
        with _session(route) as smtp:
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
        raise DeliveryError(f"{type(failure).__name__}: {failure}", maybe_received=sending) from None
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


@contextlib.contextmanager
def _session(route: EmailRoute) -> Iterator[smtplib.SMTP]:
    """Open a session with the mail server of a route, and close its socket at the deadline."""
    tls = tls_context()
    if route.security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=STEP_SECONDS, context=tls)
    else:
        smtp = smtplib.SMTP(timeout=STEP_SECONDS)
    # smtplib checks a certificate against `_host`, which it sets only when the constructor connects. We connect later,
    # so that the timer below also covers connecting.
    vars(smtp)["_host"] = route.host
    timer = threading.Timer(DEADLINE_SECONDS, _shut_down, [smtp])
    timer.daemon = True
    timer.start()
    try:
        smtp.connect(route.host, route.port)
        if route.security == "starttls":
            smtp.starttls(context=tls)
        if route.username is not None:
            smtp.login(route.username, route.password.get_secret_value() if route.password else "")
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError):  # the server has accepted the message by now
            smtp.quit()
    finally:
        timer.cancel()
        smtp.close()


def _shut_down(smtp: smtplib.SMTP) -> None:
    # `shutdown` wakes the thread that reads from the socket; `close` alone would leave it waiting.
    if smtp.sock is not None:
        with contextlib.suppress(OSError):
            smtp.sock.shutdown(socket.SHUT_RDWR)


def _recipients_refused(refused: Mapping[str, tuple[int, bytes]], recipients: int) -> DeliveryError:
    replies = "; ".join(sorted({_reply(code, text) for code, text in refused.values()}))
    return DeliveryError(
        f"{len(refused)} of {recipients} recipients refused: {replies}",
        permanent=all(code >= 500 for code, _ in refused.values()),
        maybe_received=len(refused) < recipients,  # the others have the e-mail
    )


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
