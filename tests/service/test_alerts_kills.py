"""Processes that are killed at each commit: each alert arrives at least once, under one id, and of a snapshot that is
there."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import origin_of, rule
from alert_store import NOW, AlertStore, document
from receivers import SECRET

from riskmodel.alerting.states import ENDED, FIRING
from riskmodel.home import Home
from service.alerts import delivery, lifecycle, silences
from service.settings import Settings
from service.store.database import Store
from service.store.integrity import check
from service.store.tables import alerts, deliveries, delivery_alerts, snapshots

MONTHS: tuple[Mapping[str, float], ...] = (
    {"MLI": 10, "BFA": 10, "NER": 10},
    {"MLI": 80, "BFA": 90, "NER": 10},
    {"MLI": 80, "BFA": 10, "NER": 75},
    {"MLI": 10, "BFA": 85, "NER": 75},
    {"MLI": 78, "BFA": 10, "NER": 10},
)
"""The risk scores of each month. Niger is silenced from the second to the fourth."""

ROUTE = {"type": "webhook", "url": "http://receiver.example/", "secret": SECRET}
SETTINGS = Settings.model_validate({"routes": {"duty": ROUTE}, "stale_after_days": 10_000})
"""Data that are called old would change a message from one day to the next."""


def live(root: Path, kill_at: int, *, before: bool) -> int:
    """Issue the snapshots that are not there yet and deliver their messages, as the jobs of the service do.

    The process is killed before or after its commit number `kill_at`. Return the number of commits.
    """
    store, commits = Store.of(Home(root)), count(1)
    commit, done = store.engine.dialect.do_commit, [0]

    def counted(connection: Any) -> None:
        done[0] = next(commits)
        if done[0] == kill_at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(connection)
        if done[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store.engine.dialect.do_commit = counted  # type: ignore[method-assign]
    with store.reading() as connection:
        issued = connection.scalar(sa.select(sa.func.count()).select_from(snapshots)) or 0
    for number in range(issued, len(MONTHS) + 2):
        now = NOW + timedelta(days=number)
        if number <= len(MONTHS):
            issue(store, number)
        for hour in range(3):  # what a killed sender had claimed is free after its lease
            delivery.deliver_due(store, SETTINGS, lambda at=now + timedelta(hours=hour): at, receiver(root))
    return done[0]


def issue(store: Store, number: int) -> None:
    """Issue a snapshot with its alerts, in one transaction; the first one is in the store."""
    now = NOW + timedelta(days=number)
    row = {"id": number + 1, "region": "MLI", "simulated": False, "issued_at": now, "input_digest": "i"}
    with store.writing() as connection:
        connection.execute(sa.insert(snapshots).values(row | {"digest": f"d{number}", "document": {}}))
        lifecycle.evaluate(
            connection,
            rules=[rule()],
            document=document(origin_of(240 + number), **MONTHS[number - 1]),
            run_id=1,
            snapshot_id=number + 1,
            now=now,
        )
        if number == 1:
            silences.create(
                connection,
                region="MLI",
                simulated=False,
                matcher={"location_code": "NER"},
                until=now + timedelta(days=2, hours=12),
                reason="exercise",
                by="Awa",
                now=now,
            )


def receiver(root: Path) -> Any:
    """A receiver that writes down what it has got, and answers after that."""

    def take(route: Any, delivery_id: str, payload: Mapping[str, Any], now: Any) -> None:
        with (root / "received.jsonl").open("a") as file:
            file.write(json.dumps([delivery_id, payload["data"]]) + "\n")

    return take


def in_a_process(root: Path, kill_at: int, *, before: bool) -> int:
    """Live in a child process. Return its exit status."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            live(root, kill_at, before=before)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.long
@pytest.mark.parametrize("rounds", [200])
def test_no_kill_loses_an_alert(tmp_path: Path, rounds: int, capfd: pytest.CaptureFixture[str]) -> None:
    template = tmp_path / "template"
    store = AlertStore(Store.of(Home(template))).store
    store.engine.dispose()
    shutil.copytree(template, tmp_path / "whole")
    commits = live(tmp_path / "whole", 0, before=True)
    counts = Counter({"commit points": commits})
    for number in range(rounds):
        root = tmp_path / f"home-{number}"
        shutil.copytree(template, root)
        status = in_a_process(root, number // 2 % commits + 1, before=number % 2 == 0)
        assert os.WIFSIGNALED(status), "it was killed"
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert in_a_process(root, 0, before=True) == 0
        counts += check_home(root)
        shutil.rmtree(root)
    with capfd.disabled():
        print(f"\n{rounds} kills: {dict(counts)}")
    assert counts["alerts"] >= 5 * rounds


def check_home(root: Path) -> Counter[str]:
    """Compare what was received with the rows. Return counts."""
    store = Store.of(Home(root))
    lines = [json.loads(line) for line in (root / "received.jsonl").read_text().splitlines()]
    payloads: dict[str, Any] = {}
    for delivery_id, data in lines:
        assert payloads.setdefault(delivery_id, data) == data, "a repeated message has the id and content of the first"
    with store.reading() as connection:
        assert list(check(store)) == []
        issued = set(connection.scalars(sa.select(snapshots.c.id)))
        rows = connection.execute(sa.select(deliveries)).all()
        fired = set(connection.scalars(sa.select(alerts.c.id).where(alerts.c.fired_at.is_not(None))))
        linked = {row.delivery_id for row in connection.execute(sa.select(delivery_alerts))}
    store.close()
    assert issued == set(range(1, len(MONTHS) + 2))
    assert {row.status for row in rows} == {"sent"}
    assert payloads.keys() == {row.id for row in rows} == linked
    entries = [entry for data in payloads.values() for entry in data.get("alerts", [data])]
    assert {entry["snapshot_id"] for entry in entries} <= issued
    assert {entry["alert_id"] for entry in entries if entry["to_state"] == FIRING} == fired
    starts = Counter(entry["alert_id"] for entry in entries if entry["to_state"] == FIRING)
    assert max(starts.values()) == 1, "one message announces an alert"
    assert {entry["alert_id"] for entry in entries if entry["to_state"] in ENDED} <= fired
    return Counter({"alerts": len(fired), "messages": len(rows), "received twice": len(lines) - len(payloads)})
