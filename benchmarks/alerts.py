"""Measure how fast the outbox drains: messages per second that are claimed, sent, signed, received and recorded.

`python benchmarks/alerts.py [--changes 10000] [--database postgresql://…]`

A receiver in another process checks each signature and notes each id. Half of the changes start an alert, the other
half end one, so each end waits for its start.
"""

import argparse
import base64
import multiprocessing
import secrets
import socket
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from standardwebhooks import Webhook

from riskmodel.home import Home
from service.alerts import delivery, outbox
from service.settings import Settings
from service.store.database import Store

SECRET = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
TEXT = "An escalation is likely: 1 in 4 that deaths double to 25 or more in January-March. " * 4
RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"


def main() -> None:
    """Fill an outbox, drain it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; default: SQLite")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        ours, theirs = multiprocessing.Pipe()
        receiver = multiprocessing.Process(target=receive, args=(server, theirs, arguments.changes))
        receiver.start()
        store = Store(arguments.database) if arguments.database else Store.of(Home(Path(folder)))
        fill(store, arguments.changes)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        settings = Settings(
            allow_private_webhooks=["127.0.0.1"], routes={"duty": {"type": "webhook", "url": url, "secret": SECRET}}
        )
        started, cpu = time.monotonic(), time.process_time()
        counts: Counter[str] = Counter()
        while round_counts := delivery.deliver_due(store, settings, lambda: datetime.now(UTC)):
            counts += round_counts
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        store.close()
        received, distinct = ours.recv()
        receiver.join()
    rate, microseconds = arguments.changes / seconds, 1e6 * cpu / arguments.changes
    print(f"{counts['sent']} sent, {received} received, {distinct} distinct ids, results {dict(counts)}")
    print(f"{seconds:.1f} s, {rate:.0f} messages/s, {microseconds:.0f} µs CPU each")


def fill(store: Store, changes: int) -> None:
    """Add the messages in one transaction, as a recompute does."""
    now = datetime.now(UTC)
    texts = {"headline": {"en": "ALERT – Mali", "fr": "ALERTE – Mali"}, "text": {"en": TEXT, "fr": TEXT}}
    with store.writing() as connection:
        for number in range(changes // 2):
            data = {**texts, "rule": "escalation", "location_code": "MLI", "value": number / changes}
            common = {"route": "duty", "data": data, "now": now, "alert": f"alert-{number}"}
            first = outbox.enqueue(connection, kind="firing", **common)
            outbox.enqueue(connection, kind="resolved", follows=first, **common)


def receive(server: socket.socket, results: Connection, expected: int) -> None:
    """Answer requests, on one connection after another, until so many different messages were received."""
    webhook, received, ids = Webhook(SECRET), 0, set()
    while len(ids) < expected:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while stream.readline():
                headers = {}
                while (line := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                webhook.verify(stream.read(int(headers["content-length"])), headers)
                received += 1
                ids.add(headers["webhook-id"])
                connection.sendall(RESPONSE)
                if len(ids) == expected:
                    break
    results.send((received, len(ids)))


if __name__ == "__main__":
    main()
