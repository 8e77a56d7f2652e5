"""Request counts of several workers: real processes with one file, some of them killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from riskmodel.errors import Refused
from service.cli import serve
from service.http import rate_limit
from service.http.rate_limit import RequestCounter

WORKER = """
import sys, time
from pathlib import Path
from service.http.rate_limit import RequestCounter
counter = RequestCounter(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    last = counter.count("192.0.2.1", 7)
print(last, flush=True)
sys.stdin.read()
"""


def worker(folder: Path, times: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(folder), str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def last_count(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_counts_of_workers_add_up_and_survive_a_dead_worker(tmp_path: Path) -> None:
    workers = [worker(tmp_path, 1000) for _ in range(3)]
    try:
        assert max(map(last_count, workers)) == 3000
        here = RequestCounter(tmp_path)
        assert here.count("192.0.2.1", 7) == 3001
        workers[0].kill()
        workers[0].wait()
        workers.append(worker(tmp_path, 10))
        assert last_count(workers[-1]) == 3011
        locks = {file.name for file in tmp_path.glob("counters-*.lock")}
        assert len(locks) == 4, "the dead worker's column is used again"
    finally:
        for each in workers:
            each.kill()
            each.wait()


def test_clients_are_counted_separately_and_each_window_starts_at_zero(tmp_path: Path) -> None:
    counter = RequestCounter(tmp_path)
    clients = [f"10.0.{i // 256}.{i % 256}" for i in range(500)]
    for _ in range(3):
        counts = [counter.count(client, 1) for client in clients]
    assert counts.count(3) > 490, "shared cells can make a count too large, and rarely do"
    assert min(counts) == 3
    assert counter.count(clients[0], 2) == 1
    assert counter.count(clients[0], 1) == 1, "a clock that is set back starts a new window too"


def test_a_damaged_table_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "counters").write_bytes(b"nonsense")
    assert RequestCounter(tmp_path).count("a", 1) == 1
    assert (tmp_path / "counters").stat().st_size == rate_limit.SIZE


def test_a_worker_counts_alone_if_the_file_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").write_text("in the way")
    counter = RequestCounter(tmp_path / "run")
    assert [counter.count("a", 1) for _ in range(3)] == [1, 2, 3]
    assert "counted by each worker alone" in caplog.text


def test_more_workers_than_columns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "COLUMNS", 1)
    first = RequestCounter(tmp_path)
    with pytest.raises(Refused, match="1 web workers serve this home already"):
        RequestCounter(tmp_path)
    assert first.count("a", 1) == 1


def test_a_web_server_can_have_as_many_workers_as_there_are_columns() -> None:
    assert serve.MAX_WORKERS == rate_limit.COLUMNS
    assert CliRunner().invoke(serve.web, ["--workers", str(rate_limit.COLUMNS + 1)]).exit_code == 2
