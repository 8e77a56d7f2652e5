"""Telemetry: request ids, log lines without secrets, and metrics over all workers."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx2
import pytest
import sqlalchemy as sa
from inprocess import FrontClient
from servers import free_port, workers_of
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from service import logs
from service.alerts import outbox, routes
from service.cli.app import create_app
from service.http import telemetry
from service.http.message import Request
from service.http.telemetry import BUCKETS, AccessLog, RequestMetrics
from service.store.tables import deliveries


@pytest.fixture
def issuer(tmp_path: Path) -> SnapshotHome:
    made = SnapshotHome(tmp_path / "home")
    made.add_ingests("simulated")
    made.issue(simulated=True)
    return made


@pytest.fixture
def client(issuer: SnapshotHome, monkeypatch: pytest.MonkeyPatch) -> FrontClient:
    """A worker without its web server."""
    monkeypatch.setenv("VIGIE_LOG_FORMAT", "json")
    return FrontClient(create_app(issuer.home, clock=lambda: NOW + timedelta(minutes=5)))


@pytest.fixture
def lines() -> Iterator[Any]:
    """A function that returns the logged JSON lines."""
    root, out = logging.getLogger(), io.StringIO()
    before, handler = root.level, logging.StreamHandler(out)
    handler.setFormatter(logs.JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before)


def samples(text: str) -> dict[str, float]:
    """The values of a scrape, by name and labels."""
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def request_count(scrape: dict[str, float], route: str, status: int = 200) -> float:
    return scrape.get(f'vigie_http_request_duration_seconds_count{{route="{route}",status="{status}"}}', 0)


def test_each_response_has_a_request_id_and_keeps_a_valid_one(client: FrontClient) -> None:
    response = client.get("/v1/scores", headers={"X-Request-Id": "mine-1.a_b"})
    assert response.headers.getlist("X-Request-Id") == ["mine-1.a_b"]
    made = [client.get("/v1/scores").headers["X-Request-Id"] for _ in range(2)]
    assert len(set(made)) == 2
    for invalid in ("a b", "x" * 65, "é", '"><script>', ""):
        response = client.get("/v1/scores", headers={"X-Request-Id": invalid})
        assert re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]+", response.headers["X-Request-Id"])


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1/scores/XYZ", "/v1/snapshots/99", "/v1/scores?\xff", f"/{'a' * 9_000}", "/v1/whatif"]
)
def test_a_problem_contains_the_request_id(client: FrontClient, path: str) -> None:
    """Also one that the gate writes, and one of a path whose response is cached."""
    client.get("/v1/scores")
    for method in ("GET", "POST"):
        response = client.open(path, method, headers={"X-Request-Id": "mine"})
        assert json.loads(response.data)["request_id"] == "mine"
        assert response.headers.getlist("X-Request-Id") == ["mine"]


def test_a_refusal_of_a_cached_response_contains_the_request_id(client: FrontClient) -> None:
    for _ in range(2):
        assert client.get("/v1/scores").status_code == 200
    for key in ("vigie_0_0", "vigie_1_1"):
        headers = {"X-Request-Id": "mine", "Authorization": f"Bearer {key}"}
        response = client.get("/v1/scores", headers=headers)
        assert (response.status_code, json.loads(response.data)["request_id"]) == (401, "mine")


def test_each_request_is_logged_without_its_query(client: FrontClient, lines: Any) -> None:
    secret = {"Authorization": "Bearer SECRET", "X-Request-Id": "mine"}
    body = client.get("/?key=SECRET", headers=secret).data
    client.get("/no\nwhere%1b?key=SECRET", headers=secret)
    page, unknown = (line for line in lines() if line["logger"] == "vigie.access")
    assert "SECRET" not in json.dumps([page, unknown])
    assert (page["method"], page["path"], page["status"]) == ("GET", "/", 200)
    assert (page["bytes"], page["request_id"]) == (len(body), "mine")
    assert 0 < page["ms"] < 5000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", page["at"])
    assert (unknown["status"], "\n" in unknown["message"], "\x1b" in unknown["path"]) == (404, False, False)


def test_a_fault_is_logged_with_the_request_id(
    issuer: SnapshotHome, client: FrontClient, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("an invented fault")

    monkeypatch.setattr("service.snapshots.read_model.scores_payload", fail)
    assert client.get("/v1/scores", headers={"X-Request-Id": "mine"}).status_code == 500
    (fault,) = (line for line in lines() if "exception" in line)
    assert (fault["request_id"], fault["level"]) == ("mine", "error")
    assert "RuntimeError: an invented fault" in fault["exception"]


def test_a_flood_is_logged_in_part_with_the_number_left_out(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: moment[0])
    access = AccessLog(3)
    request = Request("GET", "/", "", {}, "192.0.2.1")
    for _ in range(10):
        access(request, 200, 1, 0.001)
    moment[0] += 1
    access(request, 200, 1, 0.001)
    assert [line.get("left_out") for line in lines()] == [None, None, None, 7]


def test_metrics_report_the_state_of_the_service(issuer: SnapshotHome, client: FrontClient) -> None:
    with issuer.store.writing() as connection:
        for status, error in (("waiting", None), ("failed", "no"), ("sent", None)):
            data = {"headline": {}}
            made = outbox.enqueue(connection, route="duty", kind="firing", data=data, now=NOW - timedelta(minutes=5))
            connection.execute(sa.update(deliveries).where(deliveries.c.id == made).values(status=status, error=error))
        routes.record_attempts(connection, "duty", [("sent", seconds) for seconds in (0.2, 0.3, 99.0)])
    client.get("/v1/scores/MLI")
    client.get("/v1/scores/BFA")
    client.get("/secret-path")
    response = client.get("/metrics")
    assert response.headers["Cache-Control"] == "no-store"
    scrape = samples(response.text)
    assert (scrape["vigie_simulated"], scrape["vigie_database_up"], scrape["vigie_snapshot_id"]) == (1, 1, 1)
    assert (scrape["vigie_snapshot_age_seconds"], scrape["vigie_data_age_seconds"]) == (300, 10 * 86400)
    forecast = [scrape[f'vigie_outcome_forecast{{outcome="{outcome}"}}'] for outcome in ("all", "state_based")]
    assert forecast == [0, 1]
    assert [scrape[f'vigie_deliveries{{status="{status}"}}'] for status in ("waiting", "failed", "sent")] == [1, 1, 1]
    assert (scrape["vigie_undelivered_messages"], scrape["vigie_undelivered_age_seconds"]) == (1, 600)
    attempts = 'vigie_delivery_duration_seconds_{}{{{}result="sent",route="duty"}}'
    assert (scrape[attempts.format("count", "")], scrape[attempts.format("sum", "")]) == (3, 99.5)
    assert [scrape[attempts.format("bucket", f'le="{bound}",')] for bound in (0.1, 0.25, 30.0, "+Inf")] == [0, 1, 2, 3]
    assert (request_count(scrape, "/v1/scores/{iso3}"), request_count(scrape, "other", 404)) == (2, 1)
    assert "secret-path" not in response.text
    bucket = 'vigie_http_request_duration_seconds_bucket{le="+Inf",route="/v1/scores/{iso3}",status="200"}'
    assert scrape[bucket] == 2


def test_metrics_are_served_while_the_archive_cannot_be_read(issuer: SnapshotHome, client: FrontClient) -> None:
    client.get("/healthz")
    (issuer.home.archive / "manifest.json").write_text("{")
    response = client.get("/metrics")
    scrape = samples(response.text)
    assert (response.status_code, scrape["vigie_database_up"], request_count(scrape, "/healthz")) == (200, 0, 1)
    assert "vigie_simulated" not in scrape


def test_metrics_of_workers_are_summed_and_a_full_disk_is_tolerated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "PUBLISH_EVERY", 3600)
    one, other = RequestMetrics(tmp_path), RequestMetrics(tmp_path)
    one.add("/a", "200", 0.0004)
    one.add("/a", "200", 99.0)
    other.add("/a", "200", 0.0007)
    other.add("/b", "404", 0.5)
    other.publish()
    first = one.total()[("/a", "200")]
    assert first[0] == pytest.approx(99.0011)
    assert first[1:] == [1, 1, *[0] * (len(BUCKETS) - 2), 1]
    assert sum(one.total()[("/b", "404")][1:]) == 1

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    for _ in range(3):
        one.publish()
    assert [record.getMessage() for record in caplog.records] == [
        "the metrics of this worker cannot be published: No space left on device"
    ]
    assert sum(one.total()[("/a", "200")][1:]) == 3


def test_a_stream_is_counted_and_logged_when_it_begins(client: FrontClient, lines: Any) -> None:
    stream = client.begin("/v1/stream", headers={"X-Request-Id": "mine"})
    assert (stream.status, b"event: cursor" in (stream.read() or b"")) == (200, True)
    (line,) = (line for line in lines() if line["logger"] == "vigie.access")
    assert (line["status"], line["bytes"], line["request_id"]) == (200, None, "mine")
    assert request_count(samples(client.get("/metrics").text), "/v1/stream") == 1
    stream.disconnect()
    assert stream.read() is None
    assert request_count(samples(client.get("/metrics").text), "/v1/stream") == 1


def test_a_response_to_head_is_logged_without_bytes(client: FrontClient, lines: Any) -> None:
    for _ in range(2):
        client.head("/v1/scores")
    assert [line["bytes"] for line in lines() if line["logger"] == "vigie.access"] == [0, 0]


def test_the_counts_of_a_dead_web_server_are_removed(issuer: SnapshotHome) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old = issuer.home.run / f"web-{ended.pid}"
    alive = issuer.home.run / f"web-{os.getppid()}"
    for folder in (old, alive):
        folder.mkdir(parents=True)
    own = telemetry.new_folder(issuer.home)
    assert sorted(issuer.home.run.iterdir()) == sorted((alive, own))


@contextmanager
def web(issuer: SnapshotHome) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    """A real web server: its address, its log, its process."""
    port, log = free_port(), issuer.home.root / "web.log"
    line = [sys.executable, "-m", "riskmodel", "--home", str(issuer.home.root), "web", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(line, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}", log, process
    finally:
        process.terminate()
        process.wait(20)


def get(url: str, within: float = 30) -> httpx2.Response:
    """The first response, as soon as the server answers."""
    until = time.monotonic() + within
    while True:
        try:
            return httpx2.get(url, timeout=5)
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_counts_survive_a_dead_worker_and_every_log_line_is_json(issuer: SnapshotHome) -> None:
    with web(issuer) as (url, log, process):
        for _ in range(5):
            assert get(f"{url}/v1/scores").status_code == 200
        time.sleep(2 * telemetry.PUBLISH_EVERY)
        killed = set(workers_of(process.pid))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert get(f"{url}/v1/scores").status_code == 200
        assert request_count(samples(get(f"{url}/metrics").text), "/v1/scores") == 6
        assert workers_of(process.pid)
        assert not killed & set(workers_of(process.pid))
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["status"] for entry in entries if entry.get("path") == "/v1/scores"] == [200] * 6
