"""A home that recomputes and verifies over several months: archives, models and moments as a test sets them."""

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
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.simulated import FIRST, simulate
from riskmodel.sources.ucdp import GedFile
from service.alerts import rules
from service.recompute import Done, recompute
from service.settings import load
from service.store.database import Store
from service.verification import Verified, verify

COUNTRIES = ("MLI", "DZA", "BFA", "CIV", "GIN", "NER", "SEN")
"""The region without Mauritania, of which the archive knows nothing."""
LONG_AFTER = datetime(2026, 1, 1, tzinfo=UTC)
"""When tables come in: so late that all their months are old enough to be final."""


class Watch:
    """A home, and what a scheduler would do to it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.store, self.settings = Store.of(self.home), load(self.home).model_copy(update={"drivers": False})

    def take_in(self, last: str, *, learned: datetime = LONG_AFTER, **deaths: Sequence[int]) -> None:
        """Five years of months up to `last`: Mali 2 deaths each, the last ones as given by country."""
        months = np.arange(month(last) - 59, month(last) + 1)
        lines = []
        for iso3 in COUNTRIES:
            values = [2 if iso3 == "MLI" else 0] * 60
            given = list(deaths.get(iso3, ()))
            values[60 - len(given) :] = given
            lines += [f"{iso3},{when},{value}\n" for when, value in zip(months, values, strict=True)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{last}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:8]}.csv"
            path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
            ingest(Archive(self.home.archive), MonthlyFile(path), now=learned)

    def simulate(self, last: str, now: datetime) -> None:
        """The simulated archive up to a month."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"SIMULATED-{last}.csv.gz"
            simulate(path, seed=1, last=month(last))
            covers = [Coverage(WORLD, FIRST, month(last))]
            ingest(Archive(self.home.archive), GedFile(path), covers=covers, now=now)

    def model(self, model: Any = None, *, challenger: bool = False, **changed: Any) -> str:
        """Put a model into service, or into the shadow; returns its id."""
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
        name = bundle.save(model or Conflictology(), replace(provenance, **changed), self.home.models)
        (bundle.set_challenger if challenger else bundle.set_champion)(self.home.models, name)
        return name

    def run(self, now: datetime) -> Done:
        return recompute(self.home, self.settings, self.store, rules.load(self.home), lambda: now)

    def verify(self, now: datetime) -> Verified:
        return verify(self.home, self.store, lambda: now)

    def rows(self, table: sa.Table) -> Sequence[Any]:
        with self.store.reading() as connection:
            return connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all()
