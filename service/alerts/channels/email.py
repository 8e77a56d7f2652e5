"""Channel to receivers of e-mail, by SMTP."""

import contextlib
import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from riskmodel.errors import BadInput
from riskmodel.network import tls_context
from service.alerts import email_body
from service.alerts.channels import attempt
from service.alerts.channels.attempt import DeliveryError, Outgoing
from service.outbound import connect
from service.settings import EmailRoute

CHART_CID = "chart@vigie"
"""Content id of the chart in an e-mail."""


class EmailChannel:
    """Sends the text of messages in the language of the route."""

    def __init__(self, route: EmailRoute) -> None:
        self._route = route

    def send(self, message: Outgoing, now: datetime) -> None:
        """Send one e-mail to all recipients. Raises DeliveryError.

        A 5yz reply about the message is permanent. If the server refuses all recipients for good, they are gone.
        """
        _send(self._route, _email(self._route, message, now))


def _send(route: EmailRoute, email: EmailMessage) -> None:
    deadline, sending = time.monotonic() + attempt.DEADLINE_SECONDS, False
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
        reason = f"not done within {attempt.DEADLINE_SECONDS:g} s" if late else f"{type(failure).__name__}: {failure}"
        raise DeliveryError(reason, maybe_received=sending) from None
    if refused:
        raise _recipients_refused(refused, len(route.to))


def _email(route: EmailRoute, message: Outgoing, now: datetime) -> EmailMessage:
    """Build the e-mail of a message."""
    data = message.document["data"]
    email = EmailMessage(policy=SMTP)
    email["From"] = route.sender
    email["To"] = ", ".join(route.to)
    email["Subject"] = " ".join(data["headline"][route.language].split())  # a line break would start a new header
    email["Date"] = now
    domain = email["From"].addresses[0].domain
    email["Message-ID"] = f"<{message.id}@{domain}>"
    if message.thread not in (None, message.id):
        email["In-Reply-To"] = email["References"] = f"<{message.thread}@{domain}>"
    email["Auto-Submitted"] = "auto-generated"  # keeps out-of-office replies away (RFC 3834)
    signature = f"\n\n-- \nVigie, {message.document['timestamp']}, {message.id}\n"
    email.set_content(data[route.length][route.language] + signature, cte="quoted-printable")
    if route.length == "full":
        _add_html(email, message.document, route.language)
    return email


def _add_html(email: EmailMessage, document: Mapping[str, Any], language: str) -> None:
    """Add the message as HTML, with its chart if there is one."""
    chart = email_body.chart_png(document, language)
    body = email_body.html(document, language, CHART_CID if chart else None)
    email.add_alternative(body, subtype="html", cte="quoted-printable")
    if chart:
        _, alternative = email.iter_parts()
        alternative.add_related(chart, "image", "png", cid=f"<{CHART_CID}>", filename="chart.png", disposition="inline")


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
    connection = connect(route.host, route.port, attempt.STEP_SECONDS)
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
    everyone, for_good = len(refused) == recipients, all(code >= 500 for code, _ in refused.values())
    replies = "; ".join(sorted({_reply(code, text) for code, text in refused.values()}))
    return DeliveryError(
        f"{len(refused)} of {recipients} recipients refused: {replies}",
        permanent=for_good and not everyone,
        gone=for_good and everyone,
        maybe_received=not everyone,  # the others have the e-mail
    )


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
