"""How a CSV file is written: encoding, separator, decimal mark, order of day and month, ids.

Each of these is decided once for a file and holds for all its rows. A row that does not fit is quarantined, and never
read in another way. What cannot be decided is refused. `Form` is the result, and `Form.notes` what a report says of it.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel.errors import BadInput
from riskmodel.events.columns import DateOrder
from riskmodel.sources.files.content import DigestingStream, opened

PEEK = 1 << 20
"""How much of a file shows its separator and its decimal mark [bytes]."""

SEPARATORS = ",;\t|"

LEAST_EVIDENCE = 0.05
"""The least share of dates whose order is certain that decides for all. Of random days, 60 % are after the 12th."""

_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_DATE_NAMES = {"dmy": "day before month (28/06/2014)", "mdy": "month before day (06/28/2014)"}
_ENCODING_NAMES = {"utf-8": "UTF-8", "cp1252": "Windows-1252"}

_SHOWN_RECORDS = 20
"""How many records are compared to find the separator."""

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)

_FOREIGN = {
    b"\xd0\xcf\x11\xe0": "a spreadsheet",
    b"<stata_dta>": "a Stata file",
    b"RDX": "an R file",
    b"RDA": "an R file",
    b"X\n\x00": "an R file",
    b"$FL": "an SPSS file",
    b"BZh": "a file that bzip2 packed",
    b"\xfd7zXZ": "a file that xz packed",
    b"7z\xbc\xaf": "a file that 7-Zip packed",
    b"%PDF": "a PDF document",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
"""First bytes of files that people have and Vigie does not read."""

_OLD_STATA = (113, 114, 115)
"""The first byte of Stata files of versions 8 to 12."""

# RE2, which Arrow uses, and Python read these alike.
_SLASHED = r"^\s*(?P<first>\d{1,2})[/.-](?P<second>\d{1,2})[/.-]\d{4}(?:$|[ T])"
_AMERICAN_WEBSITE = r"^\d\d/\d\d/\d{4} 00:00:00$"
_DECIMAL_COMMA, _DECIMAL_POINT = r"^\s*[-+]?\d*,\d+\s*$", r"^\s*[-+]?\d*\.\d+\s*$"
_ROUNDED = r"^\s*\d+(?:[.,]\d+)?[eE]\+?\d+\s*$"


@dataclass(frozen=True)
class Form:
    """The decisions of one file. `dates` is None if dates are written YYYY-MM-DD, which has no ambiguity."""

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    dates: DateOrder | None = None
    separator_line: bool = False

    def notes(self) -> tuple[str, ...]:
        """Return what differs from UTF-8, commas, decimal points and YYYY-MM-DD, in words."""
        encoding = _ENCODING_NAMES.get(self.encoding, "UTF-16")
        return tuple(
            note
            for note, differs in (
                (f"text in {encoding}", self.encoding != "utf-8"),
                (f"separated by {_SEPARATOR_NAMES.get(self.separator, repr(self.separator))}", self.separator != ","),
                ("decimal commas", self.decimal != "."),
                (_DATE_NAMES[self.dates or "dmy"], self.dates is not None),
            )
            if differs
        )


@dataclass(frozen=True)
class Head:
    """The first two records of a CSV file, and its form as far as they show it.

    `names` are in small letters. A repeated name has a number, as in "best (2)".
    """

    names: list[str]
    first: list[str]
    form: Form


def head(path: Path) -> Head:
    """Return the head of a CSV file. Raises BadInput, as `opened` does, and for a file that is no CSV table."""
    with opened(path) as content:
        start = content.read(PEEK) or b""
        while len(start) < PEEK and (more := content.read(PEEK - len(start))):
            start += more
        _refuse_foreign(path, start)
        encoding = _encoding(start, content)
    text = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)("replace").decode(start)
    stated = _SEPARATOR_LINE.match(text)
    if stated:
        text = text[stated.end() :]
    separator, records = _separator(path, text, stated[1] if stated else SEPARATORS, complete=len(start) < PEEK)
    names = distinct(records[0])
    if any("\n" in name or "\r" in name for name in records[0]):
        raise BadInput(f"{path}: header: a name has a line break; is a quotation mark missing?")
    form = Form(encoding, separator, separator_line=bool(stated))
    return Head(names, records[1] if len(records) > 1 else [], form)


def _refuse_foreign(path: Path, start: bytes) -> None:
    kind = next((kind for magic, kind in _FOREIGN.items() if start[:64].lstrip().startswith(magic)), None)
    if kind is None and start[0] in _OLD_STATA and start[1:4] in (b"\x01\x01\x00", b"\x02\x01\x00"):
        kind = "a Stata file"
    if kind:
        raise BadInput(f"{path}: this is {kind}, and no table in text: save it as CSV, and take that in")


def _encoding(start: bytes, rest: DigestingStream) -> str:
    """Return the encoding of a file: by its byte order mark or zero bytes, else by its first letters outside ASCII.

    If these are mixed, the more frequent encoding decides.
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = start[:4096:2].count(0), start[1:4096:2].count(0)
    if max(even, odd) > 0.4 * len(start[:4096:2]) and min(even, odd) < 0.05 * len(start[:4096:2]):
        return "utf-16-le" if odd > even else "utf-16-be"
    block = start
    while block and block.isascii():
        block = rest.read(PEEK) or b""
    # An incomplete letter at the end of the block is left out.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(block)
    wrong = text.count("\ufffd")
    return "cp1252" if wrong > sum(not letter.isascii() for letter in text) - wrong else "utf-8"


