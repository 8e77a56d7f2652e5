"""The files of hindcasts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from riskmodel import hindcasts
from riskmodel.errors import Refused
from riskmodel.hindcasts import Hindcast
from riskmodel.home import Home
from riskmodel.months import month


def hindcast(origin: str = "2020-03") -> Hindcast:
    rng = np.random.default_rng(int(origin[-2:]))
    draws = {name: rng.poisson(3, (2, 12, number)).astype(np.float32) for name, number in (("served", 20), ("zero", 1))}
    draws["served"][1] = np.nan  # a country without a forecast
    return Hindcast(
        region="MLI",
        simulated=False,
        outcome="all",
        origin=month(origin),
        data_basis="final_figures",
        model_origin=month("2019-12"),
        model="Pool(…)",
        edition="e" * 64,
        data_digest="d" * 64,
        computed_at="2023-01-01T00:00:00Z",
        countries=[{"location_code": "MLI", "risk_score": 61.5}, {"location_code": "DZA", "risk_score": None}],
        draws=draws,
    )


def test_a_hindcast_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = hindcast()
    read = hindcasts.load(hindcasts.save(Home(tmp_path), written))
    assert read.document == written.document
    assert read.digest == written.digest
    assert read.draws.keys() == written.draws.keys()
    for name, draws in written.draws.items():
        np.testing.assert_array_equal(read.draws[name], draws)


def test_stored_hindcasts_are_found_by_origin_and_kind_of_data(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for origin in ("2020-03", "2019-11"):
        hindcasts.save(home, hindcast(origin))
    hindcasts.save(home, replace(hindcast("2018-01"), simulated=True))
    (home.hindcasts / "MLI" / "all" / ".2020-04.parquet.1.1.part").touch()  # of a process that was killed
    assert list(map(str, hindcasts.stored(home, "MLI", simulated=False, outcome="all"))) == ["2019-11", "2020-03"]
    assert list(map(str, hindcasts.stored(home, "MLI", simulated=True, outcome="all"))) == ["2018-01"]
    assert hindcasts.stored(home, "MLI", simulated=False, outcome="state_based") == {}


def test_the_time_of_computation_is_no_part_of_the_digest() -> None:
    first = hindcast()
    assert replace(first, computed_at="2024-01-01T00:00:00Z").digest == first.digest
    assert replace(first, data_basis="as_known").digest != first.digest
    assert replace(first, draws={**first.draws, "zero": first.draws["zero"] + 1}).digest != first.digest


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = hindcasts.save(Home(tmp_path), hindcast())
    content, digest = path.read_bytes(), hindcast().digest
    refused = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert hindcasts.load(path).digest == digest  # the byte decides nothing
        except Refused:
            refused += 1
        path.write_bytes(content[:place])
        with pytest.raises(Refused, match="damaged"):
            hindcasts.load(path)
    assert refused > 10


def test_an_edition_is_of_one_region_model_and_code() -> None:
    parts = {
        "region": "MLI",
        "simulated": False,
        "outcome": "all",
        "model_id": "a",
        "model": "Pool",
        "code": "c",
        "withdrawn": "",
    }
    editions = {hindcasts.edition(**parts), *(hindcasts.edition(**{**parts, name: "x"}) for name in parts)}  # type: ignore[arg-type]
    assert len(editions) == 1 + len(parts)
