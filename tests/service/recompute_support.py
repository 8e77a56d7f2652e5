"""A home that a test operates over several months: it ingests data, recomputes and verifies at set moments."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from riskmodel import bundle
from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.forecasting.escalation import Escalation
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.simulated import FIRST, simulate
from riskmodel.sources.ucdp import GedFile
from service.jobs.recompute import RunResult, recompute
from service.jobs.verification import VerificationResult, verify
from service.settings import Settings, load
from service.snapshots.outcome_parts import of_outcome
from service.store.context import Context
from service.store.database import Store
from service.store.tables import snapshots

NOW = datetime(2022, 1, 20, 8, tzinfo=UTC)
"""Shortly after the last month of a home that is ready."""
COUNTRIES = ("MLI", "DZA", "BFA", "CIV", "GIN", "NER", "SEN")
"""The region of Mali without Mauritania, for which there are no data."""
LONG_AFTER = datetime(2026, 1, 1, tzinfo=UTC)
"""So late that all months of ingested tables are old enough to be final."""


class OperatedHome:
    """A home that a test operates as a scheduler would. `settings` replace those of the home.

    Tables are ingested at `known_since`.
    """

    def __init__(self, root: Path, known_since: datetime = LONG_AFTER, **settings: Any) -> None:
        self.home, self.known_since = Home(root), known_since
        self.store = Store.of(self.home)
        self.settings = load(self.home).model_copy(update=settings)

    @classmethod
    def ready(cls, home: Home, known_since: datetime = LONG_AFTER, **settings: Any) -> "OperatedHome":
        """Return a home before its first run: twelve months of 30 deaths in Mali, and a model whose draws all agree."""
        made = cls(home.root, known_since, **settings)
        made.ingest_months("2021-12", MLI=[30] * 12)
        made.put_model()
        return made

    def ingest_months(
        self, last: str, *, known_since: datetime | None = None, massacres: int | None = None, **deaths: Sequence[int]
    ) -> None:
        """Ingest five years of months up to `last`: 2 state-based deaths in Mali each.

        `deaths` are those of the last months. With `massacres`, the table has all types of violence, with so many
        one-sided deaths a month in each country.
        """
        others, other_columns = "", ""
        if massacres is not None:
            others, other_columns = f",0,{massacres}", ",deaths_non_state,deaths_one_sided"
        months = np.arange(month(last) - 59, month(last) + 1)
        lines = []
        for iso3 in COUNTRIES:
            values = [2 if iso3 == "MLI" else 0] * 60
            newest = list(deaths.get(iso3, ()))
            values[60 - len(newest) :] = newest
            lines += [f"{iso3},{target},{value}{others}\n" for target, value in zip(months, values, strict=True)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{last}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:8]}.csv"
            path.write_text(f"iso3,month,deaths_state_based{other_columns}\n" + "".join(lines))
            ingest(Archive(self.home.archive), MonthlyFile(path), now=known_since or self.known_since)

    def simulate(self, last: str, now: datetime) -> None:
        """Ingest simulated data up to a month."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"SIMULATED-{last}.csv.gz"
            simulate(path, seed=1, last=month(last))
            covers = [Coverage(WORLD, FIRST, month(last))]
            ingest(Archive(self.home.archive), GedFile(path), covers=covers, now=now)

    def put_model(
        self, model: Any = None, escalation: Escalation | None = None, *, challenger: bool = False, **changed: Any
    ) -> str:
        """Put a model into service, or make it the challenger; return its id."""
        provenance = bundle.Provenance(
            outcome="state_based",
            origin="2020-12",
            data_digest="d" * 64,
            simulated=False,
            seed=0,
            features=tuple(indicator.name for indicator in INDICATORS),
            scores={},
            trained_at="2021-01-20T08:00:00Z",
        )
        provenance = replace(provenance, **changed)
        name = bundle.save(model or Conflictology(), provenance, self.home.models, escalation)
        (bundle.set_challenger if challenger else bundle.set_champion)(self.home.models, name)
        return name

    def run(self, now: datetime = NOW, settings: Settings | None = None) -> RunResult:
        context = Context(self.home, settings or self.settings, self.store, lambda: now)
        return recompute(context, rule_file.load(self.home, DEFAULT_BANDS))

    def verify(self, now: datetime) -> VerificationResult:
        return verify(Context(self.home, self.settings, self.store, lambda: now))

    def rows(self, table: sa.Table, order: str | None = None) -> Sequence[Any]:
        """Return all rows of a table, by its primary key or by another column."""
        by = [table.c[order]] if order else table.primary_key.columns
        with self.store.reading() as connection:
            return connection.execute(sa.select(table).order_by(*by)).all()

    def document(self, position: int) -> dict[str, Any]:
        """The flat document of the headline of a snapshot, by its position among all."""
        return of_outcome(self.rows(snapshots)[position].document)

    @property
    def newest_document(self) -> dict[str, Any]:
        """The flat document of the newest snapshot's headline."""
        return self.document(-1)
