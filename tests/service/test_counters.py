"""Counting across workers: real processes over one file, deaths among them, and what the counts are worth."""

import subprocess
import sys
from pathlib import Path

import pytest

from riskmodel.errors import Refused
from service.http import rate_limit
from service.http.rate_limit import Counters

WORKER = """
import sys, time
from pathlib import Path
from service.counters import Counters
counted = Counters(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    last = counted.count("192.0.2.1", 7)
print(last, flush=True)
sys.stdin.read()
"""


def worker(folder: Path, times: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(folder), str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_workers_add_up_and_a_dead_one_loses_no_count(tmp_path: Path) -> None:
    workers = [worker(tmp_path, 1000) for _ in range(3)]
    try:
        assert max(map(said, workers)) == 3000
        here = Counters(tmp_path)
        assert here.count("192.0.2.1", 7) == 3001
        workers[0].kill()
        workers[0].wait()
        workers.append(worker(tmp_path, 10))
        assert said(workers[-1]) == 3011
        assert len({file.name for file in tmp_path.glob("counters-*.lock")}) == 4, (
            "the dead worker's column is used again"
        )
    finally:
        for each in workers:
            each.kill()
            each.wait()


def test_each_is_counted_apart_and_a_new_window_begins_at_nothing(tmp_path: Path) -> None:
    counted = Counters(tmp_path)
    askers = [f"10.0.{i // 256}.{i % 256}" for i in range(500)]
    for _ in range(3):
        seen = [counted.count(who, 1) for who in askers]
    assert seen.count(3) > 490, "a shared place can make a count too large, and rarely does"
    assert min(seen) == 3
    assert counted.count(askers[0], 2) == 1
    assert counted.count(askers[0], 1) == 1, "a clock that goes back begins anew too"


def test_a_file_that_is_no_table_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "counters").write_bytes(b"nonsense")
    assert Counters(tmp_path).count("a", 1) == 1
    assert (tmp_path / "counters").stat().st_size == rate_limit.SIZE


def test_where_the_file_cannot_be_made_a_worker_counts_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("in the way")
    counted = Counters(tmp_path / "run")
    assert [counted.count("a", 1) for _ in range(3)] == [1, 2, 3]
    assert "each worker counts for itself" in caplog.text


def test_more_workers_than_columns_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "COLUMNS", 1)
    first = Counters(tmp_path)
    with pytest.raises(Refused, match="1 web workers run over this home already"):
        Counters(tmp_path)
    assert first.count("a", 1) == 1
