"""Measure what the gate adds to a request: `python benchmarks/gate.py` prints processor time for each kind of client.

The application behind the gate responds at once, with the headers of a cached response. Its own time is subtracted.
"""

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

REQUESTS, ROUNDS = 100_000, 3
UNREACHED = 10**9
HEADERS = [
    ("Content-Type", "application/json"),
    ("ETag", 'W/"x"'),
    ("Cache-Control", "public, max-age=30"),
    *SECURITY_HEADERS.items(),
]
ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/scores", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1"}


def instant(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Respond without any work."""
    start_response("200 OK", HEADERS)
    return [b""]


def microseconds(app: Callable[..., Any], **environ: str) -> float:
    """Return the processor time of one request, the best of some rounds [µs]."""
    best, request = float("inf"), {**ENVIRON, **environ}
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(REQUESTS):
            app(dict(request), lambda *_: None)
        best = min(best, time.process_time() - started)
    return 1e6 * best / REQUESTS


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        store, counter = Store.of(home), RequestCounter(home.run)
        key = keys.add(store, "read", "benchmark", datetime.now(UTC))
        limited = Settings(public_read=True, limits=Limits(address_per_minute=UNREACHED, key_per_minute=UNREACHED))
        local = Gate(instant, Settings(), Keyring(store), counter, listens_on="127.0.0.1")
        remote = Gate(instant, limited, Keyring(store), counter, listens_on="0.0.0.0")  # noqa: S104 - nothing is bound
        bare = microseconds(instant)
        for client, took in (
            ("this machine, no limit", microseconds(local)),
            ("another address, with a limit", microseconds(remote, REMOTE_ADDR="203.0.113.1")),
            ("with a key, with a limit", microseconds(remote, HTTP_AUTHORIZATION=f"Bearer {key}")),
        ):
            print(f"{client}: {took - bare:.1f} µs")


if __name__ == "__main__":
    main()
