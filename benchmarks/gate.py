"""Measure the processor time that the gate (authentication and limits) adds to a request, by way of access.

`python benchmarks/gate.py [--requests 100000]` prints microseconds per request. The application behind the gate
is not called: the response is one from the cache. The time to make such a response without a gate is subtracted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from riskmodel.home import Home
from service.http import keys
from service.http.gate import SECURITY_HEADERS, Gate, finished_response
from service.http.keys import Keyring
from service.http.message import Request, Response
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


def respond(_: Request) -> Response:
    """Respond at once, with the headers of a cached response."""
    return Response(200, RESPONSE_HEADERS)


def respond_behind(gate: Gate) -> Callable[[Request], Response]:
    """Return a function that does what the front does for a cached response."""

    def check_and_respond(request: Request) -> Response:
        if gate.needs_keys(request):
            gate.read_keys()
        request.admission = gate.check(request)
        return finished_response(request, respond(request))

    return check_and_respond


def measure(answer: Callable[[Request], Response], requests: int, client: str = "127.0.0.1", **headers: str) -> float:
    """Return the processor time of one request, the best of some rounds [µs]."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(requests):
            answer(Request("GET", "/v1/scores", "", headers, client))
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
        local = respond_behind(Gate(Settings(), Keyring(store), counter, listens_on="127.0.0.1"))
        remote = respond_behind(Gate(public, Keyring(store), counter, listens_on="0.0.0.0"))  # noqa: S104 - not bound
        without_gate = measure(respond, requests)
        for access, microseconds in (
            ("this machine, not counted", measure(local, requests)),
            ("another address, counted", measure(remote, requests, client="203.0.113.1")),
            ("with a key, counted", measure(remote, requests, authorization=f"Bearer {key}")),
        ):
            print(f"{access}: {microseconds - without_gate:.1f} µs")


if __name__ == "__main__":
    main()
