"""Hindcasts on disk: what Vigie would have reported at past origins, one file for each origin.

A file is Parquet: one row for each forecaster, country and lead with its draws, and everything else as JSON in the
metadata. It appears only when complete, so a computation that was stopped continues where it stopped. This module loads
no model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from riskmodel.errors import Refused
from riskmodel.forecasting.forecast import SERVED_LEADS
from riskmodel.home import Home, atomic_write
from riskmodel.months import Month, month

FORMAT = 3
"""The version of the file layout. A file of another version counts as damaged, and is computed again."""
SERVED = "served"
"""The forecaster name of the model's draws."""

DataBasis = Literal["as_known", "final_figures"]
"""The figures that a hindcast starts from: those published when its origin was new, or the newest ones."""

_METADATA_KEY = b"vigie"


@dataclass(frozen=True)
class Hindcast:
    """What Vigie would have reported for one outcome at one origin.

    `model_origin` is the last month of the model's training data, and `model` its configuration. `edition` is the
    digest of all that the hindcasts of an outcome depend on, except later data; `data_digest` is that of the data.
    `computed_at` is ISO 8601 in UTC.

    `countries` are the scores of `country_scores` with the default bands, ready for JSON. Each also has `observed`, the
    last twelve months up to the origin as known (`month`, `deaths`, and `expected_final` of an unsettled figure),
    `escalation_h24`, the probability by the rule h24, and `signals`, `not_compared`, `percentiles` and
    `unlisted_signals`, found in the newest figures of the months up to the origin.

    `draws` has the draws of the model under `SERVED` and those of each baseline under its name, float32 of shape
    (country, lead, draw) [deaths], leads 1-12, countries in the order of `countries`. A country without a forecast is
    NaN.
    """

    region: str
    simulated: bool
    outcome: str
    origin: Month
    data_basis: DataBasis
    model_origin: Month
    model: str
    edition: str
    data_digest: str
    computed_at: str
    countries: list[dict[str, Any]]
    draws: Mapping[str, NDArray[np.float32]]

    @property
    def iso3(self) -> tuple[str, ...]:
        """The ISO alpha-3 codes of the countries."""
        return tuple(country["location_code"] for country in self.countries)

    @property
    def document(self) -> dict[str, Any]:
        """All fields except the draws, ready for JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "draws"}
        return fields | {"origin": str(self.origin), "model_origin": str(self.model_origin)}

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it except `computed_at`."""
        content = {name: value for name, value in self.document.items() if name != "computed_at"}
        digest = hashlib.sha256(json.dumps([FORMAT, content], sort_keys=True, allow_nan=False).encode())
        for name in sorted(self.draws):
            draws = np.ascontiguousarray(self.draws[name], dtype="<f4")
            digest.update(f"{name} {draws.shape}".encode() + draws.tobytes())
        return digest.hexdigest()

    @classmethod
    def of(cls, document: Mapping[str, Any], draws: Mapping[str, NDArray[np.float32]]) -> Self:
        """Make a hindcast from its `document` and its draws. Raises TypeError, KeyError or ValueError for others."""
        months = {name: month(document[name]) for name in ("origin", "model_origin")}
        return cls(**{**document, **months}, draws=draws)


def edition(
    *, region: str, simulated: bool, outcome: str, model_id: str, model: str, code: str, withdrawn: Sequence[str]
) -> str:
    """Return the digest of all that the hindcasts of an outcome depend on, except data that came in later.

    `model_id` is the id of the model in service, `model` its configuration, and `code` the digest of the code.
    `withdrawn` are the ingests that were withdrawn: nothing that was computed from wrong data may stay.
    """
    parts = [FORMAT, region, simulated, outcome, model_id, model, code, list(withdrawn)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def save(home: Home, hindcast: Hindcast) -> Path:
    """Write a hindcast in one step, in place of an earlier one of its origin, and return its path."""
    path = _folder(home, hindcast.region, simulated=hindcast.simulated, outcome=hindcast.outcome)
    path /= f"{hindcast.origin}.parquet"
    content = {"format": FORMAT, "digest": hindcast.digest, "hindcast": hindcast.document}
    table = _to_table(hindcast).replace_schema_metadata({_METADATA_KEY: json.dumps(content, allow_nan=False)})
    with atomic_write(path) as part:
        pq.write_table(table, part, compression="zstd")
    return path


def load(path: Path) -> Hindcast:
    """Read a hindcast. Raises Refused for a damaged file, or one of another format."""
    try:
        table = pq.read_table(path)
        content = json.loads(table.schema.metadata[_METADATA_KEY])
        document = content["hindcast"]
        iso3 = [country["location_code"] for country in document["countries"]]
        hindcast = Hindcast.of(document, _draws(table, iso3))
        intact = content["format"] == FORMAT and content["digest"] == hindcast.digest
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        intact = False
    if not intact:
        raise Refused(f"the hindcast {path} is damaged: vigie hindcast computes it again")
    return hindcast


def stored(home: Home, region: str, *, simulated: bool, outcome: str) -> dict[Month, Path]:
    """Return the files of a region and an outcome by origin, oldest first. Files can be damaged: `load` tells."""
    paths = sorted(_folder(home, region, simulated=simulated, outcome=outcome).glob("[0-9]*.parquet"))
    return {month(path.stem): path for path in paths}


def _folder(home: Home, region: str, *, simulated: bool, outcome: str) -> Path:
    return home.hindcasts / (f"simulated-{region}" if simulated else region) / outcome


def _to_table(hindcast: Hindcast) -> pa.Table:
    """Return one row for each forecaster, country with a forecast, and lead."""
    rows = [
        {"forecaster": name, "location_code": iso3, "lead": lead, "deaths": deaths.astype(np.int32)}
        for name, of_forecaster in hindcast.draws.items()
        for iso3, of_country in zip(hindcast.iso3, of_forecaster, strict=True)
        if not np.isnan(of_country).any()
        for lead, deaths in enumerate(of_country, start=1)
    ]
    schema = {
        "forecaster": pa.string(),
        "location_code": pa.string(),
        "lead": pa.int32(),
        "deaths": pa.list_(pa.int32()),
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def _draws(table: pa.Table, iso3: list[str]) -> dict[str, NDArray[np.float32]]:
    forecasters, countries = (table[name].to_pylist() for name in ("forecaster", "location_code"))
    lists = table["deaths"].combine_chunks()
    numbers, ends = lists.flatten().to_numpy(), lists.offsets.to_numpy()
    draws: dict[str, NDArray[np.float32]] = {}
    for row, (name, code, lead) in enumerate(zip(forecasters, countries, table["lead"].to_pylist(), strict=True)):
        deaths = numbers[ends[row] : ends[row + 1]]
        empty = np.full((len(iso3), SERVED_LEADS, len(deaths)), np.nan, dtype=np.float32)
        draws.setdefault(name, empty)[iso3.index(code), lead - 1] = deaths
    return draws
