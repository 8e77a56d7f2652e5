"""Files and responses that unpack to far more than they are: refused before they take memory.

Each is read in a child process with little address space, which shows how much memory it took.
"""

import contextlib
import gzip
import os
import re
import resource
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import brotli
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from providers import Provider, Request, Response

ADDRESS_SPACE = 6 << 30
MOST = 400
"""The most memory that a refusal takes [MB]. Importing the modules takes half of it."""

COLUMNS = ("iso3", "month", "deaths_state_based")
PEAK = """
import atexit, re, sys
atexit.register(lambda: print(re.search(r"VmHWM:.*kB", open("/proc/self/status").read())[0], file=sys.stderr))
"""
INGEST = """
from riskmodel.cli.main import main
sys.argv = ["vigie", "ingest", sys.argv[1], sys.argv[2]]
main()
"""
FETCH = """
from riskmodel.errors import VigieError
from riskmodel.sources.client import Client
try:
    Client(sleep=lambda seconds: None).get_json(sys.argv[1])
except VigieError as failure:
    print(failure, file=sys.stderr)
    sys.exit(4)
"""


def run(script: str, *arguments: object, home: Path) -> tuple[int, str, int]:
    """Run a script in a small child; return its exit code, its errors, and the most memory that it had [MB]."""
    limit = (ADDRESS_SPACE, ADDRESS_SPACE)
    done = subprocess.run(
        [sys.executable, "-c", PEAK + script, *map(str, arguments)],
        env={**os.environ, "VIGIE_HOME": str(home)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    peak = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    return done.returncode, done.stderr, int(peak[1]) >> 10 if peak else ADDRESS_SPACE


def equal_rows(path: Path, rows: int, iso3: str = "MLI") -> Path:
    """Write a country-month table of equal rows as Parquet."""
    first = pa.array(np.zeros(rows, dtype=np.int8))
    cells = zip(COLUMNS, (iso3, "2020-01", "3"), strict=True)
    pq.write_table(pa.table({name: pa.DictionaryArray.from_arrays(first, [cell]) for name, cell in cells}), path)
    return path


def long_cells(path: Path, rows: int, **how: object) -> Path:
    """Write a Parquet file whose first column repeats one cell of a megabyte, batch by batch."""
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    cell = "x" * (1 << 20)
    with pq.ParquetWriter(path, schema, **how) as writer:
        for _ in range(rows // 100):
            columns = [[cell] * 100, ["2020-01"] * 100, ["3"] * 100]
            writer.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True)), schema=schema))
    return path


def zeros(file: IO[bytes] | gzip.GzipFile | zipfile.ZipExtFile, size: int) -> None:
    for _ in range(size >> 20):
        file.write(bytes(1 << 20))


def bomb(folder: Path, kind: str) -> Path:
    """Write a small file that unpacks to a gigabyte or more."""
    path = folder / kind
    if kind == "repeated cell.parquet":
        return equal_rows(path, 10_000, "x" * (1 << 20))
    if kind == "delta.parquet":
        return long_cells(path, 500, use_dictionary=False, column_encoding={COLUMNS[0]: "DELTA_BYTE_ARRAY"})
    if kind == "plain.parquet":
        return long_cells(path, 500, use_dictionary=False, compression="zstd")
    if kind == "rows.parquet":
        return equal_rows(path, 25_000_000)
    if kind == "zeros.csv.gz":
        with gzip.open(path, "wb", compresslevel=3) as file:
            file.write(b"iso3,month,deaths_state_based\n")
            zeros(file, 600 << 20)
    else:
        method = zipfile.ZIP_BZIP2 if kind == "bzip2.zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method, compresslevel=3) as zipped, zipped.open("table.csv", "w") as member:
            member.write(b"iso3,year,role,refugees\n")  # type: ignore[union-attr]
            zeros(member, (600 if method == zipfile.ZIP_DEFLATED else 50) << 20)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("kind", "command", "error"),
    [
        ("repeated cell.parquet", "monthly", "unpacks to far more than a table of its size does"),
        ("delta.parquet", "monthly", "is written as DELTA_BYTE_ARRAY"),
        pytest.param("plain.parquet", "monthly", "unpacks to far more", marks=pytest.mark.long),
        pytest.param("rows.parquet", "monthly", "unpacks to far more", marks=pytest.mark.long),
        pytest.param("zeros.csv.gz", "monthly", "unpacks to far more", marks=pytest.mark.long),
        pytest.param("zeros.zip", "displacement", "unpacks to far more", marks=pytest.mark.long),
        ("bzip2.zip", "displacement", "packed by a method that Vigie does not read"),
    ],
)
def test_a_small_file_that_unpacks_to_a_gigabyte_is_refused(
    tmp_path: Path, kind: str, command: str, error: str
) -> None:
    path = bomb(tmp_path, kind)
    assert path.stat().st_size < 12 << 20
    code, errors, memory = run(INGEST, command, path, home=tmp_path / "home")
    assert (code, error in errors) == (3, True), errors
    assert memory < MOST


class Bombs(Provider):
    """Sends 1 GB of blanks, compressed."""

    def respond(self, request: Request) -> Response:
        body = bytes(1 << 20).replace(b"\0", b" ")
        coding = request.path.strip("/")
        if coding == "br":
            packer = brotli.Compressor(quality=1)
            packed = b"".join([*(packer.process(body) for _ in range(1 << 10)), packer.finish()])
        else:
            packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
            packed = b"".join([*(packer.compress(body) for _ in range(1 << 10)), packer.flush()])
        return Response(
            400 if coding == "error" else 200, packed, {"Content-Encoding": "br" if coding == "br" else "gzip"}
        )


@pytest.fixture(scope="module")
def bombs() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(Bombs().listening())


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("br", "compresses its response as 'br'"),
        ("gzip", "is larger than"),
        pytest.param("error", "does not accept the request", marks=pytest.mark.long),
    ],
)
def test_a_small_response_that_unpacks_to_a_gigabyte_is_refused(
    tmp_path: Path, bombs: str, path: str, error: str
) -> None:
    code, errors, memory = run(FETCH, f"{bombs}/{path}", home=tmp_path / "home")
    assert (code, error in errors) == (4, True), errors
    assert memory < MOST


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False}, {"compression": "zstd"}, {"row_group_size": 3}])
def test_an_ordinary_parquet_file_is_read_whatever_wrote_it(
    tmp_path: Path, vigie: Callable[..., Any], how: dict[str, object]
) -> None:
    table = pa.table(
        {
            "iso3": pa.array(["MLI"] * 10).dictionary_encode(),
            "month": pa.array([f"2020-{n:02d}" for n in range(1, 11)], pa.large_string()),
            "deaths_state_based": pa.array(range(10), pa.int32()),
            "note": pa.nulls(10, pa.string()),
            "when": pa.array([0] * 10, pa.timestamp("s")),
        }
    )
    pq.write_table(table, tmp_path / "table.parquet", **how)
    result = vigie("ingest", "monthly", tmp_path / "table.parquet")
    assert (result.code, "45 deaths in all" in result.out) == (0, True), result.err


def test_a_parquet_file_with_lists_is_bad_input(tmp_path: Path, vigie: Callable[..., Any]) -> None:
    pq.write_table(pa.table({name: [[name]] for name in COLUMNS}), tmp_path / "lists.parquet")
    result = vigie("ingest", "monthly", tmp_path / "lists.parquet")
    assert (result.code, "a table has one value in each cell" in result.err) == (3, True), result.err
