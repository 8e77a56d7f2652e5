"""Back-tests in a home: a folder each, named by the digest of all that decides its figures; in it a file per window.

A window's file is there whole or not at all, so that a back-test goes on where it was stopped. It knows no models.
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
from training.results import CAME, CHANCES, SCORES, Judged, together
from training.windows import Window

SETUP = "setup.json"
FORMAT = 2
ROWS = 200_000
OUTCOMES = {what: f"{what} came" if what in CHANCES else what for what in CAME}
_HEAD = "vigie"


@dataclass(frozen=True)
class Setup:
    """What decides the figures of a back-test. `kind` is `challenge` or `rolling`."""

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
        """SHA-256 of it all."""
        return hashlib.sha256(json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """A back-test on disk."""

    folder: Path
    setup: Setup

    @property
    def name(self) -> str:
        """How it is called: the first digits of its digest."""
        return self.folder.name

    def has(self, window: Window) -> bool:
        """Whether a window's results are there."""
        return self._file(window).exists()

    def forecasts(self, window: Window) -> Path:
        """Where the model's draws in a window are kept, if they are."""
        return self.folder / f"{window.name}.forecasts.parquet"

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows whose results are there, in order of their origins."""
        found = [_window(path) for path in self.folder.glob("*.parquet") if re.fullmatch(r"\d{4}", path.stem)]
        return tuple(sorted(found, key=lambda window: window.origin))

    def keep(self, judged: Judged) -> None:
        """Write one window's results, a row for each component, country, origin and lead."""
        window = judged.windows[0]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / SETUP).exists():
            with atomic_write(self.folder / SETUP) as part:
                part.write_text(json.dumps({"format": FORMAT, **asdict(self.setup)}, indent=1) + "\n", encoding="utf-8")
        with atomic_write(self._file(window)) as part:
            pq.write_table(_table(judged), part, compression="zstd", row_group_size=ROWS)

    def read(self, windows: Sequence[Window]) -> Judged:
        """Read some windows' results. Raises Refused for a file that cannot be read."""
        parts = [_judged(self._file(window), self.setup.outcome) for window in windows]
        everyone = tuple(sorted({code for part in parts for code in part.iso3}))
        return together([part.including(everyone) for part in parts])

    def _file(self, window: Window) -> Path:
        return self.folder / f"{window.name}.parquet"


def record(home: Home, setup: Setup) -> Record:
    """The place of a back-test in a home."""
    return Record(home.backtests / setup.digest[:12], setup)


def records(home: Home) -> list[Record]:
    """All back-tests of a home that hold a window, the one that was worked on last at the end."""
    found = []
    for path in home.backtests.glob(f"*/{SETUP}"):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said.pop("format") == FORMAT:
                setup = Setup(**{**said, "baselines": tuple(said["baselines"])})
                found.append((path.parent.stat().st_mtime_ns, path.parent.name, Record(path.parent, setup)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused(f"{path} is not as it was written; delete its folder and run the back-test again") from None
    return [kept for *_, kept in sorted(found, key=lambda entry: entry[:2]) if kept.windows]


def named(home: Home, digest: str) -> Record:
    """The back-test whose name begins so. Raises BadInput where there is none, or more than one."""
    held = records(home)
    found = [kept for kept in held if kept.name.startswith(digest)]
    if len(found) != 1:
        there = ", ".join(kept.name for kept in held) or "none"
        raise BadInput(f"{len(found) or 'no'} back-tests have a name that begins with {digest}; there are: {there}")
    return found[0]


def _table(judged: Judged) -> pa.Table:
    components, _, countries, cells = judged.cells["CRPS"].shape
    window = judged.windows[0]
    origins = np.repeat(window.origins, cells // window.issues)
    component, country, cell = (index.ravel() for index in np.indices((components, countries, cells)))
    columns = {
        "component": pa.DictionaryArray.from_arrays(component.astype(np.int32), list(judged.components)),
        "iso3": pa.DictionaryArray.from_arrays(country.astype(np.int32), list(judged.iso3)),
        "origin": origins.astype("datetime64[s]")[cell],
        "lead": judged.leads.astype(np.int32)[cell],
        **{
            name: np.broadcast_to(judged.came[what][0], (components, countries, cells)).ravel()
            for what, name in OUTCOMES.items()
        },
        **{score: judged.cells[score].ravel() for score in SCORES},
    }
    said = {
        "name": window.name,
        "origin": str(window.origin),
        "issues": window.issues,
        "first": window.first,
        "last": window.last,
        "components": judged.components,
        "iso3": judged.iso3,
    }
    return pa.table(columns).replace_schema_metadata({_HEAD: json.dumps(said)})


def _said(path: Path) -> dict[str, Any]:
    try:
        metadata = pq.read_schema(path).metadata or {}
        said: dict[str, Any] = json.loads(metadata[_HEAD.encode()])
    except (pa.ArrowException, KeyError, ValueError):
        raise Refused(f"{path} cannot be read; delete it and run the back-test again") from None
    return said


def _window(path: Path) -> Window:
    said = _said(path)
    return Window(said["name"], month(said["origin"]), said["issues"], said["first"], said["last"])


def _judged(path: Path, outcome: str) -> Judged:
    said, window = _said(path), _window(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise Refused(f"{path} cannot be read; delete it and run the back-test again") from None
    components: tuple[str, ...] = tuple(said["components"])
    iso3: tuple[str, ...] = tuple(said["iso3"])
    shape = len(components), 1, len(iso3), -1
    return Judged(
        outcome,
        (window,),
        iso3,
        components,
        {score: table[score].to_numpy().reshape(shape) for score in SCORES},
        {what: table[name].to_numpy().reshape(shape)[0] for what, name in OUTCOMES.items()},
    )
