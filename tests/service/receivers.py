"""Receivers of messages on loopback: an HTTP server that checks signatures, and an SMTP server."""

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from service.alerts import channels
from service.alerts.channels.attempt import Outgoing
from service.settings import EmailRoute, Route, WebhookRoute

LOOPBACK = (ip_network("127.0.0.0/8"),)
"""Networks that a test allows, because webhooks go to public addresses only."""

SECRET = f"whsec_{b64encode(secrets.token_bytes(24)).decode()}"
PASSWORD = secrets.token_urlsafe(12)


def send_once(
    route: Route, delivery_id: str, payload: dict[str, Any], now: datetime, thread: str | None = None
) -> None:
    """Send one message by the channel of a route."""
    with channels.opened(route, LOOPBACK) as channel:
        channel.send(Outgoing(delivery_id, payload, thread), now)


def make_certificate(folder: Path, name: str) -> Path:
    """Write a self-signed certificate of a host name and its key to one file. Needs openssl."""
    if shutil.which("openssl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs openssl")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem")
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-days", "2", "-out", "certificate.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    combined = folder / "combined.pem"
    combined.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    return combined


class HookReceiver:
    """HTTP server that answers each request with the next entry of its `script`, and with 204 after the last.

    An entry is a status, a status with the value of `Retry-After`, or `hang` (no response), `cut` (closed within the
    response) or `drip` (an endless header). A wrong or old signature is refused with 400. `taken` has the id and the
    verified payload of each request that got a 2xx; `ids` has the ids of all requests. Without a `secret`, payloads are
    not verified.
    """

    def __init__(self, *script: int | str | tuple[int, str], secret: str | None = SECRET) -> None:
        self.script = list(script)
        self.secret = secret
        self.ids: list[str] = []
        self.bodies: list[bytes] = []
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.reached = threading.Event()
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def route(self, path: str = "/hook") -> WebhookRoute:
        """Return a route to this receiver."""
        return WebhookRoute(type="webhook", url=self.url(path), secret=SecretStr(SECRET))

    def url(self, path: str) -> str:
        """Return the URL of a path of this receiver."""
        return f"http://127.0.0.1:{self.port}{path}"

    @contextmanager
    def listening(self, certificate: Path | None = None) -> Iterator["HookReceiver"]:
        """Serve on a free port of loopback, with TLS if there is a certificate."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._answer(self, self.rfile.read(int(self.headers["content-length"])))

            def do_GET(self) -> None:
                receiver._answer(self, b"")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.block_on_close = False
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            action = self.script.pop(0) if self.script else 204
            self.paths.append(request.path)
            self.bodies.append(body)
            self.ids.append(request.headers.get("webhook-id", ""))
        self.reached.set()
        if action == "hang":
            self.closing.wait(60)
        elif action == "cut":
            request.wfile.write(b"HTTP/1.1 2")
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
        elif action == "drip":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
            while not self.closing.is_set():
                try:
                    request.wfile.write(b"a")
                    request.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
        else:
            action, retry_after = action if isinstance(action, tuple) else (action, None)
            assert isinstance(action, int)
            if 200 <= action < 300 and body:
                try:
                    payload = (
                        Webhook(self.secret).verify(body, dict(request.headers)) if self.secret else json.loads(body)
                    )
                except WebhookVerificationError:
                    action = 400
                else:
                    with self._lock:
                        self.taken.append((request.headers.get("webhook-id", ""), payload))
            request.send_response(action)
            if 300 <= action < 400:
                request.send_header("location", self.url("/elsewhere"))
            if retry_after is not None:
                request.send_header("retry-after", retry_after)
            request.send_header("content-length", "0")
            request.end_headers()


class MailReceiver:
    """SMTP server that accepts e-mail for all recipients except `refused` (address → reply); `taken` has envelopes."""

    def __init__(self, *, refused: dict[str, str] | None = None, reply: str = "250 OK") -> None:
        self.refused = refused or {}
        self.reply = reply
        self.taken: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.logins: list[str] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept or refuse one recipient."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Accept or refuse the message."""
        if self.reply.startswith("250"):
            self.taken.append(envelope)
            self.encrypted.append(session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None)
        return self.reply

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Accept one password."""
        valid = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        if valid:
            self.logins.append(data.login.decode())
        return AuthResult(success=valid, handled=False)

    @contextmanager
    def listening(
        self, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False
    ) -> Iterator["MailReceiver"]:
        """Serve on a free port of loopback: unencrypted, with TLS, or with STARTTLS required."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            ssl_context=tls,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=self.authenticate if auth else None,
            auth_require_tls=starttls is not None,
        )
        controller.start()
        try:
            yield self
        finally:
            controller.stop()

    def route(self, to: list[str] | None = None, **changed: Any) -> EmailRoute:
        """Return a route to this receiver."""
        return EmailRoute(
            **{
                "type": "email",
                "to": to or ["duty@example.org"],
                "sender": "Vigie <vigie@example.org>",
                "host": "localhost",
                "port": self.port,
                "security": "none",
                **changed,
            }
        )


@contextmanager
def silent_port(drip: bytes = b"") -> Iterator[int]:
    """Open a port that accepts connections and sends nothing, or the same bytes again and again."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            open_connections = []
            while not closing.is_set():
                with suppress(TimeoutError):
                    open_connections.append(server.accept()[0])
                for connection in open_connections:
                    with suppress(OSError):
                        connection.send(drip)
            for connection in open_connections:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            closing.set()
            thread.join()
