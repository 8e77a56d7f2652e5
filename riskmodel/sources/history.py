"""The history that ships with Vigie: deaths of 191 countries and events of seven, up to December 2022.

The data are those of the Uppsala Conflict Data Program (UCDP), CC BY 4.0: Sundberg & Melander (2013),
doi:10.1177/0022343313484347; Davies et al. (2025), Journal of Peace Research 62(4). `data/README.md` describes them.
"""

from collections.abc import Generator
from datetime import datetime
from importlib.resources import as_file, files

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import SHIPPED
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

MONTHS_FILE, MONTHS_RELEASE = "history_months.parquet", "25.1"
EVENTS_FILE, EVENTS_RELEASE = "history_events.parquet", "24.1"
EVENT_COUNTRIES = ("BEN", "BFA", "CIV", "MLI", "NER", "SEN", "TGO")
EVENTS_SPAN = "1989-01..2022-12"


def ingest_history(archive: Archive, now: datetime) -> Generator[IngestReport]:
    """Take in the shipped country-months, then the shipped events. Yields what became of each file."""
    folder = files("vigie_data")
    with as_file(folder.joinpath(MONTHS_FILE)) as path:
        months = MonthlyFile(path, source="ucdp", variant=SHIPPED)
        yield ingest(archive, months, release=MONTHS_RELEASE, now=now)
    with as_file(folder.joinpath(EVENTS_FILE)) as path:
        events = GedFile(path)
        events.variant = SHIPPED
        covers = [Coverage.parse(f"{iso3}:{EVENTS_SPAN}") for iso3 in EVENT_COUNTRIES]
        yield ingest(archive, events, release=EVENTS_RELEASE, covers=covers, now=now)
