"""Open a published file (plain, gzip or zip, by its first bytes), digest it, and split it into batches of text."""

import contextlib
import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from riskmodel.errors import BadInput

LARGEST = 16 << 30
"""The largest uncompressed content that is read [bytes]."""

LARGEST_RATIO = 200
"""The largest ratio of uncompressed to compressed size that is read; it stops zip bombs. Tables reach 30."""

ALWAYS_READ = 64 << 20
"""Content of at most this size is read whatever its ratio [bytes]."""

LARGEST_IN_MEMORY = 1 << 30
"""The largest content of a table that is read as a unit [bytes of text]."""

CONTROL_CHARACTERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""What no cell keeps: PostgreSQL refuses NUL, XML and terminals refuse or obey the others. A space replaces each.

Tabs and line breaks stay: they are ordinary in a quoted text."""

_PEEK = 1 << 20

_BLOCK = 1 << 20
_BATCH_ROWS = 1 << 15
"""Bytes are split in small blocks, which is fast and takes little memory. Rows are passed on in large batches."""


@dataclass(frozen=True)
class Batch:
    """Some rows of a table: their numbers (records counted from 1, without headers), and cells as text by column."""

    rows: NDArray[np.int64]
    cells: Mapping[str, pa.Array]

    def record(self, i: int) -> str:
        """Return the i-th row as it came, as a JSON object."""
        row = {name: column[i].as_py() for name, column in self.cells.items()}
        return json.dumps({name: cell for name, cell in row.items() if cell is not None}, ensure_ascii=False)


def without_control_characters(text: str) -> str:
    """Return a text with a space for each control character."""
    return re.sub(CONTROL_CHARACTERS, " ", text)


class DigestingStream(io.RawIOBase):
    """A stream that computes the SHA-256 of what has been read. Raises BadInput if it has more than `limit` bytes."""

    def __init__(self, path: Path, source: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._path, self._source, self._limit = path, source, limit
        self.size = 0
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self.size += len(data)
        _check_size(self._path, self.size, self._limit)
        buffer[: len(data)] = data
        self._digest.update(data)
        return len(data)

    def sha256(self) -> str:
        """Return the digest so far, as hexadecimal digits."""
        return self._digest.hexdigest()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DigestingStream]:
    """Yield the uncompressed content of a file. Raises BadInput if it is missing, empty, cut off, broken or locked."""
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(4)
            raw.seek(0)
            content: IO[bytes] | gzip.GzipFile = raw
            if not magic:
                raise BadInput(f"{path}: the file is empty")
            if magic.startswith(b"\x1f\x8b"):
                content = stack.enter_context(gzip.open(raw))
            elif magic.startswith(b"PK\x03\x04"):
                content = _only_table(path, stack.enter_context(zipfile.ZipFile(raw)), stack)
            yield DigestingStream(path, content, LARGEST if content is raw else _plausible(path))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise BadInput(f"{path}: this is a folder, not a file") from None
    except PermissionError:
        raise BadInput(f"{path}: you have no right to read it") from None
    except EOFError:
        raise BadInput(f"{path}: the file is cut off: its compressed content ends too early") from None
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as broken:
        raise BadInput(f"{path}: the compressed file is broken: {broken}") from None


def _plausible(path: Path) -> int:
    """Return the largest content that a compressed file can have and still be a table [bytes]."""
    return min(LARGEST, max(ALWAYS_READ, LARGEST_RATIO * path.stat().st_size))


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise BadInput(f"{path}: it unpacks to far more than a table of its size does; it is not read further")


def _only_table(path: Path, zipped: zipfile.ZipFile, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return the only CSV table in a zip."""
    tables = [name for name in zipped.namelist() if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")]
    if len(tables) != 1:
        raise BadInput(f"{path}: a zip must contain one CSV table; this one contains {len(tables)}")
    if zipped.getinfo(tables[0]).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks any other method without a limit on its memory.
        raise BadInput(f"{path}: the zip is packed by a method that Vigie does not read; use the usual one (deflate)")
    try:
        return stack.enter_context(zipped.open(tables[0]))
    except (RuntimeError, NotImplementedError) as locked:
        raise BadInput(f"{path}: the zip cannot be unpacked: {locked}") from None


def combined(table: "CsvTable | ParquetTable") -> Batch:
    """Return all rows of a table as one batch. Raises BadInput if it has more than `LARGEST_IN_MEMORY`."""
    batches = []
    for batch in table.batches():
        batches.append(batch)
        if table.size > LARGEST_IN_MEMORY:
            raise BadInput(f"{table.path}: it has more than {LARGEST_IN_MEMORY >> 20:,} MB of text; split it")
    names = batches[0].cells if batches else ()
    cells = {name: pa.concat_arrays([batch.cells[name] for batch in batches]) for name in names}
    return Batch(np.concatenate([np.empty(0, dtype=np.int64), *(batch.rows for batch in batches)]), cells)


def header(path: Path) -> tuple[list[str], list[str]]:
    """Return the first two records of a CSV file. Raises BadInput as `opened` does."""
    with opened(path) as content:
        text = io.BufferedReader(content, _PEEK).read(_PEEK).decode("utf-8-sig", errors="replace")
    records = csv.reader(io.StringIO(text, newline=None))
    try:
        return [name.strip() for name in next(records, [])], next(records, [])
    except csv.Error as unreadable:
        raise BadInput(f"{path}: this is no CSV table: {unreadable}") from None


class CsvTable:
    """A CSV file, split into batches of text.

    `names` are the columns, `skip` is the number of header lines. Once all batches have been read, `content_sha256` is
    the digest of the uncompressed file. `unsplit` has the text of rows with too few or too many fields, by number;
    `cut_off` says whether the last row is one of them. `cleaned` has the numbers of the rows in which a control
    character was replaced, in a column that was used. `size` is how much was read so far [bytes].
    """

    def __init__(self, path: Path, names: list[str], skip: int = 1) -> None:
        self.path, self.content_sha256, self.size = path, "", 0
        self.cleaned: set[int] = set()
        self.unsplit: dict[int, str] = {}
        self.cut_off = False
        self._names, self._skip = names, skip

    def batches(self) -> Iterator[Batch]:
        """Yield all rows in order. Raises BadInput if the file is cut off or cannot be split at all."""
        read = 0
        with opened(self.path) as content:
            for raw in _large_batches(self._split(content)):
                # Arrow gives the rows that it could split without their numbers: the set-aside ones fill the gaps.
                between = [number for number in self.unsplit if number > read]
                candidates = np.arange(read + 1, read + raw.num_rows + len(between) + 1)
                rows = candidates[~np.isin(candidates, between)][: raw.num_rows]
                read = int(rows[-1]) if rows.size else read
                self.size = content.size
                yield Batch(rows, _TextColumns(raw, rows, self.cleaned))
            self.content_sha256 = content.sha256()
            self.cut_off = max(self.unsplit, default=0) > read

    def _split(self, content: DigestingStream) -> Iterator[pa.RecordBatch]:
        def set_aside(row: pacsv.InvalidRow) -> str:
            self.unsplit[row.number - self._skip] = without_control_characters(row.text)
            return "skip"

        try:
            reader = pacsv.open_csv(
                io.BufferedReader(content, _BLOCK),
                read_options=pacsv.ReadOptions(
                    column_names=self._names, skip_rows=self._skip, block_size=_BLOCK, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.binary()), strings_can_be_null=True, null_values=[""]
                ),
            )
        except pa.ArrowInvalid as broken:
            if "Empty CSV" in str(broken):
                return
            raise BadInput(f"{self.path}: cannot be split as CSV: {broken}") from broken
        try:
            with contextlib.closing(reader):
                yield from reader
        except pa.ArrowInvalid as broken:
            raise BadInput(f"{self.path}: cannot be split as CSV: {broken}") from broken


