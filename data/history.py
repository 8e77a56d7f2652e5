"""Make `history_months.parquet` and `history_events.parquet` in this folder: `python data/history.py FOLDER`.

FOLDER has `monthly_deaths_1989_2022.csv.gz` (country-months of UCDP GED 25.1) and `gedevents_*_to_2022.csv.gz` (the
country downloads of ucdp.uu.se, about GED 24.1). Of the events, only the columns that Vigie reads are written, under
UCDP's names: no source texts, headlines or descriptions. The numbers of events by country and month are written too.
Vigie does not read them yet.
"""

import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
COUNTRIES = ("benin", "burkina_faso", "cote_divoire", "mali", "niger", "senegal", "togo")
WEBSITE_NAMES = {"best_est": "best", "low_est": "low", "high_est": "high"}
DATES = ("date_start", "date_end")
WHOLE_NUMBERS = (
    *("id", "country_id", "date_prec", "type_of_violence", "best", "low", "high"),
    *("deaths_civilians", "where_prec", "number_of_sources"),
)
DECIMALS = ("latitude", "longitude")
TEXTS = ("dyad_name", "side_a", "side_b", "adm_1", "code_status")


def months(folder: Path) -> pa.Table:
    """Return deaths and numbers of events by country and month."""
    table = pd.read_csv(folder / "monthly_deaths_1989_2022.csv.gz")
    table["month"] = pd.to_datetime(table["month"]).dt.date
    counts = table.columns.drop(["iso3", "month"])
    return pa.Table.from_pandas(table.astype(dict.fromkeys(counts, "int32")), preserve_index=False)


def events(folder: Path) -> pa.Table:
    """Return the events of the seven countries, sorted by country, day and id."""
    parts = [pd.read_csv(folder / f"gedevents_{name}_to_2022.csv.gz", index_col=False) for name in COUNTRIES]
    table = pd.concat(parts).rename(columns=WEBSITE_NAMES)
    for name in DATES:
        table[name] = pd.to_datetime(table[name], format="%m/%d/%Y %H:%M:%S").dt.date
    types = {**dict.fromkeys(WHOLE_NUMBERS, "Int32"), **dict.fromkeys(DECIMALS, "float64")}
    columns = [*WHOLE_NUMBERS, *DATES, *DECIMALS, *TEXTS]
    chosen = table[columns].astype(types).sort_values(["country_id", "date_start", "id"])
    return pa.Table.from_pandas(chosen, preserve_index=False)


def write(table: pa.Table, path: Path) -> None:
    """Write a table without the notes of pandas, so that the same data give the same bytes."""
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", compression_level=19)
    print(f"{path.name}: {table.num_rows:,} rows, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    source = Path(sys.argv[1])
    write(months(source), HERE / "history_months.parquet")
    write(events(source), HERE / "history_events.parquet")
