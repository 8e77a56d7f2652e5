"""Damage that people, spreadsheets and downloads do to a CSV file, from a seed."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rows = list[list[str]]
Mutation = Callable[[Rows, np.random.Generator], bytes]

DATES = ("date_start", "date_end")
NUMBERS = ("best", "best_est", "low", "low_est", "high", "high_est", "latitude", "longitude", "deaths_state_based")


_COUNTING = ("id", "date_start", "country_id", "type_of_violence", "best", "best_est", "iso3", "month")
_ALIKE = {"type_of_violence": ("event_clarity", "date_prec", "where_prec", "active_year", "number_of_sources")}


def parse(content: bytes) -> Rows:
    """Return the records of a CSV file."""
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def written(rows: Rows, separator: str = ",", quoting: int = csv.QUOTE_MINIMAL, line_end: str = "\n") -> str:
    """Return records as text."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=line_end).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


def _columns(rows: Rows, *names: str) -> list[int]:
    return [i for i, name in enumerate(rows[0]) if name in names]


def _body(rows: Rows) -> range:
    """The positions of the rows below the header and below a line of HXL tags."""
    return range(2 if any(cell.startswith("#") for cell in rows[1]) else 1, len(rows))


def cut(rows: Rows, rng: np.random.Generator) -> bytes:
    """Cut the file off within a row."""
    text = written(rows).encode()
    at = int(rng.integers(len(text) // 10, len(text) - 2))
    return text[: at - 1] if text[at - 1 : at] == b"\n" else text[:at]


def cut_packed(rows: Rows, rng: np.random.Generator) -> bytes:
    packed = gzip.compress(written(rows).encode(), 1)
    return packed[: int(rng.integers(20, len(packed) - 9))]


def swap_columns(rows: Rows, rng: np.random.Generator) -> bytes:
    """Move whole columns about, header and cells."""
    order = rng.permutation(len(rows[0]))
    return written(
        [[row[i] for i in order] + row[len(order) :] if len(row) >= len(order) else row for row in rows]
    ).encode()


def swap_names(rows: Rows, rng: np.random.Generator) -> bytes:
    """Exchange a name that counts with another in the header, and leave the cells.

    Left out are exchanges after which every cell is still plausible: nobody could notice those.
    """
    names = rows[0]
    one = str(rng.choice([name for name in names if name in _COUNTING]))
    header = list(names)
    other = str(rng.choice([name for name in names if name not in (one, "", *_ALIKE.get(one, ()))]))
    if one in _ALIKE.get(other, ()):
        return written(rows).encode()
    first, second = names.index(one), names.index(other)
    header[first], header[second] = other, one
    return written([header, *rows[1:]]).encode()


def drop_column(rows: Rows, rng: np.random.Generator) -> bytes:
    gone = int(rng.integers(len(rows[0])))
    return written([row[:gone] + row[gone + 1 :] for row in rows]).encode()


def repeat_column(rows: Rows, rng: np.random.Generator) -> bytes:
    i = int(rng.integers(len(rows[0])))
    at = len(rows[0])
    return written([[*row[:at], row[i], *row[at:]] if len(row) > i else row for row in rows]).encode()


def encoding(rows: Rows, rng: np.random.Generator) -> bytes:
    name = str(rng.choice(["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp850", "mac_roman"]))
    return written(rows).encode(name, errors="replace")


def mixed_encoding(rows: Rows, rng: np.random.Generator) -> bytes:
    half = len(rows) // 2
    return written(rows[:half]).encode() + written(rows[half:]).encode("cp1252", errors="replace")


def separator(rows: Rows, rng: np.random.Generator) -> bytes:
    mark = str(rng.choice([";", "\t", "|"]))
    line = f"sep={mark}\n" if rng.random() < 0.3 else ""
    return (line + written(rows, mark, line_end=str(rng.choice(["\n", "\r\n"])))).encode()


def _spreadsheet(rows: Rows, rng: np.random.Generator, *, form: str, mark: str, comma: bool) -> bytes:
    out = [list(row) for row in rows]
    dates, numbers = _columns(rows, *DATES), _columns(rows, *NUMBERS)
    for n in _body(rows):
        row = out[n]
        for i in dates:
            if i < len(row) and row[i]:
                year, month, day = _parts(row[i])
                row[i] = form.format(y=year, m=int(month), d=int(day))
        for i in numbers:
            if comma and i < len(row):
                row[i] = row[i].replace(".", ",")
        if rng.random() < 0.5:
            row[:] = [cell[:32_767].replace("\r", "") for cell in row]
    return written(out, mark, line_end="\r\n").encode("utf-8-sig" if rng.random() < 0.5 else "utf-8")


def _parts(date: str) -> tuple[str, str, str]:
    if "/" in date:
        month, day, year = date[:10].split("/")
        return year, month, day
    year, month, day = date[:10].split("-")
    return year, month, day


def french_spreadsheet(rows: Rows, rng: np.random.Generator) -> bytes:
    return _spreadsheet(rows, rng, form="{d:02d}/{m:02d}/{y} 00:00", mark=";", comma=True)


def german_spreadsheet(rows: Rows, rng: np.random.Generator) -> bytes:
    return _spreadsheet(rows, rng, form="{d:02d}.{m:02d}.{y}", mark=";", comma=True)


def american_spreadsheet(rows: Rows, rng: np.random.Generator) -> bytes:
    return _spreadsheet(rows, rng, form="{m}/{d}/{y} 0:00", mark=",", comma=False)


def american_dates_in_a_french_spreadsheet(rows: Rows, rng: np.random.Generator) -> bytes:
    """It takes the month for the day where it can, and shows what it took as day and month; it leaves the others."""
    out = [list(row) for row in rows]
    for n in _body(rows):
        for i in _columns(rows, *DATES):
            if i < len(out[n]) and out[n][i]:
                year, month, day = map(int, _parts(out[n][i]))
                taken = day <= 12
                out[n][i] = f"{month:02d}/{day:02d}/{year} 00:00" if taken else f"{month}/{day}/{year} 00:00:00"
    return written(out).encode()


def two_orders_of_dates(rows: Rows, rng: np.random.Generator) -> bytes:
    """Somebody joined a French and an American file."""
    half = _body(rows).start + len(_body(rows)) // 2
    french = _spreadsheet(rows[:half], rng, form="{d:02d}/{m:02d}/{y}", mark=",", comma=False)
    american = _spreadsheet([*rows[:1], *rows[half:]], rng, form="{m:02d}/{d:02d}/{y}", mark=",", comma=False)
    return french + american.partition(b"\n")[2]


def rounded_ids(rows: Rows, rng: np.random.Generator) -> bytes:
    if rows[0][0] != "id":
        return written(rows).encode()
    out = [list(row) for row in rows]
    digits = int(rng.integers(0, 4))
    for n in _body(rows):
        value = float(out[n][0] or 0)
        out[n][0] = f"{value:.{digits}E}" if rng.random() < 0.5 else str(int(round(value, -int(1 + digits))))
    return written(out).encode()


def thousands(rows: Rows, rng: np.random.Generator) -> bytes:
    mark = str(rng.choice([",", ".", " ", "\u00a0", "'"]))
    out = [list(row) for row in rows]
    for n in _body(rows):
        for i in _columns(rows, "best", "best_est"):
            if i < len(out[n]) and rng.random() < 0.2:
                out[n][i] = f"{1000 + int(rng.integers(9000)):,}".replace(",", mark)
    return written(out).encode()


def duplicated_rows(rows: Rows, rng: np.random.Generator) -> bytes:
    body = _body(rows)
    again = [rows[int(i)] for i in rng.choice(body, int(rng.integers(1, len(body))))]
    return written([*rows, *again]).encode()


def shuffled_rows(rows: Rows, rng: np.random.Generator) -> bytes:
    body = _body(rows)
    return written([*rows[: body.start], *(rows[int(i)] for i in rng.permutation(body))]).encode()


def joined(rows: Rows, rng: np.random.Generator) -> bytes:
    """Append the file to itself, with its header."""
    return written(rows).encode() * 2


def blank_rows(rows: Rows, rng: np.random.Generator) -> bytes:
    out = list(rows)
    for _ in range(int(rng.integers(1, 30))):
        out.insert(int(rng.integers(1, len(out) + 1)), [""] * len(rows[-1]))
    return written(out).encode()


def broken_quotes(rows: Rows, rng: np.random.Generator) -> bytes:
    """Remove or add some quotation marks."""
    text = bytearray(written(rows, quoting=csv.QUOTE_ALL if rng.random() < 0.3 else csv.QUOTE_MINIMAL).encode())
    places = [i for i, byte in enumerate(text) if byte == ord('"')]
    for _ in range(int(rng.integers(1, 4))):
        if places and rng.random() < 0.6:
            del text[places.pop(int(rng.integers(len(places))))]
            places = [i for i, byte in enumerate(text) if byte == ord('"')]
        else:
            text.insert(int(rng.integers(len(text))), ord('"'))
    return bytes(text)


def lost_line_ends(rows: Rows, rng: np.random.Generator) -> bytes:
    text = bytearray(written(rows).encode())
    places = [i for i, byte in enumerate(text) if byte == ord("\n")]
    for i in sorted(rng.choice(places, min(len(places), int(rng.integers(1, 20))), replace=False), reverse=True):
        del text[int(i)]
    return bytes(text)


def damaged_cells(rows: Rows, rng: np.random.Generator) -> bytes:
    out = [list(row) for row in rows]
    junk = ["", "#N/A", "NULL", "-", "#VALUE!", "1e5", "TRUE", "nan", "12:00", "\u2212 3", "=1+1", "\x00"]
    for _ in range(int(rng.integers(1, len(rows)))):
        row = out[int(rng.choice(_body(rows)))]
        if row:
            row[int(rng.integers(len(row)))] = str(rng.choice(junk))
    return written(out).encode()


def random_bytes(rows: Rows, rng: np.random.Generator) -> bytes:
    text = bytearray(written(rows).encode())
    for _ in range(int(rng.integers(1, 40))):
        text[int(rng.integers(len(text)))] = int(rng.integers(256))
    return bytes(text)


def upper_case_header(rows: Rows, rng: np.random.Generator) -> bytes:
    return written([[name.upper() for name in rows[0]], *rows[1:]]).encode()


def title_above(rows: Rows, rng: np.random.Generator) -> bytes:
    return b"Exported on 3 May\n\n" + written(rows).encode()


MUTATIONS: tuple[Mutation, ...] = (
    *(cut, cut_packed, swap_columns, swap_names, drop_column, repeat_column, encoding, mixed_encoding, separator),
    *(french_spreadsheet, german_spreadsheet, american_spreadsheet, rounded_ids, thousands),
    *(american_dates_in_a_french_spreadsheet, two_orders_of_dates),
    *(duplicated_rows, shuffled_rows, joined, blank_rows, broken_quotes, lost_line_ends, damaged_cells, random_bytes),
    *(upper_case_header, title_above),
)


def sample(path: Path, rng: np.random.Generator, most: int) -> Rows:
    """Return the header and some consecutive rows of a real file."""
    rows = parse(gzip.decompress(path.read_bytes()))
    first = int(rng.integers(_body(rows).start, max(_body(rows).start + 1, len(rows) - most)))
    return [*rows[: _body(rows).start], *rows[first : first + most]]
