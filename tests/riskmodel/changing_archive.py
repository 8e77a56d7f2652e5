"""An archive that changes step by step, for tests of what caused a change of the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ged
import numpy as np

from riskmodel import geography
from riskmodel.assessment import region_origin
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.explanation.attribution import ScoreInputs
from riskmodel.forecasting.component import Explainable, forecastable
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.ingest import ingest
from riskmodel.months import Month, month
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GW = {"MLI": ged.MALI, "NER": ged.NIGER, "BFA": ged.BURKINA_FASO}
FIRST = np.datetime64("2017-01", "M")
LAST = np.datetime64("2019-12", "M")
"""The last month of the history that every archive of these tests starts with."""


@dataclass(frozen=True)
class SensitiveModel:
    """A model that reads everything: any difference in deaths or indicators changes its draws."""

    factor: float = 1.0
    name: str = "sensitive"

    def fit(self, panel: Panel, origin: Month) -> "SensitiveModel":
        return self

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        values = np.nan_to_num(panel.at(origin).astype(np.float64), posinf=0.0, neginf=0.0)
        read = np.abs(np.sin(values)).mean(axis=1) + np.isnan(panel.at(origin)).mean(axis=1)
        past = np.nan_to_num(panel.history(origin, 12))
        level = self.factor * (past * 0.7 ** np.arange(12)[::-1]).sum(axis=1) * (0.5 + read)
        draws = np.rint(level[:, None, None] * np.exp(np.linspace(-3, 3, 400)) * np.ones((LEADS, 1)))
        known = forecastable(panel, origin)[:, None, None]
        return Forecast(origin, panel.iso3, panel.outcome, np.where(known, draws, np.nan).astype(np.float32))

    @property
    def used_indicators(self) -> frozenset[int]:
        return frozenset()


MODEL, OTHER_MODEL = SensitiveModel(), SensitiveModel(1.4)


class ChangingArchive:
    """An archive that grows step by step, and the inputs of the scores after each step."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.archive, self.folder = Archive(folder / "archive"), folder
        self.rng, self.files = np.random.default_rng(seed), 0
        self.rows: dict[int, dict[str, Any]] = {}

    def invent(self, first: Month, last: Month, mean: float = 1.5, countries: Sequence[str] = tuple(GW)) -> list[int]:
        """Invent events of these months without ingesting them; returns their ids."""
        numbers = []
        for m in np.arange(first, last + 1):
            for iso3 in countries:
                for _ in range(int(self.rng.poisson(mean))):
                    number, deaths = len(self.rows) + 1, int(self.rng.geometric(0.15))
                    self.rows[number] = {
                        "id": number,
                        "date": f"{m}-{self.rng.integers(1, 29):02}",
                        "country_id": GW[iso3],
                        "best": deaths,
                        "side_b": f"Invented side {self.rng.integers(4)}",
                        "latitude": round(float(self.rng.uniform(12, 16)), 3),
                        "where_prec": int(self.rng.integers(1, 6)),
                        "date_prec": int(self.rng.integers(1, 6)),
                        "type_of_violence": int(self.rng.integers(1, 4)),
                    }
                    numbers.append(number)
        return numbers

    def ingest_events(
        self,
        numbers: Sequence[int],
        first: Month,
        last: Month,
        release: str | None = None,
        countries: Sequence[str] = tuple(GW),
    ) -> str:
        """Ingest a file with some of the events as all events of these months; returns the ingest's id."""
        self.files += 1
        rows = [self.rows[n] for n in numbers if first <= np.datetime64(self.rows[n]["date"][:7], "M") <= last]
        path = ged.write(self.folder / f"{self.files}.csv", *rows, {**self.rows[1], "id": 10**6, "country_id": 651})
        covers = [Coverage(iso3, first, last) for iso3 in countries]
        return ingest(
            self.archive, GedFile(path), covers=covers, release=release, now=NOW + timedelta(days=self.files)
        ).ingest.id

    def ingest_table(self, first: Month, last: Month, scale: float = 20.0, countries: Sequence[str] = tuple(GW)) -> str:
        """Ingest a country-month table of these months; returns the ingest's id."""
        self.files += 1
        path = self.folder / f"{self.files}.monthly.csv"
        lines = [
            f"{iso3},{m},{int(self.rng.exponential(scale))}\n" for iso3 in countries for m in np.arange(first, last + 1)
        ]
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        return ingest(self.archive, MonthlyFile(path), now=NOW + timedelta(days=self.files)).ingest.id

    def ingest_displacement(self) -> None:
        """Ingest a table of displaced people."""
        self.files += 1
        path = self.folder / f"{self.files}.displaced.csv"
        header = "ISO3,Name,Year,Conflict Stock Displacement,Conflict New Displacements\n"
        path.write_text(header + "".join(f"MLI,Mali,{year},{1000 * self.files},100\n" for year in (2017, 2018, 2019)))
        ingest(self.archive, DisplacementFile(path), now=NOW + timedelta(days=self.files))

    def score_inputs(self, model: Explainable = MODEL, outcome: str = "state_based") -> ScoreInputs:
        """The inputs of the scores with everything that is ingested by now."""
        members, view = geography.region("MLI").members, self.archive.view()
        return ScoreInputs(view, model, region_origin(view, members, outcome), members, outcome)

    def withdraw(self, number: str) -> None:
        """Withdraw an ingest."""
        self.archive.withdraw(number, "it was wrong", NOW + timedelta(days=self.files))


class ReleasesOfEqualMonths(ChangingArchive):
    """Candidate and final releases with the same events in every month and country."""

    def release(self, release: str, first: str, last: str, *deaths: int) -> None:
        """Ingest a release with events of these deaths in every month."""
        months = np.arange(month(first), month(last) + 1)
        self.files += 1
        rows = [
            {
                "id": 10**6 * gw + 10 * int(m.astype(int)) + which,
                "date": f"{m}-05",
                "country_id": gw,
                "best": number,
            }
            for gw in GW.values()
            for m in months
            for which, number in enumerate(deaths)
        ]
        path = ged.write(self.folder / f"{self.files}.csv", *rows)
        covers = [Coverage(iso3, months[0], months[-1]) for iso3 in GW]
        ingest(self.archive, GedFile(path), covers=covers, release=release, now=NOW)