class ParquetTable:
    """A Parquet file, split into batches of text like those of `CsvTable`.

    The limits of compressed files hold for the text that its cells make, because a few bytes can repeat a long cell.
    No row is unsplit or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.content_sha256, self.size = path, "", 0
        self.unsplit: dict[int, str] = {}
        self.cut_off = False
        self.cleaned: set[int] = set()

    def batches(self) -> Iterator[Batch]:
        """Yield all rows. Raises BadInput if the file is broken, or too large for its size."""
        with opened(self.path) as content:
            while content.read(_BLOCK):
                pass
            self.content_sha256 = content.sha256()
        read, limit = 0, _plausible(self.path)
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                _check_declared_sizes(self.path, file.metadata, limit)
                names = file.schema_arrow.names
            # A column that repeats its cells stays short until its size is known.
            with pq.ParquetFile(self.path, pre_buffer=False, read_dictionary=names) as file:
                # One row group after the other: pyarrow would copy the repeated cells of several into one dictionary.
                groups = ([group] for group in range(file.num_row_groups))
                for raw in (
                    raw for group in groups for raw in file.iter_batches(_BATCH_ROWS, group, use_threads=False)
                ):
                    self.size += sum(_text_size(column) for column in raw.columns)
                    _check_size(self.path, self.size, limit)
                    rows = np.arange(read + 1, read + 1 + raw.num_rows)
                    read += raw.num_rows
                    cells = {name: column.cast(pa.string()) for name, column in zip(names, raw.columns, strict=True)}
                    yield Batch(rows, {name: _cleaned(cell, rows, self.cleaned) for name, cell in cells.items()})
        except pa.ArrowException as broken:
            raise BadInput(f"{self.path}: the Parquet file is broken: {broken}") from broken


def _check_declared_sizes(path: Path, metadata: pq.FileMetaData, limit: int) -> None:
    """Raise BadInput if a Parquet file is too large by its own account, or if that account would say nothing."""
    names, size = metadata.schema.to_arrow_schema().names, 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            size += max(column.total_uncompressed_size, column.num_values)
            name = column.path_in_schema
            if name not in names:
                raise BadInput(f"{path}: column {name} has lists or records: a table has one value in each cell")
            if "DELTA_BYTE_ARRAY" in column.encodings:
                raise BadInput(f"{path}: column {name} is written as DELTA_BYTE_ARRAY: write it as PLAIN")
    _check_size(path, size, limit)


def _text_size(column: pa.Array) -> int:
    """Return about how many bytes a column makes as text, at least one for each cell."""
    if not pa.types.is_dictionary(column.type):
        return max(len(column), int(column.nbytes))
    lengths = pc.binary_length(column.dictionary.cast(pa.large_string())).fill_null(0).to_numpy().astype(np.int64)
    counts = np.bincount(column.indices.drop_null().to_numpy(), minlength=lengths.size)
    return len(column) + int(counts @ lengths)


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its first bytes."""
    with opened(path) as content:
        return content.read(4) == b"PAR1"


