"""Signals: known values on small archives, what stands out for how long, and nothing from a later month."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ged
import numpy as np
import pytest
import worlds

from riskmodel.explanation import signals
from riskmodel.explanation.base_rates import TARGETS, BaseRate, base_rate, base_rates
from riskmodel.explanation.signals import KINDS, RegionSignals
from riskmodel.indicators.inputs import Inputs
from riskmodel.months import month
from riskmodel.outcomes import OUTCOMES

BAMAKO = {"latitude": 12.65, "longitude": -8.0}
RING = "capital_events_250km_12m"
NAMES = [kind.name for kind, _ in KINDS]


def of_inputs(inputs: Inputs, outcome: str = "state_based") -> RegionSignals:
    """The signals of all countries of some inputs."""
    return signals.observations(inputs.iso3, worlds.observed(inputs), inputs.events).of(outcome)


def mali(folder: Path, number_of: Callable[[int], int], covers: str = "MLI:1989-01..2021-12") -> RegionSignals:
    """Signals of Mali where some events happen near Bamako in each July."""
    rows = [
        {"date": f"{year}-07-{day + 1:02}", "best": 1, **BAMAKO}
        for year in range(1990, 2022)
        for day in range(number_of(year))
    ]
    inputs = ged.inputs(folder, {covers: ged.write(folder / "events.csv", *rows)})
    return signals.observations(("MLI",), worlds.observed(inputs), inputs.events).of("all")


def found(of: RegionSignals, when: str) -> dict[str, dict[str, Any]]:
    """The signals of the first country by indicator."""
    return {signal["indicator"]: signal for signal in of.at(month(when))[0]["signals"]}


def test_a_high_stands_out_while_it_lasts(tmp_path: Path) -> None:
    of = mali(tmp_path, lambda year: 6 if year >= 2020 else 2)
    assert RING not in found(of, "2020-06")
    signal = found(of, "2020-07")[RING]
    assert (signal["value"], signal["since"], signal["as_high"], signal["past_months"]) == (6, "2020-07", 0, 120)
    assert signal["highest_in_five_years"]
    assert [(each["month"], each["value"]) for each in signal["earlier"]] == [
        (f"{year}-07", 2) for year in range(2019, 2014, -1)
    ]
    assert signal["events_counted"] == 6
    assert [event["date"] for event in signal["events"]] == [f"2020-07-{day:02}" for day in range(6, 1, -1)]
    assert "6, the highest in five years (July of the years before: 2 (2019)," in signal["sentence"]["en"]
    assert "6, le niveau le plus élevé en cinq ans (en juillet" in signal["sentence"]["fr"]
    later = found(of, "2021-06")[RING]
    assert (later["value"], later["since"], later["as_high"]) == (6, "2020-07", 11)
    assert [of.at(month(m))[0]["percentiles"][RING] for m in ("2020-07", "2021-06")] == [100.0, 90.8]
    assert RING not in found(of, "2021-07")  # as many as in the year before: no longer a high


def test_few_events_are_no_signal(tmp_path: Path) -> None:
    of = mali(tmp_path, lambda year: 4 if year == 2020 else 0)
    assert found(of, "2020-07") == {}
    assert of.at(month("2020-07"))[0]["reasons"] == {}


def test_one_massacre_is_no_signal(tmp_path: Path) -> None:
    rows = [{"date": f"2020-07-{day}", "best": best, "type_of_violence": 3} for day, best in ((1, 90), (2, 0), (3, 0))]
    inputs = ged.inputs(tmp_path, {"MLI:1989-01..2020-12": ged.write(tmp_path / "events.csv", *rows)})
    of = signals.observations(("MLI",), worlds.observed(inputs), inputs.events).of("all")
    assert found(of, "2020-07") == {}
    deaths = next(part for part in of.comparisons if part.kind.name == "one_sided_deaths_12m")
    assert deaths.stands_out[0, worlds.column(inputs, "2020-07")]


def test_without_a_past_signals_are_unknown_and_never_none(tmp_path: Path) -> None:
    of = mali(tmp_path, lambda year: 6 if year == 2020 else 0, "MLI:2016-01..2021-12")
    country = of.at(month("2020-07"))[0]
    assert (country["signals"], country["reasons"]["signals"]) == (None, "past_too_short")
    reasons = {each["indicator"]: each["reason"] for each in country["not_compared"]}
    assert set(reasons) == set(NAMES)
    assert (reasons[RING], reasons["neighbours_deaths_12m"]) == ("past_too_short", "value_unknown")
    assert of.at(month("2025-01"))[0]["reasons"]["signals"] == "value_unknown"  # after the data


@pytest.mark.parametrize("column", [139, 155])
def test_later_months_change_nothing(column: int) -> None:
    inputs = worlds.world(3, months=160, holes=1)
    cut = worlds.cut(inputs, 0, column + 1)
    when = inputs.months[column]
    now = of_inputs(inputs).at(when)
    assert any(country["signals"] for country in now)
    assert now == of_inputs(cut).at(when)


def test_the_events_behind_a_count_are_those_that_it_counts() -> None:
    inputs = worlds.world(4, holes=0)
    events = inputs.required_events
    for part in of_inputs(inputs).comparisons:
        for country, column in np.argwhere(part.values > 0)[::7]:
            behind, complete = part.events_behind(country, column)
            assert complete
            if part.kind.unit == "log(1 + events)":
                assert behind.size == part.values[country, column], part.kind.name
            elif part.kind.name.startswith(("one_sided", "state_one_sided")):
                assert events.deaths[behind].sum() == part.values[country, column]
            elif part.kind.name == "new_dyads_12m":
                assert np.unique(events.dyad[behind]).size == part.values[country, column]


def test_at_most_three_signals_of_a_family_the_rarest_first(tmp_path: Path) -> None:
    of = mali(tmp_path, lambda year: 6 if year == 2020 else 0)
    assert sum(part.is_signal(0, 12 * 31 + 6) for part in of.comparisons if part.kind.family == "capital") == 5
    signals = of.at(month("2020-07"))[0]["signals"]
    assert sum(signal["family"] == "capital" for signal in signals) == 3
    inputs = worlds.world(6, months=150, holes=0)
    for country in of_inputs(inputs).at(inputs.months[-1]):
        rarity = [signal["as_high"] / signal["past_months"] for signal in country["signals"]]
        assert rarity == sorted(rarity)
        assert json.loads(json.dumps(country)) == country


def test_deaths_are_a_signal_where_no_event_is_known() -> None:
    inputs = worlds.world(7, months=150, holes=0)
    deaths = np.ones(inputs.tables["deaths"].shape)
    deaths[0, -3:] = 20
    inputs = replace(inputs, events=None, tables={"deaths": deaths})
    country = of_inputs(inputs).at(inputs.months[-1])[0]
    assert [signal["indicator"] for signal in country["signals"]] == ["deaths_12m", "deaths_3m"]
    signal = country["signals"][1]
    assert (signal["value"], signal["events_counted"], signal["events"]) == (60, None, [])
    assert signal["reasons"]["events_counted"] == "events_unknown"
    assert {each["reason"] for each in country["not_compared"]} == {"value_unknown"}


def test_each_kind_has_base_rates_or_a_reason() -> None:
    for outcome in OUTCOMES:
        of_escalation = {name: base_rate(outcome, name, "escalation", 30, 20) for name in NAMES}
        assert {name for name, rate in of_escalation.items() if not isinstance(rate, BaseRate)} == {"units_12m"}
        assert {name for name, _ in base_rates(outcome)} == set(NAMES) - {"units_12m"}
        for rate in base_rates(outcome).values():
            for part in (rate.with_signal, rate.without_signal):
                assert 0 <= part.low <= part.share <= part.high <= 1
    ring = base_rate("state_based", RING, "escalation", 30, 20)
    assert isinstance(ring, BaseRate)
    assert ring.with_signal.low > ring.without_signal.share
    reasons = [base_rate("all", RING, target, *deaths) for target in TARGETS for deaths in ((0, 0), (np.nan, np.nan))]
    assert reasons == ["no_recent_deaths", "deaths_unknown"] * 2
    assert base_rate("all", RING, "month_25", 90, 25) == "already_violent"
    assert base_rate("all", "one_sided_deaths_3m", "month_25", 90, 20) == "too_few_cases"


def test_the_sentence_of_a_base_rate_has_its_figures(tmp_path: Path) -> None:
    signal = found(mali(tmp_path, lambda year: 6 if year == 2020 else 0), "2020-07")[RING]
    rate = signal["base_rates"]["escalation"]
    assert signal["base_rate_sentence"]["en"].startswith(
        f"In 1994-2020, an escalation followed within six months in {100 * rate['with_signal']['share']:.0f} % of "
        f"{rate['with_signal']['months']:,} such country-months, against {100 * rate['without_signal']['share']:.0f} % "
        "without the signal."
    )


def test_a_kind_that_the_world_events_do_not_show_says_so(tmp_path: Path) -> None:
    rows = [{"date": f"2020-07-{day:02}", "best": 1, "adm_1": f"Region {day}"} for day in range(1, 8)]
    inputs = ged.inputs(tmp_path, {"MLI:1989-01..2020-12": ged.write(tmp_path / "events.csv", *rows)})
    of = signals.observations(("MLI",), worlds.observed(inputs), inputs.events).of("all")
    signal = found(of, "2020-07")["units_12m"]
    assert signal["base_rates"] == {"escalation": None, "month_25": None}
    assert signal["reasons"] == dict.fromkeys(TARGETS, "not_in_world_events")
    assert "There is no base rate" in signal["base_rate_sentence"]["en"]


def test_the_command_prints_text_json_and_csv(vigie: Callable[..., Any], tmp_path: Path) -> None:
    rows = [{"date": f"2020-07-{day:02}", "best": 1, **BAMAKO} for day in range(1, 7)]
    events = ged.write(tmp_path / "events.csv", *rows)
    assert vigie("ingest", "ucdp", events, "--covers", "MLI:1989-01..2020-12").code == 0
    command = ("signals", "MLI", "--month", "2020-07")
    text = vigie(*command).out
    assert "250 km of the capital over the last 12 months: 6, the highest in five years" in text
    assert "Unknown, because the month or its past is not covered: neighbours_deaths_3m" in text
    assert "autour de la capitale" in vigie(*command, "--lang", "fr").out
    payload = json.loads(vigie(*command, "--format", "json").out)
    assert (payload["month"], payload["outcome"], payload["simulated"]) == ("2020-07", "all", False)
    lines = list(csv.DictReader(vigie(*command, "--format", "csv").out.splitlines()))
    assert [line["indicator"] for line in lines] == [each["indicator"] for each in payload["data"][0]["signals"]]
    assert {(line["outcome"], line["simulated"]) for line in lines} == {("all", "false")}
    assert vigie("signals", "--format", "json").code == 0
    assert "Nothing stands out." in vigie("signals", "MLI", "--month", "2020-06").out
