"""The export: the bytes of a running server, always complete, and served by a file server."""

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
def full(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> SnapshotHome:
    return full_home(tmp_path_factory.mktemp("lived") / "home")


@pytest.fixture(scope="module")
def result(full: SnapshotHome) -> ExportResult:
    """An export of the full home, made now."""
    return export(full.home, full.home.root.parent / "files", datetime.now(UTC))


@pytest.fixture
def small(tmp_path: Path) -> SnapshotHome:
    """A home with one simulated snapshot."""
    home = SnapshotHome(tmp_path / "home")
    home.add_ingests("simulated")
    home.issue(simulated=True)
    return home


@pytest.fixture
def quick_brotli(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compress at the lowest quality, for tests that do not look at sizes: this halves the time of an export."""
    monkeypatch.setattr("service.cli.export.BROTLI_QUALITY", 1)


@contextmanager
def serving(*command: str, url: str) -> Iterator[httpx2.Client]:
    """A client of a server process that is ready."""
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


def checked_manifest(version: Path) -> dict[str, Any]:
    """The manifest of a version, after comparing every file of the version with it."""
    manifest: dict[str, Any] = json.loads((version / EXPORT_MANIFEST).read_text())
    files = [each for entry in manifest["files"] for each in (entry, *entry["encodings"].values())]
    for each in files:
        content = (version / each["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["bytes"], each["sha256"]), each["file"]
    found = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert found == {each["file"] for each in files} | {EXPORT_MANIFEST}
    return manifest


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, modification time and size of each file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_equal_the_responses_of_a_running_server(full: SnapshotHome, result: ExportResult) -> None:
    port = free_port()
    vigie = [sys.executable, "-m", "riskmodel", "--home", str(full.home.root), "web", "--port", str(port)]
    with serving(*vigie, url=f"http://127.0.0.1:{port}") as client:
        for entry in result.manifest["files"]:
            response = client.get(entry["address"])
            facts = (response.status_code, response.headers["Content-Type"], response.headers.get("ETag"))
            assert facts == (200, entry["content_type"], entry["etag"]), entry["address"]
            assert response.content == (result.folder / CURRENT / entry["file"]).read_bytes(), entry["address"]
            for name, text in {**result.manifest["headers"], **entry["headers"]}.items():
                assert response.headers[name] == text, entry["address"]


def test_every_lasting_address_is_exported(full: SnapshotHome, result: ExportResult) -> None:
    app = create_app(full.home)
    exported = {entry["address"].partition("?")[0] for entry in result.manifest["files"]}
    matched = {app.url_map.bind("").match(address, return_rule=True)[0].rule for address in exported}
    rules = {
        r.rule for r in app.url_map.iter_rules() if "GET" in r.methods and r.endpoint.split(".")[0] not in NOT_EXPORTED
    }
    assert matched == rules
    assert {f"{page}/country/{iso3}" for page in ("", "/en", "/fr") for iso3 in ("MLI", "MRT")} <= exported
    assert {
        "/v1/snapshots/1",
        "/v1/snapshots/2/diff/3",
        "/v1/forecasts/MLI/draws.parquet",
        "/static/vigie.css",
    } <= exported
    addresses_with_query = {entry["address"] for entry in result.manifest["files"]}
    assert {"/v1/scores?outcome=state_based", "/v1/scores.csv?excel=fr&outcome=state_based"} <= addresses_with_query
    assert "/fr/state_based/country/MLI" in exported
    assert "/v1/forecasts/NER/draws.parquet" not in exported  # that country has no draws
    assert not [address for address in exported if address.startswith(("/healthz", "/readyz"))]


def test_all_pages_of_lists_are_exported(full: SnapshotHome, result: ExportResult) -> None:
    files = {entry["address"]: result.folder / CURRENT / entry["file"] for entry in result.manifest["files"]}
    collected, address = [], "/v1/events"
    while address:
        page = json.loads(files[address].read_text())
        collected += [event["event_id"] for event in page["data"]]
        address = page["next"]
    assert len(collected) == len(set(collected)) == 250
    tables = [path for address, path in files.items() if address.startswith("/v1/events.csv")]
    assert sum(len(path.read_text().splitlines()) - 1 for path in tables) == 250


def test_the_manifest_describes_the_snapshot_and_the_files(result: ExportResult) -> None:
    manifest = checked_manifest(result.folder / CURRENT)
    assert manifest == result.manifest
    facts = {name: manifest[name] for name in ("snapshot_id", "simulated", "region", "data_as_of", "issued_at")}
    assert facts == {
        "snapshot_id": 3,
        "simulated": False,
        "region": "MLI",
        "data_as_of": "2022-12-31",
        "issued_at": "2023-01-10T08:30:00Z",
    }
    assert re.fullmatch("[0-9a-f]{64}", manifest["digest"])
    assert datetime.fromisoformat(manifest["exported_at"]) <= datetime.now(UTC)
    draws = next(entry for entry in manifest["files"] if entry["address"].endswith("MLI/draws.parquet"))
    assert draws["headers"]["Vigie-Simulated"] == "false"
    assert draws["encodings"] == {}


def test_compressed_copies_have_the_same_content(result: ExportResult) -> None:
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}
    coded = 0
    for entry in result.manifest["files"]:
        path = result.folder / CURRENT / entry["file"]
        for coding, twin in entry["encodings"].items():
            assert unpack[coding](
                (path.parent / f"{path.name}{'.gz' if coding == 'gzip' else '.br'}").read_bytes()
            ) == (path.read_bytes())
            assert twin["bytes"] < entry["bytes"]
            assert (path.parent / Path(twin["file"]).name).stat().st_mtime_ns == path.stat().st_mtime_ns
            coded += 1
    assert coded > len(result.manifest["files"])
    assert result.size("br") < result.size("gzip") < result.size() / 3


@pytest.mark.usefixtures("quick_brotli")
def test_an_unchanged_export_writes_nothing(small: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    assert export(small.home, folder, NOW).changed
    before = state(folder)
    again = export(small.home, folder, NOW + timedelta(minutes=5))
    assert (again.changed, again.manifest["exported_at"]) == (False, "2023-01-10T08:30:00Z")
    assert state(folder) == before


@pytest.mark.usefixtures("quick_brotli")
def test_an_unchanged_file_keeps_its_modification_time(small: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(small.home, folder, NOW)
    before = state((folder / CURRENT).resolve())
    small.issue(simulated=True, origin="2023-01", at=NOW + timedelta(days=31))
    assert export(small.home, folder, NOW + timedelta(days=31)).manifest["snapshot_id"] == 2
    after = state((folder / CURRENT).resolve())
    same = {name for name in before if after[name] == before[name]}
    assert {"openapi.json", "openapi.json.gz", "openapi.json.br", "fr/docs/index.html", "static/vigie.css"} <= same
    assert not [name for name in same if name.startswith(("v1/scores", "index.html"))]
    assert "v1/snapshots/2.json" in after
    checked_manifest(folder / CURRENT)
    export(small.home, folder, NOW + timedelta(days=32))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "2", "3", CURRENT]


@pytest.mark.usefixtures("quick_brotli")
def test_an_altered_file_is_written_again(small: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(small.home, folder, NOW)
    (folder / CURRENT / "v1/scores.json").write_text("{}")
    (folder / CURRENT / "openapi.json.gz").unlink()
    assert export(small.home, folder, NOW).changed
    checked_manifest(folder / CURRENT)


@pytest.mark.usefixtures("quick_brotli")
def test_without_brotli_there_is_gzip(small: SnapshotHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    monkeypatch.setitem(sys.modules, "brotli", None)
    assert export(small.home, folder, NOW).encodings == ["gzip"]
    before = state((folder / CURRENT).resolve())
    monkeypatch.undo()
    assert export(small.home, folder, NOW).encodings == ["gzip", "br"]
    after = state((folder / CURRENT).resolve())
    assert all(after[name] == old for name, old in before.items() if name != EXPORT_MANIFEST)
    checked_manifest(folder / CURRENT)


def test_a_folder_with_other_files_is_refused(small: SnapshotHome, tmp_path: Path) -> None:
    for name in ("letter.txt", "1", CURRENT):
        folder = tmp_path / f"with-{name}"
        (folder / name).mkdir(parents=True)
        with pytest.raises(BadInput, match=f"contains {name}, which is not part of an export"):
            export(small.home, folder, NOW)
        assert [path.name for path in folder.rglob("*")] == [name]


@pytest.mark.usefixtures("quick_brotli")
def test_a_file_of_others_is_not_removed(small: SnapshotHome, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    export(small.home, folder, NOW)
    (folder / CURRENT / "v1" / "mine.txt").write_text("mine")
    export(small.home, folder, NOW + timedelta(days=1))
    result = export(small.home, folder, NOW + timedelta(days=2))
    assert result.left == [folder / "1"]
    left = {path.relative_to(folder / "1").as_posix() for path in (folder / "1").rglob("*") if path.is_file()}
    assert left == {"v1/mine.txt", EXPORT_MANIFEST}
    export(small.home, folder, NOW + timedelta(days=3))
    checked_manifest(folder / CURRENT)


def test_an_empty_home_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No data yet"):
        export(Home(tmp_path / "empty"), tmp_path / "files", NOW)
    assert not (tmp_path / "files" / CURRENT).exists()


def test_a_route_without_known_values_is_an_error(full: SnapshotHome) -> None:
    app = create_app(full.home)
    known = {tuple(sorted(rule.arguments)): [] for rule in app.url_map.iter_rules()}
    app.add_url_rule("/v1/moons/<moon>", "moons.moon", lambda moon: moon)
    with pytest.raises(VigieError, match="no values for the path parts of /v1/moons/<moon>"):
        addresses(app, known)


@pytest.mark.parametrize("turns", [2, pytest.param(60, marks=pytest.mark.long)])
def test_a_killed_export_leaves_a_complete_version(small: SnapshotHome, tmp_path: Path, turns: int) -> None:
    """While exports are killed and snapshots issued, a reader sees complete versions and never an older one."""
    folder, rng = tmp_path / "files", random.Random(SEED)
    began = time.monotonic()
    export(small.home, folder, NOW)
    usual, killed = time.monotonic() - began, 0
    ended, collected, wrong = threading.Event(), [1], []

    def read() -> None:
        while not ended.is_set():
            time.sleep(0.3)
            version = (folder / CURRENT).resolve()
            try:
                manifest = checked_manifest(version)
                number = manifest["snapshot_id"]
                numbers = {
                    json.loads((version / f"v1/{name}.json").read_text())["snapshot_id"] for name in ("scores", "runs")
                }
                assert numbers == {number}
                assert number >= collected[-1]
                collected.append(number)
            except (AssertionError, OSError) as half:
                wrong.append(half)

    reader = threading.Thread(target=read)
    reader.start()
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(["service.cli.export"])
    exports = 0
    while exports < turns or killed < turns / 2:
        exports += 1
        now = NOW + timedelta(days=1 + exports)
        small.issue(simulated=True, at=now)
        child = children.Process(target=export, args=(small.home, folder, now))
        began = time.monotonic()
        child.start()
        child.join(rng.uniform(0.1, 1.1) * usual)
        if not child.is_alive():  # the machine has become faster: the next kill comes earlier
            usual = min(usual, time.monotonic() - began)
        child.kill()
        child.join()
        killed += child.exitcode != 0
        checked_manifest(folder / CURRENT)
    last = export(small.home, folder, NOW + timedelta(days=2 + exports))
    ended.set()
    reader.join()
    assert not wrong
    assert checked_manifest(folder / CURRENT)["snapshot_id"] == last.manifest["snapshot_id"] == exports + 1
    assert not (folder / ".part").exists()


@pytest.mark.usefixtures("quick_brotli")
def test_a_second_export_at_the_same_time_is_refused(small: SnapshotHome, tmp_path: Path) -> None:
    from filelock import FileLock

    folder = tmp_path / "files"
    export(small.home, folder, NOW)
    with FileLock(folder / ".lock"), pytest.raises(Refused, match="is running"):
        export(small.home, folder, NOW)


def configured(folder: Path, port: int) -> str:
    """The nginx configuration of the guide, for a folder."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    block = block.replace("/srv/vigie-files/current", str(folder / CURRENT)).replace(
        "127.0.0.1:8080", f"127.0.0.1:{port}"
    )
    parent = folder.parent
    user = "user root; " if os.geteuid() == 0 else ""  # other users cannot read the folder of a test
    places = "".join(
        f"{name}_temp_path {parent}/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    logs = f"pid {parent}/pid; error_log {parent}/error.log;"
    return f"{user}daemon off; {logs} events {{}} http {{ access_log off; {places}{block} }}"


def test_nginx_serves_the_files_at_the_same_addresses(result: ExportResult, tmp_path: Path, nginx: str) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(configured(result.folder, port))
    with serving(nginx, "-c", str(config), "-e", str(tmp_path / "errors"), url=f"http://127.0.0.1:{port}") as client:
        for entry in result.manifest["files"]:
            path = result.folder / CURRENT / entry["file"]
            plain = client.get(entry["address"])
            facts = (plain.status_code, plain.headers["Content-Type"], plain.content)
            assert facts == (200, entry["content_type"], path.read_bytes()), entry["address"]
            for name, text in result.manifest["headers"].items():
                assert plain.headers[name] == text
            if "gzip" in entry["encodings"]:
                with client.stream("GET", entry["address"], headers={"Accept-Encoding": "gzip"}) as coded:
                    raw = b"".join(coded.iter_raw())
                assert (coded.headers["Content-Encoding"], raw) == ("gzip", Path(f"{path}.gz").read_bytes())
        for address in (
            "/v1/scores/XYZ",
            "/v1/scores?band_at_least=high",
            "/v1/scores?outcome=all",
            "/v1/runs?cursor=999",
            "/v1/runs?x=/../..",
            "/no",
        ):
            nothing = client.get(address)
            assert (nothing.status_code, nothing.headers["Content-Type"]) == (404, "application/problem+json")
            assert nothing.json()["status"] == 404


def test_a_simple_file_server_and_chromium_show_the_pages(result: ExportResult, chromium: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    plain = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(result.folder / CURRENT)]
    with serving(*plain, url=url) as client:
        links, collected = ["/fr/"], set[str]()
        while links:
            path = links.pop()
            if path not in collected and not path.startswith(("/v1/", "/feeds/", "/openapi")):
                collected.add(path)
                response = client.get(path.partition("?")[0], follow_redirects=True)
                assert response.status_code == 200, path
                links += re.findall(r'(?:href|src)="(/[^"#]*)"', response.text)
        for under in ("/fr/country/", "/fr/state_based/country/"):
            assert len([path for path in collected if path.startswith(under)]) == 8
        assert "Conflits impliquant un État" in client.get("/fr/state_based/country/MLI/").text
        shown = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{url}/fr/country/MLI"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    assert "Risque de violence politique" in shown


def test_the_command_prints_what_it_wrote(small: SnapshotHome, tmp_path: Path, vigie: Callable[..., Any]) -> None:
    folder = tmp_path / "files"
    first = vigie("export", folder)
    assert first.code == 0, first.err
    line = r"current: \d+ addresses of snapshot 1 \(SIMULATED\), [\d.]+ MB, [\d.]+ MB gzip, [\d.]+ MB br"
    assert re.search(line, first.out)
    assert "is up to date: snapshot 1 (SIMULATED)" in vigie("export", folder).out
    wrong = vigie("export", tmp_path)
    assert (wrong.code, "which is not part of an export" in wrong.err) == (3, True)


def test_a_recompute_exports_into_the_folder_of_the_settings(
    small: SnapshotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the recompute is replaced, because it would need an archive."""
    small.home.settings.write_text('export_dir = "files"\n')
    printed: list[str] = []
    real_command = processes.command

    def command(home: Home, *arguments: str) -> list[str]:
        return real_command(home, *arguments) if arguments[0] == "export" else [sys.executable, "-c", ""]

    monkeypatch.setattr(bootstrap, "missing", lambda context: iter(()))
    monkeypatch.setattr(processes, "command", command)
    settings = load(small.home)
    context = Context(small.home, settings, small.store)
    runner = JobRunner(context, stopping=lambda: False, print_line=printed.append)
    jobs = define_jobs(settings)
    runner.declare(jobs)
    (job,) = (job for job in jobs if job.name == "recompute")
    assert runner.run_now(job)
    assert checked_manifest(small.home.root / "files" / CURRENT)["snapshot_id"] == 1
    (small.home.root / "files" / "letter.txt").write_text("mine")
    assert runner.run_now(job)
    assert "letter.txt" in printed[-1]
    assert printed[-1].endswith("; the last export stays")
    assert leases.read(small.store)["recompute"].status == "ok"
    (small.home.root / "files" / "letter.txt").unlink()
    checked_manifest(small.home.root / "files" / CURRENT)
