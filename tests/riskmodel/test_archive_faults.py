"""Ingests as real processes with real faults: killed at a step, disk full, two at once.

The archive is always as before or as after the ingest. A short seeded set of steps always runs; `pytest -m long` kills
at every file operation of an ingest.
"""

import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ged
import pytest

from riskmodel.events import manifest
from riskmodel.events.archive import Archive

KILLER = """
import os, signal, sys
from riskmodel.cli.main import main

left, root = int(sys.argv.pop(1)), sys.argv[2]

def count(event, arguments):
    global left
    touches = event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(root)
    if touches or event in ("os.rename", "os.remove", "os.mkdir", "os.fsync"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

real_fsync = os.fsync
def audited(descriptor):
    sys.audit("os.fsync", descriptor)
    real_fsync(descriptor)
os.fsync = audited
sys.addaudithook(count)
main()
"""
STEPS = 60
"""More file operations than an ingest makes. The long test asserts that it is enough."""


def command(home: Path, *arguments: object) -> list[str]:
    return ["--home", str(home), "ingest", "ucdp", *map(str, arguments), "--covers", "MLI:2020-01..2020-12"]


def killed_at(step: int, home: Path, *arguments: object) -> bool:
    """Run an ingest that is killed at its n-th file operation. Return False if it ended before."""
    line = [sys.executable, "-c", KILLER, str(step), *command(home, *arguments)]
    return subprocess.run(line, capture_output=True).returncode == -signal.SIGKILL


def files(archive: Archive) -> set[str]:
    """The files of the archive. Of an ingest that was killed between its last two steps all are there, not listed."""
    unlisted = archive.unlisted()
    found = {path for path in archive.root.rglob("*") if path.is_file() and path.parent not in unlisted}
    assert all((folder / "events.parquet").is_file() for folder in unlisted)
    return {str(path.relative_to(archive.root)) for path in found} - {"lock", "manifest.json"}


def expected(archive: Archive) -> set[str]:
    return {
        name
        for i in archive.ingests()
        for name in [f"{i.id}/statement.json", i.data, *([i.quarantine] if i.quarantined else [])]
    }


def steps(number: int) -> list[int]:
    return sorted(random.Random(1).sample(range(1, STEPS + 1), number))


def survives(folder: Path, step: int) -> bool:
    """Kill the second of three ingests. The archive has one or two, complete, and that the third succeeds."""
    home = folder / f"home-{step}"
    archive = Archive(home / "archive")
    paths = [ged.write(folder / f"{best}.csv", {"best": best}, {"best": "x"}) for best in (3, 30, 300)]
    done = subprocess.run([sys.executable, "-m", "riskmodel", *command(home, paths[0])], capture_output=True)
    assert done.returncode == 0
    killed = killed_at(step, home, paths[1])
    ingests = archive.ingests()
    assert len(ingests) in (1, 2)
    assert [damage for _, damage in archive.check()] == [None] * len(ingests)
    assert archive.view().outcomes().deaths["all"][0, 0] == {1: 3, 2: 30}[len(ingests)]
    done = subprocess.run([sys.executable, "-m", "riskmodel", *command(home, paths[2])], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert archive.view().outcomes().deaths["all"][0, 0] == 300
    assert files(archive) == expected(archive)
    return killed


def test_a_kill_at_some_steps_leaves_the_archive_as_before_or_after(tmp_path: Path) -> None:
    killed = [survives(tmp_path, step) for step in steps(3)]
    assert any(killed)


@pytest.mark.long
def test_a_kill_at_every_step_leaves_the_archive_as_before_or_after(tmp_path: Path) -> None:
    outcomes = [survives(tmp_path, step) for step in range(1, STEPS + 1)]
    assert any(outcomes)
    assert not outcomes[-1], "the last step lies beyond the end of an ingest: every step was tried"


def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path: Path, home: Any, vigie: Callable[..., Any]) -> None:
    small = ged.write(tmp_path / "small.csv", {"best": 3})
    large = ged.write(tmp_path / "large.csv", *({"adm_1": f"{n * 7919 % 99991}-{n}"} for n in range(20_000)))
    assert vigie("ingest", "ucdp", small).code == 0
    before = manifest.read(home.archive)

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), "ingest", "ucdp", str(large)]
    done = subprocess.run(line, preexec_fn=limit_file_size, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert "the archive is as it was" in done.stderr
    assert manifest.read(home.archive) == before
    archive = Archive(home.archive)
    assert files(archive) == expected(archive)
    assert vigie("ingest", "ucdp", large).code == 0


def test_two_ingests_at_once_enter_one_after_the_other(tmp_path: Path) -> None:
    home = tmp_path / "home"
    paths = [
        ged.write(tmp_path / f"{best}.csv", *({"best": best, "adm_1": f"place {n}"} for n in range(5_000)))
        for best in (3, 4)
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "riskmodel", *command(home, path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for path in paths
    ]
    assert [child.wait(60) for child in running] == [0, 0]
    for child in running:
        child.communicate()
    ingests = Archive(home / "archive").ingests()
    assert sorted(ingest.deaths for ingest in ingests) == [15_000, 20_000]
    assert [ingest.id for ingest in ingests] == ["0001", "0002"]
