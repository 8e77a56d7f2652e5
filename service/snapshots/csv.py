"""Tables as CSV (RFC 4180) for whoever opens them with a spreadsheet. It knows no payload."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a text begins that a spreadsheet would run instead of showing it."""


def text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows of values under their columns. Unknown is empty; a text that would be run gets a `'` before it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows(map(_cell, row) for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    """A value as a cell: booleans as JSON has them, lists between semicolons, reasons as name=code."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return _shown("; ".join(f"{name}={code}" for name, code in sorted(value.items())))
    if isinstance(value, list):
        return _shown("; ".join(map(str, value)))
    return _shown(value) if isinstance(value, str) else value


def _shown(words: str) -> str:
    return f"'{words}" if words.startswith(FORMULA) else words
