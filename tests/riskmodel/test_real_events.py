"""Real event files: every row enters, and yearly deaths agree with UCDP's own table of the same release."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from riskmodel import geography
from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.months import month
from riskmodel.outcomes import TYPES

Vigie = Callable[..., Any]

FILES = {
    "GEDEvent_v26_0_2.csv.gz": ("official", 1298, None),
    "GEDEvent_v23_1_CAF.csv.gz": ("official", 1848, "CAF"),
    "GEDEvent_v23_1_sample.csv.gz": ("official", 1000, None),
    "gedevents_mali_to_2022.csv.gz": ("website", 1801, "MLI"),
    "gedevents_burkina_faso_to_2022.csv.gz": ("website", 909, "BFA"),
    "gedevents_niger_to_2022.csv.gz": ("website", 491, "NER"),
    "gedevents_cote_divoire_to_2022.csv.gz": ("website", 360, "CIV"),
    "gedevents_senegal_to_2022.csv.gz": ("website", 308, "SEN"),
    "gedevents_togo_to_2022.csv.gz": ("website", 115, "TGO"),
    "gedevents_benin_to_2022.csv.gz": ("website", 16, "BEN"),
    "conflict_data_nga_hdx_to_2019.csv.gz": ("hdx", 4603, "NGA"),
    "conflict_data_sdn_hdx_to_2022.csv.gz": ("hdx", 3477, "SDN"),
}

OTHER_RELEASE = {
    "BFA": {2022},
    "CAF": {2015, 2017, 2019},
    "CIV": {1996, 2002},
    "MLI": {2016, 2017, 2020, 2022},
    "NER": {2017},
    "NGA": {1998, *range(2001, 2010), *range(2011, 2020)},
    "SDN": {2002},
}
"""Years in which the official table differs: it is newer than these files, and UCDP has revised those years since
(Nigeria's file is five releases older). One event of 1996 is in Côte d'Ivoire's table and not in its file."""


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_every_variant_enters(vigie: Vigie, home: Home, shared: Path, name: str) -> None:
    variant, events, iso3 = FILES[name]
    assert vigie("ingest", "ucdp", shared / name).code == 0
    (entered,) = manifest.read(home.archive)
    assert (entered.variant, entered.rows, entered.quarantined) == (variant, events, 0)
    assert entered.covers == (("*:2026-02..2026-02",) if name == "GEDEvent_v26_0_2.csv.gz" else ())
    again = vigie("ingest", "ucdp", shared / name)
    assert "already in the archive" in again.out
    assert manifest.read(home.archive) == (entered,)
    assert iso3 is None or f"\n{iso3} " in vigie("ingest", "ucdp", shared / name, "--release", "24.1").out


@pytest.mark.parametrize("name", [name for name, (_, _, iso3) in FILES.items() if iso3])
def test_yearly_deaths_agree_with_the_official_table(vigie: Vigie, home: Home, shared: Path, name: str) -> None:
    iso3 = FILES[name][2]
    last = 2019 if iso3 == "NGA" else 2022
    assert vigie("ingest", "ucdp", shared / name, "--covers", f"{iso3}:1989-01..{last}-12").code == 0
    observed = Archive(home.archive).view().outcomes()
    table = pd.read_csv(shared / "ucdp_country_year_1989_2022.csv.gz")
    official = table[table["country_id_cy"].map(geography.iso3_by_gw()) == iso3].set_index("year_cy")
    years = range(1989, last + 1)
    differ = set()
    for kind, column in zip(TYPES, ("sb", "ns", "os"), strict=True):
        ours = observed.deaths[kind][0].reshape(-1, 12).sum(axis=1)
        theirs = official[f"{column}_total_deaths_best_cy"].reindex(years).to_numpy()
        differ |= {year for year, a, b in zip(years, ours, theirs, strict=True) if a != b}
    assert differ == OTHER_RELEASE.get(iso3, set())


def test_a_sample_and_a_single_month_make_no_history(vigie: Vigie, home: Home, shared: Path) -> None:
    for name in ("GEDEvent_v23_1_sample.csv.gz", "GEDEvent_v26_0_2.csv.gz"):
        vigie("ingest", "ucdp", shared / name)
    assert Archive(home.archive).view().origin(geography.region("MLI").members) is None


def test_the_monthly_table_makes_the_history_of_191_countries(vigie: Vigie, home: Home, shared: Path) -> None:
    path = shared / "monthly_state_based_1989_2022.csv.gz"
    result = vigie("ingest", "monthly", path)
    assert "covers 1989-01..2022-12 for 191 countries" in result.out
    view = Archive(home.archive).view()
    observed = view.outcomes()
    assert view.origin(geography.region("MLI").members) == month("2022-12")
    table = pd.read_csv(path).pivot_table(index="iso3", columns="month", values="deaths_state_based")
    np.testing.assert_array_equal(observed.deaths["state_based"], table.loc[list(observed.iso3)].to_numpy())
    assert np.isnan(observed.deaths["all"]).all(), "no source has the other types"
    vigie("ingest", "ucdp", shared / "GEDEvent_v26_0_2.csv.gz")
    view = Archive(home.archive).view()
    assert view.origin(geography.region("MLI").members) == month("2022-12")
    assert np.isnan(view.outcomes().deaths["state_based"][:, -2]).all()
