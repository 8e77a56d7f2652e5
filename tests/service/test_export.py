"""The export: the same bytes as a running server's, whole at every moment, and served by a server of files."""

import gzip
import hashlib
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import brotli
import httpx2
import pytest
from servers import free_port
from snapshot_documents import NOW
from snapshots_support import SnapshotHome, full_home

from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.home import Home
from service.cli.app import create_app
from service.cli.export import ExportResult, export
from service.cli.export_addresses import NOT_EXPORTED, addresses
from service.cli.export_versions import CURRENT, EXPORT_MANIFEST
from service.jobs import bootstrap, processes
from service.jobs.job_definitions import define_jobs
from service.jobs.job_run import JobRunner
from service.settings import load
from service.store import leases
from service.store.context import Context

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("lived") / "home")


@pytest.fixture(scope="module")
def done(lived: SnapshotHome) -> ExportResult:
    """An export of the present moment."""
    return export(lived.home, lived.home.root.parent / "files", datetime.now(UTC))


@pytest.fixture
def own(tmp_path: Path) -> SnapshotHome:
    """A home of one's own, with one snapshot."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    home.issue(simulated=True)
    return home


@contextmanager
def serving(*command: str, url: str) -> Iterator[httpx2.Client]:
    """A server as a process, once it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=url, timeout=10, headers={"Accept-Encoding": "identity"}) as client:
            for _ in range(200):
                try:
                    client.get("/openapi.json")
                    break
                except httpx2.TransportError:
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(10)


