"""Two forecasts on the country-months that both have: back-tests of this home, or somebody else's draws in a file.

It knows no models and no terminal.
"""

import re
from collections.abc import Callable
from pathlib import Path

from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.home import Home
from training import external_forecasts
from training.result_store import Record, named, records
from training.results import Judged, paired


def compare(
    home: Home, view: Callable[[], View], one: str, other: str, outcome: str, kind: str
) -> tuple[Judged, list[str]]:
    """The two as components of one back-test, and the names of the back-tests they come from.

    `view` gives the archive, which is asked only where two files are compared; `kind` says in which back-tests a
    forecast is looked for by its name. Raises BadInput for what is neither a back-test, a forecast nor a file.
    """
    written = (one, other)
    files = {text: external_forecasts.Draws(Path(text)) for text in written if _is_file(text)}
    kept = {text: named(home, text) for text in written if text not in files and re.fullmatch(r"[0-9a-f]{4,12}", text)}
    if len(files) == len(set(written)):
        grid = external_forecasts.grid(list(files.values()), view(), outcome)
    else:
        grid = None
        for text in written:
            if text not in files and text not in kept:
                kept[text] = _holding(home, text, kind, next(iter(kept.values()), None))
    sides = []
    for text, counterpart in (written, written[::-1]):
        if text in files:
            base = grid or kept[counterpart].read(kept[counterpart].windows)
            sides.append((external_forecasts.judge(files[text], base, text), text))
        else:
            record = kept[text]
            component = text if not record.name.startswith(text) else record.setup.model
            sides.append((record.read(record.windows), component))
    (left, ours), (right, theirs) = sides
    return paired(left, ours, right, theirs), sorted({record.name for record in kept.values()})


def _is_file(text: str) -> bool:
    if text.endswith(".parquet") or "/" in text:
        if not Path(text).is_file():
            raise BadInput(f"{text}: there is no such file")
        return True
    return False


def _holding(home: Home, name: str, kind: str, beside: Record | None) -> Record:
    """The back-test that a forecast's name means: the other side's, else the newest of its kind that has it."""
    newest = [record for record in reversed(records(home)) if record.setup.kind == kind]
    for record in [beside, *newest] if beside else newest:
        if name in (record.setup.model, *record.read(record.windows[:1]).components):
            return record
    raise BadInput(
        f"{name} is neither a back-test of this home nor a forecast in one ({kind}): vigie backtest makes one; "
        "a file's name ends in .parquet"
    )
