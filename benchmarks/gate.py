"""Measure the processor time that the gate (authentication and limits) adds to a request, by way of access.

`python benchmarks/gate.py [--requests 100000]` prints microseconds per request. The application behind the gate
responds at once; the time of the same requests to that application without a gate is subtracted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from riskmodel.home import Home
from service.http import keys
from service.http.gate import SECURITY_HEADERS, Gate
from service.http.keys import Keyring
from service.http.rate_limit import RequestCounter
from service.settings import Limits, Settings
from service.store.database import Store

ROUNDS = 3
NO_LIMIT = 10**9
RESPONSE_HEADERS = [
    ("Content-Type", "application/json"),
    ("ETag", 'W/"x"'),
    ("Cache-Control", "public, max-age=30"),
    *SECURITY_HEADERS.items(),
]
REQUEST = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/scores", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1"}


def instant_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Respond at once, with the headers of a cached response."""
    start_response("200 OK", RESPONSE_HEADERS)
    return [b""]


def measure(app: Callable[..., Any], requests: int, **environ: str) -> float:
    """Return the processor time of one request, the best of some rounds [µs]."""
    best, request = float("inf"), {**REQUEST, **environ}
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(requests):
            app(dict(request), lambda *_: None)
        best = min(best, time.process_time() - started)
    return 1e6 * best / requests


def main() -> None:
    """Measure and print each way of access."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="requests per round")
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        store, counter = Store.of(home), RequestCounter(home.run)
        key = keys.add(store, "read", "benchmark", datetime.now(UTC))
        public = Settings(public_read=True, limits=Limits(address_per_minute=NO_LIMIT, key_per_minute=NO_LIMIT))
        local = Gate(instant_app, Settings(), Keyring(store), counter, listens_on="127.0.0.1")
        remote = Gate(instant_app, public, Keyring(store), counter, listens_on="0.0.0.0")  # noqa: S104 - not bound
        without_gate = measure(instant_app, requests)
        for access, microseconds in (
            ("this machine, not counted", measure(local, requests)),
            ("another address, counted", measure(remote, requests, REMOTE_ADDR="203.0.113.1")),
            ("with a key, counted", measure(remote, requests, HTTP_AUTHORIZATION=f"Bearer {key}")),
        ):
            print(f"{access}: {microseconds - without_gate:.1f} µs")


if __name__ == "__main__":
    main()
