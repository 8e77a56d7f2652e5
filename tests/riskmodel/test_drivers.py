"""Drivers: contributions that sum to the difference from the average, and that are fair."""

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

import numpy as np
import pytest
from assessments import MONTHS, assessment_of
from histories import SAHEL, made
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.country_scores import country_scores
from riskmodel.explanation import drivers
from riskmodel.explanation.drivers import FAMILY_OF, ScenarioModel
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, Conflictology
from riskmodel.forecasting.component import Scenarios
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.panel import FAMILIES, Panel
from riskmodel.months import Month

INTENSITY, SPILLOVER = (
    next(i for i, f in enumerate(FAMILIES) if f.name == name) for name in ("intensity", "spillover")
)


@dataclass(frozen=True)
class Linear:
    """A model whose output is a sum over some indicators and the last month's deaths: its Shapley values are known."""

    weights: dict[int, float]
    own: float = 0.0
    name: str = "linear"

    def fit(self, panel: Panel, origin: Month) -> Self:
        return self

    @property
    def used_indicators(self) -> frozenset[int]:
        return frozenset(self.weights)

    def ensemble_probabilities(self, scenarios: Scenarios) -> NDArray[np.float32]:
        summed = sum(weight * scenarios.values[:, i].astype(float) for i, weight in self.weights.items())
        summed = summed + self.own * scenarios.histories[scenarios.history, -1]
        return np.stack([summed, 2 * summed], axis=-1)[None].astype(np.float32)


def test_a_model_gets_as_many_months_as_any_component_reads() -> None:
    assert max(part.months for part in (SMOOTHED_HISTORY, Conflictology())) <= drivers.HISTORY_MONTHS


def test_contributions_sum_to_the_difference_from_each_average(pool: Pool, assessment: Assessment) -> None:
    by_country = drivers.compute(pool, assessment)
    for iso3 in SAHEL:
        for background in drivers.BACKGROUNDS:
            for target in drivers.TARGETS:
                split = by_country[iso3][background][target]
                assert sum(split.families) == pytest.approx(split.value - split.average, abs=1e-4)
    scores = [by_country[iso3]["region"]["risk_score"] for iso3 in SAHEL]
    assert {round(s.average, 4) for s in scores} == {round(float(np.mean([s.value for s in scores])), 4)}


def test_the_explained_score_is_the_served_one_up_to_the_rounding_of_draws(pool: Pool, assessment: Assessment) -> None:
    bands = {"minimal": 0}
    served = country_scores(pool.forecast(assessment.panel, assessment.origin), assessment.expected, bands)
    by_country = drivers.compute(pool, assessment)
    for row in served:
        split = by_country[row["location_code"]]["own_year"]
        assert split["risk_score"].value == pytest.approx(row["risk_score"], abs=0.2)
        assert split["escalation_from_draws"].value == pytest.approx(100 * row["escalation_from_draws"], abs=0.6)


def test_the_average_of_the_own_year_is_that_of_the_twelve_origins_before(pool: Pool, assessment: Assessment) -> None:
    split = drivers.compute(pool, assessment)["NER"]["own_year"]["risk_score"]
    row = SAHEL.index("NER")
    past = [assessment.panel.history(origin, 84)[row] for origin in assessment.panel.months[-13:-1]]
    scenario_model = ScenarioModel(pool, np.stack(past))
    targets = scenario_model.targets(assessment.panel.values[row, -13:-1], np.arange(12))
    assert split.average == pytest.approx(float(targets[:, 0].mean()), abs=1e-4)


def test_a_linear_model_is_split_into_its_terms(assessment: Assessment) -> None:
    index_of = {f: int(np.flatnonzero(f == FAMILY_OF)[0]) for f in (INTENSITY, SPILLOVER)}
    model = Linear({index_of[INTENSITY]: 0.3, index_of[SPILLOVER]: -0.2}, own=0.01)
    split = drivers.compute(model, assessment)["BFA"]["own_year"]["risk_score"]
    row = SAHEL.index("BFA")
    values, deaths = assessment.panel.values[row].astype(float), assessment.panel.deaths[row]
    away = {f: values[-1, at] - values[-13:-1, at].mean() for f, at in index_of.items()}
    own = 0.01 * (deaths[-1] - deaths[-13:-1].mean())
    assert split.families[SPILLOVER] == pytest.approx(-20 * away[SPILLOVER], abs=1e-3)
    assert split.families[INTENSITY] == pytest.approx(30 * away[INTENSITY] + 100 * own, abs=1e-3)
    assert [value for f, value in enumerate(split.families) if f not in index_of] == [0.0] * (len(FAMILIES) - 2)
    inside = {i: points for i, points, _ in split.indicators.get(INTENSITY, [])}
    if inside:
        assert inside[index_of[INTENSITY]] == pytest.approx(30 * away[INTENSITY], abs=1e-3)
        assert inside[-1] == pytest.approx(100 * own, abs=1e-3)


