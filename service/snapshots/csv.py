"""Payloads as CSV (RFC 4180), safe to open with a spreadsheet."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from riskmodel.outcomes import OUTCOME_LABELS
from riskmodel.score_changes import SPANS
from service.snapshots.snapshot_view import AS_OF_KEYS

FORMULA_MARKS = "=+@\uff1d\uff0b\uff0d\uff20-"
"""A spreadsheet runs a text that begins with one of these: also the full-width forms of `=`, `+`, `-` and `@`."""

_FORMULA = re.compile(rf'^(?=\s*[{FORMULA_MARKS}]|[\t\r\n])|(?<=[;\t\r\n])([\s"]*)(?=[{FORMULA_MARKS}])')
"""Where a formula could begin: at the start of a text, or where a reader that ignores quotes would start a cell."""

_FORMULA_AFTER_COMMA = re.compile(rf'(?<=,)([\s"]*)(?=[{FORMULA_MARKS}])')

SPREADSHEETS = {"en": (",", "."), "fr": (";", ",")}
"""The separator and the decimal mark that spreadsheets expect, by language."""

BYTE_ORDER_MARK = "\ufeff"
"""Tells Excel that a file is in UTF-8."""

_TEXT_OR_MARK = re.compile(r'("(?:[^"]|"")*")|([,.])')

LABEL = "outcome_label"

META_COLUMNS = (
    *(
        "outcome",
        "origin",
        "data_as_of",
        "issued_at",
        "status",
        "snapshot_id",
        "model_id",
        "source",
        "licence",
        "next_run_at",
    ),
    "simulated",
)
"""Keys of the payload that every line repeats, so that a copied table still says what it is."""

SCORE_COLUMNS = (
    "location_code",
    "location_name",
    "reference_period_start",
    "reference_period_end",
    "risk_score",
    "band",
    "rank",
    "rank_change",
    "change_1m",
    "change_12m",
    "escalation_probability",
    "onset_probability",
    "expected_deaths",
    "escalation_model",
    "escalation_from_draws",
    "onset_model",
)


LATEST_COLUMNS = {
    **{name: name for name in ("reported", "expected_final", "release_class")},
    **{f"final_{name}": name for name in ("p05", "p25", "p75", "p95")},
}
"""The columns about the figure of the origin, and their keys in `latest_month`."""

EARLIER_COLUMNS = {
    f"{name}_{span}_earlier": (span, name) for span in SPANS for name in ("origin", "basis", "risk_score")
}
"""The columns about earlier scores: their span and their keys in `earlier`."""


def table(payload: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV: their own columns first, then the payload's `META_COLUMNS`.

    A name that is a column of the rows already is not repeated. An unknown value is an empty cell. The outcome also
    stands in words (English, as all texts of a CSV).
    """
    meta = [name for name in (*META_COLUMNS, *AS_OF_KEYS) if name in payload and name not in columns]
    names = [*columns, *meta]
    if "outcome" in names:
        names.insert(names.index("outcome") + 1, LABEL)
    shared = {name: payload[name] for name in meta}
    lines = ({**row, **shared} for row in rows)
    return write(names, ([_label(line) if name == LABEL else line[name] for name in names] for line in lines))


def _label(line: Mapping[str, Any]) -> str | None:
    return None if line["outcome"] is None else OUTCOME_LABELS[line["outcome"]]["en"]


def scores_table(payload: Mapping[str, Any], fields: Sequence[str] | None = None) -> str:
    """Return a scores payload as CSV: one line per country.

    `fields` are the keys of a country that the payload was limited to, None for all.
    """
    rungs = sorted({rung["deaths"] for row in payload["data"] for rung in row.get("rungs", ())})
    key_of_column = {column: column for column in SCORE_COLUMNS} | {f"rung_{deaths}": "rungs" for deaths in rungs}
    key_of_column |= dict.fromkeys(LATEST_COLUMNS, "latest_month") | dict.fromkeys(EARLIER_COLUMNS, "earlier")
    key_of_column |= {key: key for key in ("data_quality", "reasons", "sources")}
    columns = [c for c, key in key_of_column.items() if fields is None or key in ("location_code", *fields)]
    return table(payload, columns, (dict.fromkeys(columns) | _score_row(row) for row in payload["data"]))


def _score_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one country with its nested values as flat cells."""
    return {
        **row,
        **{f"rung_{rung['deaths']}": rung["probability"] for rung in row.get("rungs", ())},
        **{column: (row.get("latest_month") or {}).get(key) for column, key in LATEST_COLUMNS.items()},
        **{column: row["earlier"][span][key] for column, (span, key) in EARLIER_COLUMNS.items() if "earlier" in row},
        "data_quality": [warning["code"] for warning in row.get("data_quality") or ()],
        "sources": list(dict.fromkeys(source["source"] for source in row.get("sources") or ())),
    }


def write(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return rows of values under a header. Every text is in quotes. An unknown value is an empty cell."""
    # Python 3.11's csv module cannot put quotes around texts and leave unknown values empty.
    lines = [columns, *rows]
    return "".join(",".join(map(_cell, line)) + "\r\n" for line in lines)


def for_spreadsheet(table: str, language: str) -> str:
    """Return a CSV as the spreadsheets of a language open it by a double click."""
    separator, decimal_mark = SPREADSHEETS[language]
    if separator == ",":
        return BYTE_ORDER_MARK + table
    marks = {",": separator, ".": decimal_mark}

    def rewrite(found: re.Match[str]) -> str:
        return _FORMULA_AFTER_COMMA.sub(r"\1'", found[1]) if found[1] else marks[found[2]]

    return BYTE_ORDER_MARK + _TEXT_OR_MARK.sub(rewrite, table)


def _cell(value: object) -> str:
    """Return a value as a cell: booleans as in JSON, list items separated by semicolons, reasons as name=code."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return _quoted("; ".join(f"{name}={code}" for name, code in sorted(value.items())))
    return _quoted("; ".join(map(str, value)) if isinstance(value, list) else str(value))


def _quoted(text: str) -> str:
    """Return a text in quotes that a spreadsheet shows as it is: a `'` keeps it from running as a formula."""
    inert = _FORMULA.sub(lambda found: f"{found[1] or ''}'", text)
    doubled = inert.replace('"', '""')
    return f'"{doubled}"'
