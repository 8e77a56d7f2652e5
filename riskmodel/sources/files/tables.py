"""Tables: CSV and Parquet files, split into batches of text."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from riskmodel.errors import BadInput
from riskmodel.events.columns import DateOrder
from riskmodel.sources.files.content import Utf8Stream, check_size, opened, plausible
from riskmodel.sources.files.form import Form, Head, date_order, decide, distinct, head, with_decimal_points

LARGEST_IN_MEMORY = 1 << 30
"""The largest content of a table that is read as a unit [bytes of text]."""

CONTROL_CHARACTERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""What no cell keeps: PostgreSQL refuses NUL, XML and terminals refuse or obey the others. A space replaces each.

Tabs and line breaks stay: they are ordinary in a quoted text."""

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


def combined(table: "Table") -> Batch:
    """Return all rows of a table as one batch. Raises BadInput if it has more than `LARGEST_IN_MEMORY`."""
    batches = []
    for batch in table.batches():
        batches.append(batch)
        if table.size > LARGEST_IN_MEMORY:
            raise BadInput(f"{table.path}: it has more than {LARGEST_IN_MEMORY >> 20:,} MB of text; split it")
    names = batches[0].cells if batches else ()
    cells = {name: pa.concat_arrays([batch.cells[name] for batch in batches]) for name in names}
    return Batch(np.concatenate([np.empty(0, dtype=np.int64), *(batch.rows for batch in batches)]), cells)