def _separator(path: Path, text: str, candidates: str, *, complete: bool) -> tuple[str, list[list[str]]]:
    """Return the separator that gives most records the same number of fields, and those records."""
    found: list[tuple[float, int, str, list[list[str]]]] = []
    problem = ""
    for separator in candidates:
        try:
            rows = csv.reader(io.StringIO(text, newline=None), delimiter=separator)
            records = [row for _, row in zip(range(_SHOWN_RECORDS), rows, strict=False)]
        except (csv.Error, TypeError, ValueError) as unreadable:
            problem = str(unreadable)
            continue
        records = records if complete or len(records) == _SHOWN_RECORDS else records[:-1] or records
        fields = len(records[0]) if records else 0
        # The country download of UCDP has one field more in each row than in its header.
        alike = sum(fields <= len(row) <= fields + 1 for row in records) / len(records) if fields > 1 else 0
        found.append((alike, fields, separator, records))
    if not found:
        raise BadInput(f"{path}: this is no CSV table: {problem}")
    _, _, separator, records = max(found, key=lambda entry: entry[:2])
    return separator, records or [[]]


def distinct(names: Iterable[str]) -> list[str]:
    """Return the names of columns in small letters; one that stands again has a number, as in "best (2)"."""
    counted: dict[str, int] = {}
    numbered = []
    for name in (name.strip().lower() for name in names):
        counted[name] = counted.get(name, 0) + 1
        numbered.append(name if counted[name] == 1 else f"{name} ({counted[name]})")
    return numbered


def refuse_repeated(path: Path, names: Sequence[str], used: Iterable[str]) -> None:
    """Raise BadInput if the header has a used column twice: which one counts is unknown."""
    if repeated := [name for name in used if f"{name} (2)" in names]:
        raise BadInput(f"{path}: header: the column {', '.join(repeated)} stands twice")


def decide(
    form: Form,
    path: Path,
    sample: Mapping[str, pa.Array],
    *,
    numbers: Iterable[str],
    ids: str | None,
) -> Form:
    """Return the form with the decimal mark that most numbers of a sample have.

    `numbers` are the names of columns, `ids` that of the ids. Raises BadInput if a spreadsheet rounded the ids.
    """
    if ids is not None and (rounded := sample[ids].filter(_matches(sample[ids], _ROUNDED))):
        raise BadInput(
            f"{path}: {ids} is written {rounded[0]}: a spreadsheet rounded the ids, and events can no longer be told "
            "apart; take the original file"
        )
    commas, points = (sum(_count(sample[name], form) for name in numbers) for form in (_DECIMAL_COMMA, _DECIMAL_POINT))
    return replace(form, decimal="," if commas > points else ".")


def date_order(
    path: Path,
    batches: Callable[[], Iterable[Mapping[str, pa.Array]]],
    sample: Mapping[str, pa.Array],
    columns: Sequence[str],
    *,
    months: bool,
) -> DateOrder | None:
    """Return the order of day and month of a file, from all dates in it.

    `batches` reads the columns of dates from the start. It is called only if a date of the sample is not YYYY-MM-DD;
    without one the order is None: then no other date counts as one. `months` says that all are first days of months.
    Raises BadInput if the dates contradict each other, or if they leave the order open.
    """
    if not any(_count(sample[name], _SLASHED) for name in columns):
        return None
    day_first = month_first = slashed = website = 0
    example = ""
    for batch in batches():
        for cells in batch.values():
            parts = pc.extract_regex(cells, _SLASHED)
            written = parts.filter(parts.is_valid())
            if not len(written):
                continue
            first, second = (
                pc.cast(pc.struct_field(written, name), pa.int32()).to_numpy() for name in ("first", "second")
            )
            slashed += len(written)
            day_first += int(
                np.count_nonzero((second == 1) < (first == 1) if months else (second <= 12) & (first > 12))
            )
            month_first += int(
                np.count_nonzero((first == 1) < (second == 1) if months else (first <= 12) & (second > 12))
            )
            website += _count(cells, _AMERICAN_WEBSITE)
            example = example or str(cells.filter(parts.is_valid())[0])
    state = "state it with --dates dmy or --dates mdy"
    if day_first and month_first:
        raise BadInput(
            f"{path}: {day_first:,} dates have the day first and {month_first:,} the month; a spreadsheet has probably "
            f"changed some of them: take the original file, or {state}"
        )
    if max(day_first, month_first) >= LEAST_EVIDENCE * slashed:
        return "dmy" if day_first else "mdy"
    if website == slashed and not day_first:
        return "mdy"  # the country download of ucdp.uu.se, as it comes
    raise BadInput(f"{path}: no date shows whether day or month is first ({example!r}): {state}")


def with_decimal_points(cells: pa.Array) -> pa.Array:
    """Return numbers with decimal commas as numbers with points. A point, which groups thousands, makes no number."""
    return pc.replace_substring(pc.replace_substring(cells, ".", "_"), ",", ".")


def _matches(cells: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(cells, pattern).fill_null(False)


def _count(cells: pa.Array, pattern: str) -> int:
    return int(pc.sum(_matches(cells, pattern)).as_py() or 0)
