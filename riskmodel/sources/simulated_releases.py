"""Simulated releases: first reports month by month, and final releases that revise them, with usual biases.

The final figures are those of the simulator. A first report differs in three ways: each country's reports are too low
or too high throughout, each month's by chance on top, and some come from events that a final release withdraws.
The sizes are invented, close to what `revision_constants` says of UCDP.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.releases import published
from riskmodel.months import Month, span
from riskmodel.sources.simulated import FIRST, rows_of, simulated_events, write_events
from riskmodel.sources.simulated_rows import Countries, Events, Floats

MEAN_CHANGE, COUNTRY_CHANGE, MONTH_CHANGE = 0.08, 0.25, 0.25
"""log(final / first report): mean over countries, standard deviation of countries, and of a country's months."""
WITHDRAWN = 0.06
"""The share of months without deaths that have an event in the first report, which is withdrawn later."""
WITHDRAWN_DEATHS = 0.25
"""Deaths of such an event are geometric with this parameter."""
WITHDRAWN_IDS = 50_000_000
"""Added to the ids of withdrawn events."""


def simulated_releases(
    folder: Path, *, seed: int, last: Month, years: int, today: date
) -> Iterator[tuple[Path, str, Coverage]]:
    """Write SIMULATED releases up to a month into a folder; yields file, release and coverage in order of publication.

    Each of the last `years` years has twelve monthly candidates and a final release, which has all earlier years too;
    only those that were published by `today` are made. The same seed gives the same releases.
    """
    countries, events = simulated_events(seed, last)
    final, first = rows_of(countries, events, [seed, 1]), _first_reports(countries, events, seed)
    final_months, first_months = events.when, first["date_start"].cast(pa.string())
    first_year = int(str(last)[:4]) - years + 1
    before = np.datetime64(f"{first_year - 1}-12", "M")
    found = []
    for month in span(before + 1, last):
        in_month = pc.starts_with(first_months, str(month))
        release = f"{str(month)[2:4]}.0.{int(str(month)[5:])}"
        found.append((release, Coverage(WORLD, month, month), first.filter(in_month)))
    for year in range(first_year - 1, int(str(last + 1)[:4])):
        end = np.datetime64(f"{year}-12", "M")
        found.append((f"{(year + 1) % 100:02}.1", Coverage(WORLD, FIRST, end), final.filter(final_months <= end)))
    for release, covers, table in sorted(found, key=lambda entry: published(entry[0])):
        if published(release).date() <= today and table.num_rows:
            path = folder / f"SIMULATED-{release}.csv.gz"
            write_events(path, table)
            yield path, release, covers


def _first_reports(countries: Countries, events: Events, seed: int) -> pa.Table:
    """The rows of all first reports, those that are withdrawn later among them."""
    months = span(FIRST, events.when[-1])
    shape = len(countries.gw), months.size
    rng = np.random.default_rng([seed, 2])
    changes: Floats = MEAN_CHANGE + COUNTRY_CHANGE * rng.standard_normal((shape[0], 1))
    changes = changes + MONTH_CHANGE * np.random.default_rng([seed, 3]).standard_normal(shape[::-1]).T
    column = (events.when - FIRST).astype(np.int64)
    expected = events.best * np.exp(-changes[events.country, column])
    # Rounded up or down by chance, so that small events keep their mean.
    best = np.floor(expected + np.random.default_rng([seed, 4]).random(expected.size)).astype(np.int64)
    reported = rows_of(countries, events._replace(best=best), [seed, 1])

    deaths = np.zeros(shape)
    np.add.at(deaths, (events.country, column), events.best)
    chance, sizes = np.random.default_rng([seed, 5]).random((2, *shape[::-1])).transpose(0, 2, 1)
    when, country = np.nonzero(((deaths == 0) & (chance < WITHDRAWN)).T)
    one = np.ones(when.size, dtype=np.int64)
    withdrawn = Events(
        months[when],
        country,
        1 + np.floor(np.log1p(-sizes[country, when]) / np.log1p(-WITHDRAWN_DEATHS)).astype(np.int64),
        2 * one,
        one,
        0 * one,
    )
    lone = rows_of(countries, withdrawn, [seed, 6])
    ids = pc.add(lone["id"], WITHDRAWN_IDS)
    lone = lone.set_column(lone.schema.get_field_index("id"), "id", ids.cast(lone["id"].type))
    return pa.concat_tables([reported, lone.cast(reported.schema)])