class CsvTable:
    """A CSV file, split into batches of text.

    `names` are the columns (default: those of the head), `header_lines` is the number of lines before the rows.
    `form` is how the file is written; `settle` completes it. Once all batches have been read, `content_sha256` is the
    digest of the uncompressed file. `unsplit` has the text of rows with too few or too many fields, by number.
    `swallowed` counts the rows that a missing quotation mark hid in them. `cut_off` says whether the last row has too
    few fields, and `unended` whether the last line has no end. `cleaned` has the numbers of the rows in which a
    character was replaced, in a column that was used. `size` is how much was read so far [bytes].
    """

    def __init__(self, path: Path, head: Head, names: list[str] | None = None, header_lines: int = 1) -> None:
        self.path, self.content_sha256, self.size = path, "", 0
        self.form = head.form
        self.numbers: frozenset[str] = frozenset()
        self.cleaned: set[int] = set()
        self.unsplit: dict[int, str] = {}
        self.swallowed = 0
        self.cut_off = self.unended = False
        self._names = names or head.names
        self._skip = header_lines + head.form.separator_line

    def batches(self) -> Iterator[Batch]:
        """Yield all rows in order. Raises BadInput if the file is cut off or cannot be split at all."""
        read, short = 0, 0

        def set_aside(row: pacsv.InvalidRow) -> str:
            nonlocal short
            number = row.number - self._skip
            short = number if row.actual_columns < row.expected_columns else short
            self.unsplit[number] = without_control_characters(row.text)
            separators = (line.count(self.form.separator) for line in row.text.splitlines())
            self.swallowed += max(0, sum(count >= len(self._names) - 1 for count in separators) - 1)
            return "skip"

        with opened(self.path) as content:
            text = Utf8Stream(content, self.form.encoding)
            for raw in _large_batches(self._split(text, set_aside, self._names)):
                # Arrow gives the rows that it could split without their numbers: the set-aside ones fill the gaps.
                between = [number for number in self.unsplit if number > read]
                candidates = np.arange(read + 1, read + raw.num_rows + len(between) + 1)
                rows = candidates[~np.isin(candidates, between)][: raw.num_rows]
                read = int(rows[-1]) if rows.size else read
                self.size = content.size
                commas = self.numbers if self.form.decimal == "," else frozenset()
                yield Batch(rows, _TextColumns(raw, rows, self.cleaned, commas, text))
            self.content_sha256 = content.sha256()
            self.cut_off = short > read
            self.unended = content.last_byte not in (b"\n", b"\r", b"\0")

    def columns(self, names: Sequence[str]) -> Generator[dict[str, pa.Array], None, None]:
        """Yield some columns in small batches, without those rows that do not split."""
        with opened(self.path) as content:
            text = Utf8Stream(content, self.form.encoding)
            with contextlib.closing(self._split(text, lambda row: "skip", names)) as parts:
                for part in parts:
                    yield {name: part[name].cast(pa.string()) for name in names}

    def _split(
        self, text: Utf8Stream, set_aside: Callable[[pacsv.InvalidRow], str], names: Sequence[str]
    ) -> Generator[pa.RecordBatch, None, None]:
        try:
            reader = pacsv.open_csv(
                io.BufferedReader(text, _BLOCK),
                read_options=pacsv.ReadOptions(
                    column_names=self._names, skip_rows=self._skip, block_size=_BLOCK, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.form.separator, newlines_in_values=True, invalid_row_handler=set_aside
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(names),
                    column_types=dict.fromkeys(names, pa.binary()),
                    strings_can_be_null=True,
                    null_values=[""],
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
        self.form, self.numbers = Form(), frozenset[str]()
        self.unsplit: dict[int, str] = {}
        self.swallowed = 0
        self.cut_off = self.unended = False
        self.cleaned: set[int] = set()

    def batches(self) -> Iterator[Batch]:
        """Yield all rows. Raises BadInput if the file is broken, or too large for its size."""
        with opened(self.path) as content:
            while content.read(_BLOCK):
                pass
            self.content_sha256 = content.sha256()
        read, limit = 0, plausible(self.path)
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                _check_declared_sizes(self.path, file.metadata, limit)
                names = file.schema_arrow.names
                lower = distinct(names)
            # A column that repeats its cells stays short until its size is known.
            with pq.ParquetFile(self.path, pre_buffer=False, read_dictionary=names) as file:
                # One row group after the other: pyarrow would copy the repeated cells of several into one dictionary.
                groups = ([group] for group in range(file.num_row_groups))
                for raw in (
                    raw for group in groups for raw in file.iter_batches(_BATCH_ROWS, group, use_threads=False)
                ):
                    self.size += sum(_text_size(column) for column in raw.columns)
                    check_size(self.path, self.size, limit)
                    rows = np.arange(read + 1, read + 1 + raw.num_rows)
                    read += raw.num_rows
                    cells = {name: column.cast(pa.string()) for name, column in zip(lower, raw.columns, strict=True)}
                    yield Batch(rows, {name: _cleaned(cell, rows, self.cleaned) for name, cell in cells.items()})
        except (pa.ArrowException, OSError) as broken:
            raise BadInput(f"{self.path}: the Parquet file is broken: {broken}") from broken

    def columns(self, names: Sequence[str]) -> Generator[dict[str, pa.Array], None, None]:
        """Yield some columns in batches."""
        for batch in ParquetTable(self.path).batches():
            yield {name: batch.cells[name] for name in names}


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
    check_size(path, size, limit)


def _text_size(column: pa.Array) -> int:
    """Return about how many bytes a column makes as text, at least one for each cell."""
    if not pa.types.is_dictionary(column.type):
        return max(len(column), int(column.nbytes))
    lengths = pc.binary_length(column.dictionary.cast(pa.large_string())).fill_null(0).to_numpy().astype(np.int64)
    counts = np.bincount(column.indices.drop_null().to_numpy(), minlength=lengths.size)
    return len(column) + int(counts @ lengths)


Table = CsvTable | ParquetTable


def settle(
    table: Table,
    *,
    dates: Sequence[str] = (),
    numbers: Iterable[str] = (),
    ids: str | None = None,
    stated: DateOrder | None = None,
    months: bool = False,
) -> dict[str, pa.Array] | None:
    """Complete the form of a table by what its columns of dates, numbers and ids show; return the first rows of them.

    `stated` is the order of day and month that the user states. `months` says that all dates are first days of months.
    Returns None if there are no rows. Raises BadInput for what cannot be decided.
    """
    numbers = frozenset(numbers)
    with contextlib.closing(table.columns([*dict.fromkeys([*dates, *numbers, *([ids] if ids else [])])])) as parts:
        sample = next(parts, None)
    if sample is None:
        return None
    form = decide(table.form, table.path, sample, numbers=numbers, ids=ids)
    order = stated or date_order(table.path, lambda: table.columns(dates), sample, dates, months=months)
    table.form, table.numbers = replace(form, dates=order), numbers
    return sample


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its first bytes."""
    with opened(path) as content:
        return content.read(4) == b"PAR1"


def table(path: Path) -> tuple[Table, list[str]]:
    """Open a CSV file of one header line, or a Parquet file, by its first bytes; return it with its column names."""
    if not is_parquet(path):
        found = head(path)
        return CsvTable(path, found), found.names
    return parquet_table(path)


def parquet_table(path: Path) -> tuple[ParquetTable, list[str]]:
    """Open a Parquet file; return it with its column names, in small letters."""
    try:
        return ParquetTable(path), distinct(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as broken:
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

    def __init__(
        self, raw: pa.Table, rows: NDArray[np.int64], cleaned: set[int], with_commas: frozenset[str], text: Utf8Stream
    ) -> None:
        self._raw, self._rows, self._cleaned, self._with_commas, self._text = raw, rows, cleaned, with_commas, text
        self._names = raw.column_names
        self._decoded: dict[str, pa.Array] = {}

    def __getitem__(self, name: str) -> pa.Array:
        if name not in self._decoded:
            decoded = self._raw[name].combine_chunks().cast(pa.string())
            if self._text.replaced:
                marked = pc.match_substring(decoded, "\ufffd").fill_null(False).to_numpy(zero_copy_only=False)
                self._cleaned.update(self._rows[marked].tolist())
            decoded = _cleaned(decoded, self._rows, self._cleaned)
            self._decoded[name] = with_decimal_points(decoded) if name in self._with_commas else decoded
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
