"""Store back-tests in a home: one folder per back-test, one Parquet file per window.

The folder is named by the digest of everything that decides the results. A window's file appears only when complete,
so a back-test that was stopped continues where it stopped. This module knows no model.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home, atomic_write
from riskmodel.months import month
from training.results import OBSERVED_COLUMNS, SCORE_COLUMNS, BacktestResult, join_windows
from training.windows import Window

SETUP_FILE = "setup.json"
FORMAT = 3
"""The version of the file layout. Back-tests of another version are ignored and computed again."""
ROW_GROUP_ROWS = 200_000
_METADATA_KEY = "vigie"


@dataclass(frozen=True)
class BacktestSetup:
    """Everything that decides the results of a back-test. `kind` is `challenge` or `rolling`."""

    kind: str
    outcome: str
    model: str
    configuration: str
    baselines: tuple[str, ...]
    seed: int
    data_digest: str
    simulated: bool
    code: str

    @property
    def digest(self) -> str:
        """SHA-256 of all fields and of the file format."""
        return hashlib.sha256(json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class StoredBacktest:
    """A back-test on disk."""

    folder: Path
    setup: BacktestSetup

    @property
    def name(self) -> str:
        """The first digits of the digest."""
        return self.folder.name

    def has(self, window: Window) -> bool:
        """Return whether the results of a window are stored."""
        return self._results_path(window).exists()

    def draws_path(self, window: Window) -> Path:
        """Return where the model's draws of a window are stored, if they are."""
        return self.folder / f"{window.name}.forecasts.parquet"

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows whose results are stored, in the order of their origins."""
        found = [_read_window(path) for path in self.folder.glob("*.parquet") if re.fullmatch(r"\d{4}", path.stem)]
        return tuple(sorted(found, key=lambda window: window.origin))

    def write(self, result: BacktestResult) -> None:
        """Store the results of one window, one row per forecaster, country, origin and lead."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / SETUP_FILE).exists():
            with atomic_write(self.folder / SETUP_FILE) as part:
                part.write_text(json.dumps({"format": FORMAT, **asdict(self.setup)}, indent=1) + "\n", encoding="utf-8")
        with atomic_write(self._results_path(result.windows[0])) as part:
            pq.write_table(_to_table(result), part, compression="zstd", row_group_size=ROW_GROUP_ROWS)

    def read(self, windows: Sequence[Window]) -> BacktestResult:
        """Read the results of some windows. Raises Refused for a file that cannot be read."""
        parts = [_read_result(self._results_path(window), self.setup.outcome) for window in windows]
        iso3 = tuple(sorted({code for part in parts for code in part.iso3}))
        return join_windows([part.reindexed(iso3) for part in parts])

    def _results_path(self, window: Window) -> Path:
        return self.folder / f"{window.name}.parquet"


def stored_backtest(home: Home, setup: BacktestSetup) -> StoredBacktest:
    """Return where a home stores a back-test; nothing is created."""
    return StoredBacktest(home.backtests / setup.digest[:12], setup)


def stored_backtests(home: Home) -> list[StoredBacktest]:
    """Return all back-tests of a home that have a window, the most recently changed one last.

    Those of another file format are left out. Raises Refused for a setup that cannot be read.
    """
    found = []
    for path in home.backtests.glob(f"*/{SETUP_FILE}"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") == FORMAT:
                setup = BacktestSetup(**{**content, "baselines": tuple(content["baselines"])})
                found.append((path.parent.stat().st_mtime_ns, path.parent.name, StoredBacktest(path.parent, setup)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused(f"{path} cannot be read; delete its folder and run the back-test again") from None
    return [stored for *_, stored in sorted(found, key=lambda entry: entry[:2]) if stored.windows]


def find_backtest(home: Home, prefix: str) -> StoredBacktest:
    """Return the back-test whose name begins with a prefix. Raises BadInput unless there is exactly one."""
    stored = stored_backtests(home)
    found = [backtest for backtest in stored if backtest.name.startswith(prefix)]
    if len(found) != 1:
        names = ", ".join(backtest.name for backtest in stored) or "none"
        raise BadInput(f"{len(found) or 'no'} back-tests have a name that begins with {prefix}; there are: {names}")
    return found[0]


def _to_table(result: BacktestResult) -> pa.Table:
    forecasters, _, countries, cells = result.scores["crps"].shape
    window = result.windows[0]
    origins = np.repeat(window.origins, cells // window.issues)
    forecaster, country, cell = (index.ravel() for index in np.indices((forecasters, countries, cells)))
    columns = {
        "forecaster": pa.DictionaryArray.from_arrays(forecaster.astype(np.int32), list(result.forecasters)),
        "iso3": pa.DictionaryArray.from_arrays(country.astype(np.int32), list(result.iso3)),
        "origin": origins.astype("datetime64[s]")[cell],
        "lead": result.leads.astype(np.int32)[cell],
        **{
            name: np.broadcast_to(result.observed[name][0], (forecasters, countries, cells)).ravel()
            for name in OBSERVED_COLUMNS
        },
        **{name: result.scores[name].ravel() for name in SCORE_COLUMNS},
    }
    metadata = {
        "name": window.name,
        "origin": str(window.origin),
        "issues": window.issues,
        "first_lead": window.first_lead,
        "last_lead": window.last_lead,
        "forecasters": result.forecasters,
        "iso3": result.iso3,
    }
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(metadata)})


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        metadata: dict[str, Any] = json.loads((pq.read_schema(path).metadata or {})[_METADATA_KEY.encode()])
    except (pa.ArrowException, KeyError, ValueError):
        raise _unreadable(path) from None
    return metadata


def _read_window(path: Path) -> Window:
    metadata = _read_metadata(path)
    return Window(
        metadata["name"],
        month(metadata["origin"]),
        metadata["issues"],
        metadata["first_lead"],
        metadata["last_lead"],
    )


def _read_result(path: Path, outcome: str) -> BacktestResult:
    metadata, window = _read_metadata(path), _read_window(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise _unreadable(path) from None
    forecasters: tuple[str, ...] = tuple(metadata["forecasters"])
    iso3: tuple[str, ...] = tuple(metadata["iso3"])
    shape = len(forecasters), 1, len(iso3), -1
    return BacktestResult(
        outcome,
        (window,),
        iso3,
        forecasters,
        scores={name: table[name].to_numpy().reshape(shape) for name in SCORE_COLUMNS},
        observed={name: table[name].to_numpy().reshape(shape)[0] for name in OBSERVED_COLUMNS},
    )


def _unreadable(path: Path) -> Refused:
    return Refused(f"{path} cannot be read; delete it and run the back-test again")