def table(path: Path) -> tuple[CsvTable | ParquetTable, list[str]]:
    """Open a CSV file of one header line, or a Parquet file, by its first bytes; return it with its column names."""
    if not is_parquet(path):
        names, _ = header(path)
        return CsvTable(path, names), names
    try:
        return ParquetTable(path), pq.read_schema(path).names
    except pa.ArrowException as broken:
        raise BadInput(f"{path}: the Parquet file is broken: {broken}") from broken


def _large_batches(blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the blocks combined to `_BATCH_ROWS` rows or more."""
    pending: list[pa.RecordBatch] = []
    for block in blocks:
        pending.append(block)
        if sum(part.num_rows for part in pending) >= _BATCH_ROWS:
            yield pa.Table.from_batches(pending)
            pending = []
    if pending:
        yield pa.Table.from_batches(pending)


class _TextColumns(Mapping[str, pa.Array]):
    """The columns of a batch of bytes as text. Each is decoded when it is first read: most of them never are."""

    def __init__(self, raw: pa.Table, rows: NDArray[np.int64], cleaned: set[int]) -> None:
        self._raw, self._rows, self._cleaned = raw, rows, cleaned
        self._names = raw.column_names
        self._decoded: dict[str, pa.Array] = {}

    def __getitem__(self, name: str) -> pa.Array:
        if name not in self._decoded:
            decoded = _decoded(self._raw[name].combine_chunks())
            self._decoded[name] = _cleaned(decoded, self._rows, self._cleaned)
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _cleaned(cells: pa.Array, rows: NDArray[np.int64], cleaned: set[int]) -> pa.Array:
    """Return text with a space for each control character. Adds the numbers of the rows that have one to `cleaned`."""
    if not _may_have_control_characters(cells):
        return cells
    found = pc.match_substring_regex(cells, CONTROL_CHARACTERS).fill_null(False).to_numpy(zero_copy_only=False)
    if not found.any():
        return cells
    cleaned.update(rows[found].tolist())
    return pc.replace_substring_regex(cells, CONTROL_CHARACTERS, " ")


def _may_have_control_characters(cells: pa.Array) -> bool:
    """Return whether any byte of the text belongs to a control character, or begins one. It is fast."""
    _, _, data = cells.buffers()
    text = np.frombuffer(data, dtype=np.uint8) if data else np.empty(0, dtype=np.uint8)
    return bool(text.size) and bool(text.min() < 0x20 or (text == 0x7F).any() or (text == 0xC2).any())


def _decoded(cells: pa.Array) -> pa.Array:
    """Return bytes as text: UTF-8, or Latin-1 for the cells that are not UTF-8."""
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded_cell(cell) for cell in cells.to_pylist()], pa.string())


def _decoded_cell(cell: bytes | None) -> str | None:
    if cell is None:
        return None
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")