def whole(version: Path) -> dict[str, Any]:
    """The manifest of a version, every file of which is there as the manifest says, and no other."""
    manifest: dict[str, Any] = json.loads((version / EXPORT_MANIFEST).read_text())
    files = [each for entry in manifest["files"] for each in (entry, *entry["encodings"].values())]
    for each in files:
        content = (version / each["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["bytes"], each["sha256"]), each["file"]
    found = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert found == {each["file"] for each in files} | {EXPORT_MANIFEST}
    return manifest


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Which files there are, and since when."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_says_what_a_running_server_says(lived: SnapshotHome, done: ExportResult) -> None:
    port = free_port()
    vigie = [sys.executable, "-m", "riskmodel", "--home", str(lived.home.root), "web", "--port", str(port)]
    with serving(*vigie, url=f"http://127.0.0.1:{port}") as client:
        for entry in done.manifest["files"]:
            answer = client.get(entry["address"])
            told = (answer.status_code, answer.headers["Content-Type"], answer.headers.get("ETag"))
            assert told == (200, entry["content_type"], entry["etag"]), entry["address"]
            assert answer.content == (done.folder / CURRENT / entry["file"]).read_bytes(), entry["address"]
            for name, text in {**done.manifest["headers"], **entry["headers"]}.items():
                assert answer.headers[name] == text, entry["address"]


def test_it_holds_every_address_that_lasts(lived: SnapshotHome, done: ExportResult) -> None:
    app = create_app(lived.home)
    held = {entry["address"].partition("?")[0] for entry in done.manifest["files"]}
    matched = {app.url_map.bind("").match(address, return_rule=True)[0].rule for address in held}
    rules = {
        r.rule for r in app.url_map.iter_rules() if "GET" in r.methods and r.endpoint.split(".")[0] not in NOT_EXPORTED
    }
    assert matched == rules
    assert {f"{page}/country/{iso3}" for page in ("", "/en", "/fr") for iso3 in ("MLI", "MRT")} <= held
    assert {"/v1/snapshots/1", "/v1/snapshots/2/diff/3", "/v1/forecasts/MLI/draws.parquet", "/static/vigie.css"} <= held
    assert "/v1/forecasts/NER/draws.parquet" not in held  # none were kept
    assert not [address for address in held if address.startswith(("/healthz", "/readyz"))]


def test_lists_are_there_to_their_last_page(lived: SnapshotHome, done: ExportResult) -> None:
    files = {entry["address"]: done.folder / CURRENT / entry["file"] for entry in done.manifest["files"]}
    seen, address = [], "/v1/events"
    while address:
        said = json.loads(files[address].read_text())
        seen += [event["event_id"] for event in said["data"]]
        address = said["next"]
    assert len(seen) == len(set(seen)) == 250
    tables = [path for address, path in files.items() if address.startswith("/v1/events.csv")]
    assert sum(len(path.read_text().splitlines()) - 1 for path in tables) == 250


def test_the_manifest_says_what_it_is(done: ExportResult) -> None:
    said = whole(done.folder / CURRENT)
    assert said == done.manifest
    told = {name: said[name] for name in ("snapshot_id", "simulated", "region", "data_as_of", "issued_at")}
    assert told == {
        "snapshot_id": 3,
        "simulated": False,
        "region": "MLI",
        "data_as_of": "2022-12-31",
        "issued_at": "2023-01-10T08:30:00Z",
    }
    assert re.fullmatch("[0-9a-f]{64}", said["digest"])
    assert datetime.fromisoformat(said["exported_at"]) <= datetime.now(UTC)
    draws = next(entry for entry in said["files"] if entry["address"].endswith("MLI/draws.parquet"))
    assert draws["headers"]["Vigie-Simulated"] == "false"
    assert draws["encodings"] == {}


def test_twins_are_the_same_in_fewer_bytes(done: ExportResult) -> None:
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}
    coded = 0
    for entry in done.manifest["files"]:
        path = done.folder / CURRENT / entry["file"]
        for coding, twin in entry["encodings"].items():
            assert unpack[coding](
                (path.parent / f"{path.name}{'.gz' if coding == 'gzip' else '.br'}").read_bytes()
            ) == (path.read_bytes())
            assert twin["bytes"] < entry["bytes"]
            assert (path.parent / Path(twin["file"]).name).stat().st_mtime_ns == path.stat().st_mtime_ns
            coded += 1
    assert coded > len(done.manifest["files"])
    assert done.size("br") < done.size("gzip") < done.size() / 3


def test_the_same_again_writes_nothing(own: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    assert export(own.home, folder, NOW).changed
    before = state(folder)
    again = export(own.home, folder, NOW + timedelta(minutes=5))
    assert (again.changed, again.manifest["exported_at"]) == (False, "2023-01-10T08:30:00Z")
    assert state(folder) == before


def test_what_has_not_changed_keeps_its_time(own: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(own.home, folder, NOW)
    before = state((folder / CURRENT).resolve())
    own.issue(simulated=True, origin="2023-01", at=NOW + timedelta(days=31))
    assert export(own.home, folder, NOW + timedelta(days=31)).manifest["snapshot_id"] == 2
    after = state((folder / CURRENT).resolve())
    same = {name for name in before if after[name] == before[name]}
    assert {"openapi.json", "openapi.json.gz", "openapi.json.br", "fr/docs/index.html", "static/vigie.css"} <= same
    assert not [name for name in same if name.startswith(("v1/scores", "index.html"))]
    assert "v1/snapshots/2.json" in after
    whole(folder / CURRENT)
    export(own.home, folder, NOW + timedelta(days=32))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "2", "3", CURRENT]


def test_what_was_altered_is_written_again(own: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(own.home, folder, NOW)
    (folder / CURRENT / "v1/scores.json").write_text("{}")
    (folder / CURRENT / "openapi.json.gz").unlink()
    assert export(own.home, folder, NOW).changed
    whole(folder / CURRENT)


def test_without_brotli_there_is_gzip(own: SnapshotHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert export(own.home, folder, NOW).encodings == ["gzip"]
    before = state((folder / CURRENT).resolve())
    monkeypatch.undo()
    assert export(own.home, folder, NOW).encodings == ["gzip", "br"]
    after = state((folder / CURRENT).resolve())
    assert all(after[name] == kept for name, kept in before.items() if name != EXPORT_MANIFEST)
    whole(folder / CURRENT)


def test_a_folder_of_something_else_is_left_alone(own: SnapshotHome, tmp_path: Path) -> None:
    for name in ("letter.txt", "1", CURRENT):
        folder = tmp_path / f"with-{name}"
        (folder / name).mkdir(parents=True)
        with pytest.raises(BadInput, match=f"contains {name}, which is not part of an export"):
            export(own.home, folder, NOW)
        assert [path.name for path in folder.rglob("*")] == [name]


def test_a_file_that_is_no_part_of_it_is_not_removed(own: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(own.home, folder, NOW)
    (folder / CURRENT / "v1" / "mine.txt").write_text("mine")
    export(own.home, folder, NOW + timedelta(days=1))
    done = export(own.home, folder, NOW + timedelta(days=2))
    assert done.left == [folder / "1"]
    left = {path.relative_to(folder / "1").as_posix() for path in (folder / "1").rglob("*") if path.is_file()}
    assert left == {"v1/mine.txt", EXPORT_MANIFEST}
    export(own.home, folder, NOW + timedelta(days=3))
    whole(folder / CURRENT)


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No data yet"):
        export(Home(tmp_path / "empty"), tmp_path / "files", NOW)
    assert not (tmp_path / "files" / CURRENT).exists()


def test_an_address_that_nobody_can_fill_is_named(lived: SnapshotHome) -> None:
    app = create_app(lived.home)
    known = {tuple(sorted(rule.arguments)): [] for rule in app.url_map.iter_rules()}
    app.add_url_rule("/v1/moons/<moon>", "moons.moon", lambda moon: moon)
    with pytest.raises(VigieError, match="no values for the path parts of /v1/moons/<moon>"):
        addresses(app, known)


@pytest.mark.parametrize("turns", [4, pytest.param(60, marks=pytest.mark.long)])
def test_killed_at_any_moment_it_stands_whole(own: SnapshotHome, tmp_path: Path, turns: int) -> None:
    """Exports are killed while snapshots come in and somebody reads: one version, whole, and never an older one."""
    folder, rng = tmp_path / "files", random.Random(SEED)
    began = time.monotonic()
    export(own.home, folder, NOW)
    usual, killed = time.monotonic() - began, 0
    ended, seen, wrong = threading.Event(), [1], []

    def read() -> None:
        while not ended.is_set():
            time.sleep(0.3)
            version = (folder / CURRENT).resolve()
            try:
                said = whole(version)
                number = said["snapshot_id"]
                told = {
                    json.loads((version / f"v1/{name}.json").read_text())["snapshot_id"] for name in ("scores", "runs")
                }
                assert told == {number}
                assert number >= seen[-1]
                seen.append(number)
            except (AssertionError, OSError) as half:
                wrong.append(half)

    reader = threading.Thread(target=read)
    reader.start()
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(["service.cli.export"])
    for turn in range(turns):
        now = NOW + timedelta(days=2 + turn)
        own.issue(simulated=True, at=now)
        child = children.Process(target=export, args=(own.home, folder, now))
        child.start()
        child.join(rng.uniform(0.1, 1.1) * usual)
        child.kill()
        child.join()
        killed += child.exitcode != 0
        whole(folder / CURRENT)
    last = export(own.home, folder, NOW + timedelta(days=2 + turns))
    ended.set()
    reader.join()
    assert not wrong
    assert killed >= turns / 2
    assert whole(folder / CURRENT)["snapshot_id"] == last.manifest["snapshot_id"] == turns + 1
    assert not (folder / ".part").exists()


def test_two_at_once_do_not_meet(own: SnapshotHome, tmp_path: Path) -> None:
    from filelock import FileLock

    folder = tmp_path / "files"
    export(own.home, folder, NOW)
    with FileLock(folder / ".lock"), pytest.raises(Refused, match="is running"):
        export(own.home, folder, NOW)


def configured(folder: Path, port: int) -> str:
    """The configuration of nginx that the guide gives, over a folder."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    block = block.replace("/srv/vigie-files/current", str(folder / CURRENT)).replace(
        "127.0.0.1:8080", f"127.0.0.1:{port}"
    )
    own = folder.parent
    user = "user root; " if os.geteuid() == 0 else ""  # who else may look into a folder of tests
    places = "".join(
        f"{name}_temp_path {own}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    logs = f"pid {own}/pid; error_log {own}/error.log;"
    return f"{user}daemon off; {logs} events {{}} http {{ access_log off; {places}{block} }}"


def test_nginx_serves_it_at_the_same_addresses(done: ExportResult, tmp_path: Path, nginx: str) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(configured(done.folder, port))
    with serving(nginx, "-c", str(config), "-e", str(tmp_path / "errors"), url=f"http://127.0.0.1:{port}") as client:
        for entry in done.manifest["files"]:
            path = done.folder / CURRENT / entry["file"]
            plain = client.get(entry["address"])
            told = (plain.status_code, plain.headers["Content-Type"], plain.content)
            assert told == (200, entry["content_type"], path.read_bytes()), entry["address"]
            for name, text in done.manifest["headers"].items():
                assert plain.headers[name] == text
            if "gzip" in entry["encodings"]:
                with client.stream("GET", entry["address"], headers={"Accept-Encoding": "gzip"}) as coded:
                    raw = b"".join(coded.iter_raw())
                assert (coded.headers["Content-Encoding"], raw) == ("gzip", Path(f"{path}.gz").read_bytes())
        for address in (
            "/v1/scores/XYZ",
            "/v1/scores?band_at_least=high",
            "/v1/runs?cursor=999",
            "/v1/runs?x=/../..",
            "/no",
        ):
            nothing = client.get(address)
            assert (nothing.status_code, nothing.headers["Content-Type"]) == (404, "application/problem+json")
            assert nothing.json()["status"] == 404


def test_a_plain_server_and_chromium_show_the_pages(done: ExportResult, chromium: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    plain = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(done.folder / CURRENT)]
    with serving(*plain, url=url) as client:
        links, seen = ["/fr/"], set[str]()
        while links:
            path = links.pop()
            if path not in seen and not path.startswith(("/v1/", "/feeds/", "/openapi")):
                seen.add(path)
                answer = client.get(path.partition("?")[0], follow_redirects=True)
                assert answer.status_code == 200, path
                links += re.findall(r'(?:href|src)="(/[^"#]*)"', answer.text)
        assert len([path for path in seen if path.startswith("/fr/country/")]) == 8
        shown = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{url}/fr/country/MLI"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    assert "Risque de violence politique" in shown


def test_the_command_says_what_was_done(own: SnapshotHome, tmp_path: Path, vigie: Callable[..., Any]) -> None:
    folder = tmp_path / "files"
    first = vigie("export", folder)
    assert first.code == 0, first.err
    said = r"current: \d+ addresses of snapshot 1 \(SIMULATED\), [\d.]+ MB, [\d.]+ MB gzip, [\d.]+ MB br"
    assert re.search(said, first.out)
    assert "is up to date: snapshot 1 (SIMULATED)" in vigie("export", folder).out
    wrong = vigie("export", tmp_path)
    assert (wrong.code, "which is not part of an export" in wrong.err) == (3, True)


def test_after_a_recompute_the_folder_that_is_set_is_written(
    own: SnapshotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export is real; only recompute, which would need an archive, ends well at once."""
    own.home.settings.write_text('export_dir = "files"\n')
    printed: list[str] = []
    real_command = processes.command

    def command(home: Home, *arguments: str) -> list[str]:
        return real_command(home, *arguments) if arguments[0] == "export" else [sys.executable, "-c", ""]

    monkeypatch.setattr(bootstrap, "missing", lambda context: iter(()))
    monkeypatch.setattr(processes, "command", command)
    settings = load(own.home)
    context = Context(own.home, settings, own.store)
    runner = JobRunner(context, stopping=lambda: False, print_line=printed.append)
    jobs = define_jobs(settings)
    runner.declare(jobs)
    (job,) = (job for job in jobs if job.name == "recompute")
    assert runner.run_now(job)
    assert whole(own.home.root / "files" / CURRENT)["snapshot_id"] == 1
    (own.home.root / "files" / "letter.txt").write_text("mine")
    assert runner.run_now(job)
    assert "letter.txt" in printed[-1]
    assert printed[-1].endswith("; the last export stays")
    assert leases.read(own.store)["recompute"].status == "ok"
    (own.home.root / "files" / "letter.txt").unlink()
    whole(own.home.root / "files" / CURRENT)
