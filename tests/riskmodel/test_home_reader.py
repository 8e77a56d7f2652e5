"""A home as pandas tables: units, shapes, what is missing and why, past views, and errors that say what to do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ged
import numpy as np
import pandas as pd
import pytest
from histories import SAHEL, made

import riskmodel
from riskmodel import bundle
from riskmodel.bundle import Provenance
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.home_reader import HomeReader
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile
from riskmodel.targets import RUNGS

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MONTHS = np.datetime64("2000-01", "M") + np.arange(120)
DEATHS = made()


def add_table(home: Home, *, without: str = "") -> None:
    """Take in ten years of state-based deaths of the Sahel, except for one country, and known since 2010."""
    path = home.root / "monthly.csv"
    path.parent.mkdir(exist_ok=True)
    table = pd.DataFrame({"iso3": np.repeat(SAHEL, 120), "month": np.tile(MONTHS.astype(str), len(SAHEL))})
    table["deaths_state_based"] = DEATHS.ravel().astype(int)
    table[table["iso3"] != without].to_csv(path, index=False)
    ingest(Archive(home.archive), MonthlyFile(path), known_since=datetime(2010, 6, 1, tzinfo=UTC), now=NOW)


def add_model(folder: Path, data_digest: str, *, trained_at: datetime = NOW, simulated: bool = False) -> str:
    """Store a model that repeats the last twelve months."""
    names = tuple(indicator.name for indicator in INDICATORS)
    provenance = Provenance("state_based", "2009-12", data_digest, simulated, 1, names, {}, trained_at.isoformat())
    return bundle.save(Conflictology(), provenance, folder)


@pytest.fixture
def reader(home: Home) -> HomeReader:
    """An open home with deaths of all its countries but Niger, events of half a year, and a model in service."""
    add_table(home, without="NER")
    days = {"date": "2009-08-03", "best": 7}, {"date": "2009-12-31", "best": 2}, {"date": "2009-10-01"}
    events = GedFile(ged.write(home.root / "events.csv", *days))
    ingest(Archive(home.archive), events, covers=[Coverage.parse("MLI:2009-07..2009-12")], now=NOW)
    bundle.set_champion(home.models, add_model(home.models, Archive(home.archive).view().digest))
    return riskmodel.open_home()


def test_deaths_are_those_of_the_archive_and_unknown_ones_have_a_reason(reader: HomeReader) -> None:
    deaths = reader.deaths(countries=["BFA", "NER"], since="2009-01", until="2009-12")
    assert len(deaths) == 24
    known = deaths[deaths["iso3"] == "BFA"]
    np.testing.assert_array_equal(known["deaths"], DEATHS[SAHEL.index("BFA"), -12:])
    assert known["month"].tolist() == list(pd.date_range("2009-01-01", periods=12, freq="MS"))
    assert known["reason"].isna().all()
    assert set(known["source"]) == {"country-month table"}
    assert known["settled"].all()
    unknown = deaths[deaths["iso3"] == "NER"]
    assert unknown["deaths"].isna().all()
    assert set(unknown["reason"]) == {"not_covered"}
    assert unknown[["source", "release_class", "settled"]].isna().all(axis=None)
    assert deaths.attrs == {"simulated": False, "outcome": "state_based", "units": {"deaths": "deaths"}}


def test_wide_deaths_have_a_column_for_each_country(reader: HomeReader) -> None:
    wide, tidy = reader.deaths(since="2009-01", shape="wide"), reader.deaths(since="2009-01")
    assert wide.columns.tolist() == sorted(set(SAHEL) - {"NER"})
    pd.testing.assert_frame_equal(tidy.pivot(index="month", columns="iso3", values="deaths"), wide, check_freq=False)


def test_events_are_those_of_the_months_and_say_what_is_not_covered(reader: HomeReader) -> None:
    events = reader.events("MLI", since="2009-06", until="2009-10")
    assert events["deaths"].tolist() == [7, 3]
    assert events["date_start"].tolist() == [pd.Timestamp("2009-08-03"), pd.Timestamp("2009-10-01")]
    assert events.attrs["not_covered"] == ["MLI 2009-06"]
    with pytest.raises(BadInput, match=r"no event file covers NER.*vigie ingest ucdp"):
        reader.events("NER")


def test_the_panel_has_each_indicator_and_why_it_is_missing(reader: HomeReader) -> None:
    wide = reader.panel(since="2009-11")
    assert wide.index.names == ["iso3", "month"]
    assert len(wide) == 2 * len(SAHEL)
    total = DEATHS[SAHEL.index("BFA"), -12:].sum()
    assert wide.loc[("BFA", "2009-12-01"), "deaths_12m"] == pytest.approx(np.log1p(total))
    tidy = reader.panel(since="2009-11", shape="tidy")
    assert tidy["reason"].notna().equals(tidy["value"].isna())
    assert len(tidy) == len(wide) * len(INDICATORS)
    declared = reader.indicators()
    assert declared.loc["deaths_12m", "unit"] == "log(1 + deaths)"
    absent = declared.index[declared["absent"]]
    assert len(absent) > 0
    assert wide[absent].isna().all(axis=None)


def test_signals_are_counts_of_the_panel_and_a_country_without_one_says_why(reader: HomeReader) -> None:
    signals = reader.signals()
    assert set(signals["iso3"]) == set(SAHEL)
    assert set(signals["month"]) == {pd.Timestamp("2009-12-01")}
    [unknown] = signals[signals["iso3"] == "NER"].to_dict("records")
    assert pd.isna(unknown["indicator"])
    assert "deaths_12m" in unknown["not_compared"], "no source covers Niger"
    since = reader.signals(since="2005-01")
    deaths = since[since["indicator"] == "deaths_12m"]
    panel = np.expm1(reader.panel()["deaths_12m"])
    assert len(deaths) > 0
    for row in deaths.itertuples():
        assert row.value == pytest.approx(panel[row.iso3, row.month], rel=1e-4)
        assert row.since <= row.month
    assert (deaths["escalation_share"].isna() == deaths["escalation_reason"].notna()).all()
    assert "neither a forecast nor a cause" in signals.attrs["note"]


def test_a_forecast_has_the_same_figures_in_draws_quantiles_and_scores(reader: HomeReader) -> None:
    forecast = reader.forecast("BFA")
    assert (forecast.name, forecast.outcome) == ("Burkina Faso", "state_based")
    assert forecast.origin == pd.Timestamp("2009-12-01")
    draws, quantiles = forecast.draws, forecast.quantiles
    by_month = draws.groupby("month")["deaths"]
    np.testing.assert_allclose(quantiles["expected"], by_month.mean(), atol=0.051)
    np.testing.assert_allclose(quantiles["p50"], by_month.median(), atol=0.051)
    np.testing.assert_allclose(quantiles["probability_25"], by_month.agg(lambda each: (each >= 25).mean()), atol=1e-4)
    assert quantiles["month"].tolist() == list(pd.date_range("2010-01-01", periods=12, freq="MS"))
    scores = reader.scores().set_index("iso3").loc["BFA"]
    sums = draws[draws["lead"] <= 3].groupby("draw")["deaths"].sum()
    rungs = [(sums >= rung).mean() for rung in RUNGS]
    assert scores[[f"rung_{rung}" for rung in RUNGS]].tolist() == pytest.approx(rungs, abs=1e-4)
    assert scores["risk_score"] == pytest.approx(100 * np.mean(rungs), abs=0.051)
    assert not scores["hindsight"]


def test_a_country_without_a_forecast_is_nan_and_says_why(reader: HomeReader) -> None:
    forecast = reader.forecast("NER")
    assert forecast.reason == "no_history"
    assert forecast.quantiles[["expected", "p05", "probability_1"]].isna().all(axis=None)
    assert forecast.draws["deaths"].isna().all()
    last = reader.scores().iloc[-1]
    assert (last["iso3"], last["reason"]) == ("NER", "no_history")
    assert np.isnan(last["risk_score"])
    axes = riskmodel.plot_forecast(forecast)
    assert [text.get_text() for text in axes.texts] == ["no forecast: no source covers this country"]


def test_a_plot_has_the_observed_months_the_median_and_two_bands(reader: HomeReader) -> None:
    forecast = reader.forecast("BFA")
    axes = riskmodel.plot_forecast(forecast, months=24)
    observed, median, _ = axes.lines
    assert (len(observed.get_xdata()), len(median.get_xdata())) == (24, 12)
    np.testing.assert_array_equal(median.get_ydata(), forecast.quantiles["p50"])
    assert len(axes.collections) == 2
    assert axes.get_title() == "Burkina Faso, state-based conflict, data to December 2009"


def test_a_past_view_uses_the_data_of_then_and_says_when_the_model_knew_more(home: Home, reader: HomeReader) -> None:
    before_events = "2015-01-01"
    past = reader.scores(as_of=before_events)
    assert past["hindsight"].all(), "the model in service was trained later, on more data"
    with pytest.raises(BadInput, match=r"known on 2009-12-31.*known since 2010-06-01"):
        reader.scores(as_of="2009-12-31")
    with pytest.raises(BadInput, match="no event file"):
        reader.events("MLI", as_of=before_events)
    digest = reader.view(before_events).digest
    stored = add_model(home.as_of_models / "key", digest, trained_at=NOW + timedelta(days=1))
    then = reader.scores(as_of=before_events)
    assert set(then["model"]) == {stored}
    assert not then["hindsight"].any()


def test_everything_from_simulated_data_says_so(home: Home) -> None:
    home.root.mkdir()
    days = [{"date": f"2009-{month:02}-05", "side_a": "SIMULATED group"} for month in range(1, 13)]
    path = ged.write(home.root / "events.csv", *days)
    ingest(Archive(home.archive), GedFile(path), covers=[Coverage.parse("MLI:2000-01..2009-12")], now=NOW)
    reader = riskmodel.open_home()
    bundle.set_champion(home.models, add_model(home.models, reader.view().digest, simulated=True))
    forecast = reader.forecast("MLI", "state_based")
    tidy = (
        reader.deaths(),
        reader.events("MLI"),
        reader.indicators(),
        reader.panel(since="2009-12"),
        reader.panel(since="2009-12", shape="tidy"),
        reader.scores("state_based"),
        reader.signals(),
        forecast.quantiles,
        forecast.draws,
        forecast.observed,
    )
    for frame in tidy:
        assert frame["simulated"].all()
        assert frame.attrs["simulated"]
    wide = reader.deaths(shape="wide")
    assert wide.columns.name == "SIMULATED"
    assert wide.attrs["simulated"]
    assert riskmodel.plot_forecast(forecast).get_title().startswith("SIMULATED: Mali")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda home: home.forecast("XXX"), "'XXX' is not the ISO alpha-3 code"),
        (lambda home: home.deaths("protest"), "'protest' is no outcome: state_based"),
        (lambda home: home.scores("one_sided"), "'one_sided' is no outcome: all, state_based"),
        (lambda home: home.scores("all"), "no model of all organised violence trained on real data: run `vigie train`"),
        (lambda home: home.deaths(since="2031-01"), "the archive has 2000-01 to 2009-12"),
        (lambda home: home.deaths(since="last year"), "since: 'last year' is not a month"),
        (lambda home: home.deaths(as_of="tomorrow"), "a day as YYYY-MM-DD"),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(
    reader: HomeReader, call: Callable[[HomeReader], object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        call(reader)


def test_a_home_without_data_or_model_names_the_way_out(home: Home) -> None:
    with pytest.raises(BadInput, match=r"is no home with data: run `vigie up`.*open_home"):
        riskmodel.open_home()
    add_table(home)
    with pytest.raises(BadInput, match="no model trained on real data: run `vigie train`"):
        riskmodel.open_home().forecast("MLI")
    with pytest.raises(BadInput, match="'ZZZ' is not the ISO alpha-3 code"):
        riskmodel.open_home(region="ZZZ")
