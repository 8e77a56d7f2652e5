"""What reading costs after ten years: `python benchmarks/store.py [--snapshots 1500]` prints a table.

The database is SQLite: snapshots of 450 kB that are invented, a run every hour, transitions, messages and changes.
Times are of the processor, the median of fifteen; `open` is what each process does first.
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
from issued import NOW, Issuer, document

from service.cli.app import create_app
from service.store.database import Store
from service.store.tables import changes, deliveries, runs, snapshots, transitions
from service.store.values import canonical

LONG, RUNS = 450_000, 10 * 365 * 24
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


def issued(count: int) -> Iterator[dict[str, Any]]:
    """Rows of snapshots, one after the other over ten years."""
    base, rng = document(), random.Random(1)  # noqa: S311 - filling
    base["filling"] = [f"{rng.random():.12f}" for _ in range((LONG - len(canonical(base))) // 17)]
    for number in range(1, count + 1):
        at = NOW - (count - number) * timedelta(days=3650) / count
        yield {
            "id": number,
            "region": "MLI",
            "simulated": False,
            "issued_at": at,
            "input_digest": hashlib.sha256(b"input %d" % number).hexdigest(),
            "previous_digest": None,
            "digest": hashlib.sha256(b"%d" % number).hexdigest(),
            "document": {**base, "id": number},
        }


def fill(store: Store, count: int) -> None:
    """Ten years of a service that looked every hour."""
    with store.writing() as connection:
        for row in issued(count):
            connection.execute(sa.insert(snapshots).values(row))
    of = {"region": "MLI", "simulated": False, "location_code": "MLI"}
    times = (NOW - timedelta(hours=RUNS - number) for number in range(RUNS))
    went = [
        {
            "region": "MLI",
            "started_at": at,
            "finished_at": at,
            "status": "unchanged",
            "snapshot_id": 1 + n * count // RUNS,
        }
        for n, at in enumerate(times)
    ]
    told = [
        {**of, "run_id": 1, "snapshot_id": 1, "rule": "r", "from_state": "ok", "to_state": "firing", "at": NOW}
        for _ in range(5000)
    ]
    sent = [
        {"id": f"msg_{n}", "route": "duty", "kind": "firing", "created_at": NOW, "status": "sent", "not_before": NOW}
        for n in range(5000)
    ]
    changed = [{**of, "at": NOW, "kind": "band", "snapshot_id": 1} for _ in range(20_000)]
    with store.writing() as connection:
        connection.execute(sa.insert(runs), went)
        for table, rows, long in ((transitions, told, 1000), (deliveries, sent, 2500), (changes, changed, 300)):
            connection.execute(sa.insert(table), [{**row, "document": {"data": "x" * long}} for row in rows])


def show(name: str, work: Callable[[], object]) -> None:
    """One line of the table."""
    work()
    took = []
    for _ in range(15):
        began = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - began))
    print(f"{name:<46}{statistics.median(took):>9.2f} ms")


def main() -> None:
    """Make the database, then ask it what the service asks."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--snapshots", type=int, default=1500)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="vigie-benchmark-") as folder:
        issuer = Issuer(Path(folder, "home"))
        issuer.hold("real")
        fill(issuer.store, asked.snapshots)
        print(f"{asked.snapshots:,} snapshots, {RUNS:,} runs, {issuer.home.database.stat().st_size / 1e6:,.0f} MB\n")
        show("open", lambda: Store.of(issuer.home).close())
        client = create_app(issuer.home, clock=lambda: NOW + timedelta(minutes=5)).test_client()
        for path in (path.format(snapshots=asked.snapshots) for path in PATHS):
            if (status := client.get(path).status_code) != 200:
                sys.exit(f"{path}: {status}")
            show(path, partial(client.get, path))

        def ask(query: sa.Select[Any]) -> Callable[[], object]:
            def answered() -> object:
                with issuer.store.reading() as connection:
                    return connection.execute(query).all()

            return answered

        kept = snapshots.c
        ours = (kept.region == "MLI") & kept.simulated.is_(sa.false())
        newest = sa.select(kept.id).where(ours, kept.withdrawn_at.is_(None)).order_by(kept.id.desc()).limit(1)
        show("the newest snapshot, without its document", ask(newest))
        show("the newest snapshot", ask(newest.add_columns(snapshots)))
        show("all snapshots, without documents", ask(sa.select(kept.id, kept.digest, kept.issued_at).where(ours)))
        show("100 changes after a cursor", ask(sa.select(changes).where(changes.c.id > 19_900).limit(100)))


if __name__ == "__main__":
    main()
