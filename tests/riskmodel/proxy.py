"""An HTTP proxy on loopback that asks for a user and a password, as those of offices do."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx2

USER, PASSWORD = "office\\amadou", "p@ss:wörd/1"
ESCAPED = "office%5Camadou:p%40ss%3Aw%C3%B6rd%2F1"
"""User and password as a URL has them."""


class Proxy:
    """Forwards requests for http and opens tunnels for https. `served` lists what it let through.

    Without the right credentials it answers 407. If `refusal` is set, it answers every request with this status.
    """

    def __init__(self) -> None:
        self.served: list[str] = []
        self.refusal: int | None = None

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve on a free port of loopback, and yield host and port."""
        proxy = self
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def _refused(self) -> bool:
                status = proxy.refusal or (None if self.headers.get("Proxy-Authorization") == expected else 407)
                if status:
                    headers = f"Proxy-Authenticate: Basic realm=office, {PASSWORD}".encode("latin-1")
                    self.wfile.write(b"HTTP/1.1 %d No\r\n%s\r\nContent-Length: 0\r\n\r\n" % (status, headers))
                return status is not None

            def do_GET(self) -> None:
                if self._refused():
                    return
                proxy.served.append(self.path)
                answer = httpx2.get(self.path, trust_env=False)
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def do_CONNECT(self) -> None:
                if self._refused():
                    return
                proxy.served.append(self.path)
                target = urlsplit(f"//{self.path}")
                with socket.create_connection((target.hostname, target.port)) as there:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
                    back.start()
                    _copy(self.connection, there)
                    back.join(5)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)
