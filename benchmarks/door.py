"""What the door adds to a request: `python benchmarks/door.py` prints microseconds of processor time for each way in.

The application behind it answers at once with the headers of a kept answer; what that alone takes is subtracted.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from riskmodel.home import Home
from service.http import keys
from service.http.gate import SAFE, Door
from service.http.keys import Keyring
from service.http.rate_limit import Counters
from service.settings import Limits, Settings
from service.store.database import Store

REQUESTS, ROUNDS = 100_000, 3
MANY = 10**9
HEADERS = [
    ("Content-Type", "application/json"),
    ("ETag", 'W/"x"'),
    ("Cache-Control", "public, max-age=30"),
    *SAFE.items(),
]
ASKED = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/scores", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1"}


def kept(environ: Any, start_response: Any) -> Iterable[bytes]:
    """An answer that costs nothing."""
    start_response("200 OK", HEADERS)
    return [b""]


def microseconds(app: Callable[..., Any], **environ: str) -> float:
    """Processor time of one request, the best of some rounds [µs]."""
    best, asked = float("inf"), {**ASKED, **environ}
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REQUESTS):
            app(dict(asked), lambda *_: None)
        best = min(best, time.process_time() - began)
    return 1e6 * best / REQUESTS


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        store, counters = Store.of(home), Counters(home.run)
        key = keys.add(store, "read", "benchmark", datetime.now(UTC))
        counted = Settings(public_read=True, limits=Limits(address_per_minute=MANY, key_per_minute=MANY))
        here = Door(kept, Settings(), Keyring(store), counters, listens_on="127.0.0.1")
        there = Door(kept, counted, Keyring(store), counters, listens_on="0.0.0.0")  # noqa: S104 - nothing is bound
        bare = microseconds(kept)
        for way, took in (
            ("this machine, not counted", microseconds(here)),
            ("another address, counted", microseconds(there, REMOTE_ADDR="203.0.113.1")),
            ("with a key, counted", microseconds(there, HTTP_AUTHORIZATION=f"Bearer {key}")),
        ):
            print(f"{way}: {took - bare:.1f} µs")


if __name__ == "__main__":
    main()
