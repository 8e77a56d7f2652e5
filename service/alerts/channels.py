"""How a message leaves: signed webhook, e-mail, heartbeat. A call returns within a deadline or raises `TransportError`.

A channel knows a payload and a receiver; it knows no rule, no state and no database. Nothing secret (a key, a password,
a URL, which may hold a token) stands in an error or a log line.
"""

import asyncio
import contextlib
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import httpx
from standardwebhooks import Webhook

from service.addresses import Network
from service.outbound import Guarded
from service.settings import EmailRoute, WebhookRoute
from service.store.values import canonical

STEP_SECONDS = 10.0
"""The longest wait for one step: to connect, to be answered, for the next bytes."""

DEADLINE_SECONDS = 30.0
"""The longest that one message may take as a whole, however the receiver drips."""

_LOG = logging.getLogger(__name__)

for _talkative in ("httpx", "httpcore"):  # they log whole URLs, and a receiver's URL may hold a token
    logging.getLogger(_talkative).setLevel(logging.WARNING)


class TransportError(Exception):
    """A message did not get through; `permanent` where the receiver has said that it never will."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def send(
    route: WebhookRoute | EmailRoute,
    delivery_id: str,
    payload: Mapping[str, Any],
    now: datetime,
    private: Sequence[Network | str] = (),
) -> None:
    """Send one message by a route, under the id that all its attempts share. Raises TransportError.

    `private` names networks and hosts that a webhook may go to though they are not public.
    """
    if isinstance(route, WebhookRoute):
        send_webhook(route, delivery_id, payload, now, private)
    else:
        send_email(route, delivery_id, payload, now)


def send_webhook(
    route: WebhookRoute,
    delivery_id: str,
    payload: Mapping[str, Any],
    now: datetime,
    private: Sequence[Network | str] = (),
) -> None:
    """POST a payload, signed as Standard Webhooks has it. Any 2xx is success, 410 is for good, all else may pass.

    Raises TransportError.
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
    status = _status("POST", str(route.url), headers, body.encode(), private)
    if not 200 <= status < 300:
        raise TransportError(f"the receiver answered {status}", permanent=status == httpx.codes.GONE)


def heartbeat(url: str, private: Sequence[Network | str] = ()) -> None:
    """Tell a watcher outside that all is well. A failure is logged and goes no further: the watcher notices."""
    try:
        status = _status("GET", url, {"user-agent": "vigie"}, b"", private)
    except TransportError as failure:
        _LOG.warning("heartbeat: %s", failure)
    else:
        if not 200 <= status < 300:
            _LOG.warning("heartbeat: the watcher answered %d", status)


def _status(method: str, url: str, headers: Mapping[str, str], body: bytes, private: Sequence[Network | str]) -> int:
    """The status of one request; redirects are not followed and the answer's body is not read."""

    async def request() -> int:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            httpx.AsyncClient(transport=Guarded(private), timeout=STEP_SECONDS, follow_redirects=False) as client,
            client.stream(method, url, headers=headers, content=body) as response,
        ):
            return response.status_code

    try:
        return asyncio.run(request())
    except TimeoutError:
        raise TransportError(f"no answer within {DEADLINE_SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        raise TransportError(f"{type(failure).__name__}: {failure}") from None


def send_email(route: EmailRoute, delivery_id: str, payload: Mapping[str, Any], now: datetime) -> None:
    """Send a payload's words by SMTP, in the route's language. A 5yz about a recipient or the message is for good.

    Raises TransportError.
    """
    try:
        message = _message(route, delivery_id, payload, now)
    except ValueError as unusable:
        raise TransportError(f"an address of the route cannot be used: {unusable}") from None
    try:
        with _session(route) as smtp:
            refused = smtp.send_message(message)
    except smtplib.SMTPRecipientsRefused as everyone:
        raise _refusal(everyone.recipients, len(everyone.recipients)) from None
    except smtplib.SMTPResponseException as failure:
        said = f"{type(failure).__name__}: {_reply(failure.smtp_code, failure.smtp_error)}"
        permanent = isinstance(failure, smtplib.SMTPDataError) and failure.smtp_code >= 500
        raise TransportError(said, permanent=permanent) from None
    except (OSError, smtplib.SMTPException) as failure:
        raise TransportError(f"{type(failure).__name__}: {failure}") from None
    if refused:
        raise _refusal(refused, len(route.to))


def _message(route: EmailRoute, delivery_id: str, payload: Mapping[str, Any], now: datetime) -> EmailMessage:
    """The mail of a payload. Raises ValueError for a sender that is none, or an address that would break a header."""
    data = payload["data"]
    message = EmailMessage(policy=SMTP)
    message["From"] = route.sender
    if not message["From"].addresses:
        raise ValueError("the sender is empty")
    message["To"] = ", ".join(route.to)
    message["Subject"] = " ".join(data["headline"][route.language].split())
    message["Date"] = now
    message["Message-ID"] = f"<{delivery_id}@{message['From'].addresses[0].domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{data['text'][route.language]}\n\n-- \nVigie, {payload['timestamp']}, {delivery_id}\n", cte="quoted-printable"
    )
    return message


@contextlib.contextmanager
def _session(route: EmailRoute) -> Iterator[smtplib.SMTP]:
    """A session with a route's mail server, cut off at the deadline."""
    tls = ssl.create_default_context()
    if route.security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=STEP_SECONDS, context=tls)
    else:
        smtp = smtplib.SMTP(timeout=STEP_SECONDS)
    # smtplib learns the name that a certificate must bear only if it connects while it is made, out of reach of `_cut`.
    vars(smtp)["_host"] = route.host
    deadline = threading.Timer(DEADLINE_SECONDS, _cut, [smtp])
    deadline.daemon = True
    deadline.start()
    try:
        smtp.connect(route.host, route.port)
        if route.security == "starttls":
            smtp.starttls(context=tls)
        if route.username is not None:
            smtp.login(route.username, route.password.get_secret_value() if route.password else "")
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError):  # the message is taken by now
            smtp.quit()
    finally:
        deadline.cancel()
        smtp.close()


def _cut(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        with contextlib.suppress(OSError):
            smtp.sock.shutdown(socket.SHUT_RDWR)


def _refusal(refused: Mapping[str, tuple[int, bytes]], recipients: int) -> TransportError:
    replies = "; ".join(sorted({_reply(code, said) for code, said in refused.values()}))
    return TransportError(
        f"{len(refused)} of {recipients} recipients refused: {replies}",
        permanent=all(code >= 500 for code, _ in refused.values()),
    )


def _reply(code: int, said: bytes | str) -> str:
    return f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
