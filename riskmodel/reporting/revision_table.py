"""The revision model as a table: by release class and level, and by release class and country."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from riskmodel.reporting.release_class import FINAL, RELEASE_CLASSES
from riskmodel.reporting.revision_constants import LEVEL_ACTIVITY, LEVEL_CENTRES, LEVELS
from riskmodel.reporting.revisions import ClassModel, Floats, RevisionModel, central_interval, even_ranks, levels
from riskmodel.reporting.vintages import Revisions

COLUMNS = (
    *("release_class", "level", "location_code", "months", "basis", "median_ratio", "vanished"),
    *("p05", "p25", "p75", "p95", "grown"),
)
"""The columns of the table. `months` are learned ones with the class and level, or of the country; `median_ratio` and
the bounds of the 50 % and 90 % interval are final divided by reported figures; the bounds include vanished ones.
`grown` is the share of reports of 0 that grew."""
RANKS = 400


def level_name(number: int) -> str:
    """Return a level in words: `5-24`, `100+`."""
    low, high = LEVELS[number]
    return str(low) if low == high else f"{low}-{high}" if high is not None else f"{low}+"


def revision_table(seen: Revisions, model: RevisionModel, finals: Revisions | None = None) -> list[dict[str, Any]]:
    """Return the rows of the table, ready for JSON; ratios of the level 0 are None: there `vanished` has no meaning.

    Rows of a level are for a usual figure of it, in a country without a record of its own. Rows of a country are for
    its own median report. `finals` are revisions of final GEDs, which no forecast uses: their rows come last.
    """
    rows = [row for code, of_class in model.classes.items() for row in _rows_of_class(code, of_class, seen)]
    if finals is not None and finals.first.size:
        rows += _rows_of_class(FINAL, ClassModel.fit(finals, None), finals)
    return rows


def _rows_of_class(code: int, model: ClassModel, seen: Revisions) -> Iterator[dict[str, Any]]:
    own = seen.only(seen.release_class == code)
    level, name = levels(own.first), RELEASE_CLASSES[code]
    for number in range(len(LEVELS)):
        months = int((level == number).sum())
        basis = "learned" if months else "constants"
        row = {"release_class": name, "level": level_name(number), "location_code": None, "months": months}
        if number == 0:
            unknown = dict.fromkeys(COLUMNS[5:-1])
            yield {
                **row,
                "basis": basis,
                **unknown,
                "grown": _rounded((own.final[level == 0] >= 1).mean()) if months else None,
            }
            continue
        reported, active = float(LEVEL_CENTRES[number - 1]), float(LEVEL_ACTIVITY[number - 1])
        yield {**row, "basis": basis, **_ratios(model, "", reported, active), "grown": None}
    positive = own.first >= 1
    for iso3 in sorted({*model.shifts, *map(str, own.iso3[positive])}):
        of_country = positive & (own.iso3 == iso3)
        months = int(of_country.sum())
        reported = float(np.median(own.first[of_country])) if months else float(LEVEL_CENTRES[-1])
        active = float(np.nanmean(own.activity[of_country])) if months else float(LEVEL_ACTIVITY[-1])
        row = {"release_class": name, "level": None, "location_code": iso3, "months": months}
        basis = "learned" if months else "constants"
        yield {**row, "basis": basis, **_ratios(model, iso3, max(round(reported), 1), active), "grown": None}


def _ratios(model: ClassModel, iso3: str, reported: float, active: float) -> dict[str, float | None]:
    country, figure, activity = np.array([iso3]), np.array([reported], dtype=np.float64), np.array([active])
    vanished = float(model.vanish_probability(country, figure, activity)[0])
    final = model.final_figures(country, figure, activity, even_ranks(RANKS)[None])[0]
    stays: Floats = final[final >= 1] / reported
    (p05, p95), (p25, p75) = (central_interval(final, level) for level in (0.9, 0.5))
    return {
        "median_ratio": _rounded(np.median(stays)),
        "vanished": _rounded(vanished),
        **{name: _rounded(end / reported) for name, end in {"p05": p05, "p25": p25, "p75": p75, "p95": p95}.items()},
    }


def _rounded(value: Any) -> float:
    return round(float(value), 3)
