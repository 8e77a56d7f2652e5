"""Tell what a file is by its columns, and open it with the module that reads it."""

from pathlib import Path

from riskmodel.errors import BadInput
from riskmodel.events.columns import DateOrder
from riskmodel.ingest import Source
from riskmodel.sources import displacement, files, monthly, ucdp

READABLE = (
    "UCDP events (id, date_start, country_id, type_of_violence, best, …), country-months (iso3, month, "
    "deaths_state_based, …), or UNHCR's or IDMC's displaced people (iso3, year, …), as CSV, .csv.gz, .zip or Parquet"
)


def recognised(path: Path, dates: DateOrder | None) -> tuple[str, Source]:
    """Return what a file is, in words, and its reader. Raises BadInput for a file that Vigie cannot read."""
    names = files.parquet_table(path)[1] if files.is_parquet(path) else files.head(path).names
    if ucdp.recognises(names):
        events = ucdp.GedFile(path, dates)
        of_protest = events.kind == "protests"
        return "UCDP events of political protest" if of_protest else f"UCDP events, {events.variant} layout", events
    if monthly.recognises(names):
        return "a table of deaths by country and month", monthly.MonthlyFile(path, dates=dates)
    if displacement.recognises(names):
        table = displacement.DisplacementFile(path)
        return f"{table.source.upper()}'s displaced people by country and year", table
    shown = ", ".join(filter(None, names[:8]))[:200]
    raise BadInput(f"{path}: Vigie does not know such a table ({shown}). It reads {READABLE}")
