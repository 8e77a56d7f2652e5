"""Compare two forecasters on the country-months that both have: stored back-tests, or files of forecasts.

It knows no model and no terminal.
"""

import re
from collections.abc import Callable
from pathlib import Path

from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.home import Home
from training.external_forecasts import ForecastFile, observed_grid, score_file
from training.result_store import StoredBacktest, find_backtest, stored_backtests
from training.results import BacktestResult, pair_forecasters


def compare(
    home: Home, open_view: Callable[[], View], one: str, other: str, outcome: str | None, kind: str
) -> tuple[BacktestResult, list[str]]:
    """Return a result with the two as its forecasters, and the names of the back-tests that they come from.

    `one` and `other` are each the name of a back-test, of a forecaster in a back-test, or a file. `open_view` is called
    only if both are files: `outcome` is then the one that they forecast. A forecaster is looked for in back-tests of a
    `kind`, and of an outcome if one is given. Raises BadInput for a name that is none of the three.
    """
    names = (one, other)
    files = {name: ForecastFile(Path(name)) for name in names if _is_file(name)}
    backtests = {
        name: find_backtest(home, name) for name in names if name not in files and re.fullmatch(r"[0-9a-f]{4,12}", name)
    }
    if len(files) == len(set(names)):
        view = open_view()
        grid = observed_grid(list(files.values()), view, outcome or view.outcomes().default_outcome)
    else:
        grid = None
        for name in names:
            if name not in files and name not in backtests:
                backtests[name] = _backtest_with(home, name, kind, outcome, next(iter(backtests.values()), None))
    sides = []
    for name, counterpart in (names, names[::-1]):
        if name in files:
            scored_on = grid or backtests[counterpart].read(backtests[counterpart].windows)
            sides.append((score_file(files[name], scored_on, name), name))
        else:
            stored = backtests[name]
            forecaster = name if not stored.name.startswith(name) else stored.setup.model
            sides.append((stored.read(stored.windows), forecaster))
    (left, ours), (right, theirs) = sides
    return pair_forecasters(left, ours, right, theirs), sorted({stored.name for stored in backtests.values()})


def _is_file(name: str) -> bool:
    if name.endswith(".parquet") or "/" in name:
        if not Path(name).is_file():
            raise BadInput(f"{name}: there is no such file")
        return True
    return False


def _backtest_with(
    home: Home, forecaster: str, kind: str, outcome: str | None, preferred: StoredBacktest | None
) -> StoredBacktest:
    """Return the back-test that has a forecaster: the preferred one, else the newest of its kind and outcome."""
    newest_first = [
        stored
        for stored in reversed(stored_backtests(home))
        if stored.setup.kind == kind and outcome in (None, stored.setup.outcome)
    ]
    for stored in [preferred, *newest_first] if preferred else newest_first:
        if forecaster in (stored.setup.model, *stored.read(stored.windows[:1]).forecasters):
            return stored
    raise BadInput(
        f"{forecaster} is neither a back-test of this home nor a forecaster in one ({kind}): run vigie backtest first; "
        "the name of a file ends in .parquet"
    )
