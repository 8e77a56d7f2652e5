"""Measure pages and queries of the service on a database of ten years, against opening the database.

`python benchmarks/store.py [--snapshots 1500]` prints the median processor time of fifteen runs of each. The database
is SQLite with invented snapshots of 450 kB, a run every hour, transitions, messages and changes.
"""

import argparse
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.append(str(Path(__file__).parents[1] / "tests" / "service"))
from snapshot_documents import NOW, document
from snapshots_support import SnapshotHome

from service.cli.app import create_app
from service.store.database import Store
from service.store.tables import changes, deliveries, runs, snapshots, transitions
from service.store.values import canonical

DOCUMENT_BYTES, RUNS = 450_000, 10 * 365 * 24
PATHS = (
    "/v1/scores",
    "/v1/scores/MLI",
    "/v1/runs",
    "/v1/snapshots/{snapshots}",
    "/v1/alerts",
    "/readyz",
    "/",
    "/country/MLI",
)
REPEATS = 15


def snapshot_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of snapshots, spread over ten years."""
    base, rng = document(), random.Random(1)  # noqa: S311 - filling
    base["filling"] = [f"{rng.random():.12f}" for _ in range((DOCUMENT_BYTES - len(canonical(base))) // 17)]
    for number in range(1, count + 1):
        yield {
            "id": number,
            "region": "MLI",
            "simulated": False,
            "issued_at": NOW - (count - number) * timedelta(days=3650) / count,
            "input_digest": hashlib.sha256(b"input %d" % number).hexdigest(),
            "previous_digest": None,
            "digest": hashlib.sha256(b"%d" % number).hexdigest(),
            "document": {**base, "id": number},
        }


def fill(store: Store, count: int) -> None:
    """Write ten years of a service that ran every hour."""
    with store.writing() as connection:
        for row in snapshot_rows(count):
            connection.execute(sa.insert(snapshots).values(row))
    run_rows = [
        {
            "region": "MLI",
            "started_at": NOW - timedelta(hours=RUNS - number),
            "finished_at": NOW - timedelta(hours=RUNS - number),
            "status": "unchanged",
            "snapshot_id": 1 + number * count // RUNS,
        }
        for number in range(RUNS)
    ]
    country = {"region": "MLI", "simulated": False, "location_code": "MLI"}
    transition = {"run_id": 1, "snapshot_id": 1, "rule": "r", "from_state": "ok", "to_state": "firing", "at": NOW}
    delivery = {"route": "duty", "kind": "firing", "created_at": NOW, "status": "sent", "not_before": NOW}
    change = {**country, "at": NOW, "kind": "band", "snapshot_id": 1}
    with store.writing() as connection:
        connection.execute(sa.insert(runs), run_rows)
        for table, rows, size in (
            (transitions, [{**country, **transition}] * 5000, 1000),
            (deliveries, [{"id": f"msg_{n}", **delivery} for n in range(5000)], 2500),
            (changes, [change] * 20_000, 300),
        ):
            connection.execute(sa.insert(table), [{**row, "document": {"data": "x" * size}} for row in rows])


def print_time(name: str, work: Callable[[], object]) -> None:
    """Print the median processor time of some work."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.thread_time()
        work()
        times.append(1000 * (time.thread_time() - started))
    print(f"{name:<46}{statistics.median(times):>9.2f} ms")


def main() -> None:
    """Make the database, then time what the service reads from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=1500)
    count = parser.parse_args().snapshots
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        issuer = SnapshotHome(Path(folder, "home"))
        issuer.add_ingests("real")
        fill(issuer.store, count)
        print(f"{count:,} snapshots, {RUNS:,} runs, {issuer.home.database.stat().st_size / 1e6:,.0f} MB\n")
        print_time("open", lambda: Store.of(issuer.home).close())
        client = create_app(issuer.home, clock=lambda: NOW + timedelta(minutes=5)).test_client()
        for path in (path.format(snapshots=count) for path in PATHS):
            if (status := client.get(path).status_code) != 200:
                sys.exit(f"{path}: {status}")
            print_time(path, partial(client.get, path))

        def execute(query: sa.Select[Any]) -> Callable[[], object]:
            def run() -> object:
                with issuer.store.reading() as connection:
                    return connection.execute(query).all()

            return run

        columns = snapshots.c
        of_region = (columns.region == "MLI") & columns.simulated.is_(sa.false())
        newest = sa.select(columns.id).where(of_region, columns.withdrawn_at.is_(None))
        newest = newest.order_by(columns.id.desc()).limit(1)
        entries = sa.select(columns.id, columns.digest, columns.issued_at).where(of_region)
        print_time("the newest snapshot, without its document", execute(newest))
        print_time("the newest snapshot", execute(newest.add_columns(snapshots)))
        print_time("all snapshots, without documents", execute(entries))
        print_time("100 changes after a cursor", execute(sa.select(changes).where(changes.c.id > 19_900).limit(100)))


if __name__ == "__main__":
    main()
