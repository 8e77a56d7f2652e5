"""Files as people have them: opened within limits, their form decided once for each file, split into tables of text."""

from riskmodel.sources.files.content import opened
from riskmodel.sources.files.form import Form, Head, head, refuse_repeated
from riskmodel.sources.files.tables import (
    Batch,
    CsvTable,
    ParquetTable,
    Table,
    combined,
    is_parquet,
    parquet_table,
    settle,
    table,
    without_control_characters,
)

__all__ = [
    "Batch",
    "CsvTable",
    "Form",
    "Head",
    "ParquetTable",
    "Table",
    "combined",
    "head",
    "is_parquet",
    "opened",
    "parquet_table",
    "refuse_repeated",
    "settle",
    "table",
    "without_control_characters",
]
