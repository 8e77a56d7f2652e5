"""Measure what it costs to count a request: by `service.http.telemetry`, and by prometheus_client over processes.

`python benchmarks/request_metrics.py [--requests 200000]` prints microseconds per request. Both count a request and put
its duration into the same buckets, with the labels route and status. prometheus_client keeps its counts in mapped files
(`PROMETHEUS_MULTIPROC_DIR`).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 5
ROUTES = ("/v1/scores", "/v1/scores/{iso3}", "/", "/v1/changes")


def best_time(count: Callable[[str, str, float], None], requests: int) -> float:
    """Return the shortest of several rounds [µs per request]."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for number in range(requests):
            count(ROUTES[number & 3], "200", 0.001)
        best = min(best, time.perf_counter() - started)
    return 1e6 * best / requests


def main() -> None:
    """Time both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # prometheus_client reads it when it is imported
        from prometheus_client import Histogram

        from service.http.telemetry import BUCKETS, RequestMetrics

        histogram = Histogram("seconds", "Duration", ["route", "status"], buckets=BUCKETS)
        ways: dict[str, Callable[[str, str, float], None]] = {
            "service.http.telemetry": RequestMetrics(Path(folder)).add,
            "prometheus_client": lambda route, status, seconds: histogram.labels(route, status).observe(seconds),
        }
        for name, count in ways.items():
            print(f"{name:24}{best_time(count, requests):6.2f} µs per request")


if __name__ == "__main__":
    main()