def test_families_get_the_mean_of_their_marginal_contributions_over_all_orders(
    pool: Pool, assessment: Assessment
) -> None:
    row = SAHEL.index("MLI")
    panel, months = assessment.panel, assessment.panel.months[-13:]
    scenario_model = ScenarioModel(pool, np.stack([panel.history(origin, 84)[row] for origin in months]))
    values = panel.values[row, -13:]
    players = sorted({INTENSITY, *FAMILY_OF[list(pool.used_indicators)].tolist()})

    def worth(inside: set[int]) -> float:
        mixed = np.where(np.isin(FAMILY_OF, list(inside)), values[-1], values[:-1])
        history = np.full(12, 12) if INTENSITY in inside else np.arange(12)
        return float(scenario_model.targets(mixed, history)[:, 0].mean())

    orders = list(permutations(players))
    naive = dict.fromkeys(players, 0.0)
    for order in orders:
        for at, player in enumerate(order):
            naive[player] += (worth(set(order[: at + 1])) - worth(set(order[:at]))) / len(orders)
    split = drivers.compute(pool, assessment)["MLI"]["own_year"]["risk_score"]
    for player in players:
        assert split.families[player] == pytest.approx(naive[player], abs=1e-3)


def test_indicators_of_a_family_sum_to_it_within_their_standard_errors(pool: Pool, assessment: Assessment) -> None:
    by_country = drivers.compute(pool, assessment)
    families = 0
    for iso3 in SAHEL:
        for by_target in by_country[iso3].values():
            for split in by_target.values():
                for family, rows in split.indicators.items():
                    errors = np.array([error for *_, error in rows])
                    total = sum(points for _, points, _ in rows)
                    assert total == pytest.approx(split.families[family], abs=5 * np.sqrt((errors**2).sum()) + 0.05)
                    families += 1
    assert families > 0


def test_drivers_are_deterministic_and_countries_do_not_affect_each_other(pool: Pool, assessment: Assessment) -> None:
    once, again = (drivers.compute(pool, assessment)["MLI"]["own_year"] for _ in range(2))
    assert once == again
    alone = replace(assessment, panel=assessment.panel.only(["MLI", "BFA"]))
    assert drivers.compute(pool, alone)["MLI"]["own_year"]["risk_score"].families == pytest.approx(
        once["risk_score"].families, abs=1e-4
    )


def test_a_country_without_a_forecast_has_no_drivers_and_is_in_no_background(assessment: Assessment) -> None:
    deaths = made(5, MONTHS)
    deaths[SAHEL.index("SEN"), -3] = np.nan
    with_hole = assessment_of(deaths)
    by_country = drivers.compute(Conflictology(), with_hole)
    assert by_country["SEN"] is None
    known = [by_country[iso3]["region"]["risk_score"].value for iso3 in SAHEL if iso3 != "SEN"]
    assert by_country["MLI"]["region"]["risk_score"].average == pytest.approx(float(np.mean(known)), abs=1e-4)


def test_a_model_of_own_deaths_is_all_intensity(assessment: Assessment) -> None:
    split = drivers.compute(Conflictology(), assessment)["MLI"]["region"]["risk_score"]
    assert split.families[INTENSITY] == pytest.approx(split.value - split.average, abs=1e-6)
    assert not np.delete(split.families, INTENSITY).any()


def test_the_mean_over_the_ensemble_matches_the_draws(pool: Pool, assessment: Assessment) -> None:
    scenario_model = ScenarioModel(pool, assessment.panel.history(assessment.origin, 84))
    probabilities = scenario_model.ensemble_targets(assessment.panel.at(assessment.origin), np.arange(len(SAHEL)))
    assert probabilities.shape == (10, len(SAHEL), 2)
    sums = pool.forecast(assessment.panel, assessment.origin).draws[:, :3].sum(axis=1)
    drawn = 100 * np.mean([(sums >= rung).mean(axis=1) for rung in (1, 5, 25, 100, 300, 1000)], axis=0)
    np.testing.assert_allclose(probabilities.mean(axis=0)[:, 0], drawn, atol=0.2)
