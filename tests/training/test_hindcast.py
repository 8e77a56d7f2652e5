"""Hindcasts: they see nothing after their origin, equal the back-test, and continue where they were stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from histories import SAHEL
from releases import SHARE, Releases, take_in

from riskmodel import bundle, hindcasts
from riskmodel.bundle import Bundle, Provenance
from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.explanation.signals import signals_of_month
from riskmodel.forecasting.baselines import BASELINES, SMOOTHED_HISTORY, Conflictology
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Pool, PoolMember
from riskmodel.hindcasts import Hindcast
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS, Panel
from riskmodel.months import Month, month, span
from training import evaluation, hindcast
from training.backtest_runner import build_panel
from training.hindcast import OutcomeHindcast
from training.windows import service_window

POOL = Pool((PoolMember(Forest(trees=3, leaf=5, draws=60), 60), PoolMember(SMOOTHED_HISTORY, 60)))
FEATURES = tuple(indicator.name for indicator in INDICATORS)
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def clock() -> datetime:
    return NOW


def put_into_service(home: Home, model: Explainable, outcome: str = "state_based") -> Bundle:
    provenance = Provenance(outcome, "2009-12", "0" * 64, False, 1, FEATURES, {}, "2026-11-22T08:00:00Z")
    name = bundle.save(model, provenance, home.models)
    bundle.set_champion(home.models, name)
    return Bundle(name, "", model, None, provenance)  # type: ignore[arg-type]


def compute(home: Home, wanted: OutcomeHindcast, origins: Sequence[Month]) -> dict[str, Hindcast]:
    assert hindcast.run(home, [(wanted, origins)], clock) == []
    return stored(home, wanted)


def stored(home: Home, wanted: OutcomeHindcast) -> dict[str, Hindcast]:
    return {str(origin): hindcasts.load(path) for origin, path in wanted.stored(home).items()}


@pytest.fixture
def eight(home: Home, archive: None) -> OutcomeHindcast:
    """The region of Mali with ten years of deaths, and a small pool in service."""
    return OutcomeHindcast(Archive(home.archive).view(), "MLI", put_into_service(home, POOL))


def test_a_hindcast_has_the_draws_of_the_rolling_backtest(home: Home, eight: OutcomeHindcast) -> None:
    window = service_window(2008)
    done = compute(home, eight, window.origins[2:5])
    panel = build_panel(eight.view, eight.view.outcomes(), "state_based")
    result, forecasts = evaluation.run_window(panel, window, POOL)
    for forecast in forecasts[2:5]:
        of_origin = done[str(forecast.origin)]
        assert (of_origin.data_basis, str(of_origin.model_origin)) == ("final_figures", "2007-12")
        assert set(of_origin.draws) == {"served", *(baseline.name for baseline in BASELINES)}
        np.testing.assert_array_equal(of_origin.draws["served"], forecast.only(of_origin.iso3).draws[:, :12])
        served = result.index_of(evaluation.SERVED)
        expected = result.scores["p_escalation"][served, 0][:, forecasts.index(forecast) * 12 + 2]
        rounded = {iso3: round(float(p), 4) for iso3, p in zip(panel.iso3, expected, strict=True)}
        assert {c["location_code"]: c["escalation_probability"] for c in of_origin.countries} == rounded


def test_data_after_the_origin_never_change_a_hindcast(home: Home, history: Path, tmp_path: Path) -> None:
    wanted = []
    for name, last in (("full", "2009-12"), ("cut", "2008-04")):
        table = tmp_path / f"{name}.monthly"
        lines = history.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.split(",")[1][:7] <= last or line.startswith("iso3")]
        table.write_text("\n".join(kept) + "\n", encoding="utf-8")
        archive = Archive(tmp_path / name)
        take_in(archive, table, *(f"{iso3}:2000-01..{last}" for iso3 in SAHEL))
        wanted.append(OutcomeHindcast(archive.view(), "MLI", put_into_service(home, POOL)))
    full, cut = (
        compute(Home(tmp_path / f"home{number}"), each, span(month("2008-01"), month("2008-03")))
        for number, each in enumerate(wanted)
    )
    assert full.keys() == cut.keys() == {"2008-01", "2008-02", "2008-03"}
    for origin, one in full.items():
        assert replace(one, data_digest="").digest == replace(cut[origin], data_digest="").digest


def test_a_stopped_run_continues_and_an_unchanged_edition_computes_nothing(
    home: Home, eight: OutcomeHindcast, tmp_path: Path
) -> None:
    origins = eight.origins(home, 8)
    assert (str(origins[0]), str(origins[-1])) == ("2009-04", "2009-11")
    in_one_go = compute(Home(tmp_path / "other"), eight, origins)

    class Stopped(Exception):
        pass

    def stop(outcome: str, origin: Month) -> None:
        if origin == month("2009-06"):
            raise Stopped

    with pytest.raises(Stopped):
        hindcast.run(home, [(eight, eight.missing(home, origins))], clock, on_origin=stop)
    files = eight.stored(home)
    assert list(map(str, files)) == ["2009-04", "2009-05", "2009-06"]
    (files[month("2009-04")].parent / ".2009-07.parquet.1.1.part").write_bytes(b"half")
    files[month("2009-05")].write_bytes(b"damaged")
    missing = eight.missing(home, origins)
    assert list(map(str, missing)) == ["2009-05", *(f"2009-{m:02}" for m in range(7, 12))]
    again = compute(home, eight, missing)
    assert {origin: each.digest for origin, each in again.items()} == {
        origin: each.digest for origin, each in in_one_go.items()
    }
    assert not list(home.hindcasts.rglob("*.part"))
    assert eight.missing(home, origins) == []
    other = replace(eight, model=replace(eight.model, id="another"))
    assert other.missing(home, origins) == list(origins), "another model in service is another edition"
    corrected = replace(eight, withdrawn=("0001",))
    assert corrected.missing(home, origins) == list(origins), "nothing computed from wrong data stays"


@dataclass(frozen=True)
class Counted(Conflictology):
    """Conflictology that records when it is fitted."""

    name: str = "counted"
    fitted_at: ClassVar[list[str]] = []

    def fit(self, panel: Panel, origin: Month) -> Self:
        self.fitted_at.append(str(origin))
        return self


def test_no_model_is_fitted_twice(home: Home, archive: None) -> None:
    Counted.fitted_at.clear()
    wanted = OutcomeHindcast(Archive(home.archive).view(), "MLI", put_into_service(home, Counted()))
    every_january = [f"{year}-12" for year in range(2002, 2009)]
    compute(home, wanted, list(map(month, every_january)))
    assert sorted(Counted.fitted_at) == sorted(["2000-12", "2001-12", *every_january])


def test_figures_known_at_the_time_are_used_where_the_archive_has_their_releases(home: Home, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    made = Releases(tmp_path / "releases", SHARE, first=2018, years=3)
    made.final(2019)
    for m in range(1, 13):
        made.candidate(2020, m)
    made.candidate(2021, 1)
    made.final(2020)
    wanted = OutcomeHindcast(made.archive.view(), "MLI", put_into_service(home, Conflictology()))
    done = compute(home, wanted, span(month("2020-11"), month("2021-01")))
    bases = {origin: (each.data_basis, str(each.model_origin)) for origin, each in done.items()}
    assert bases == {
        "2020-11": ("final_figures", "2019-12"),  # the release of 2019 came after the model of that year
        "2020-12": ("as_known", "2020-12"),
        "2021-01": ("as_known", "2020-12"),
    }
    mali = next(country for country in done["2020-12"].countries if country["location_code"] == "MLI")
    newest = made.archive.view().outcomes()
    final = newest.deaths["state_based"][newest.iso3.index("MLI"), newest.months == month("2020-12")]
    assert mali["observed"][-1]["deaths"] < final, "the first report has a share of the deaths"
    assert mali["observed"][-1]["expected_final"] > 0
    assert "expected_final" not in done["2020-11"].countries[0]["observed"][-1]
    for origin, each in done.items():
        expected = signals_of_month(made.archive.view(), wanted.members, month(origin), "state_based")["data"]
        assert [c["signals"] for c in each.countries] == [c["signals"] for c in expected]
        assert [c["not_compared"] for c in each.countries] == [c["not_compared"] for c in expected]


def test_a_short_history_has_the_hindcasts_that_it_can_have_and_the_reason_for_the_rest(
    home: Home, eight: OutcomeHindcast
) -> None:
    origins = [*span(month("2001-06"), month("2001-07")), month("2002-06"), month("2005-06")]
    gaps = hindcast.run(home, [(eight, origins)], clock)
    assert [(gap.outcome, str(gap.first), str(gap.last)) for gap in gaps] == [
        ("state_based", "2001-06", "2001-07"),
        ("state_based", "2002-06", "2002-06"),
    ]
    assert "24 unbroken months" in gaps[0].reason
    assert "a model needs" in gaps[1].reason
    assert list(stored(home, eight)) == ["2005-06"]


def test_two_runs_at_once_do_not_mix(home: Home, eight: OutcomeHindcast) -> None:
    def again(outcome: str, origin: Month) -> None:
        with pytest.raises(Refused, match="another process"):
            hindcast.run(home, [(eight, [])], clock)

    hindcast.run(home, [(eight, eight.origins(home, 1))], clock, on_origin=again)


def test_the_command(home: Home, history: Path, vigie: Callable[..., Any]) -> None:
    lines = history.read_text(encoding="utf-8").splitlines()
    history.write_text("\n".join(line for line in lines if line.split(",")[1] < "2002-04" or line == lines[0]) + "\n")
    assert vigie("ingest", "monthly", history).code == 0
    none = vigie("hindcast")
    assert (none.code, "run vigie train" in none.err) == (BadInput.exit_code, True)
    put_into_service(home, Conflictology())
    first = vigie("hindcast", "--months", "2")
    assert first.code == 0, first.err
    assert first.out == "state-based conflict, region of MLI: 2 hindcasts from 2002-01 to 2002-02, 2 computed now\n"
    earlier = vigie("hindcast", "--months", "2", "--from", "2001-10", "--region", "MLI", "--outcome", "state_based")
    assert earlier.code == 0
    assert "3 hindcasts from 2001-12 to 2002-02, 1 computed now" in earlier.out
    assert "no hindcast at 2001-10 to 2001-11: no country has 24 unbroken months" in earlier.err
    again = vigie("hindcast", "--months", "2")
    assert "3 hindcasts from 2001-12 to 2002-02, 0 computed now" in again.out, "what was stored is kept"
    assert vigie("hindcast", "--outcome", "all").code == BadInput.exit_code
